//===- SlotsTest.cpp - Circuits: which positions, in how many bytes -------===//

#include "tacq/Quantize/Slots.h"
#include "Reference.h"
#include "tacq/Quantize/PredictedLoss.h"
#include "tacq/Quantize/Saliency.h"
#include "gtest/gtest.h"

#include <cmath>
#include <numeric>
#include <set>

using namespace tacq;
using namespace tacq::test;

namespace {
/// Saliencies of several tensors with heavy tails, rows and columns of different weight, and ties.
struct Model {
  std::vector<std::vector<float>> data;
  std::vector<WeightView> views;

  Model(std::vector<std::pair<int64_t, int64_t>> shapes, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<double> normal;
    for (auto [rows, columns] : shapes) {
      std::vector<double> ofRow(rows), ofColumn(columns);
      for (double &value : ofRow)
        value = std::exp(1.5 * normal(random));
      for (double &value : ofColumn)
        value = std::exp(1.5 * normal(random));
      double ofTensor = std::exp(normal(random));
      data.emplace_back();
      for (int64_t i = 0; i < rows * columns; ++i) {
        double value =
            ofTensor * ofRow[i / columns] * ofColumn[i % columns] * std::exp(2 * normal(random));
        data.back().push_back(random() % 8 == 0 ? 1.0f : static_cast<float>(value));
      }
    }
    for (size_t t = 0; t < shapes.size(); ++t)
      views.push_back({data[t].data(), shapes[t].first, shapes[t].second});
  }
};

const std::vector<std::pair<int64_t, int64_t>> shapes = {{64, 256},  {33, 130}, {16, 128},
                                                         {100, 576}, {7, 20},   {200, 384}};
} // namespace

TEST(Saliency, isTheFormula) {
  std::vector<float> w = {2, -4, 0, 1}, q = {1, -4, 1, 3};
  std::vector<double> g = {3, 5, 7, std::nan("")};
  EXPECT_EQ(computeSaliency({w.data(), 2, 2}, q, g), (std::vector<float>{6, 0, 0, 0}));
}

/// What the second-order estimate of the loss falls by if the weight alone is kept, but for the
/// factor that all weights have.
TEST(Saliency, ofCurvatureIsTheLossOfTheWeight) {
  std::mt19937 random(3);
  std::normal_distribution<double> normal;
  constexpr int64_t rows = 3, columns = 5;
  std::vector<float> w(rows * columns), q(w.size());
  std::vector<double> g(w.size()), h(columns * columns);
  for (size_t i = 0; i < w.size(); ++i) {
    w[i] = float(normal(random));
    q[i] = std::round(w[i]);
    g[i] = std::fabs(normal(random));
  }
  for (int64_t k = 0; k < columns; ++k)
    h[k * (columns + 1)] = std::exp(normal(random)); // inputs that do not depend on each other
  WeightView view{w.data(), rows, columns};
  std::vector<float> saliency = computeCurvatureSaliency(view, q, g, h);
  SampleCounts counts{2, 20};
  double all = secondOrderLoss(view, q, g, h, counts);
  double factor = all / std::accumulate(saliency.begin(), saliency.end(), 0.0);
  for (size_t i = 0; i < w.size(); ++i) {
    std::vector<float> kept = q;
    kept[i] = w[i];
    EXPECT_NEAR(all - secondOrderLoss(view, kept, g, h, counts), factor * saliency[i], 1e-5 * all);
  }
  EXPECT_EQ(computeCurvatureSaliency(view, w, g, h), std::vector<float>(w.size()));
}

TEST(Saliency, scatteredIsTheGlobalTop) {
  Model model(shapes, 1);
  for (double fraction : {0.0, 0.0035, 0.1, 0.5, 1.0}) {
    std::vector<std::pair<float, size_t>> all;
    for (const std::vector<float> &tensor : model.data)
      for (float value : tensor)
        all.push_back({-value, all.size()});
    std::sort(all.begin(), all.end());
    all.resize(std::llround(fraction * double(all.size())));
    std::vector<size_t> expected;
    for (auto [value, index] : all)
      expected.push_back(index);
    std::sort(expected.begin(), expected.end());

    std::vector<CircuitMask> masks = selectScattered(model.views, fraction);
    std::vector<size_t> actual;
    size_t base = 0;
    for (size_t t = 0; t < masks.size(); ++t) {
      for (int64_t n = 0; n < model.views[t].rows; ++n)
        for (uint32_t k : masks[t].row(n))
          actual.push_back(base + n * model.views[t].columns + k);
      base += model.data[t].size();
    }
    EXPECT_EQ(actual, expected) << fraction;
  }
}

static void expectWholeSlots(const Model &model, const std::vector<SlotCircuit> &circuits) {
  for (size_t t = 0; t < circuits.size(); ++t) {
    const SlotCircuit &circuit = circuits[t];
    const TileGrid &grid = circuit.grid;
    if (circuit.slots.empty()) {
      EXPECT_TRUE(circuit.mask.empty());
      continue;
    }
    std::vector<uint32_t> order = circuit.mask.order;
    if (order.empty()) {
      order.resize(grid.rows);
      std::iota(order.begin(), order.end(), 0);
    }
    ASSERT_EQ(order.size(), size_t(grid.rows));
    std::vector<bool> seen(grid.rows);
    for (int64_t i = 0; i < grid.rows; ++i) {
      uint32_t n = order[i];
      EXPECT_FALSE(seen[n]);
      seen[n] = true;
      llvm::ArrayRef<uint32_t> kept = circuit.mask.row(n);
      EXPECT_TRUE(std::is_sorted(kept.begin(), kept.end()));
      for (int64_t tile = 0; tile < grid.across(); ++tile) {
        int64_t begin = tile * grid.tileColumns;
        int64_t end = std::min(grid.columns, begin + grid.tileColumns);
        unsigned slots = circuit.slots[i / grid.tileRows * grid.across() + tile];
        EXPECT_LE(slots, end - begin);
        unsigned count = 0;
        float least = INFINITY, rest = 0;
        for (int64_t k = begin; k < end; ++k) {
          float value = model.views[t].row(n)[k];
          bool isKept = std::binary_search(kept.begin(), kept.end(), k);
          count += isKept;
          (isKept ? least : rest) = isKept ? std::min(least, value) : std::max(rest, value);
        }
        EXPECT_EQ(count, slots);
        EXPECT_GE(least, rest);
      }
    }
  }
}

static int64_t bytesOf(const std::vector<SlotCircuit> &circuits) {
  int64_t bytes = 0;
  for (const SlotCircuit &circuit : circuits)
    if (!circuit.mask.empty())
      bytes += slotsBytes(circuit.grid, circuit.slotCount(), circuit.isSorted()) +
               (circuit.isSorted() ? sortedTensorBytes : 0);
  return bytes;
}

/// 4 bytes for each entry, whatever a list of them takes.
static int64_t budgetOf(const std::vector<CircuitMask> &masks) {
  int64_t bytes = 0;
  for (const CircuitMask &mask : masks)
    bytes += 4 * int64_t(mask.positions.size());
  return bytes;
}

TEST(Slots, fillTheBudget) {
  for (unsigned seed : {1, 2})
    for (double fraction : {0.0005, 0.0035, 0.01, 0.05, 0.3})
      for (int64_t tileRows : {8, 16}) {
        SCOPED_TRACE(testing::Message() << seed << " " << fraction << " " << tileRows);
        Model model(shapes, seed);
        std::vector<CircuitMask> scattered = selectScattered(model.views, fraction);
        std::vector<SlotCircuit> circuits = selectSlots(model.views, scattered, {tileRows, 128})[0];
        expectWholeSlots(model, circuits);
        int64_t budget = budgetOf(scattered), spent = bytesOf(circuits);
        EXPECT_LE(spent, budget);
        // A slot more does not fit: it costs up to its bytes, padded, and the first one what any
        // circuit takes.
        int64_t next = slotBytes({0, 0, tileRows, 128}) + sectionAlignment;
        if (spent == 0)
          next = sortedTensorBytes + slotsBytes(circuits[0].grid, 1, /*sorted=*/true);
        EXPECT_GT(spent, budget - next);
      }
}

/// Without sorting, the greedy choice by worth is the best there is for the number of slots.
TEST(Slots, areTheMostSalientOfTheirOrder) {
  Model model({{48, 256}}, 7);
  std::vector<CircuitMask> scattered = selectScattered(model.views, 0.02);
  SlotCircuit circuit = selectSlots(model.views, scattered, {})[0][0];
  std::vector<uint32_t> order = circuit.mask.order;
  if (order.empty()) {
    order.resize(48);
    std::iota(order.begin(), order.end(), 0);
  }
  std::vector<double> worths;
  for (int64_t tile = 0; tile < 6; ++tile) {
    std::vector<double> worth(128);
    for (int64_t i = tile / 2 * 16; i < tile / 2 * 16 + 16; ++i) {
      const float *row = model.views[0].row(order[i]) + tile % 2 * 128;
      std::vector<float> best(row, row + 128);
      std::sort(best.rbegin(), best.rend());
      for (size_t j = 0; j < 128; ++j)
        worth[j] += best[j];
    }
    worths.insert(worths.end(), worth.begin(), worth.end());
  }
  std::sort(worths.rbegin(), worths.rend());
  double best = std::accumulate(worths.begin(), worths.begin() + circuit.slotCount(), 0.0);
  EXPECT_NEAR(capturedSaliency(model.views[0], circuit.mask), best, 1e-5 * best);
}

TEST(Slots, areTheSameForSeveralCircuitsAtOnce) {
  Model model(shapes, 3);
  std::vector<double> fractions = {0.0035, 0.01, 0.05};
  auto together = selectCircuits(WeightFormat::Circuit::Slots, model.views, fractions);
  ASSERT_EQ(together.size(), 3u);
  for (auto [i, fraction] : llvm::enumerate(fractions)) {
    auto alone = selectCircuit(WeightFormat::Circuit::Slots, model.views, fraction);
    ASSERT_EQ(together[i].size(), alone.size());
    for (size_t t = 0; t < alone.size(); ++t) {
      EXPECT_EQ(together[i][t].starts, alone[t].starts);
      EXPECT_EQ(together[i][t].positions, alone[t].positions);
      EXPECT_EQ(together[i][t].order, alone[t].order);
    }
  }
}

TEST(Slots, withoutCircuit) {
  Model model(shapes, 8);
  std::vector<CircuitMask> none = selectScattered(model.views, 0);
  EXPECT_EQ(bytesOf(selectSlots(model.views, none, {})[0]), 0);
  EXPECT_TRUE(selectUniform(model.views, none, {})[0].mask.empty());
}

TEST(Slots, uniformIsClosestToTheBudget) {
  Model model(shapes, 9);
  auto bytesAt = [&](int64_t slots) {
    int64_t bytes = 0;
    for (const WeightView &view : model.views)
      bytes += uniformBytes({view.rows, view.columns, 16, 128}, slots);
    return bytes;
  };
  for (double fraction : {0.0001, 0.0035, 0.01, 0.05}) {
    std::vector<CircuitMask> scattered = selectScattered(model.views, fraction);
    std::vector<SlotCircuit> circuits = selectUniform(model.views, scattered, {});
    expectWholeSlots(model, circuits);
    int64_t slots = circuits[0].slots[0], budget = budgetOf(scattered);
    for (const SlotCircuit &circuit : circuits)
      EXPECT_EQ(circuit.slots, std::vector<uint8_t>(circuit.grid.tiles(), uint8_t(slots)));
    // The narrowest tile has 2 columns.
    for (int64_t other : {1, 2})
      EXPECT_LE(std::abs(bytesAt(slots) - budget), std::abs(bytesAt(other) - budget));
  }
}

TEST(CircuitBytes, countedByHand) {
  EXPECT_EQ(scatteredBytes(10, 100, 0), 0);
  EXPECT_EQ(scatteredBytes(10, 100, 3), 64);   // 12 + 44
  EXPECT_EQ(scatteredBytes(10, 65537, 3), 64); // 18 + 44
  EXPECT_EQ(slotBytes({0, 0, 16, 128}), 48);
  EXPECT_EQ(slotBytes({0, 0, 8, 128}), 24);
  // 3 slots, 3 x 2 tiles, 4 starts; 48 rows sorted, a byte each.
  EXPECT_EQ(slotsBytes({33, 130, 16, 128}, 3, false), 176); // 144 + 6 + 16
  EXPECT_EQ(slotsBytes({33, 130, 16, 128}, 3, true), 176 + 48);
  EXPECT_EQ(slotsBytes({33, 130, 16, 128}, 0, true), 32 + 48);
  EXPECT_EQ(uniformBytes({33, 130, 16, 128}, 2), 6 * 2 * 48);
}
