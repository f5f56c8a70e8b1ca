//===- RandomCircuit.cpp - A circuit for measuring speed ------------------===//

#include "tacq/Quantize/RandomCircuit.h"
#include "tacq/Quantize/CircuitBytes.h"
#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

using namespace tacq;

/// How many slots a tile of 16 x 128 needs for a circuit of 0.35 % in SmolLM2-135M, by share of the
/// tiles.
static constexpr double slotShares[] = {.72525, .17379, .04726, .02135, .01051, .0068,
                                        .00408, .00299, .00183, .00134, .00114, .00046,
                                        .00077, .0003,  .00036, .00034, .0003,  .0008};
static constexpr double slotSharesFraction = 0.0035;
/// A slot takes 3 bytes for each weight, an entry of a list 4.
static constexpr double slotsPerEntry = 4.0 / 3.0;
/// Rows are sorted in blocks of 256, in which they may be permuted; in a block, so many rows of
/// tiles have the same amount of circuit, in any of their tiles.
static constexpr int64_t sortedRows = 256, similarTileRows = 4;

namespace {
class Draw {
public:
  Draw(const TileGrid &grid, uint64_t seed) : grid(grid), random(seed) {}

  /// Of each tile, row of tiles by row of tiles.
  std::vector<int64_t> slotCounts(double fraction) {
    std::discrete_distribution<int> draw(std::begin(slotShares), std::end(slotShares));
    std::uniform_real_distribution<double> rest;
    std::vector<int64_t> counts(grid.tiles());
    for (int64_t &count : counts)
      count = static_cast<int64_t>(draw(random) * fraction / slotSharesFraction + rest(random));
    auto inBlocks = [&](int64_t tileRows, auto change) {
      int64_t step = tileRows * grid.across(), size = grid.tiles();
      for (int64_t first = 0; first < size; first += step)
        change(counts.begin() + first, counts.begin() + std::min(size, first + step));
    };
    inBlocks(sortedRows / grid.tileRows,
             [](auto begin, auto end) { std::sort(begin, end, std::greater<>()); });
    inBlocks(similarTileRows, [&](auto begin, auto end) { std::shuffle(begin, end, random); });
    return counts;
  }

  void slots(const std::vector<int64_t> &counts, CircuitMask &mask) {
    std::vector<int64_t> place(grid.rows); // where the row is stored
    for (int64_t i = 0; i < grid.rows; ++i)
      place[mask.order.empty() ? i : mask.order[i]] = i;
    std::vector<uint32_t> columns;
    for (int64_t n = 0; n < grid.rows; ++n) {
      const int64_t *ofRow = counts.data() + place[n] / grid.tileRows * grid.across();
      for (int64_t tile = 0; tile < grid.across(); ++tile) {
        int64_t begin = tile * grid.tileColumns;
        int64_t width = std::min(grid.tileColumns, grid.columns - begin);
        int64_t count = std::min(width, ofRow[tile]);
        columns.resize(width);
        std::iota(columns.begin(), columns.end(), static_cast<uint32_t>(begin));
        for (int64_t i = 0; i < count; ++i)
          std::swap(columns[i], columns[i + static_cast<int64_t>(random() % (width - i))]);
        std::sort(columns.begin(), columns.begin() + count);
        mask.positions.insert(mask.positions.end(), columns.begin(), columns.begin() + count);
      }
      mask.starts.push_back(static_cast<uint32_t>(mask.positions.size()));
    }
  }

  void scattered(double fraction, CircuitMask &mask) {
    std::bernoulli_distribution draw(fraction);
    for (int64_t n = 0; n < grid.rows; ++n) {
      for (int64_t k = 0; k < grid.columns; ++k)
        if (draw(random))
          mask.positions.push_back(static_cast<uint32_t>(k));
      mask.starts.push_back(static_cast<uint32_t>(mask.positions.size()));
    }
  }

  std::vector<uint32_t> permutation() {
    std::vector<uint32_t> order(grid.rows);
    std::iota(order.begin(), order.end(), 0);
    for (int64_t first = 0; first < grid.rows; first += sortedRows)
      std::shuffle(order.begin() + first, order.begin() + std::min(grid.rows, first + sortedRows),
                   random);
    return order;
  }

private:
  const TileGrid &grid;
  std::mt19937_64 random;
};
} // namespace

CircuitMask tacq::randomCircuit(int64_t rows, int64_t columns, WeightFormat::Circuit layout,
                                double fraction, uint64_t seed) {
  CircuitMask mask;
  if (layout == WeightFormat::Circuit::None || fraction <= 0)
    return mask;
  TileGrid grid{rows, columns};
  Draw draw(grid, seed);
  mask.starts.push_back(0);
  if (layout == WeightFormat::Circuit::Scattered) {
    draw.scattered(fraction, mask);
  } else if (layout == WeightFormat::Circuit::Uniform) {
    auto slots = std::llround(fraction * slotsPerEntry * static_cast<double>(grid.tileColumns));
    int64_t last = columns % grid.tileColumns;
    slots = std::clamp<long long>(slots, 1, last == 0 ? grid.tileColumns : last);
    draw.slots(std::vector<int64_t>(grid.tiles(), slots), mask);
  } else {
    mask.order = draw.permutation();
    draw.slots(draw.slotCounts(fraction), mask);
  }
  // Slots may be none at all: weights of the same shape have circuits all or none.
  bool none = layout == WeightFormat::Circuit::Scattered && mask.positions.empty();
  return none ? CircuitMask() : mask;
}
