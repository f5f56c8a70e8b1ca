//===- AffineFit.cpp - Scale and zero point of a group --------------------===//

#include "tacq/Quantize/AffineFit.h"
#include "tacq/Half.h"
#include <algorithm>
#include <cmath>
#include <cstring>

using namespace tacq;

/// Ties to even, for |value| below 2^51. Unlike std::rint it needs no instruction that the oldest
/// processors lack, so loops of it become vector code.
static double roundToInteger(double value) {
  constexpr double shift = 0x1.8p52;
  return value + shift - shift;
}
/// The same for |value| below 2^22.
static float roundToInteger(float value) {
  constexpr float shift = 0x1.8p23f;
  return value + shift - shift;
}

/// value^exponent for a value in [0, 1], to about 1e-4 of itself: enough to rank candidates, and
/// without a call, so that the loop becomes vector code.
static float power(float value, float exponent) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  uint32_t mantissaBits = (bits & 0x7FFFFF) | 0x3F800000;
  float mantissa;
  std::memcpy(&mantissa, &mantissaBits, sizeof(mantissa));
  float logarithm = static_cast<float>(static_cast<int32_t>(bits >> 23) - 127);
  // log2 on [1, 2), exact at both ends.
  float x = mantissa - 1;
  logarithm +=
      x * (1.4417403f + x * (-0.7077702f + x * (0.4123442f + x * (-0.1903190f + x * 0.0440047f))));
  float target = std::max(exponent * logarithm, -126.0f);
  float whole = roundToInteger(target);
  // 2^y on [-1/2, 1/2].
  float y = target - whole;
  float fraction =
      1 +
      y * (0.6931472f + y * (0.2402265f + y * (0.0555041f + y * (0.0096181f + y * 0.0013333f))));
  uint32_t scaleBits = static_cast<uint32_t>(static_cast<int32_t>(whole) + 127) << 23;
  float scale;
  std::memcpy(&scale, &scaleBits, sizeof(scale));
  return fraction * scale;
}

/// Σ (|error| / unit)^norm.
static double errorOf(llvm::ArrayRef<float> values, const AffineFit &fit, float unit, double norm) {
  float scale = fit.scale, inverse = 1 / unit, exponent = static_cast<float>(norm);
  float low = -static_cast<float>(fit.zero), high = static_cast<float>(fit.maxCode) + low;
  bool squared = norm == 2;
  constexpr size_t lanes = 16;
  float sums[lanes] = {};
  auto add = [&](float value, float &sum) {
    float code = roundToInteger(std::min(std::max(value / scale, low), high));
    float error = std::fabs(value - scale * code) * inverse;
    sum += squared ? error * error : power(error, exponent);
  };
  size_t i = 0;
  for (; i + lanes <= values.size(); i += lanes)
    for (size_t lane = 0; lane < lanes; ++lane)
      add(values[i + lane], sums[lane]);
  for (; i < values.size(); ++i)
    add(values[i], sums[i % lanes]);
  double total = 0;
  for (float sum : sums)
    total += sum;
  return total;
}

static AffineFit fitOfRange(double low, double high, unsigned maxCode) {
  AffineFit fit;
  fit.maxCode = maxCode;
  fit.scaleBits = halfFromDouble(std::min<double>((high - low) / maxCode, largestHalf));
  fit.scale = floatFromHalf(fit.scaleBits);
  if (fit.scale > 0)
    fit.zero = static_cast<uint8_t>(roundToInteger(std::min<double>(-low / fit.scale, maxCode)));
  return fit;
}

AffineFit tacq::fitAffine(llvm::ArrayRef<float> values, unsigned bits, const ClipSearch &clip) {
  float low = 0, high = 0;
  for (float value : values) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  unsigned maxCode = (1u << bits) - 1;
  AffineFit best = fitOfRange(low, high, maxCode);
  if (best.scale == 0 || clip.steps <= 1)
    return best;
  float unit = std::max(-low, high);
  double least = errorOf(values, best, unit, clip.norm);
  for (unsigned i = 1; i < clip.steps; ++i) {
    double shrink = 1 - static_cast<double>(i) / clip.grid;
    AffineFit fit = fitOfRange(shrink * low, shrink * high, maxCode);
    if (fit.scale == 0)
      break;
    double error = errorOf(values, fit, unit, clip.norm);
    if (error < least) {
      least = error;
      best = fit;
    }
  }
  return best;
}

uint8_t AffineFit::codeOf(double value) const {
  if (scale == 0)
    return zero;
  double low = -static_cast<double>(zero), high = low + maxCode;
  return static_cast<uint8_t>(roundToInteger(std::clamp(value / scale, low, high)) + zero);
}
