//===- TuningStateTest.cpp - What an interrupted tuning leaves ------------===//

#include "TuningState.h"
#include "gtest/gtest.h"
#include <cstdio>
#include <fstream>
#include <iterator>

using namespace tacq;

namespace {
class StateFile : public ::testing::Test {
protected:
  StateFile() : path(::testing::TempDir() + "tuning-state") {}
  ~StateFile() override { std::remove(path.c_str()); }

  static TuningState empty() {
    TuningState state;
    state.fingerprint = 77;
    for (size_t size : {3, 0, 5}) {
      TunedNumbers numbers;
      numbers.values.resize(size);
      numbers.average.resize(size);
      numbers.best.resize(size);
      numbers.adam.mean.resize(size);
      numbers.adam.square.resize(size);
      state.numbers.push_back(numbers);
    }
    return state;
  }
  std::string bytes() {
    std::ifstream file(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  void write(const std::string &bytes) { std::ofstream(path, std::ios::binary) << bytes; }

  std::string path;
};
} // namespace

TEST_F(StateFile, comesBack) {
  TuningState state = empty();
  state.step = 12;
  state.bestStep = 10;
  state.looksWithoutProgress = 2;
  state.lowered = 3;
  state.heldBefore = 0.5;
  state.best = 0.25;
  state.sampleBefore = 0.75;
  // Every number is another one.
  float next = 1;
  for (TunedNumbers &numbers : state.numbers)
    for (std::vector<float> *each : {&numbers.values, &numbers.average, &numbers.best,
                                     &numbers.adam.mean, &numbers.adam.square})
      for (float &value : *each)
        value = next += 0.5f;
  ASSERT_GT(next, 10);
  ASSERT_FALSE(writeTuningState(path, state));
  TuningState read = empty();
  Error error = readTuningState(path, read);
  ASSERT_FALSE(error) << error.message();
  EXPECT_EQ(read.step, 12u);
  EXPECT_EQ(read.bestStep, 10u);
  EXPECT_EQ(read.looksWithoutProgress, 2u);
  EXPECT_EQ(read.lowered, 3u);
  EXPECT_EQ(read.heldBefore, 0.5);
  EXPECT_EQ(read.best, 0.25);
  EXPECT_EQ(read.sampleBefore, 0.75);
  ASSERT_EQ(read.numbers.size(), state.numbers.size());
  for (size_t i = 0; i < state.numbers.size(); ++i) {
    EXPECT_EQ(read.numbers[i].values, state.numbers[i].values);
    EXPECT_EQ(read.numbers[i].average, state.numbers[i].average);
    EXPECT_EQ(read.numbers[i].best, state.numbers[i].best);
    EXPECT_EQ(read.numbers[i].adam.mean, state.numbers[i].adam.mean);
    EXPECT_EQ(read.numbers[i].adam.square, state.numbers[i].adam.square);
  }
}

TEST_F(StateFile, ofAnotherTuningIsRefused) {
  ASSERT_FALSE(writeTuningState(path, empty()));
  TuningState other = empty();
  other.fingerprint = 78;
  Error error = readTuningState(path, other);
  EXPECT_EQ(error.code(), TACQ_INVALID_INPUT);
  EXPECT_NE(error.message().find("other weights, data or settings"), std::string::npos);
}

TEST_F(StateFile, everyDamagedByteIsNoticed) {
  ASSERT_FALSE(writeTuningState(path, empty()));
  std::string good = bytes();
  for (size_t i = 0; i < good.size(); ++i) {
    std::string damaged = good;
    damaged[i] ^= 0x10;
    write(damaged);
    TuningState state = empty();
    EXPECT_TRUE(readTuningState(path, state)) << i;
    write(good.substr(0, i));
    EXPECT_TRUE(readTuningState(path, state)) << i;
  }
}
