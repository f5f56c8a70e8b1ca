//===- RandomMixedWeight.h - Quantized weights for tests --------*- C++ -*-===//

#ifndef TACQ_TEST_CPU_RANDOMMIXEDWEIGHT_H
#define TACQ_TEST_CPU_RANDOMMIXEDWEIGHT_H

#include "tacq/Dialect/TACQ/MixedStorage.h"
#include "tacq/Quantize/MixedWeight.h"
#include "llvm/ADT/APFloat.h"
#include <numeric>
#include <random>

namespace tacq::test {

inline float halfToFloat(uint16_t bits) {
  llvm::APFloat value(llvm::APFloat::IEEEhalf(), llvm::APInt(16, bits));
  bool lossy;
  value.convert(llvm::APFloat::IEEEsingle(), llvm::APFloat::rmNearestTiesToEven, &lossy);
  return value.convertToFloat();
}

inline uint16_t floatToHalf(float number) {
  llvm::APFloat value(number);
  bool lossy;
  value.convert(llvm::APFloat::IEEEhalf(), llvm::APFloat::rmNearestTiesToEven, &lossy);
  return uint16_t(value.bitcastToAPInt().getZExtValue());
}

/// Random codes and metadata; a weight is in the circuit with probability `share`. Rows are in a
/// random order if the circuit is in slots.
inline MixedWeight randomMixedWeight(int64_t rows, int64_t columns, WeightFormat format,
                                     double share, unsigned seed) {
  std::mt19937 random(seed);
  auto below = [&](unsigned limit) { return random() % limit; };
  MixedWeight weight;
  weight.rows = rows;
  weight.columns = columns;
  weight.format = format;
  for (int64_t i = 0; i < rows * columns; ++i)
    weight.codes.push_back(below(1u << format.bits));
  for (int64_t i = 0; i < rows * weight.groups(); ++i) {
    weight.scales.push_back(floatToHalf(0.01f + 0.001f * float(below(100))));
    if (!format.codebook)
      weight.zeros.push_back(below(1u << format.bits));
  }
  if (format.codebook)
    for (int64_t i = 0; i < rows << format.bits; ++i)
      weight.levels.push_back(below(256));
  if (format.circuit == WeightFormat::Circuit::None)
    return weight;
  weight.starts.push_back(0);
  for (int64_t n = 0; n < rows; ++n) {
    for (int64_t k = 0; k < columns; ++k)
      if (double(random()) < share * 4294967296.0) {
        weight.positions.push_back(k);
        weight.values.push_back(floatToHalf(0.01f * float(1 + below(100))) |
                                (below(2) ? 0x8000 : 0));
      }
    weight.starts.push_back(weight.positions.size());
  }
  if (format.circuit == WeightFormat::Circuit::Slots) {
    weight.order.resize(rows);
    std::iota(weight.order.begin(), weight.order.end(), 0);
    for (int64_t begin = 0; begin < rows; begin += permutationBlock)
      std::shuffle(weight.order.begin() + begin,
                   weight.order.begin() + std::min(rows, begin + permutationBlock), random);
  }
  return weight;
}

/// The weight's numbers, [rows][columns].
inline std::vector<double> decodeReference(const MixedWeight &weight) {
  std::vector<double> result;
  int64_t groups = weight.groups();
  for (int64_t n = 0; n < weight.rows; ++n)
    for (int64_t k = 0; k < weight.columns; ++k) {
      int64_t group = n * groups + k / weight.groupColumns();
      unsigned code = weight.codes[n * weight.columns + k];
      double number = weight.format.codebook
                          ? double(weight.levels[(n << weight.format.bits) + code]) - 128
                          : double(code) - weight.zeros[group];
      result.push_back(halfToFloat(weight.scales[group]) * number);
    }
  for (int64_t n = 0; n + 1 < int64_t(weight.starts.size()); ++n)
    for (uint32_t i = weight.starts[n]; i < weight.starts[n + 1]; ++i)
      result[n * weight.columns + weight.positions[i]] += halfToFloat(weight.values[i]);
  return result;
}

} // namespace tacq::test

#endif // TACQ_TEST_CPU_RANDOMMIXEDWEIGHT_H
