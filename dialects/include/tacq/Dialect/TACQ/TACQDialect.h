//===- TACQDialect.h - The tensor-level dialect -----------------*- C++ -*-===//

#ifndef TACQ_DIALECT_TACQ_TACQDIALECT_H
#define TACQ_DIALECT_TACQ_TACQDIALECT_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "tacq/Dialect/TACQ/Sym.h"

#include "tacq/Dialect/TACQ/TACQDialect.h.inc"
#include "tacq/Dialect/TACQ/TACQEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "tacq/Dialect/TACQ/TACQAttributes.h.inc"
#define GET_TYPEDEF_CLASSES
#include "tacq/Dialect/TACQ/TACQTypes.h.inc"
#define GET_OP_CLASSES
#include "tacq/Dialect/TACQ/TACQOps.h.inc"

namespace tacq {

/// The symbolic dimensions of a ranked tensor type; nullopt if the type is unranked, no tensor, or
/// has a dynamic dimension without an expression.
std::optional<Dims> dimsOf(mlir::Type type);
inline std::optional<Dims> dimsOf(mlir::Value value) { return dimsOf(value.getType()); }

/// The tensor type with these dimensions: constant ones static, others `?` with an encoding.
mlir::RankedTensorType tensorType(mlir::Type element, llvm::ArrayRef<Sym> dims);

} // namespace tacq

#endif // TACQ_DIALECT_TACQ_TACQDIALECT_H
