//===- CodebookTest.cpp - Fitted levels -----------------------------------===//

#include "tacq/Quantize/Codebook.h"
#include "Reference.h"
#include "tacq/Half.h"
#include "tacq/Quantize/Gptq.h"
#include "tacq/Quantize/PredictedLoss.h"
#include "gtest/gtest.h"

#include <cmath>

using namespace tacq;
using namespace tacq::test;

static MixedWeight gptq(const Layer &layer, unsigned bits, const CircuitMask &mask,
                        CircuitSource values) {
  HessianFactor factor;
  EXPECT_FALSE(HessianFactor::compute(layer.hessian, layer.columns, {}, factor));
  GptqOptions options;
  options.circuitValues = values;
  MixedWeight result;
  WeightFormat format{bits, 0, false, WeightFormat::Circuit::Scattered};
  EXPECT_FALSE(quantizeGptq(layer.view(), factor, format, mask, options, result));
  return result;
}

static MixedWeight codebook(const Layer &layer, const MixedWeight &affine,
                            CodebookOptions options = {}) {
  MixedWeight result;
  Error error = fitCodebook(layer.view(), layer.hessian, affine, options, result);
  EXPECT_FALSE(error) << error.message();
  return result;
}

/// The layer with GPTQ's damping in its Hessian.
static Layer damped(Layer layer) {
  double mean = 0;
  for (int64_t k = 0; k < layer.columns; ++k)
    mean += layer.hessian[k * layer.columns + k] / double(layer.columns);
  for (int64_t k = 0; k < layer.columns; ++k)
    layer.hessian[k * layer.columns + k] += 0.01 * mean;
  return layer;
}

TEST(Codebook, losesLessThanTheAffineWeight) {
  for (unsigned bits : {2, 3, 4})
    for (double density : {0.0, 0.03})
      for (CircuitSource values : {CircuitSource::Original, CircuitSource::Compensated})
        for (auto [rows, columns] : {std::pair<int64_t, int64_t>{1, 1}, {3, 33}, {35, 150}}) {
          SCOPED_TRACE(testing::Message() << bits << " " << density << " " << rows);
          Layer layer = randomLayer(rows, columns, bits);
          CircuitMask mask = randomMask(rows, columns, density, bits);
          MixedWeight affine = gptq(layer, bits, mask, values);
          CodebookOptions options;
          options.circuitValues = values;
          MixedWeight fitted = codebook(layer, affine, options);
          EXPECT_EQ(fitted.positions, affine.positions);
          double before = layerErrorOf(damped(layer), affine.decode());
          double after = layerErrorOf(damped(layer), fitted.decode());
          EXPECT_LE(after, before * (1 + 1e-9));
          if (columns == 150) {
            EXPECT_LT(after, 0.8 * before);
          }
        }
}

/// Levels are least squares for the codes, and codes move one at a time where that is better: a
/// round, or a sweep, more never has a larger error, but for the 8 bits that levels are rounded to.
TEST(Codebook, losesNoMoreFromRoundToRound) {
  Layer layer = randomLayer(24, 96, 7);
  for (unsigned bits : {2, 3}) {
    MixedWeight affine = gptq(layer, bits, {}, CircuitSource::Original);
    auto errorAfter = [&](unsigned rounds, unsigned sweeps) {
      CodebookOptions options;
      options.rounds = rounds;
      options.sweeps = sweeps;
      return layerErrorOf(damped(layer), codebook(layer, affine, options).decode());
    };
    double first = errorAfter(1, 1), before = first;
    for (unsigned rounds = 2; rounds <= 5; ++rounds) {
      double after = errorAfter(rounds, 1);
      EXPECT_LE(after, before * 1.001) << bits << " bits, " << rounds << " rounds";
      before = after;
    }
    EXPECT_LT(first, errorAfter(0, 0)) << bits << " bits";
    EXPECT_LE(errorAfter(1, 2), first * 1.001) << bits << " bits";
  }
}

TEST(Codebook, everyRowLosesNoMore) {
  Layer layer = randomLayer(40, 64, 3);
  MixedWeight affine = gptq(layer, 4, {}, CircuitSource::Original);
  CodebookOptions options;
  options.rounds = 0; // rounding GPTQ's levels alone may only cost
  options.sweeps = 0;
  std::vector<float> before = affine.decode(), after = codebook(layer, affine, options).decode();
  for (int64_t n = 0; n < 40; ++n) {
    Layer row{1,
              64,
              {layer.weight.begin() + n * 64, layer.weight.begin() + n * 64 + 64},
              damped(layer).hessian};
    double was = layerErrorOf(row, {before.begin() + n * 64, before.begin() + n * 64 + 64});
    EXPECT_LE(layerErrorOf(row, {after.begin() + n * 64, after.begin() + n * 64 + 64}),
              was * (1 + 1e-9));
  }
}

TEST(Codebook, circuitHoldsDifferences) {
  Layer layer = randomLayer(30, 128, 4);
  CircuitMask mask = randomMask(30, 128, 0.05, 5);
  CodebookOptions options;
  options.circuitValues = CircuitSource::Original;
  MixedWeight fitted = codebook(layer, gptq(layer, 2, mask, options.circuitValues), options);
  std::vector<float> decoded = fitted.decode();
  for (int64_t n = 0; n < 30; ++n)
    for (uint32_t i = mask.starts[n]; i < mask.starts[n + 1]; ++i) {
      int64_t place = n * 128 + mask.positions[i];
      float difference = floatFromHalf(fitted.values[i]);
      EXPECT_LE(std::fabs(decoded[place] - layer.weight[place]),
                std::fabs(difference) / 2048 + 6e-8f);
      // The nearest of the row's levels.
      float scale = floatFromHalf(fitted.scales[n]);
      for (int level = 0; level < 4; ++level)
        EXPECT_LE(
            std::fabs(difference),
            std::fabs(layer.weight[place] - scale * float(fitted.levels[n * 4 + level] - 128)) *
                    1.001f +
                1e-6f);
    }
}

/// The error of the row with levels fitted to fixed codes cannot be lowered by any single level.
TEST(Codebook, levelsAreALeastSquaresFit) {
  Layer layer = randomLayer(1, 90, 6);
  MixedWeight fitted = codebook(layer, gptq(layer, 2, {}, CircuitSource::Original));
  Layer target = damped(layer);
  double error = layerErrorOf(target, fitted.decode());
  for (int level = 0; level < 4; ++level)
    for (int step : {-3, 3}) { // rounding moves a level by up to one step, with the others' help
      MixedWeight moved = fitted;
      moved.levels[level] = uint8_t(moved.levels[level] + step);
      EXPECT_GT(layerErrorOf(target, moved.decode()), error);
    }
  for (int64_t k = 0; k < 90; ++k)
    for (uint8_t code = 0; code < 4; ++code) {
      MixedWeight moved = fitted;
      moved.codes[k] = code;
      EXPECT_GE(layerErrorOf(target, moved.decode()), error * (1 - 1e-3));
    }
}

TEST(Codebook, threadsDoNotMatter) {
  Layer layer = randomLayer(70, 60, 7);
  CircuitMask mask = randomMask(70, 60, 0.05, 8);
  MixedWeight affine = gptq(layer, 3, mask, CircuitSource::Compensated);
  CodebookOptions options;
  options.threads = 1;
  MixedWeight one = codebook(layer, affine, options);
  options.threads = 4;
  MixedWeight four = codebook(layer, affine, options);
  EXPECT_EQ(one.codes, four.codes);
  EXPECT_EQ(one.levels, four.levels);
  EXPECT_EQ(one.scales, four.scales);
  EXPECT_EQ(one.values, four.values);
}

TEST(Codebook, unusualWeights) {
  Layer zeros = randomLayer(2, 20, 9);
  std::fill(zeros.weight.begin(), zeros.weight.end(), 0.0f);
  EXPECT_EQ(codebook(zeros, gptq(zeros, 2, {}, CircuitSource::Original)).decode(),
            std::vector<float>(40));
  Layer layer = randomLayer(3, 20, 10);
  killColumn(layer, 4);
  EXPECT_EQ(codebook(layer, gptq(layer, 2, {}, CircuitSource::Original)).codes.size(), 60u);
  MixedWeight result;
  EXPECT_EQ(fitCodebook(layer.view(), layer.hessian, gptq(layer, 8, {}, CircuitSource::Original),
                        {}, result)
                .message(),
            "codebooks have 2, 3 or 4 bits, not 8");
}

TEST(PredictedLoss, areTheFormulas) {
  Layer layer = randomLayer(70, 30, 11);
  std::vector<float> quantized = gptq(layer, 2, {}, CircuitSource::Original).decode();
  double expected = layerErrorOf(layer, quantized);
  EXPECT_NEAR(layerError(layer.view(), quantized, layer.hessian), expected, 1e-9 * expected);
  std::vector<double> gradient(70 * 30, 2.0);
  double sum = 0;
  for (size_t i = 0; i < gradient.size(); ++i)
    sum += std::fabs(double(layer.weight[i]) - quantized[i]);
  EXPECT_NEAR(firstOrderLoss(layer.view(), quantized, gradient, {4, 100}), sum / 2, 1e-9 * sum);
  // All rows have the same gradient, so the estimate is a multiple of the layer's error.
  double trace = 0;
  for (int64_t k = 0; k < 30; ++k)
    trace += layer.hessian[k * 30 + k] / 100;
  double fisher = 25 * 30 * std::acos(-1) / 2 * 0.25 / trace;
  expected *= fisher / 200;
  EXPECT_NEAR(secondOrderLoss(layer.view(), quantized, gradient, layer.hessian, {4, 100}), expected,
              1e-9 * expected);
}
