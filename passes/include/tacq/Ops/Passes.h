//===- Passes.h - Passes over imported nodes --------------------*- C++ -*-===//

#ifndef TACQ_OPS_PASSES_H
#define TACQ_OPS_PASSES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"

namespace tacq {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "tacq/Ops/Passes.h.inc"
} // namespace tacq

#endif // TACQ_OPS_PASSES_H
