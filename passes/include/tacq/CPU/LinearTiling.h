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
#include <array>

namespace tacq {

/// The module's attribute with tilings that take the place of the model's.
constexpr llvm::StringLiteral tilingsAttribute = "tacq.tilings";

/// How many bytes ahead of where it reads a weight the product of one row asks for it; 0 is not at
/// all.
struct WeightPrefetch {
  /// Of codes, into the first cache; and, further ahead, into the second, which takes more lines at
  /// a time.
  int64_t near = 0, far = 0;
  /// Of scales, zero points and slots, which are other streams.
  int64_t metadata = 0;

  static WeightPrefetch of(TilingAttr tiling);
  std::array<int64_t, 3> numbers() const { return {near, far, metadata}; }
  bool operator==(const WeightPrefetch &other) const { return numbers() == other.numbers(); }
};
constexpr int64_t largestPrefetch = 1 << 16;

/// What `task_rows` may be, and what of `prefetch` is worth a measurement.
llvm::ArrayRef<int64_t> taskRowsChoices();
llvm::ArrayRef<WeightPrefetch> prefetchChoices();

/// The tiling of a weight, of a type without the circuit's count, by the cost model.
TilingAttr modelTiling(const CpuTarget &target, MixedType weight);

} // namespace tacq

#endif // TACQ_CPU_LINEARTILING_H
