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
  state.best = 0.25;
  state.lowered = 3;
  state.numbers[0].values[2] = 1.5f;
  state.numbers[0].average[1] = 0.75f;
  state.numbers[2].adam.square[4] = 3.25f;
  ASSERT_FALSE(writeTuningState(path, state));
  TuningState read = empty();
  Error error = readTuningState(path, read);
  ASSERT_FALSE(error) << error.message();
  EXPECT_EQ(read.step, 12u);
  EXPECT_EQ(read.bestStep, 10u);
  EXPECT_EQ(read.best, 0.25);
  EXPECT_EQ(read.lowered, 3u);
  EXPECT_EQ(read.numbers[0].values, state.numbers[0].values);
  EXPECT_EQ(read.numbers[0].average, state.numbers[0].average);
  EXPECT_EQ(read.numbers[2].adam.square, state.numbers[2].adam.square);
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
