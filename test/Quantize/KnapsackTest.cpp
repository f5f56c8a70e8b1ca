//===- KnapsackTest.cpp - Plans against all plans there are ---------------===//

#include "tacq/Quantize/Knapsack.h"
#include "tacq/Quantize/NearestLevels.h"
#include "gtest/gtest.h"

#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <random>

using namespace tacq;

using Items = std::vector<std::vector<KnapsackOption>>;

static Items randomItems(size_t count, size_t options, unsigned seed) {
  std::mt19937 random(seed);
  Items items(count);
  for (auto &item : items)
    for (size_t i = 0; i < options; ++i)
      item.push_back({1 + random() % 40, double(random() % 1000) / 100});
  return items;
}

/// The least loss within the budget, over all combinations.
static double leastLoss(const Items &items, uint64_t budget) {
  double best = std::numeric_limits<double>::infinity();
  std::function<void(size_t, uint64_t, double)> visit = [&](size_t item, uint64_t bytes,
                                                            double loss) {
    if (bytes > budget)
      return;
    if (item == items.size()) {
      best = std::min(best, loss);
      return;
    }
    for (const KnapsackOption &option : items[item])
      visit(item + 1, bytes + option.bytes, loss + option.loss);
  };
  visit(0, 0, 0);
  return best;
}

static double frontLoss(const KnapsackFront &front, uint64_t budget) {
  double best = std::numeric_limits<double>::infinity();
  for (const KnapsackOption &point : front.points())
    if (point.bytes <= budget)
      best = point.loss;
  return best;
}

TEST(Knapsack, isTheBestOfAllCombinations) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    Items items = randomItems(1 + seed % 6, 2 + seed % 4, seed);
    KnapsackFront front = KnapsackFront::solve(items);
    for (uint64_t budget = 0; budget < 240; budget += 7) {
      double expected = leastLoss(items, budget), found = frontLoss(front, budget);
      if (std::isinf(expected))
        EXPECT_TRUE(std::isinf(found)) << seed << " " << budget;
      else
        EXPECT_NEAR(found, expected, 1e-12) << seed << " " << budget;
    }
  }
}

TEST(Knapsack, choicesAddUp) {
  Items items = randomItems(30, 9, 5);
  KnapsackFront front = KnapsackFront::solve(items);
  ASSERT_FALSE(front.points().empty());
  for (size_t i = 0; i < front.points().size(); ++i) {
    std::vector<unsigned> choice = front.choice(i);
    uint64_t bytes = 0;
    double loss = 0;
    for (size_t item = 0; item < items.size(); ++item) {
      bytes += items[item][choice[item]].bytes;
      loss += items[item][choice[item]].loss;
    }
    EXPECT_EQ(bytes, front.points()[i].bytes);
    EXPECT_NEAR(loss, front.points()[i].loss, 1e-9);
    if (i > 0) {
      EXPECT_GT(front.points()[i].bytes, front.points()[i - 1].bytes);
      EXPECT_LT(front.points()[i].loss, front.points()[i - 1].loss);
    }
  }
}

/// With few points the front is close to the exact one, and has its ends.
TEST(Knapsack, thinsOut) {
  Items items = randomItems(40, 8, 9);
  KnapsackFront exact = KnapsackFront::solve(items), thin = KnapsackFront::solve(items, 200);
  EXPECT_LE(thin.points().size(), 201u);
  EXPECT_EQ(thin.points().front().bytes, exact.points().front().bytes);
  EXPECT_NEAR(thin.points().back().loss, exact.points().back().loss, 1e-9);
  for (const KnapsackOption &point : exact.points())
    EXPECT_LE(frontLoss(thin, point.bytes + 200), point.loss + 1e-9);
}

TEST(Knapsack, noOptionNoPlan) {
  Items items = {{{1, 1}}, {}};
  EXPECT_TRUE(KnapsackFront::solve(items).points().empty());
}

/// No level moved alone, and no number given another level, has a smaller error.
TEST(NearestLevels, areALocalMinimum) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  constexpr int64_t rows = 3, columns = 200;
  std::vector<float> values(rows * columns);
  for (float &value : values)
    value = normal(random);
  std::vector<float> found = nearestLevels({values.data(), rows, columns}, 2, 1);
  for (int64_t n = 0; n < rows; ++n) {
    const float *row = &values[n * columns], *levels = &found[n * columns];
    double error = 0;
    for (int64_t k = 0; k < columns; ++k) {
      error += std::pow(double(row[k]) - levels[k], 2);
      for (int64_t j = 0; j < columns; ++j)
        EXPECT_LE(std::fabs(row[k] - levels[k]), std::fabs(row[k] - levels[j]) + 1e-6f);
    }
    // A level that is the mean of its numbers cannot be moved for the better.
    std::map<float, std::pair<double, int>> sums;
    for (int64_t k = 0; k < columns; ++k) {
      sums[levels[k]].first += row[k];
      ++sums[levels[k]].second;
    }
    EXPECT_EQ(sums.size(), 4u);
    for (auto &[level, sum] : sums)
      EXPECT_NEAR(level, sum.first / sum.second, 1e-3);
    // A scalar quantizer of four levels leaves 0.1175 of a Gaussian.
    EXPECT_LT(error / columns, 0.16);
  }
  std::vector<float> constant(8, 1.5f);
  EXPECT_EQ(nearestLevels({constant.data(), 1, 8}, 3, 1), constant);
}
