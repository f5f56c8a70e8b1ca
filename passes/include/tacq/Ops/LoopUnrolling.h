//===- LoopUnrolling.h - Loop and Scan with known trip counts ---*- C++ -*-===//

#ifndef TACQ_OPS_LOOPUNROLLING_H
#define TACQ_OPS_LOOPUNROLLING_H

#include "tacq/Dialect/TACQ/TACQDialect.h"

namespace tacq {

/// Replaces a Loop or Scan node by copies of its body, in front of it, and the values of its
/// results; the copies are not inferred yet. Emits an error (beginning with "unsupported") if the
/// trip count is not known at compile time or above `maxIterations`.
mlir::FailureOr<llvm::SmallVector<mlir::Value>> unrollLoop(NodeOp node, int64_t maxIterations);

/// Moves the body of a branch without arguments in front of `node`; returns what it yields.
llvm::SmallVector<mlir::Value> inlineBody(NodeOp node, mlir::Region &body);

} // namespace tacq

#endif // TACQ_OPS_LOOPUNROLLING_H
