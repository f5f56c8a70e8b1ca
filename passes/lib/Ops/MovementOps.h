//===- MovementOps.h - Parts of the movement operators' table ---*- C++ -*-===//

#ifndef TACQ_LIB_OPS_MOVEMENTOPS_H
#define TACQ_LIB_OPS_MOVEMENTOPS_H

#include "SymbolicValues.h"
#include "tacq/Codegen/KernelBuilder.h"

namespace tacq {

llvm::ArrayRef<OpSpec> viewOps();    // Reshape, Flatten, Squeeze, Unsqueeze
llvm::ArrayRef<OpSpec> sliceOps();   // Slice, Split, Concat, CenterCropPad
llvm::ArrayRef<OpSpec> padOps();     // Pad
llvm::ArrayRef<OpSpec> permuteOps(); // Transpose, Expand, Tile, DepthToSpace, ReverseSequence …

/// Integers that are an attribute up to some opset and an operand from there on; nullopt if there
/// are neither, or if they are no tensor of known size.
std::optional<Dims> attributeOrOperand(InferContext &c, llvm::StringRef name, unsigned operand);

/// The axes of such integers, normalized, where all are constant.
mlir::FailureOr<llvm::SmallVector<int64_t>> constantAxes(InferContext &c, llvm::ArrayRef<Sym> axes,
                                                         int64_t rank);

/// x modulo y for indices, y > 0, with a result in [0, y).
mlir::Value floorModIndex(KernelBuilder &k, mlir::Value x, mlir::Value y);

} // namespace tacq

#endif // TACQ_LIB_OPS_MOVEMENTOPS_H
