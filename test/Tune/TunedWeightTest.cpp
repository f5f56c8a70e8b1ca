//===- TunedWeightTest.cpp - Gradients of levels and circuits -------------===//

#include "tacq/Tune/TunedWeight.h"
#include "../CPU/RandomMixedWeight.h"
#include "gtest/gtest.h"
#include <cmath>

using namespace tacq;
using namespace tacq::test;
using Circuit = WeightFormat::Circuit;

namespace {

struct Form {
  unsigned bits;
  int64_t group;
  bool codebook;
  Circuit circuit;
};

class TunedWeights : public ::testing::TestWithParam<Form> {
protected:
  static constexpr int64_t rows = 19, columns = 70;

  MixedWeight make(unsigned seed) {
    const Form &form = GetParam();
    MixedWeight weight = randomMixedWeight(
        rows, columns, {form.bits, form.group, form.codebook, form.circuit}, 0.05, seed);
    // Where an affine weight has a circuit, its code adds nothing.
    for (int64_t n = 0; !form.codebook && !weight.starts.empty() && n < rows; ++n)
      for (uint32_t i = weight.starts[n]; i < weight.starts[n + 1]; ++i)
        weight.codes[n * columns + weight.positions[i]] =
            weight.zeros[valueAt(weight, n, weight.positions[i])];
    return weight;
  }

  /// The position's entry of the circuit, or -1.
  static int64_t entryAt(const MixedWeight &weight, int64_t n, int64_t k) {
    if (weight.starts.empty())
      return -1;
    for (uint32_t i = weight.starts[n]; i < weight.starts[n + 1]; ++i)
      if (weight.positions[i] == k)
        return i;
    return -1;
  }

  /// The value that the weight's decoded number there is of, but for the circuit.
  static int64_t valueAt(const MixedWeight &weight, int64_t n, int64_t k) {
    if (weight.format.codebook)
      return (n << weight.format.bits) + weight.codes[n * columns + k];
    return n * weight.groups() + k / weight.groupColumns();
  }
};

} // namespace

/// Every weight in turn adds its gradient to the one value that it is made of.
TEST_P(TunedWeights, gradientsAreSumsOverWeights) {
  MixedWeight weight = make(1);
  TunedWeight tuned(weight);
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> gradient(rows * columns), result(tuned.values.size(), -1);
  for (float &g : gradient)
    g = normal(random);
  size_t decoding = tuned.values.size() - weight.circuitEntries();
  std::vector<double> expected(tuned.values.size());
  for (int64_t n = 0; n < rows; ++n)
    for (int64_t k = 0; k < columns; ++k) {
      double g = gradient[n * columns + k];
      int64_t value = valueAt(weight, n, k);
      if (int64_t entry = entryAt(weight, n, k); entry >= 0)
        expected[decoding + entry] += g;
      else if (weight.format.codebook)
        expected[value] += g;
      else
        expected[value] += g * (weight.codes[n * columns + k] - weight.zeros[value]);
    }
  tuned.reduce(gradient, result);
  for (size_t i = 0; i < result.size(); ++i)
    EXPECT_NEAR(result[i], expected[i], 1e-4) << i;
}

/// What was not moved is stored as it was: levels to 8 bits of their row's largest, others to the
/// rounding of fp16.
TEST_P(TunedWeights, roundingKeepsTheWeight) {
  MixedWeight weight = make(3);
  TunedWeight tuned(weight);
  std::vector<float> before = weight.decode();
  tuned.round();
  std::vector<float> after = tuned.weight().decode();
  for (int64_t n = 0; n < rows; ++n) {
    double largest = 0, tolerance = 1e-6;
    for (int64_t k = 0; k < columns; ++k)
      largest = std::max(largest, std::fabs(double(before[n * columns + k])));
    if (weight.format.codebook)
      tolerance = 0.6 * 128 * halfToFloat(weight.scales[n]) / 127 + 1e-3 * largest;
    for (int64_t k = 0; k < columns; ++k)
      EXPECT_NEAR(after[n * columns + k], before[n * columns + k],
                  entryAt(weight, n, k) >= 0 ? 2e-3 * largest : tolerance)
          << n << " " << k;
  }
}

/// A value that moves takes its weights along, and no others.
TEST_P(TunedWeights, movedValuesMoveTheirWeights) {
  MixedWeight weight = make(4);
  TunedWeight tuned(weight);
  size_t decoding = tuned.values.size() - weight.circuitEntries();
  tuned.round();
  std::vector<float> before = tuned.weight().decode();
  size_t moved = decoding / 2;
  float step = 0.5f * tuned.values[moved];
  tuned.values[moved] += step;
  tuned.round();
  std::vector<float> after = tuned.weight().decode();
  for (int64_t n = 0; n < rows; ++n) {
    double unit = halfToFloat(tuned.weight().scales[n * weight.groups()]);
    for (int64_t k = 0; k < columns; ++k) {
      bool follows = entryAt(weight, n, k) < 0 && valueAt(weight, n, k) == int64_t(moved);
      double change = step;
      if (!weight.format.codebook)
        change *= weight.codes[n * columns + k] - weight.zeros[valueAt(weight, n, k)];
      EXPECT_NEAR(after[n * columns + k] - before[n * columns + k], follows ? change : 0,
                  weight.format.codebook ? 1.1 * unit : 2e-3 * std::fabs(change) + 1e-6)
          << n << " " << k;
    }
  }
}

/// A step of one unit takes the outermost number as far as numbers are apart, whatever the bits.
TEST_P(TunedWeights, unitsAreSpacings) {
  MixedWeight weight = make(9);
  TunedWeight tuned(weight);
  int64_t books = int64_t(1) << weight.format.bits, half = books / 2;
  for (int64_t i = 0, decoding = int64_t(tuned.values.size() - weight.circuitEntries());
       i < decoding; ++i) {
    if (!weight.format.codebook) {
      EXPECT_FLOAT_EQ(tuned.units[i] * float(half), 2 * std::fabs(tuned.values[i]));
      continue;
    }
    auto row = tuned.values.begin() + i / books * books;
    auto [least, most] = std::minmax_element(row, row + books);
    EXPECT_NEAR(tuned.units[i], (*most - *least) / float(books - 1), 1e-5 * (*most - *least));
  }
}

TEST_P(TunedWeights, codesAreTheNearest) {
  MixedWeight weight = make(5);
  TunedWeight tuned(weight);
  std::mt19937 random(6);
  std::normal_distribution<float> normal(0, 0.1f);
  std::vector<float> wanted(rows * columns);
  for (float &value : wanted)
    value = normal(random);
  tuned.assignCodes(wanted);
  for (int64_t n = 0; n < rows; ++n)
    for (int64_t k = 0; k < columns; ++k) {
      int64_t i = n * columns + k;
      uint8_t code = tuned.weight().codes[i];
      if (entryAt(weight, n, k) >= 0) {
        EXPECT_EQ(code, weight.codes[i]);
        continue;
      }
      auto decoded = [&](int c) {
        int64_t value = valueAt(weight, n, k);
        return weight.format.codebook ? tuned.values[(n << weight.format.bits) + c]
                                      : tuned.values[value] * float(c - weight.zeros[value]);
      };
      for (int c = 0; c < 1 << weight.format.bits; ++c)
        EXPECT_LE(std::fabs(decoded(code) - wanted[i]), std::fabs(decoded(c) - wanted[i]) + 1e-6f);
    }
}

/// They have the codes that are there, and where the original number is safely inside, it is kept.
TEST_P(TunedWeights, numbersBehindTheCodes) {
  MixedWeight weight = make(7);
  TunedWeight tuned(weight);
  std::mt19937 random(8);
  std::normal_distribution<float> normal(0, 0.1f);
  std::vector<float> original(rows * columns);
  for (float &value : original)
    value = normal(random);
  std::vector<float> numbers = tuned.numbersBehind(original);
  std::vector<float> before = weight.decode();
  tuned.assignCodes(numbers);
  std::vector<float> after = tuned.weight().decode();
  for (size_t i = 0; i < after.size(); ++i)
    EXPECT_EQ(after[i], before[i]) << i; // of equal levels any code will do
  tuned.assignCodes(original);
  size_t kept = 0;
  for (size_t i = 0; i < original.size(); ++i)
    if (tuned.weight().codes[i] == weight.codes[i] && numbers[i] == original[i])
      ++kept;
  EXPECT_GT(kept, 0u);
}

INSTANTIATE_TEST_SUITE_P(
    Forms, TunedWeights,
    ::testing::Values(Form{2, 0, true, Circuit::None}, Form{3, 0, true, Circuit::Slots},
                      Form{2, 0, false, Circuit::Scattered}, Form{3, 32, false, Circuit::None},
                      Form{4, 64, false, Circuit::Scattered}),
    [](const auto &info) {
      const Form &form = info.param;
      return std::to_string(form.bits) + "Bits" +
             (form.codebook ? std::string("Codebook") : "Group" + std::to_string(form.group)) +
             (form.circuit == Circuit::None ? "" : "WithCircuit");
    });
