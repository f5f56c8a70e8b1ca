//===- PlanAttributes.h - A plan in the IR ----------------------*- C++ -*-===//
//
// Each parameter that is to be quantized has an attribute, and the module one for the circuit:
//
//   module attributes {tacq.circuit_plan = {layout = "slots", part = 3.5e-3}} {
//     tacq.param @w {tacq.plan = {bits = 2, group = 0, codebook = false}} …
//
// `circuit = 0.01` in the attribute of a parameter is a part of its own. Parameters without the
// attribute stay as they are.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_QUANTIZE_PLANATTRIBUTES_H
#define TACQ_QUANTIZE_PLANATTRIBUTES_H

#include "mlir/IR/BuiltinOps.h"
#include "tacq/Quantize/Plan.h"

namespace tacq {

/// Gives the parameters of `module` their plan. TACQ_INVALID_INPUT if it names a tensor that is no
/// weight of an attention or MLP projection of `file`.
Error setPlan(mlir::ModuleOp module, const Plan &plan, const std::string &file);

/// The plan of the module, without what only a planner fills in. TACQ_INVALID_INPUT for attributes
/// that setPlan does not write.
Error planOf(mlir::ModuleOp module, Plan &plan);

} // namespace tacq

#endif // TACQ_QUANTIZE_PLANATTRIBUTES_H
