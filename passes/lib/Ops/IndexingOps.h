//===- IndexingOps.h - Parts of the indexing operators' table ---*- C++ -*-===//

#ifndef TACQ_LIB_OPS_INDEXINGOPS_H
#define TACQ_LIB_OPS_INDEXINGOPS_H

#include "SymbolicValues.h"
#include "tacq/Codegen/KernelBuilder.h"

namespace tacq {

llvm::ArrayRef<OpSpec> gatherOps();  // Gather, GatherElements, GatherND, OneHot, NonZero, Compress
llvm::ArrayRef<OpSpec> scatterOps(); // ScatterElements, ScatterND, TensorScatter
llvm::ArrayRef<OpSpec> searchOps();  // ArgMax, ArgMin, TopK
llvm::ArrayRef<OpSpec> lossOps();    // NegativeLogLikelihoodLoss, SoftmaxCrossEntropyLoss

/// Indices into an axis without elements cannot be valid: checked before a kernel is to clamp them.
mlir::LogicalResult requireElements(InferContext &c, unsigned indices, const Sym &extent);

/// The index that element `at` of an index tensor holds, into an axis of size `extent`.
mlir::Value loadIndex(KernelBuilder &k, NodeOp node, mlir::Value indices, mlir::ValueRange at,
                      const Sym &extent);

} // namespace tacq

#endif // TACQ_LIB_OPS_INDEXINGOPS_H
