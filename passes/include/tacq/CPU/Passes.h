//===- Passes.h - Passes of the CPU target ----------------------*- C++ -*-===//

#ifndef TACQ_CPU_PASSES_H
#define TACQ_CPU_PASSES_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Pass/Pass.h"
#include "tacq/Dialect/Schedule/ScheduleDialect.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"

namespace tacq {

#define GEN_PASS_DECL
#include "tacq/CPU/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "tacq/CPU/Passes.h.inc"

} // namespace tacq

#endif // TACQ_CPU_PASSES_H
