//===- Damping.h - What is added to a Hessian -------------------*- C++ -*-===//

#ifndef TACQ_LIB_QUANTIZE_DAMPING_H
#define TACQ_LIB_QUANTIZE_DAMPING_H

#include "tacq/Error.h"
#include "llvm/ADT/ArrayRef.h"
#include <cstdint>
#include <vector>

namespace tacq {

/// Dead columns, whose input was always 0, get the mean diagonal of the others, and then all
/// columns the damping times that mean.
struct Damping {
  std::vector<bool> dead;
  double mean = 1;
  double factor = 0;

  /// Fails if H is not finite, or its diagonal is negative.
  static Error compute(llvm::ArrayRef<double> hessian, int64_t columns, double factor,
                       Damping &result);
  /// What the diagonal of this column becomes.
  double diagonal(int64_t column, double value) const {
    return (dead[column] ? mean : value) + factor * mean;
  }
};

} // namespace tacq

#endif // TACQ_LIB_QUANTIZE_DAMPING_H
