//===- Derivatives.h - The rules of differentiation -------------*- C++ -*-===//
//
// An operator is differentiated by an entry in a table, one table a family. A rule gets the
// gradients of the node's results and adds to those of its operands.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_DIFFERENTIATE_DERIVATIVES_H
#define TACQ_LIB_DIFFERENTIATE_DERIVATIVES_H

#include "GradientBuilder.h"

namespace tacq {

/// True for a value whose gradient is asked for.
using IsActive = llvm::function_ref<bool(mlir::Value)>;

struct Derivative {
  llvm::StringRef op;
  /// `gradients`: one for each result, null where it has none; the first is never null for an
  /// operator with one result.
  void (*derive)(GradientBuilder &, NodeOp, llvm::ArrayRef<mlir::Value> gradients);
  /// Why a node of this form cannot be differentiated with respect to its active operands; empty if
  /// it can.
  std::string (*refuse)(NodeOp, IsActive) = nullptr;
  llvm::StringRef domain = "";
};

llvm::ArrayRef<Derivative> activationDerivatives();
llvm::ArrayRef<Derivative> arithmeticDerivatives();
llvm::ArrayRef<Derivative> contractionDerivatives();
llvm::ArrayRef<Derivative> indexingDerivatives();
llvm::ArrayRef<Derivative> movementDerivatives();
llvm::ArrayRef<Derivative> reductionDerivatives();

/// The entry for a node's operator, or null.
const Derivative *lookupDerivative(NodeOp node);

/// Why the operation cannot be differentiated with respect to its active operands; empty if it can.
std::string refusalOf(mlir::Operation *op, IsActive isActive);
/// Adds the gradients of the operands of an operation that refusalOf accepts.
void derive(GradientBuilder &builder, mlir::Operation *op, llvm::ArrayRef<mlir::Value> gradients);

// The named operations.
void deriveLinear(GradientBuilder &builder, LinearOp op, llvm::ArrayRef<mlir::Value> gradients);
void deriveNorm(GradientBuilder &builder, NormOp op, mlir::Value gradient);
void deriveRope(GradientBuilder &builder, RopeOp op, mlir::Value gradient);
void deriveAttention(GradientBuilder &builder, AttentionOp op, mlir::Value gradient);

// Slopes that nodes and fused activations have in common; `y` is the function's value at x.
mlir::Value siluSlope(GradientBuilder &builder, mlir::Value x);
mlir::Value geluSlope(GradientBuilder &builder, mlir::Value x);
mlir::Value geluTanhSlope(GradientBuilder &builder, mlir::Value x);
mlir::Value reluSlope(GradientBuilder &builder, mlir::Value x);

/// The operand, or null if it is not given.
inline mlir::Value operandOf(NodeOp node, unsigned i) {
  if (i >= node.getInputs().size() || isAbsent(node.getInputs()[i]))
    return {};
  return node.getInputs()[i];
}

/// The axis attribute, normalized for `rank`.
inline int64_t axisOf(NodeOp node, int64_t fallback, int64_t rank) {
  int64_t axis = NodeAttrs(node).integer("axis", fallback);
  return axis < 0 ? axis + rank : axis;
}

} // namespace tacq

#endif // TACQ_LIB_DIFFERENTIATE_DERIVATIVES_H
