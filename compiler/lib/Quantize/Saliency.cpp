//===- Saliency.cpp - Which weights carry the task ------------------------===//

#include "tacq/Quantize/Saliency.h"
#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>

using namespace tacq;

std::vector<float> tacq::computeSaliency(WeightView weight, llvm::ArrayRef<float> quantized,
                                         llvm::ArrayRef<double> gradient) {
  size_t count = static_cast<size_t>(weight.elements());
  assert(quantized.size() == count && gradient.size() == count && "of another weight");
  std::vector<float> result(count);
  for (size_t i = 0; i < count; ++i) {
    double w = weight.data[i];
    double saliency = gradient[i] * std::fabs(w - quantized[i]) * std::fabs(w);
    result[i] = saliency > 0 ? static_cast<float>(saliency) : 0;
  }
  return result;
}

std::vector<float> tacq::computeCurvatureSaliency(WeightView weight,
                                                  llvm::ArrayRef<float> quantized,
                                                  llvm::ArrayRef<double> gradient,
                                                  llvm::ArrayRef<double> hessian) {
  size_t count = static_cast<size_t>(weight.elements());
  int64_t columns = weight.columns;
  assert(quantized.size() == count && gradient.size() == count && "of another weight");
  assert(hessian.size() == static_cast<size_t>(columns * columns) && "not columns x columns");
  double trace = 0;
  for (int64_t k = 0; k < columns; ++k)
    trace += hessian[k * (columns + 1)];
  std::vector<float> result(count);
  if (!(trace > 0))
    return result;
  for (int64_t n = 0; n < weight.rows; ++n) {
    double squares = 0;
    for (int64_t i = n * columns; i < (n + 1) * columns; ++i)
      squares += gradient[i] * gradient[i];
    for (int64_t k = 0; k < columns; ++k) {
      double error = double(weight.row(n)[k]) - quantized[n * columns + k];
      double saliency = squares / trace * hessian[k * (columns + 1)] * error * error;
      result[n * columns + k] = saliency > 0 ? static_cast<float>(saliency) : 0;
    }
  }
  return result;
}

/// Numbers that are not negative are ordered as their bits are.
static uint32_t keyOf(float saliency) {
  uint32_t bits;
  std::memcpy(&bits, &saliency, sizeof(bits));
  return saliency > 0 ? bits : 0;
}

namespace {
struct Threshold {
  uint32_t key = 0;
  /// How many of the weights that have exactly this key are taken.
  uint64_t ties = 0;
};
} // namespace

/// The key of the count-th largest saliency: by counting its upper bits, then its lower ones, so
/// that nothing is sorted or copied.
static Threshold findThreshold(llvm::ArrayRef<WeightView> saliency, uint64_t count) {
  Threshold result;
  result.ties = count;
  for (unsigned shift : {16u, 0u}) {
    std::vector<uint64_t> histogram(1 << 16);
    uint32_t above = shift == 0 ? 16 : 31; // the sign is clear, so bit 31 always agrees
    for (const WeightView &view : saliency)
      for (int64_t i = 0; i < view.elements(); ++i) {
        uint32_t key = keyOf(view.data[i]);
        if (key >> above == result.key >> above)
          ++histogram[key >> shift & 0xFFFF];
      }
    uint32_t digit = 0xFFFF;
    while (digit > 0 && histogram[digit] < result.ties)
      result.ties -= histogram[digit--];
    result.key |= digit << shift;
  }
  return result;
}

std::vector<CircuitMask> tacq::selectScattered(llvm::ArrayRef<WeightView> saliency,
                                               double fraction) {
  uint64_t total = 0;
  for (const WeightView &view : saliency)
    total += view.elements();
  auto wanted = static_cast<uint64_t>(std::llround(fraction * static_cast<double>(total)));
  wanted = std::min(wanted, total);
  std::vector<CircuitMask> masks(saliency.size());
  if (wanted == 0)
    return masks;
  Threshold threshold = findThreshold(saliency, wanted);
  for (size_t t = 0; t < saliency.size(); ++t) {
    const WeightView &view = saliency[t];
    CircuitMask &mask = masks[t];
    mask.starts.reserve(view.rows + 1);
    mask.starts.push_back(0);
    for (int64_t n = 0; n < view.rows; ++n) {
      for (int64_t k = 0; k < view.columns; ++k) {
        uint32_t key = keyOf(view.row(n)[k]);
        bool taken = key > threshold.key;
        if (key == threshold.key && threshold.ties > 0) {
          --threshold.ties;
          taken = true;
        }
        if (taken)
          mask.positions.push_back(static_cast<uint32_t>(k));
      }
      mask.starts.push_back(static_cast<uint32_t>(mask.positions.size()));
    }
    if (mask.empty())
      mask.starts.clear();
  }
  return masks;
}

double tacq::capturedSaliency(WeightView saliency, const CircuitMask &mask) {
  double sum = 0;
  for (int64_t n = 0; n < saliency.rows; ++n)
    for (uint32_t k : mask.row(n))
      sum += saliency.row(n)[k];
  return sum;
}
