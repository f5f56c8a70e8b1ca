//===- HessianFactor.cpp - The factor of the inverse Hessian --------------===//

#include "Damping.h"
#include "SerialBlas.h"
#include "tacq/Quantize/Gptq.h"
#include <algorithm>
#include <lapack.h>
#include <numeric>

using namespace tacq;

Error HessianFactor::compute(llvm::ArrayRef<double> hessian, int64_t columns,
                             const HessianOptions &options, HessianFactor &result) {
  Damping damping;
  if (Error error = Damping::compute(hessian, columns, options.damping, damping))
    return error;
  auto diagonal = [&](int64_t k) { return hessian[k * columns + k]; };

  result.visited.resize(columns);
  std::iota(result.visited.begin(), result.visited.end(), 0);
  result.reordered = options.activationOrder;
  if (options.activationOrder)
    std::stable_sort(result.visited.begin(), result.visited.end(),
                     [&](uint32_t a, uint32_t b) { return diagonal(a) > diagonal(b); });

  // R is upper triangular in RᵀR = H^-1. With J, which reverses the order, and JHJ = LLᵀ, it is
  // J L^-1 J: one factorization and one triangular inverse, where inverting H takes twice the work
  // and loses more digits. For LAPACK, rows are columns: its upper factor is our lower one.
  result.upper.resize(static_cast<size_t>(columns * columns));
  for (int64_t i = 0; i < columns; ++i) {
    const double *source = hessian.data() + int64_t(result.visited[columns - 1 - i]) * columns;
    double *target = result.upper.data() + i * columns;
    for (int64_t j = 0; j < columns; ++j)
      target[j] = source[result.visited[columns - 1 - j]];
    int64_t own = result.visited[columns - 1 - i];
    target[i] = damping.diagonal(own, source[own]);
  }
  SerialBlas serial;
  auto size = static_cast<lapack_int>(columns);
  lapack_int info = 0;
  LAPACK_dpotrf("U", &size, result.upper.data(), &size, &info);
  if (info != 0)
    return makeError(TACQ_INVALID_INPUT,
                     "the second-order statistics of the input are not positive definite with a "
                     "damping of %g; use a larger damping",
                     options.damping);
  LAPACK_dtrtri("U", "N", &size, result.upper.data(), &size, &info);
  result.dead = std::move(damping.dead);
  std::reverse(result.upper.begin(), result.upper.end());
  return success();
}
