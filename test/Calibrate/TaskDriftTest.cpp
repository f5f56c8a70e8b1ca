//===- TaskDriftTest.cpp - Whether two samples are of one task ------------===//

#include "tacq/Calibrate/TaskDrift.h"
#include "gtest/gtest.h"
#include <cmath>
#include <random>

using namespace tacq;

namespace {

/// Signatures whose numbers have something in common, as those of one sample do.
std::vector<double> normal(size_t samples, double mean, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> noise;
  std::vector<double> result;
  for (size_t i = 0; i < samples; ++i) {
    double shared = noise(random);
    for (int64_t j = 0; j < signatureSize; ++j)
      result.push_back(mean + shared + noise(random));
  }
  return result;
}

TaskDrift compare(const std::vector<double> &a, const std::vector<double> &b) {
  TaskDrift drift;
  Error error = testDrift(a, "a", b, "b", drift);
  EXPECT_FALSE(error) << error.message();
  return drift;
}

} // namespace

TEST(TaskDrift, IsWelchsDistance) {
  std::vector<double> a = normal(9, 0, 1), b = normal(12, 0.5, 2);
  double total = 0;
  for (int64_t j = 0; j < signatureSize; ++j) {
    double mean[2] = {}, variance[2] = {}, count[2] = {9, 12};
    for (int side = 0; side < 2; ++side) {
      const std::vector<double> &rows = side == 0 ? a : b;
      for (size_t i = j; i < rows.size(); i += signatureSize)
        mean[side] += rows[i] / count[side];
      for (size_t i = j; i < rows.size(); i += signatureSize)
        variance[side] += std::pow(rows[i] - mean[side], 2) / (count[side] - 1);
    }
    total += std::pow(mean[0] - mean[1], 2) / (variance[0] / count[0] + variance[1] / count[1]);
  }
  EXPECT_NEAR(compare(a, b).distance, total / signatureSize, 1e-9);
}

/// The level is that of the test: of 100 pairs of one distribution 1 is expected, and 6 or more in
/// one of 2,000 such tests.
TEST(TaskDrift, ErrsAtItsLevel) {
  int errors = 0;
  for (unsigned i = 0; i < 100; ++i)
    errors += compare(normal(16, 0, 2 * i), normal(12, 0, 2 * i + 1)).drifted();
  EXPECT_LE(errors, 5);
}

TEST(TaskDrift, FindsAShift) {
  for (unsigned i = 0; i < 10; ++i) {
    TaskDrift drift = compare(normal(16, 0, 2 * i), normal(12, 3, 2 * i + 1));
    EXPECT_TRUE(drift.drifted());
    EXPECT_GT(drift.distance, 5);
  }
}

TEST(TaskDrift, NumbersThatNeverChangeSayNothing) {
  std::vector<double> same(10 * signatureSize, 4.0);
  TaskDrift drift = compare(same, same);
  EXPECT_EQ(drift.distance, 0);
  EXPECT_EQ(drift.probability, 1);
}

TEST(TaskDrift, TooFewSamples) {
  TaskDrift drift;
  Error error = testDrift(normal(9, 0, 1), "old", normal(7, 0, 2), "new.stats", drift);
  EXPECT_EQ(error.code(), TACQ_INVALID_INPUT);
  EXPECT_EQ(error.message(),
            "new.stats has 7 samples, too few to tell whether the task has drifted; "
            "8 would do");
}

TEST(TaskDrift, Text) {
  std::vector<double> few = normal(5, -3, 1), many = normal(100, 0, 2);
  std::optional<std::vector<double>> back = parseSignatures(signaturesText(few));
  ASSERT_TRUE(back);
  ASSERT_EQ(back->size(), few.size());
  for (size_t i = 0; i < few.size(); ++i)
    EXPECT_NEAR((*back)[i], few[i], 0.0005001);
  // Of many samples some are kept, as they are.
  back = parseSignatures(signaturesText(many));
  ASSERT_TRUE(back);
  ASSERT_EQ(back->size(), mostModuleSamples * signatureSize);
  EXPECT_NEAR(back->back(), many[(31 * 100 / 32 + 1) * signatureSize - 1], 0.0005001);
  EXPECT_FALSE(parseSignatures("12"));
  EXPECT_FALSE(parseSignatures(std::string(4 * signatureSize, 'x')));
}
