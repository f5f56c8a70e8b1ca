//===- SlotTable.cpp - What each slot of a weight is worth ----------------===//

#include "SlotTable.h"
#include <algorithm>
#include <numeric>

using namespace tacq;

/// Where each row is stored.
static std::vector<uint32_t> placesOf(int64_t rows, llvm::ArrayRef<uint32_t> order) {
  std::vector<uint32_t> places(rows);
  for (int64_t i = 0; i < rows; ++i)
    places[order.empty() ? i : order[i]] = static_cast<uint32_t>(i);
  return places;
}

std::vector<std::vector<float>> tacq::slotWorths(WeightView saliency, const TileGrid &grid,
                                                 llvm::ArrayRef<std::vector<uint32_t>> orders) {
  std::vector<std::vector<double>> sums(orders.size(),
                                        std::vector<double>(grid.tiles() * grid.tileColumns));
  std::vector<std::vector<uint32_t>> places;
  for (const std::vector<uint32_t> &order : orders)
    places.push_back(placesOf(grid.rows, order));
  std::vector<float> best;
  for (int64_t n = 0; n < grid.rows; ++n)
    for (int64_t tile = 0; tile < grid.across(); ++tile) {
      const float *from = saliency.row(n) + tile * grid.tileColumns;
      best.assign(from, from + std::min(grid.tileColumns, grid.columns - tile * grid.tileColumns));
      std::sort(best.begin(), best.end(), std::greater<float>());
      for (size_t o = 0; o < orders.size(); ++o) {
        double *worth =
            &sums[o][(places[o][n] / grid.tileRows * grid.across() + tile) * grid.tileColumns];
        for (size_t j = 0; j < best.size(); ++j)
          worth[j] += best[j];
      }
    }
  std::vector<std::vector<float>> worths;
  for (const std::vector<double> &each : sums)
    worths.emplace_back(each.begin(), each.end());
  return worths;
}

SlotTable::SlotTable(WeightView saliency, const TileGrid &grid, std::vector<uint32_t> order,
                     llvm::ArrayRef<float> worths, uint64_t limit)
    : saliency(saliency), grid(grid), order(std::move(order)) {
  auto moreValuable = [](const Entry &a, const Entry &b) {
    if (a.worth != b.worth)
      return a.worth > b.worth;
    return a.tile != b.tile ? a.tile < b.tile : a.slot < b.slot;
  };
  auto trim = [&] {
    if (entries.size() <= limit)
      return;
    std::nth_element(entries.begin(), entries.begin() + limit, entries.end(), moreValuable);
    entries.resize(limit);
  };
  for (int64_t tile = 0; tile < grid.tiles(); ++tile) {
    const float *worth = &worths[tile * grid.tileColumns];
    for (int64_t j = 0; j < grid.tileColumns && worth[j] > 0; ++j)
      entries.push_back({worth[j], static_cast<uint32_t>(tile), static_cast<uint32_t>(j)});
    if (entries.size() > 2 * limit + 65536)
      trim();
  }
  trim();
  std::sort(entries.begin(), entries.end(), moreValuable);
  sums.reserve(entries.size() + 1);
  sums.push_back(0);
  for (const Entry &entry : entries)
    sums.push_back(sums.back() + entry.worth);
}

int64_t SlotTable::countAbove(double worth) const {
  auto end = std::partition_point(entries.begin(), entries.end(),
                                  [&](const Entry &entry) { return entry.worth > worth; });
  return end - entries.begin();
}

SlotCircuit SlotTable::circuit(int64_t n) const {
  std::vector<uint8_t> slots(grid.tiles());
  for (int64_t i = 0; i < n; ++i)
    ++slots[entries[i].tile];
  return makeSlotCircuit(saliency, grid, order, std::move(slots));
}

SlotCircuit tacq::makeSlotCircuit(WeightView saliency, const TileGrid &grid,
                                  std::vector<uint32_t> order, std::vector<uint8_t> slots) {
  SlotCircuit result;
  result.grid = grid;
  if (slots.empty())
    return result;
  std::vector<uint32_t> place = placesOf(grid.rows, order);
  CircuitMask &mask = result.mask;
  mask.starts.push_back(0);
  std::vector<uint32_t> columns;
  for (int64_t n = 0; n < grid.rows; ++n) {
    const uint8_t *counts = slots.data() + place[n] / grid.tileRows * grid.across();
    for (int64_t tile = 0; tile < grid.across(); ++tile) {
      if (counts[tile] == 0)
        continue;
      int64_t begin = tile * grid.tileColumns;
      columns.resize(std::min(grid.columns - begin, grid.tileColumns));
      std::iota(columns.begin(), columns.end(), static_cast<uint32_t>(begin));
      // Of equally salient ones the leftmost.
      auto moreSalient = [row = saliency.row(n)](uint32_t a, uint32_t b) {
        return row[a] != row[b] ? row[a] > row[b] : a < b;
      };
      auto last = columns.begin() + counts[tile];
      if (last != columns.end())
        std::nth_element(columns.begin(), last, columns.end(), moreSalient);
      std::sort(columns.begin(), last);
      mask.positions.insert(mask.positions.end(), columns.begin(), last);
    }
    mask.starts.push_back(static_cast<uint32_t>(mask.positions.size()));
  }
  mask.order = std::move(order);
  result.slots = std::move(slots);
  return result;
}

int64_t SlotCircuit::slotCount() const {
  return std::accumulate(slots.begin(), slots.end(), int64_t(0));
}
