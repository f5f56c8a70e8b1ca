//===- AffineFit.h - Scale and zero point of a group ------------*- C++ -*-===//

#ifndef TACQ_QUANTIZE_AFFINEFIT_H
#define TACQ_QUANTIZE_AFFINEFIT_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>

namespace tacq {

/// The search for a range that clips outliers, of GPTQ's reference code (Quantizer.find_params,
/// github.com/IST-DASLab/gptq): ranges shrunk by 1 - i / grid for i < steps are tried, and the one
/// with the least sum of |error|^norm is taken.
struct ClipSearch {
  /// 0 or 1: the whole range.
  unsigned steps = 80;
  unsigned grid = 100;
  double norm = 2.4;
};

/// value = scale * (code - zero), codes in [0, 2^bits - 1].
struct AffineFit {
  uint16_t scaleBits = 0; ///< fp16
  float scale = 0;        ///< the number that scaleBits stands for
  uint8_t zero = 0;
  unsigned maxCode = 0; ///< 2^bits - 1

  /// The code nearest to the value, ties to even.
  uint8_t codeOf(double value) const;
  double valueOf(uint8_t code) const { return double(scale) * (int(code) - int(zero)); }
};

/// Asymmetric parameters for the values. The range always holds 0, so that 0 has a code; scales are
/// rounded to fp16 before anything is decided by them. Of no values, or zeros only, the scale is 0.
AffineFit fitAffine(llvm::ArrayRef<float> values, unsigned bits, const ClipSearch &clip);

} // namespace tacq

#endif // TACQ_QUANTIZE_AFFINEFIT_H
