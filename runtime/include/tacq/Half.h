//===- Half.h - fp16 in integers --------------------------------*- C++ -*-===//
//
// Conversions between fp32 and the bits of fp16 that do not need the processor's instructions.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_HALF_H
#define TACQ_HALF_H

#include <cstdint>
#include <cstring>

namespace tacq {

/// The largest finite fp16 number.
constexpr float largestHalf = 65504.0f;

/// Round to nearest, ties to even, of a value given as float bits. `sticky`: bits below were lost.
inline uint16_t halfFromFloatBits(uint32_t bits, bool sticky) {
  uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000)
    return static_cast<uint16_t>(sign | 0x7E00 | (magnitude >> 13 & 0x3FF));
  if (magnitude >= 0x47800000) // 65536 and above, infinity
    return static_cast<uint16_t>(sign | 0x7C00);
  int exponent = static_cast<int>(magnitude >> 23) - 127;
  if (exponent < -25)
    return sign;
  uint32_t mantissa = (magnitude & 0x7FFFFF) | 0x800000;
  int shift = exponent < -14 ? 13 + (-14 - exponent) : 13;
  uint32_t result = mantissa >> shift;
  uint32_t rest = mantissa & ((1u << shift) - 1), half = 1u << (shift - 1);
  if (exponent >= -14)
    result += static_cast<uint32_t>(exponent + 14) << 10;
  if (rest > half || (rest == half && (sticky || (result & 1))))
    ++result; // may carry into the exponent, up to infinity, which is right
  return static_cast<uint16_t>(sign | result);
}

/// The fp16 number nearest to the value, ties to even.
inline uint16_t halfFromFloat(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return halfFromFloatBits(bits, false);
}

/// The fp16 number nearest to the value, ties to even.
inline uint16_t halfFromDouble(double value) {
  // The float next to the value towards zero, so that rounding happens once.
  float nearest = static_cast<float>(value);
  uint32_t bits;
  std::memcpy(&bits, &nearest, sizeof(bits));
  double magnitude = value < 0 ? -value : value;
  double rounded = nearest < 0 ? -static_cast<double>(nearest) : static_cast<double>(nearest);
  if (rounded > magnitude)
    --bits;
  return halfFromFloatBits(bits, rounded != magnitude);
}

/// Exact.
inline float floatFromHalf(uint16_t bits) {
  uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  uint32_t exponent = bits >> 10 & 31, mantissa = bits & 0x3FF, result;
  if (exponent == 31)
    result = sign | 0x7F800000 | mantissa << 13;
  else if (exponent != 0)
    result = sign | (exponent + 112) << 23 | mantissa << 13;
  else if (mantissa == 0)
    result = sign;
  else {
    // A subnormal half is a normal float.
    int shift = __builtin_clz(mantissa) - 21;
    result = sign | static_cast<uint32_t>(113 - shift) << 23 | (mantissa << shift & 0x3FF) << 13;
  }
  float number;
  std::memcpy(&number, &result, sizeof(number));
  return number;
}

} // namespace tacq

#endif // TACQ_HALF_H
