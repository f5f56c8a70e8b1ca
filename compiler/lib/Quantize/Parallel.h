//===- Parallel.h - Chunks of rows on all cores -----------------*- C++ -*-===//

#ifndef TACQ_LIB_QUANTIZE_PARALLEL_H
#define TACQ_LIB_QUANTIZE_PARALLEL_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include <cstdint>

namespace tacq {

/// Calls work(begin, end) for [0, count) in chunks of a fixed size, on several threads. What a
/// chunk computes must not depend on others. While it runs, OpenBLAS uses one thread, so that a
/// chunk's numbers do not depend on how many there are.
void forEachChunk(int64_t count, int64_t chunk, unsigned threads,
                  llvm::function_ref<void(int64_t, int64_t)> work);

} // namespace tacq

#endif // TACQ_LIB_QUANTIZE_PARALLEL_H
