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

/// Statistics of samples of one data file.
static Statistics statisticsOf(const std::string &data, const std::vector<double> &signatures) {
  Statistics statistics;
  statistics.hasFolds = true;
  for (size_t i = 0; i < signatures.size() / signatureSize; ++i)
    statistics.cover(data, i, 0,
                     llvm::ArrayRef(signatures).slice(i * signatureSize, signatureSize));
  return statistics;
}

/// Tasks of statistics that were merged.
static std::vector<TaskSignatures> merged(const std::vector<double> &a,
                                          const std::vector<double> &b) {
  Statistics sum = statisticsOf("a", a);
  Error error = sum.merge(statisticsOf("b", b), "a", "b");
  EXPECT_FALSE(error) << error.message();
  return taskSignatures(sum);
}

/// As a module keeps them.
static std::vector<TaskSignatures> stored(const std::vector<TaskSignatures> &tasks) {
  llvm::StringMap<std::string> metadata;
  storeSignatures(tasks, metadata);
  std::optional<std::vector<TaskSignatures>> back =
      parseTasks(metadata.lookup(signaturesKey), metadata.lookup(signatureTasksKey));
  EXPECT_TRUE(back);
  return back.value_or(std::vector<TaskSignatures>());
}

static TasksDrift compareTasks(const std::vector<TaskSignatures> &known,
                               const std::vector<double> &fresh) {
  TasksDrift drift;
  Error error = testTasks(known, "known", fresh, "new", drift);
  EXPECT_FALSE(error) << error.message();
  return drift;
}

TEST(TaskDrift, SamplesOfOneOfTwoTasks) {
  std::vector<TaskSignatures> known = merged(normal(40, 0, 1), normal(40, 6, 2));
  for (const std::vector<TaskSignatures> &tasks : {known, stored(known)}) {
    TasksDrift ofA = compareTasks(tasks, normal(16, 0, 3)),
               ofB = compareTasks(tasks, normal(16, 6, 4));
    EXPECT_TRUE(ofA.mixture.drifted() && ofB.mixture.drifted());
    ASSERT_EQ(ofA.tasks.size(), 2u);
    EXPECT_TRUE(ofA.tasks[0].fits() && !ofA.tasks[1].fits() && !ofA.drifted());
    EXPECT_TRUE(!ofB.tasks[0].fits() && ofB.tasks[1].fits() && !ofB.drifted());
    ASSERT_TRUE(ofA.nearest() && ofB.nearest());
    EXPECT_EQ(ofA.nearest()->data, "a");
    EXPECT_EQ(ofB.nearest()->data, "b");
    for (double mean : {-6.0, 12.0})
      EXPECT_TRUE(compareTasks(tasks, normal(16, mean, 5)).drifted());
  }
}

TEST(TaskDrift, SamplesOfBothTasks) {
  std::vector<double> both = normal(12, 0, 3), more = normal(12, 6, 4);
  both.insert(both.end(), more.begin(), more.end());
  TasksDrift drift = compareTasks(merged(normal(40, 0, 1), normal(40, 6, 2)), both);
  EXPECT_FALSE(drift.drifted());
  EXPECT_EQ(drift.nearest(), nullptr);
  EXPECT_TRUE(!drift.tasks[0].fits() && !drift.tasks[1].fits());
}

TEST(TaskDrift, OneTaskIsTheMixture) {
  std::vector<double> a = normal(20, 0, 1), b = normal(12, 0.5, 2);
  TasksDrift drift = compareTasks(taskSignatures(statisticsOf("a", a)), b);
  EXPECT_TRUE(drift.tasks.empty());
  EXPECT_EQ(drift.mixture.distance, compare(a, b).distance);
  EXPECT_EQ(drift.drifted(), drift.mixture.drifted());
}

TEST(TaskDrift, ATaskWithFewSamples) {
  TasksDrift drift = compareTasks(merged(normal(20, 0, 1), normal(7, 6, 2)), normal(16, 0, 3));
  ASSERT_EQ(drift.tasks.size(), 2u);
  EXPECT_TRUE(drift.tasks[0].fits());
  EXPECT_FALSE(drift.tasks[1].drift);
  EXPECT_FALSE(drift.drifted());
  // Together they are enough for the mixture.
  drift = compareTasks(merged(normal(5, 0, 1), normal(5, 0, 2)), normal(16, 0, 3));
  EXPECT_FALSE(drift.tasks[0].drift || drift.tasks[1].drift);
  EXPECT_FALSE(drift.drifted());
  Error error =
      testTasks(merged(normal(3, 0, 1), normal(3, 0, 2)), "m.tacq", normal(16, 0, 3), "new", drift);
  EXPECT_EQ(error.message(), "m.tacq has 6 samples, too few to tell whether the task has drifted; "
                             "8 would do");
}

TEST(TaskDrift, AMixtureKeepsItsProportion) {
  std::vector<TaskSignatures> known = merged(normal(128, 0, 1), normal(16, 6, 2));
  EXPECT_EQ(mixtureOf(known).size(), size_t(144 * signatureSize));
  std::vector<TaskSignatures> kept = stored(known);
  EXPECT_EQ(kept[0].signatures.size(), size_t(mostModuleSamples * signatureSize));
  EXPECT_EQ(kept[1].signatures.size(), size_t(16 * signatureSize));
  EXPECT_EQ(mixtureOf(kept).size(), size_t((32 + 4) * signatureSize));
}

TEST(TaskDrift, TasksAsText) {
  llvm::StringMap<std::string> metadata;
  storeSignatures(merged(normal(40, 0, 1), normal(9, 6, 2)), metadata);
  std::string signatures = metadata.lookup(signaturesKey);
  EXPECT_EQ(metadata.lookup(signatureTasksKey), "32:40:a,9:9:b");
  // Earlier modules say nothing of tasks, and modules for one task need not.
  std::optional<std::vector<TaskSignatures>> back = parseTasks(signatures, "");
  ASSERT_TRUE(back);
  ASSERT_EQ(back->size(), 1u);
  EXPECT_EQ(back->front().samples, 41u);
  metadata.clear();
  storeSignatures(taskSignatures(statisticsOf("a", normal(9, 0, 1))), metadata);
  EXPECT_FALSE(metadata.contains(signatureTasksKey));
  for (const char *tasks : {"32:40:a", "32:40:a,9:8:b", "32:40:a,10:10:b", "41:41:a,0:0:b",
                            "32:a,9", "32:40:a,9:9:b,", "32:40:\x1b,9:9:b", "-1:40:a,9:9:b"})
    EXPECT_FALSE(parseTasks(signatures, tasks)) << tasks;
  EXPECT_FALSE(parseTasks("12", ""));
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
