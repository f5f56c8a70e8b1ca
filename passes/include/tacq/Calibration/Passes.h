//===- Passes.h - From an inference graph to a calibration graph -*- C++ -*-===//
//
// They run on functions whose operations are recognized but not fused (see buildGraphPipeline).
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_CALIBRATION_PASSES_H
#define TACQ_CALIBRATION_PASSES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"

namespace tacq {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "tacq/Calibration/Passes.h.inc"
} // namespace tacq

#endif // TACQ_CALIBRATION_PASSES_H
