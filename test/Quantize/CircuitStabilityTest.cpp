//===- CircuitStabilityTest.cpp - How sure the choice of a circuit is -----===//

#include "tacq/Quantize/CircuitStability.h"
#include "tacq/Quantize/Nearest.h"
#include "tacq/Quantize/Saliency.h"
#include "tacq/Quantize/SketchedSaliency.h"
#include "gtest/gtest.h"
#include <algorithm>
#include <cmath>
#include <functional>
#include <random>

using namespace tacq;

namespace {

constexpr int64_t rows = 8, columns = 400;

/// A weight whose gradients have a part that all folds share and one of each fold's own, of this
/// size relative to it.
Statistics example(double noise, unsigned task = 1, unsigned sample = 100) {
  std::mt19937 random(7), gradients(task), own(sample + task);
  // Two, since a distribution keeps a number for its next call.
  std::lognormal_distribution<double> spread, spreadOfOwn;
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
      tensor.foldGradients.mutableValues()[fold * count + i] = shared + noise * spreadOfOwn(own);
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

/// The part of a sample's circuit of so many weights that is not in the circuit of both samples.
double changeByDoubling(const Statistics &sample, const Statistics &more, size_t count) {
  const TensorStatistics &own = sample.tensors[0];
  size_t weights = own.sketch.size();
  std::vector<float> weight(own.sketch.values().begin(), own.sketch.values().end());
  WeightFormat format;
  format.bits = 2;
  MixedWeight quantized;
  Error error = quantizeNearest({weight.data(), int64_t(weights) / columns, columns}, format,
                                CircuitMask(), NearestOptions(), quantized);
  EXPECT_FALSE(error) << error.message();
  std::vector<float> decoded = quantized.decode();
  std::vector<double> first(weights), both(weights);
  for (size_t i = 0; i < weights; ++i) {
    for (int64_t fold = 0; fold < sampleFolds; ++fold) {
      first[i] += own.foldGradients.values()[fold * weights + i];
      both[i] += more.tensors[0].foldGradients.values()[fold * weights + i];
    }
    both[i] += first[i];
    double factor = std::fabs(weight[i] - decoded[i]) * std::fabs(weight[i]);
    first[i] *= factor;
    both[i] *= factor;
  }
  auto least = [count](std::vector<double> saliency) {
    std::nth_element(saliency.begin(), saliency.begin() + int64_t(count) - 1, saliency.end(),
                     std::greater<>());
    return saliency[count - 1];
  };
  double leastFirst = least(first), leastBoth = least(both);
  double gone = 0;
  for (size_t i = 0; i < weights; ++i)
    gone += first[i] >= leastFirst && both[i] < leastBoth;
  return gone / double(count);
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
  EXPECT_LT(stability.doubling.low, stability.doubling.mean);
  EXPECT_GT(stability.doubling.high, stability.doubling.mean);
}

/// What a forecast says of samples that are then doubled.
TEST(CircuitStability, ForecastsDoubling) {
  constexpr unsigned trials = 20;
  unsigned inside = 0;
  double forecast = 0, changed = 0, width = 0;
  for (unsigned task = 0; task < trials; ++task) {
    // The sketched weights are the same, and so is what the folds share of their gradients; what is
    // their own differs: another sample of the task.
    Statistics sample = example(1.0, 1, 1000 + task), more = example(1.0, 1, 2000 + task);
    CircuitStability stability = stabilityOf(sample, /*part=*/0.2);
    double now = changeByDoubling(sample, more, stability.circuit);
    inside += stability.doubling.low <= now && now <= stability.doubling.high;
    forecast += stability.doubling.mean / trials;
    changed += now / trials;
    width += (stability.doubling.high - stability.doubling.low) / trials;
  }
  EXPECT_NEAR(forecast, changed, 0.2 * changed);
  EXPECT_GE(inside, 17u) << forecast << " " << changed << " " << width;
  EXPECT_LT(width, changed); // else it says nothing
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
