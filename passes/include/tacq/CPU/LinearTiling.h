//===- LinearTiling.h - How products go through a weight --------*- C++ -*-===//
//
// The cost model of products with mixed-precision weights; docs/guides/tuning.md derives it. What a
// measurement found instead is in the module's attribute `tacq.tilings`, a list of #tacq.tiling.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_CPU_LINEARTILING_H
#define TACQ_CPU_LINEARTILING_H

#include "tacq/CPU/CpuTarget.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"

namespace tacq {

/// The module's attribute with tilings that take the place of the model's.
constexpr llvm::StringLiteral tilingsAttribute = "tacq.tilings";

/// What `task_rows` and `prefetch` may be, for a measurement to choose from.
llvm::ArrayRef<int64_t> taskRowsChoices();
llvm::ArrayRef<int64_t> prefetchChoices();

/// The tiling of a weight, of a type without the circuit's count, by the cost model.
TilingAttr modelTiling(const CpuTarget &target, MixedType weight);

} // namespace tacq

#endif // TACQ_CPU_LINEARTILING_H
