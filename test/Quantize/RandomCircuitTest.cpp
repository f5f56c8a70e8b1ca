//===- RandomCircuitTest.cpp - Circuits for measuring speed ---------------===//

#include "tacq/Quantize/RandomCircuit.h"
#include "tacq/Quantize/CircuitBytes.h"
#include "gtest/gtest.h"

#include <algorithm>
#include <map>

using namespace tacq;
using Circuit = WeightFormat::Circuit;

/// Slots of each tile; checks that all rows of a tile have as many, in ascending columns.
static std::vector<int64_t> slotsOf(const CircuitMask &mask, const TileGrid &grid) {
  std::vector<int64_t> slots(grid.tiles(), -1);
  EXPECT_EQ(mask.starts.size(), size_t(grid.rows) + 1);
  for (int64_t i = 0; i < grid.rows; ++i) {
    llvm::ArrayRef<uint32_t> row = mask.row(mask.order.empty() ? i : mask.order[i]);
    EXPECT_TRUE(std::adjacent_find(row.begin(), row.end(), std::greater_equal<>()) == row.end());
    std::vector<int64_t> counts(grid.across());
    for (uint32_t column : row) {
      EXPECT_LT(column, grid.columns);
      ++counts[column / grid.tileColumns];
    }
    for (int64_t tile = 0; tile < grid.across(); ++tile) {
      int64_t &known = slots[i / grid.tileRows * grid.across() + tile];
      EXPECT_TRUE(known < 0 || known == counts[tile]);
      known = counts[tile];
    }
  }
  return slots;
}

TEST(RandomCircuit, spreadsSlotsAsInALanguageModel) {
  TileGrid grid{4096, 4096};
  CircuitMask mask = randomCircuit(grid.rows, grid.columns, Circuit::Slots, 0.0035, 1);
  std::vector<uint32_t> order = mask.order;
  std::sort(order.begin(), order.end());
  for (uint32_t i = 0; i < order.size(); ++i)
    ASSERT_EQ(order[i], i);
  std::map<int64_t, double> share;
  for (int64_t count : slotsOf(mask, grid))
    share[count] += 1 / double(grid.tiles());
  // The standard error of a share is below 0.006.
  EXPECT_NEAR(share[0], 0.725, 0.02);
  EXPECT_NEAR(share[1], 0.174, 0.02);
  EXPECT_NEAR(share[2], 0.047, 0.015);
  EXPECT_GT(share.rbegin()->first, 8);
  double part = double(mask.positions.size()) / double(grid.rows * grid.columns);
  EXPECT_NEAR(part, 0.0042, 0.0002);
}

TEST(RandomCircuit, followsTheLayoutAndTheFraction) {
  for (auto [rows, columns] : {std::pair<int64_t, int64_t>{1000, 1000}, {17, 130}, {5, 20}}) {
    TileGrid grid{rows, columns};
    for (double fraction : {0.001, 0.02, 1.0}) {
      CircuitMask slots = randomCircuit(rows, columns, Circuit::Slots, fraction, 2);
      slotsOf(slots, grid);
      CircuitMask uniform = randomCircuit(rows, columns, Circuit::Uniform, fraction, 2);
      std::vector<int64_t> counts = slotsOf(uniform, grid);
      EXPECT_GE(counts[0], 1);
      EXPECT_EQ(std::count(counts.begin(), counts.end(), counts[0]), int64_t(counts.size()));
      EXPECT_TRUE(uniform.order.empty());
    }
  }
  double entries = double(randomCircuit(1000, 1000, Circuit::Scattered, 0.02, 3).positions.size());
  EXPECT_NEAR(entries, 20000, 1000);
  EXPECT_TRUE(randomCircuit(64, 64, Circuit::None, 0.02, 3).empty());
  EXPECT_TRUE(randomCircuit(64, 64, Circuit::Slots, 0, 3).empty());
}

TEST(RandomCircuit, isThatOfItsSeed) {
  for (Circuit layout : {Circuit::Slots, Circuit::Scattered, Circuit::Uniform}) {
    CircuitMask a = randomCircuit(256, 256, layout, 0.01, 1);
    CircuitMask b = randomCircuit(256, 256, layout, 0.01, 1);
    CircuitMask other = randomCircuit(256, 256, layout, 0.01, 2);
    EXPECT_EQ(a.positions, b.positions);
    EXPECT_EQ(a.order, b.order);
    EXPECT_NE(a.positions, other.positions);
  }
}
