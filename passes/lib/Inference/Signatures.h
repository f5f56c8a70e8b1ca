//===- Signatures.h - What ONNX says about operators' operands --*- C++ -*-===//

#ifndef TACQ_LIB_INFERENCE_SIGNATURES_H
#define TACQ_LIB_INFERENCE_SIGNATURES_H

#include "tacq/Dialect/TACQ/TACQDialect.h"

namespace tacq {

/// Compares a node of a model with ONNX's schema of its operator: the number of operands and
/// results, the operands' element types, the names and kinds of the attributes. Diagnostics on
/// failure. Inference relies on it. An operator of another domain passes.
mlir::LogicalResult checkSignature(NodeOp node);

} // namespace tacq

#endif // TACQ_LIB_INFERENCE_SIGNATURES_H
