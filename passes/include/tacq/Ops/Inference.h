//===- Inference.h - Shape inference of single nodes ------------*- C++ -*-===//

#ifndef TACQ_OPS_INFERENCE_H
#define TACQ_OPS_INFERENCE_H

#include "tacq/Dialect/TACQ/TACQDialect.h"

namespace tacq {

/// The elements of an integer tensor that are known as symbolic expressions at compile time.
std::optional<Dims> knownIntegers(mlir::Value value);

/// Infers the results' types of a node and sets them; run-time conditions become `tacq.require` in
/// front of it. Returns what stands for each result: the result itself, or a constant or symbolic
/// tensor where its elements are known. Emits an error on failure; the error of an operator without
/// a table entry begins with "unsupported".
mlir::FailureOr<llvm::SmallVector<mlir::Value>> inferAndFold(NodeOp node);

/// Replaces a composite node by simpler ones and erases it; false if it is none or this form of it
/// is not supported.
bool decomposeNode(NodeOp node);

} // namespace tacq

#endif // TACQ_OPS_INFERENCE_H
