//===- LinearTiling.cpp - The cost model of products ----------------------===//

#include "tacq/CPU/LinearTiling.h"
#include "tacq/Codegen/MixedFormat.h"

using namespace tacq;

/// A task's rows fill whole tiles of the result on every target: AMX's of 32 rows, the others of 12
/// and fewer.
static constexpr int64_t rowsUnit = 96;
/// A first-level cache that all processors with these targets have.
static constexpr int64_t cacheBytes = 32 << 10;
/// Two panels of 16 results.
static constexpr int64_t sumsBytes = 2 * 16 * 4;
static constexpr int64_t decodedBytes = 2 * formatTileRows * formatTileColumns;
/// docs/guides/tuning.md says why.
static constexpr WeightPrefetch modelPrefetch = {2048, 8192, 512};

WeightPrefetch WeightPrefetch::of(TilingAttr tiling) {
  llvm::ArrayRef<int64_t> numbers = tiling.getPrefetch();
  return {numbers[0], numbers[1], numbers[2]};
}

llvm::ArrayRef<int64_t> tacq::taskRowsChoices() {
  static constexpr int64_t choices[] = {rowsUnit, 2 * rowsUnit, 4 * rowsUnit};
  return choices;
}

llvm::ArrayRef<WeightPrefetch> tacq::prefetchChoices() {
  static constexpr WeightPrefetch choices[] = {
      {}, {512, 2048, 256}, {1024, 4096, 256}, {2048, 0, 256}, modelPrefetch, {4096, 16384, 512}};
  return choices;
}

TilingAttr tacq::modelTiling(const CpuTarget &target, MixedType weight) {
  // Between two columns of tiles everything but the next tiles stays in the cache: a tile's columns
  // of the input, the sums, the decoded tiles.
  int64_t rows = (cacheBytes - decodedBytes) / (formatTileColumns + sumsBytes);
  rows = std::max(rows / rowsUnit * rowsUnit, rowsUnit);
  // AArch64 processors find a stream of whole tiles themselves; asking costs 2 % of the
  // instructions.
  WeightPrefetch prefetch;
  if (target.byteProduct < ByteProduct::Neon)
    prefetch = modelPrefetch;
  return TilingAttr::get(weight.getContext(), target.name, weight, rows, prefetch.numbers());
}
