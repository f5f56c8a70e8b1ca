//===- CircuitStabilityTest.cpp - How sure the choice of a circuit is -----===//

#include "tacq/Quantize/CircuitStability.h"
#include "tacq/Quantize/Nearest.h"
#include "tacq/Quantize/Saliency.h"
#include "tacq/Quantize/SketchedSaliency.h"
#include "gtest/gtest.h"
#include <cmath>
#include <random>

using namespace tacq;

namespace {

constexpr int64_t rows = 8, columns = 400;

/// A weight whose gradients have a part that all folds share and one of each fold's own, of this
/// size relative to it.
Statistics example(double noise, unsigned task = 1) {
  std::mt19937 random(7), gradients(task), own(100 + task);
  std::lognormal_distribution<double> spread;
  std::normal_distribution<double> normal;
  Statistics statistics;
  statistics.modelHash = "m";
  statistics.hasFolds = true;
  TensorStatistics tensor;
  tensor.name = "w";
  tensor.rows = rows;
  tensor.columns = columns;
  tensor.sketch = StatisticsSum::zeros(tensor.sketchedRows() * columns);
  for (double &value : tensor.sketch.mutableValues())
    value = normal(random);
  size_t count = tensor.sketch.size();
  tensor.foldGradients = StatisticsSum::zeros(sampleFolds * count);
  for (size_t i = 0; i < count; ++i) {
    double shared = spread(gradients);
    for (int64_t fold = 0; fold < sampleFolds; ++fold)
      tensor.foldGradients.mutableValues()[fold * count + i] = shared + noise * spread(own);
  }
  statistics.tensors.push_back(std::move(tensor));
  statistics.inputs.emplace_back().columns = columns;
  for (uint64_t sample = 0; sample < 32; ++sample)
    statistics.cover("d", sample, 0, std::vector<double>(signatureSize));
  return statistics;
}

CircuitStability stabilityOf(const Statistics &statistics, double part = 0.05) {
  StabilityOptions options;
  options.part = part;
  CircuitStability result;
  Error error = circuitStability(statistics, "s", options, result);
  EXPECT_FALSE(error) << error.message();
  return result;
}

} // namespace

TEST(CircuitStability, WithoutNoiseNothingChanges) {
  CircuitStability stability = stabilityOf(example(0));
  EXPECT_EQ(stability.circuit, 80u); // 5 % of 4 rows of 400
  EXPECT_EQ(stability.weights, 1600u);
  for (const Interval &same : {stability.bootstrap, stability.halves})
    EXPECT_EQ(same.low, 1);
  for (const Interval &change : {stability.toHalf, stability.toAll, stability.doubling})
    EXPECT_EQ(change.high, 0);
  EXPECT_NEAR(stability.missed.high, 0, 1e-6);
}

TEST(CircuitStability, FallsWithNoise) {
  double before = 1;
  for (double noise : {0.3, 1.0, 3.0, 30.0}) {
    CircuitStability stability = stabilityOf(example(noise));
    EXPECT_LT(stability.halves.mean, before) << noise;
    before = stability.halves.mean;
    EXPECT_LE(stability.halves.low, stability.halves.mean);
    EXPECT_GE(stability.halves.high, stability.halves.mean);
    // More of the sample changes less and less.
    EXPECT_LT(stability.toAll.mean, stability.toHalf.mean);
    EXPECT_LE(stability.doubling.mean, stability.toAll.mean);
  }
}

TEST(CircuitStability, GoesOnInProportion) {
  CircuitStability stability = stabilityOf(example(1.0));
  double proportion = stability.toAll.mean / stability.toHalf.mean;
  EXPECT_NEAR(stability.doubling.mean, stability.toAll.mean * proportion, 1e-12);
  EXPECT_NEAR(stability.doubling.high, stability.toAll.high * proportion, 1e-12);
}

TEST(CircuitStability, Comparison) {
  StabilityOptions options;
  options.part = 0.05;
  CircuitComparison same, other;
  Statistics a = example(0, 1), b = example(0, 2);
  ASSERT_FALSE(compareCircuits(a, "a", a, "a", options, same));
  EXPECT_EQ(same.common.low, 1);
  EXPECT_EQ(same.captured.low, 1);
  ASSERT_FALSE(compareCircuits(a, "a", b, "b", options, other));
  EXPECT_LT(other.common.mean, 0.5);
  EXPECT_LT(other.captured.mean, 0.8);
  EXPECT_EQ(other.halves.low, 1);
}

TEST(CircuitStability, WhatItNeeds) {
  Statistics few = example(0);
  few.covered.clear();
  few.cover("d", 0, 0, std::vector<double>(signatureSize));
  CircuitStability result;
  Error error = circuitStability(few, "s.stats", {}, result);
  EXPECT_EQ(error.code(), TACQ_INVALID_INPUT);
  EXPECT_EQ(error.message(),
            "s.stats has 1 samples, too few to say how stable the circuit is; 16 would do");
  few.dropFolds();
  EXPECT_NE(circuitStability(few, "s.stats", {}, result).message().find("calibrate again"),
            std::string::npos);
  Statistics a = example(0), b = example(0);
  b.modelHash = "n";
  CircuitComparison comparison;
  EXPECT_NE(compareCircuits(a, "a", b, "b", {}, comparison).message().find("different models"),
            std::string::npos);
}

TEST(SketchedSaliency, IsExactWhereAllRowsAreSketched) {
  constexpr int64_t fewRows = 4;
  std::mt19937 random(3);
  std::normal_distribution<double> normal;
  Statistics statistics;
  statistics.hasFolds = true;
  TensorStatistics tensor;
  tensor.name = "w";
  tensor.rows = fewRows;
  tensor.columns = columns;
  ASSERT_EQ(tensor.sketchedRows(), fewRows);
  constexpr size_t count = fewRows * columns;
  tensor.sketch = StatisticsSum::zeros(count);
  tensor.gradient = StatisticsSum::zeros(count);
  tensor.foldGradients = StatisticsSum::zeros(sampleFolds * count);
  std::vector<float> weight;
  for (size_t i = 0; i < count; ++i) {
    weight.push_back(float(normal(random)));
    tensor.sketch.mutableValues()[i] = weight.back();
    for (int64_t fold = 0; fold < sampleFolds; ++fold) {
      double gradient = std::fabs(normal(random));
      tensor.foldGradients.mutableValues()[fold * count + i] = gradient;
      tensor.gradient.mutableValues()[i] += gradient;
    }
  }
  statistics.tensors.push_back(tensor);

  WeightFormat format;
  format.bits = 2;
  MixedWeight quantized;
  WeightView view{weight.data(), fewRows, columns};
  ASSERT_FALSE(quantizeNearest(view, format, CircuitMask(), NearestOptions(), quantized));
  double expected = 0;
  for (float one : computeSaliency(view, quantized.decode(), tensor.gradient.values()))
    expected += one;
  std::vector<double> saliency;
  ASSERT_FALSE(sketchedSaliency(statistics, "s", 2, saliency));
  ASSERT_EQ(saliency.size(), 1u);
  EXPECT_NEAR(saliency[0] / expected, 1, 1e-5); // float sums

  // Gradients elsewhere count as much as those in the sketch.
  for (double &value : statistics.tensors[0].gradient.mutableValues())
    value *= 3;
  saliency.clear();
  ASSERT_FALSE(sketchedSaliency(statistics, "s", 2, saliency));
  EXPECT_NEAR(saliency[0] / expected, 3, 1e-5);
  statistics.hasFolds = false;
  EXPECT_TRUE(sketchedSaliency(statistics, "s", 2, saliency));
}
