//===- ExpandCaches.h - Caches that cannot be used in place -----*- C++ -*-===//

#ifndef TACQ_INFERENCE_EXPANDCACHES_H
#define TACQ_INFERENCE_EXPANDCACHES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace tacq {

/// An attention appends to its cache in place: its past keys and values must be inputs of the model
/// and its present ones outputs, and nothing else may use any of them. Where that is not so, the
/// present becomes a concatenation, and the attention has no cache.
void expandCaches(mlir::func::FuncOp function);

} // namespace tacq

#endif // TACQ_INFERENCE_EXPANDCACHES_H
