//===- KernelMath.h - What kernels of several operator families use -------===//

#ifndef TACQ_LIB_OPS_KERNELMATH_H
#define TACQ_LIB_OPS_KERNELMATH_H

#include "tacq/Codegen/KernelBuilder.h"

namespace tacq {

/// The body of loops that carry values from one iteration to the next.
using CarryFn = llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::ValueRange index,
                                                                  mlir::ValueRange carried)>;

/// As KernelBuilder::reduce, with bounds that are computed in the kernel: loops over
/// [lower[i], upper[i]).
llvm::SmallVector<mlir::Value> reduceRange(KernelBuilder &k, mlir::ValueRange lower,
                                           mlir::ValueRange upper, mlir::ValueRange init,
                                           CarryFn body);

/// x + y for a sum whose order is free, so that LLVM may vectorize the loop it is carried through.
mlir::Value addAnyOrder(KernelBuilder &k, mlir::Value x, mlir::Value y);
/// x * y, may be contracted with an addition.
mlir::Value mulFast(KernelBuilder &k, mlir::Value x, mlir::Value y);

/// The neutral elements of max and min over tensors with this element type.
mlir::Value lowestOf(KernelBuilder &k, mlir::Type element);
mlir::Value highestOf(KernelBuilder &k, mlir::Type element);

/// floor(x / y) of indices, y > 0.
mlir::Value floorDivIndex(KernelBuilder &k, mlir::Value x, mlir::Value y);
/// Signed comparison 0 <= x < extent of indices.
mlir::Value inBounds(KernelBuilder &k, mlir::Value x, mlir::Value extent);
/// A floating-point value of `type` from an index.
mlir::Value indexToReal(KernelBuilder &k, mlir::Value index, mlir::Type type);
/// An index from a floating-point value that is known to be in its range.
mlir::Value realToIndex(KernelBuilder &k, mlir::Value real);

/// Elements on the stack of the kernel, allocated once a call.
mlir::Value stackBuffer(KernelBuilder &k, int64_t count, mlir::Type type);

/// The kernel's output that holds a result of a loops node, or nullopt if nothing uses it.
std::optional<unsigned> outputOf(KernelBuilder &k, NodeOp node, unsigned result);

/// Writes what inference has decided into the node, where the kernel's emission reads it.
void recordIntegers(NodeOp node, llvm::StringRef name, llvm::ArrayRef<int64_t> values);
void recordReals(NodeOp node, llvm::StringRef name, llvm::ArrayRef<double> values);

/// The reason against a node whose first operand is not of a floating-point type; else empty.
std::string unsupportedUnlessFloat(NodeOp node);

} // namespace tacq

#endif // TACQ_LIB_OPS_KERNELMATH_H
