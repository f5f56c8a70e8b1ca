//===- MatMulKernel.h - Matrix products of any element type ---------------===//

#ifndef TACQ_LIB_OPS_MATMULKERNEL_H
#define TACQ_LIB_OPS_MATMULKERNEL_H

#include "tacq/Codegen/KernelBuilder.h"
#include <array>

namespace tacq {

/// out[batch, m, n] = initial(batch, m) + Σ_k a[batch, m, k] b[batch, k, n].
struct MatMulProblem {
  Sym batches, m, n, depth;
  /// Inputs of the kernel. Each matrix is dense: a is [m, depth], or [depth, m] if transposed; b is
  /// [depth, n], or [n, depth] if transposed.
  mlir::Value a, b;
  bool aTransposed = false, bTransposed = false;
  /// Where the matrices of a batch begin in a, b and the output (in elements).
  std::function<std::array<mlir::Value, 3>(mlir::Value batch)> offsets;
  /// What a row of the result begins with, in the compute type; zero if null.
  std::function<mlir::Value(mlir::Value batch, mlir::Value row)> initial;
};

/// Emits the whole kernel into output 0: register tiles of a few rows and one or two vectors.
void emitMatMul(KernelBuilder &k, const MatMulProblem &problem);

} // namespace tacq

#endif // TACQ_LIB_OPS_MATMULKERNEL_H
