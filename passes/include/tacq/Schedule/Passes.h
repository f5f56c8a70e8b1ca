//===- Passes.h - From tensors to a schedule --------------------*- C++ -*-===//

#ifndef TACQ_SCHEDULE_PASSES_H
#define TACQ_SCHEDULE_PASSES_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "tacq/Dialect/Schedule/ScheduleDialect.h"

namespace tacq {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "tacq/Schedule/Passes.h.inc"
} // namespace tacq

#endif // TACQ_SCHEDULE_PASSES_H
