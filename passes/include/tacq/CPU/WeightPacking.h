//===- WeightPacking.h - Stores weights in panels ---------------*- C++ -*-===//

#ifndef TACQ_CPU_WEIGHTPACKING_H
#define TACQ_CPU_WEIGHTPACKING_H

#include "tacq/CPU/Passes.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"

namespace tacq {

/// Output features of a panel, on every CPU target: one module's weights serve all of them.
constexpr unsigned cpuPanelWidth = 16;

/// Bytes of a weight of `n` output and `k` input features in panels.
uint64_t packedWeightBytes(int64_t n, int64_t k, PanelAttr layout);

/// Packs a weight. `bytes` holds the row-major parameter, `[n, k]` or `[k, n]` as `order` says, in
/// the layout's element type. `write` gets the packed bytes in order, a panel at a time, so that no
/// second copy of the weight is held; it returns false to stop. Returns false if it has stopped.
bool packWeight(const void *bytes, WeightOrder order, int64_t n, int64_t k, PanelAttr layout,
                llvm::function_ref<bool(const void *, size_t)> write);

} // namespace tacq

#endif // TACQ_CPU_WEIGHTPACKING_H
