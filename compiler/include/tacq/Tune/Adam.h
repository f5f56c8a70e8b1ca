//===- Adam.h - Steps against a gradient ------------------------*- C++ -*-===//

#ifndef TACQ_TUNE_ADAM_H
#define TACQ_TUNE_ADAM_H

#include "llvm/ADT/ArrayRef.h"
#include <vector>

namespace tacq {

struct AdamOptions {
  /// The change of a number in a step, in its units, where the gradient's sign does not change.
  double rate = 0.01;
  double beta1 = 0.9, beta2 = 0.99;
  double epsilon = 1e-12;
};

/// Numbers that Adam (arXiv 1412.6980) moves. In place of x it steps x / unit, so that one rate is
/// right for numbers of different sizes.
struct AdamState {
  std::vector<float> mean, square;

  /// Step `step`, counted from 1. One unit is for a run of values.size() / units.size() values.
  void step(unsigned step, llvm::ArrayRef<float> gradient, llvm::ArrayRef<float> units,
            const AdamOptions &options, llvm::MutableArrayRef<float> values);
};

/// An average of what values were after each step, the newest of which count most: it keeps a part
/// `kept` of itself, less in the first steps, so that what it began with is soon forgotten.
void moveAverage(unsigned step, double kept, llvm::ArrayRef<float> values,
                 llvm::MutableArrayRef<float> average);

} // namespace tacq

#endif // TACQ_TUNE_ADAM_H
