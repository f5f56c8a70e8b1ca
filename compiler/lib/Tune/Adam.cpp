//===- Adam.cpp - Steps against a gradient --------------------------------===//

#include "tacq/Tune/Adam.h"
#include <algorithm>
#include <cassert>
#include <cmath>

using namespace tacq;

void AdamState::step(unsigned step, llvm::ArrayRef<float> gradient, llvm::ArrayRef<float> units,
                     const AdamOptions &options, llvm::MutableArrayRef<float> values) {
  assert(step > 0 && gradient.size() == values.size() && "not the gradient of these values");
  mean.resize(values.size());
  square.resize(values.size());
  if (values.empty())
    return;
  auto beta1 = static_cast<float>(options.beta1), beta2 = static_cast<float>(options.beta2);
  auto epsilon = static_cast<float>(options.epsilon);
  auto scale1 = static_cast<float>(1 / (1 - std::pow(options.beta1, step)));
  auto scale2 = static_cast<float>(1 / (1 - std::pow(options.beta2, step)));
  size_t run = values.size() / units.size();
  for (size_t first = 0; first < values.size(); first += run) {
    float unit = units[first / run], rate = static_cast<float>(options.rate) * unit;
    for (size_t i = first; i < first + run; ++i) {
      float g = gradient[i] * unit;
      mean[i] = beta1 * mean[i] + (1 - beta1) * g;
      square[i] = beta2 * square[i] + (1 - beta2) * g * g;
      values[i] -= rate * (mean[i] * scale1) / (std::sqrt(square[i] * scale2) + epsilon);
    }
  }
}

void tacq::moveAverage(unsigned step, double kept, llvm::ArrayRef<float> values,
                       llvm::MutableArrayRef<float> average) {
  assert(step > 0 && values.size() == average.size() && "not the average of these values");
  auto part = static_cast<float>(1 - std::min(kept, step / (step + 9.0)));
  for (size_t i = 0; i < values.size(); ++i)
    average[i] += part * (values[i] - average[i]);
}
