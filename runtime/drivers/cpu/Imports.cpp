//===- Imports.cpp - What kernels may call --------------------------------===//
//
// The fixed list of C functions that an executable may import: what compilers emit calls to, and
// the elementary functions. Everything else is refused when the module is loaded.
//
//===----------------------------------------------------------------------===//

#include "ElfLoader.h"
#include "tacq/Half.h"

#include <cmath>
#include <cstring>
#include <strings.h>

using namespace tacq;

namespace {

// Conversions of 16-bit floats that compilers call where the processor has no instruction. They
// return and take their 16 bits in a vector register, hence the types.
#if defined(__FLT16_MAX__) && defined(__x86_64__)
#define TACQ_HAS_HALF_CONVERSIONS 1

uint32_t bitsOf(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}

/// Nearest float towards zero with a flag for what was lost, so that rounding happens once.
uint32_t truncateToFloat(double value, bool &sticky) {
  float nearest = static_cast<float>(value);
  if (std::isfinite(value) && std::fabs(static_cast<double>(nearest)) > std::fabs(value))
    nearest = std::nextafterf(nearest, 0.0f);
  sticky = std::isfinite(value) && static_cast<double>(nearest) != value;
  return bitsOf(nearest);
}

_Float16 makeHalf(uint16_t bits) {
  _Float16 value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

_Float16 truncateFloatToHalf(float value) { return makeHalf(halfFromFloat(value)); }

_Float16 truncateDoubleToHalf(double value) { return makeHalf(halfFromDouble(value)); }

float extendHalf(_Float16 value) {
  uint16_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return floatFromHalf(bits);
}

/// A 16-bit value in the register that a bfloat16 is returned in, which is that of a half.
_Float16 bfloatBits(uint32_t bits, bool sticky) {
  if ((bits & 0x7FFFFFFF) > 0x7F800000)
    return makeHalf(static_cast<uint16_t>(bits >> 16 | 0x40));
  uint32_t rest = bits & 0xFFFF, result = bits >> 16;
  if (rest > 0x8000 || (rest == 0x8000 && (sticky || (result & 1))))
    ++result;
  return makeHalf(static_cast<uint16_t>(result));
}

_Float16 truncateFloatToBfloat(float value) { return bfloatBits(bitsOf(value), false); }

_Float16 truncateDoubleToBfloat(double value) {
  bool sticky;
  uint32_t bits = truncateToFloat(value, sticky);
  return bfloatBits(bits, sticky);
}
#endif

struct Import {
  const char *name;
  void *address;
};

using Unary = double (*)(double);
using UnaryFloat = float (*)(float);
using Binary = double (*)(double, double);
using BinaryFloat = float (*)(float, float);

// The overloads of <cmath> need a type to choose from.
#define TACQ_UNARY(name)                                                                           \
  {#name, reinterpret_cast<void *>(static_cast<Unary>(::name))}, {                                 \
    #name "f", reinterpret_cast<void *>(static_cast<UnaryFloat>(::name##f))                        \
  }
#define TACQ_BINARY(name)                                                                          \
  {#name, reinterpret_cast<void *>(static_cast<Binary>(::name))}, {                                \
    #name "f", reinterpret_cast<void *>(static_cast<BinaryFloat>(::name##f))                       \
  }
#define TACQ_PLAIN(name) {#name, reinterpret_cast<void *>(::name)}

} // namespace

void *tacq::findImport(const char *name) {
  static const Import imports[] = {
      {"memcpy",
       reinterpret_cast<void *>(static_cast<void *(*)(void *, const void *, size_t)>(::memcpy))},
      {"memmove",
       reinterpret_cast<void *>(static_cast<void *(*)(void *, const void *, size_t)>(::memmove))},
      {"memset", reinterpret_cast<void *>(static_cast<void *(*)(void *, int, size_t)>(::memset))},
      {"memcmp", reinterpret_cast<void *>(
                     static_cast<int (*)(const void *, const void *, size_t)>(::memcmp))},
      TACQ_PLAIN(bzero),
      TACQ_UNARY(exp),
      TACQ_UNARY(exp2),
      TACQ_UNARY(expm1),
      TACQ_UNARY(log),
      TACQ_UNARY(log2),
      TACQ_UNARY(log10),
      TACQ_UNARY(log1p),
      TACQ_UNARY(sqrt),
      TACQ_UNARY(cbrt),
      TACQ_UNARY(sin),
      TACQ_UNARY(cos),
      TACQ_UNARY(tan),
      TACQ_UNARY(asin),
      TACQ_UNARY(acos),
      TACQ_UNARY(atan),
      TACQ_UNARY(sinh),
      TACQ_UNARY(cosh),
      TACQ_UNARY(tanh),
      TACQ_UNARY(asinh),
      TACQ_UNARY(acosh),
      TACQ_UNARY(atanh),
      TACQ_UNARY(erf),
      TACQ_UNARY(erfc),
      TACQ_UNARY(tgamma),
      TACQ_UNARY(lgamma),
      TACQ_UNARY(floor),
      TACQ_UNARY(ceil),
      TACQ_UNARY(round),
      TACQ_UNARY(trunc),
      TACQ_UNARY(rint),
      TACQ_UNARY(nearbyint),
      TACQ_UNARY(fabs),
      TACQ_BINARY(pow),
      TACQ_BINARY(fmod),
      TACQ_BINARY(remainder),
      TACQ_BINARY(atan2),
      TACQ_BINARY(hypot),
      TACQ_BINARY(fmin),
      TACQ_BINARY(fmax),
      TACQ_BINARY(fdim),
      TACQ_BINARY(copysign),
      {"ldexp", reinterpret_cast<void *>(static_cast<double (*)(double, int)>(::ldexp))},
      {"ldexpf", reinterpret_cast<void *>(static_cast<float (*)(float, int)>(::ldexpf))},
      {"fma", reinterpret_cast<void *>(static_cast<double (*)(double, double, double)>(::fma))},
      {"fmaf", reinterpret_cast<void *>(static_cast<float (*)(float, float, float)>(::fmaf))},
#if defined(__GLIBC__)
      TACQ_UNARY(roundeven),
      TACQ_UNARY(exp10),
      {"sincos",
       reinterpret_cast<void *>(static_cast<void (*)(double, double *, double *)>(::sincos))},
      {"sincosf",
       reinterpret_cast<void *>(static_cast<void (*)(float, float *, float *)>(::sincosf))},
#endif
#if defined(TACQ_HAS_HALF_CONVERSIONS)
      {"__truncsfhf2", reinterpret_cast<void *>(truncateFloatToHalf)},
      {"__truncdfhf2", reinterpret_cast<void *>(truncateDoubleToHalf)},
      {"__extendhfsf2", reinterpret_cast<void *>(extendHalf)},
      {"__truncsfbf2", reinterpret_cast<void *>(truncateFloatToBfloat)},
      {"__truncdfbf2", reinterpret_cast<void *>(truncateDoubleToBfloat)},
#endif
  };
  for (const Import &entry : imports)
    if (strcmp(entry.name, name) == 0)
      return entry.address;
  return nullptr;
}
