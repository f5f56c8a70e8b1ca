//===- DifferentiatePasses.h - Gradients of a model -------------*- C++ -*-===//
//
// They run on graphs of named operations and nodes (tacq-graph), whose types are inferred.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_DIFFERENTIATE_DIFFERENTIATEPASSES_H
#define TACQ_DIFFERENTIATE_DIFFERENTIATEPASSES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"

namespace tacq {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "tacq/Differentiate/Passes.h.inc"

} // namespace tacq

#endif // TACQ_DIFFERENTIATE_DIFFERENTIATEPASSES_H
