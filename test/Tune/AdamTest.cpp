//===- AdamTest.cpp - Steps against a reference in double -----------------===//

#include "tacq/Tune/Adam.h"
#include "gtest/gtest.h"
#include <cmath>
#include <random>

using namespace tacq;

/// The algorithm as its authors have it, for x / unit, one number at a time.
TEST(Adam, agreesWithTheScalarReference) {
  constexpr size_t count = 12, run = 3;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(count), gradient(count), units = {0.01f, 1.0f, 30.0f, 0.0f};
  for (float &value : values)
    value = normal(random);
  std::vector<double> x(values.begin(), values.end()), m(count), v(count);
  AdamOptions options;
  options.rate = 0.02;
  AdamState state;
  for (unsigned t = 1; t <= 20; ++t) {
    for (float &g : gradient)
      g = normal(random);
    state.step(t, gradient, units, options, values);
    for (size_t i = 0; i < count; ++i) {
      double unit = units[i / run], g = gradient[i] * unit;
      m[i] = options.beta1 * m[i] + (1 - options.beta1) * g;
      v[i] = options.beta2 * v[i] + (1 - options.beta2) * g * g;
      double step = m[i] / (1 - std::pow(options.beta1, t)) /
                    (std::sqrt(v[i] / (1 - std::pow(options.beta2, t))) + options.epsilon);
      x[i] -= options.rate * unit * step;
      EXPECT_NEAR(values[i], x[i], 1e-5 * std::max(1.0, unit)) << t << " " << i;
    }
  }
}

/// The first step is of the rate's size whatever the gradient's size is.
TEST(Adam, firstStepIsTheRate) {
  std::vector<float> values = {5, 5}, units = {2};
  AdamOptions options;
  options.rate = 0.1;
  AdamState().step(1, {1e-6f, -1e6f}, units, options, values);
  EXPECT_NEAR(values[0], 5 - 0.2, 1e-4);
  EXPECT_NEAR(values[1], 5 + 0.2, 1e-4);
}

TEST(MovingAverage, agreesWithTheScalarReference) {
  std::vector<float> values = {1, -2}, average = values;
  std::vector<double> reference(values.begin(), values.end());
  for (unsigned t = 1; t <= 60; ++t) {
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = float(std::sin(t + i));
    moveAverage(t, 0.8, values, average);
    double kept = std::min(0.8, t / (t + 9.0));
    for (size_t i = 0; i < values.size(); ++i) {
      reference[i] = kept * reference[i] + (1 - kept) * values[i];
      EXPECT_NEAR(average[i], reference[i], 1e-6) << t << " " << i;
    }
  }
}

/// On a parabola with different curvatures the loss falls to a part of what it was.
TEST(Adam, findsAMinimum) {
  std::vector<float> values = {3, -2, 1}, units = {1};
  AdamState state;
  AdamOptions options;
  options.rate = 0.05;
  auto loss = [&] {
    return values[0] * values[0] + 10 * values[1] * values[1] + 0.1 * values[2] * values[2];
  };
  double before = loss();
  for (unsigned t = 1; t <= 200; ++t)
    state.step(t, {2 * values[0], 20 * values[1], 0.2f * values[2]}, units, options, values);
  EXPECT_LT(loss(), 1e-2 * before);
}
