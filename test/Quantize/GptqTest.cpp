//===- GptqTest.cpp - GPTQ against the textbook ---------------------------===//

#include "tacq/Quantize/Gptq.h"
#include "Reference.h"
#include "tacq/Half.h"
#include "tacq/Quantize/Nearest.h"
#include "gtest/gtest.h"

#include <cmath>
#include <limits>

using namespace tacq;
using namespace tacq::test;

namespace {
struct Case {
  int64_t rows, columns;
  unsigned bits;
  int64_t group;
  double density;
};
std::ostream &operator<<(std::ostream &out, const Case &c) {
  return out << c.rows << "x" << c.columns << " bits " << c.bits << " group " << c.group
             << " circuit " << c.density;
}
const Case cases[] = {
    {1, 1, 2, 0, 0},      {3, 7, 2, 0, 0},       {5, 64, 3, 0, 0.05},    {33, 130, 2, 0, 0.02},
    {17, 96, 2, 32, 0.1}, {34, 200, 3, 64, 0},   {8, 150, 4, 128, 0.03}, {65, 129, 8, 32, 0},
    {4, 100, 2, 48, 0.2}, {3, 300, 4, 160, 0.1}, {2, 16, 3, 16, 1.0},    {6, 31, 2, 1, 0.1},
};
} // namespace

static MixedWeight gptq(const Layer &layer, const WeightFormat &format, const CircuitMask &mask,
                        const HessianOptions &hessianOptions = {}, GptqOptions options = {}) {
  HessianFactor factor;
  Error error = HessianFactor::compute(layer.hessian, layer.columns, hessianOptions, factor);
  EXPECT_FALSE(error) << error.message();
  MixedWeight result;
  error = quantizeGptq(layer.view(), factor, format, mask, options, result);
  EXPECT_FALSE(error) << error.message();
  return result;
}

/// The two differ in the order of additions only, so a weight on the edge between two codes may go
/// either way; what follows in its row may then differ too.
static void expectSameWeights(const std::vector<float> &actual, const std::vector<float> &expected,
                              int64_t columns) {
  ASSERT_EQ(actual.size(), expected.size());
  size_t rows = actual.size() / columns, differing = 0;
  for (size_t n = 0; n < rows; ++n) {
    bool same = true;
    for (size_t i = n * columns; i < (n + 1) * columns; ++i)
      same &= std::fabs(actual[i] - expected[i]) <= 1e-3f * std::fabs(expected[i]) + 1e-7f;
    differing += !same;
  }
  EXPECT_LE(differing, rows / 32);
}

TEST(Gptq, isTheTextbooks) {
  for (const Case &c : cases) {
    SCOPED_TRACE(c);
    Layer layer = randomLayer(c.rows, c.columns, 1);
    CircuitMask mask = randomMask(c.rows, c.columns, c.density, 2);
    WeightFormat format{c.bits, c.group, false, WeightFormat::Circuit::Scattered};
    for (bool reorder : {false, true})
      for (CircuitSource values : {CircuitSource::Original, CircuitSource::Compensated}) {
        GptqOptions options;
        options.circuitValues = values;
        MixedWeight result = gptq(layer, format, mask, {0.01, reorder}, options);
        std::vector<float> expected =
            referenceGptq(layer, format, mask, {0.01, options.clip, values, reorder});
        expectSameWeights(result.decode(), expected, c.columns);
      }
  }
}

TEST(Gptq, blockSizeDoesNotMatter) {
  Layer layer = randomLayer(20, 190, 3);
  CircuitMask mask = randomMask(20, 190, 0.05, 4);
  for (int64_t group : {0, 32, 64}) {
    WeightFormat format{2, group, false, WeightFormat::Circuit::Scattered};
    std::vector<float> whole = gptq(layer, format, mask).decode();
    for (int64_t blockSize : {1, 17, 64, 1000}) {
      GptqOptions options;
      options.blockSize = blockSize;
      expectSameWeights(gptq(layer, format, mask, {}, options).decode(), whole, 190);
    }
  }
}

TEST(Gptq, losesLessThanRoundingToNearest) {
  for (unsigned bits : {2, 3, 4, 8})
    for (int64_t group : {0, 32}) {
      Layer layer = randomLayer(24, 160, bits);
      WeightFormat format{bits, group};
      MixedWeight nearest;
      ASSERT_FALSE(quantizeNearest(layer.view(), format, {}, {}, nearest));
      EXPECT_LT(layerErrorOf(layer, gptq(layer, format, {}).decode()),
                layerErrorOf(layer, nearest.decode()));
    }
}

TEST(Gptq, threadsDoNotMatter) {
  Layer layer = randomLayer(150, 140, 5);
  CircuitMask mask = randomMask(150, 140, 0.02, 6);
  GptqOptions options;
  options.threads = 1;
  WeightFormat format{2, 0, false, WeightFormat::Circuit::Scattered};
  MixedWeight one = gptq(layer, format, mask, {}, options);
  for (unsigned threads : {2, 3, 16}) {
    options.threads = threads;
    MixedWeight many = gptq(layer, format, mask, {}, options);
    EXPECT_EQ(one.codes, many.codes);
    EXPECT_EQ(one.scales, many.scales);
    EXPECT_EQ(one.zeros, many.zeros);
    EXPECT_EQ(one.values, many.values);
  }
}

TEST(Gptq, keepsOriginalCircuit) {
  Layer layer = randomLayer(12, 80, 7);
  CircuitMask mask = randomMask(12, 80, 0.1, 8);
  GptqOptions options;
  options.circuitValues = CircuitSource::Original;
  WeightFormat format{2, 16, false, WeightFormat::Circuit::Scattered};
  MixedWeight result = gptq(layer, format, mask, {}, options);
  std::vector<float> decoded = result.decode();
  EXPECT_EQ(result.positions, mask.positions);
  for (int64_t n = 0; n < 12; ++n)
    for (uint32_t k : mask.row(n)) {
      EXPECT_EQ(decoded[n * 80 + k], layer.weight[n * 80 + k]);
      EXPECT_EQ(result.codes[n * 80 + k], result.zeros[n * 5 + k / 16]);
    }
}

TEST(Gptq, deadColumnsBecomeZero) {
  Layer layer = randomLayer(9, 70, 9);
  killColumn(layer, 0);
  killColumn(layer, 33);
  CircuitMask mask = randomMask(9, 70, 0.1, 10);
  mask.positions.insert(mask.positions.begin(), 0); // the first row keeps a weight of a dead column
  if (mask.positions[1] == 0)
    mask.positions.erase(mask.positions.begin());
  else
    for (size_t n = 1; n < mask.starts.size(); ++n)
      ++mask.starts[n];
  WeightFormat format{3, 0, false, WeightFormat::Circuit::Scattered};
  std::vector<float> decoded = gptq(layer, format, mask).decode();
  EXPECT_EQ(decoded[0], layer.weight[0]);
  for (int64_t n = 0; n < 9; ++n)
    if (!std::binary_search(mask.row(n).begin(), mask.row(n).end(), 33u)) {
      EXPECT_EQ(decoded[n * 70 + 33], 0);
    }
  expectSameWeights(decoded, referenceGptq(layer, format, mask, {}), 70);
}

TEST(Gptq, allColumnsDead) {
  Layer layer = randomLayer(2, 8, 11);
  std::fill(layer.hessian.begin(), layer.hessian.end(), 0);
  EXPECT_EQ(gptq(layer, {2, 0}, {}).decode(), std::vector<float>(16));
}

TEST(Gptq, damagedInput) {
  Layer layer = randomLayer(2, 8, 12);
  HessianFactor factor;
  std::vector<double> damaged = layer.hessian;
  damaged[3 * 8 + 1] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(HessianFactor::compute(damaged, 8, {}, factor).message(),
            "the second-order statistics of input column 3 are not finite or negative");
  damaged = layer.hessian;
  damaged[1] = damaged[8] = 1e9;
  EXPECT_EQ(HessianFactor::compute(damaged, 8, {}, factor).message(),
            "the second-order statistics of the input are not positive definite with a damping of "
            "0.01; use a larger damping");
  ASSERT_FALSE(HessianFactor::compute(layer.hessian, 8, {}, factor));
  layer.weight[10] = std::numeric_limits<float>::infinity();
  MixedWeight result;
  EXPECT_EQ(quantizeGptq(layer.view(), factor, {2, 0}, {}, {}, result).message(),
            "the weight in row 1 and column 2 is not finite");
}
