//===- MathExpansion.h - Elementary functions in arithmetic -----*- C++ -*-===//
//
// exp, log, tanh and erf of f32 scalars and vectors as straight-line arithmetic, which is inlined
// and vectorized. Relative errors are below 4 units in the last place; NaN, infinities, overflow
// and denormals are as in C.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_CODEGEN_MATHEXPANSION_H
#define TACQ_CODEGEN_MATHEXPANSION_H

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/PatternMatch.h"

namespace tacq {

/// A constant of type f32, or of a vector of f32.
mlir::Value f32Constant(mlir::ImplicitLocOpBuilder &b, mlir::Type type, float value);

mlir::Value emitExp(mlir::ImplicitLocOpBuilder &b, mlir::Value x);
/// exp for x <= 0, not NaN: what softmax needs. Results below the smallest normal number are 0.
mlir::Value emitExpNonPositive(mlir::ImplicitLocOpBuilder &b, mlir::Value x);
mlir::Value emitLog(mlir::ImplicitLocOpBuilder &b, mlir::Value x);
mlir::Value emitTanh(mlir::ImplicitLocOpBuilder &b, mlir::Value x);
mlir::Value emitErf(mlir::ImplicitLocOpBuilder &b, mlir::Value x);

/// Replaces these functions of the math dialect, on f32 and vectors of f32.
void populateMathExpansionPatterns(mlir::RewritePatternSet &patterns);

} // namespace tacq

#endif // TACQ_CODEGEN_MATHEXPANSION_H
