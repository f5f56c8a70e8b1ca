//===- ScheduleDialect.h - The runtime-level dialect ------------*- C++ -*-===//

#ifndef TACQ_DIALECT_SCHEDULE_SCHEDULEDIALECT_H
#define TACQ_DIALECT_SCHEDULE_SCHEDULEDIALECT_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"

#include "tacq/Dialect/Schedule/ScheduleDialect.h.inc"
#include "tacq/Dialect/Schedule/ScheduleEnums.h.inc"
#define GET_TYPEDEF_CLASSES
#include "tacq/Dialect/Schedule/ScheduleTypes.h.inc"
#define GET_OP_CLASSES
#include "tacq/Dialect/Schedule/ScheduleOps.h.inc"

#endif // TACQ_DIALECT_SCHEDULE_SCHEDULEDIALECT_H
