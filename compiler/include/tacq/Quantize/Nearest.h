//===- Nearest.h - Round to nearest -----------------------------*- C++ -*-===//

#ifndef TACQ_QUANTIZE_NEAREST_H
#define TACQ_QUANTIZE_NEAREST_H

#include "tacq/Quantize/AffineFit.h"
#include "tacq/Quantize/CircuitMask.h"

namespace tacq {

struct NearestOptions {
  ClipSearch clip;
  /// 0: as many as the machine has. The result does not depend on it.
  unsigned threads = 0;
};

/// Each weight gets the nearest code of its group. Positions of the mask are left out of the fit,
/// decode to zero, and have their fp16 value in the circuit. The format must not have a codebook.
Error quantizeNearest(WeightView weight, const WeightFormat &format, const CircuitMask &mask,
                      const NearestOptions &options, MixedWeight &result);

} // namespace tacq

#endif // TACQ_QUANTIZE_NEAREST_H
