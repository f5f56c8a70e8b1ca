//===- ElementwiseOps.h - Parts of the elementwise operators' table -*- C++ -*-===//

#ifndef TACQ_LIB_OPS_ELEMENTWISEOPS_H
#define TACQ_LIB_OPS_ELEMENTWISEOPS_H

#include "SymbolicValues.h"
#include "tacq/Codegen/KernelBuilder.h"

namespace tacq {

llvm::ArrayRef<OpSpec> arithmeticOps(); // Add … Mod, Pow, Min, Max, Sum, Mean, bits
llvm::ArrayRef<OpSpec> logicOps();      // And, Or, Not, comparisons, Where, IsNaN, IsInf
llvm::ArrayRef<OpSpec> mathOps();       // Neg, Abs, rounding, elementary functions
llvm::ArrayRef<OpSpec> activationOps(); // Relu … Mish, Clip
llvm::ArrayRef<OpSpec> castOps();       // Cast, CastLike, BitCast, Identity, Dropout

//===--- Inference ----------------------------------------------------------===//

/// Result 0 is as operand 0.
mlir::LogicalResult inferSame(InferContext &c);
/// Result 0 has the operands' broadcast shape and the element type of operand 0.
mlir::LogicalResult inferBroadcast(InferContext &c);
/// As inferBroadcast, of truth values.
mlir::LogicalResult inferComparison(InferContext &c);

/// As the inference `infer`, with known elements by `fold`.
template <InferFn infer, FoldFn fold> mlir::LogicalResult inferFolding(InferContext &c) {
  if (failed(infer(c)))
    return mlir::failure();
  foldElementwise(c, fold);
  return mlir::success();
}

//===--- Elements -----------------------------------------------------------===//

/// `element` is the element type of the (first) operand.
using UnaryFn = mlir::Value (*)(KernelBuilder &k, mlir::Value x, mlir::Type element);
using BinaryFn = mlir::Value (*)(KernelBuilder &k, mlir::Value x, mlir::Value y,
                                 mlir::Type element);
using ActivationFn = mlir::Value (*)(KernelBuilder &k, mlir::Value x, const NodeAttrs &attrs);

template <UnaryFn fn>
mlir::Value unaryElement(KernelBuilder &k, NodeOp node, unsigned, mlir::ValueRange index) {
  mlir::Value in = node.getInputs()[0];
  return fn(k, k.load(in, index), k.elementType(in));
}

template <ActivationFn fn>
mlir::Value activationElement(KernelBuilder &k, NodeOp node, unsigned, mlir::ValueRange index) {
  return fn(k, k.load(node.getInputs()[0], index), NodeAttrs(node));
}

/// Of two operands, or more from left to right.
template <BinaryFn fn>
mlir::Value variadicElement(KernelBuilder &k, NodeOp node, unsigned, mlir::ValueRange index) {
  Dims out = k.dims(node.getResult(0));
  mlir::Type element = k.elementType(node.getInputs()[0]);
  mlir::Value result = k.loadBroadcast(node.getInputs()[0], index, out);
  for (mlir::Value operand : node.getInputs().drop_front())
    result = fn(k, result, k.loadBroadcast(operand, index, out), element);
  return result;
}

/// Operand i under broadcasting to result 0.
inline mlir::Value operandAt(KernelBuilder &k, NodeOp node, unsigned i, mlir::ValueRange index) {
  return k.loadBroadcast(node.getInputs()[i], index, k.dims(node.getResult(0)));
}

} // namespace tacq

#endif // TACQ_LIB_OPS_ELEMENTWISEOPS_H
