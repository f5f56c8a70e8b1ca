//===- Bf16Tiles.cpp - Matrix products of rounded factors -----------------===//

#include "Bf16Tiles.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace tacq;

/// Columns of a piece of K: sums go to memory and back between the pieces, which costs an eighth of
/// such a piece's products, and what is rounded stays in the second-level cache.
static constexpr int64_t pieceColumns = 256;
/// Not a power of two, so that rows do not compete for the same sets of the cache.
static constexpr int64_t roundedStride = pieceColumns + Bf16Tiles::stepColumns;
static constexpr int64_t bf16Bytes = 2;
/// Tile registers: sums of two by two tiles, then the rows and the panels.
static constexpr unsigned rowTiles = 4, panelTiles = 6;

Bf16Tiles::Bf16Tiles(KernelBuilder &k, int64_t rows, int64_t panels, int64_t depth)
    : VectorCode(k), amx(k), panels(panels), depth(depth) {
  Type i16 = b.getI16Type();
  rounded = stackBuffer(rows * roundedStride, i16);
  pairs = stackBuffer(panels * pieceColumns * vectorLanes, i16);
}

/// 32 numbers of bf16 as 16-bit integers: those of `low`, then those of `high`.
Value Bf16Tiles::roundPair(Value low, Value high) {
  auto type = VectorType::get(2 * vectorLanes, b.getBF16Type());
  Value both = intrinsic("llvm.x86.avx512bf16.cvtne2ps2bf16.512", type, {high, low});
  return b.create<LLVM::BitcastOp>(VectorType::get(2 * vectorLanes, b.getI16Type()), both);
}

void Bf16Tiles::copyRows(Value x, Value firstRow, Value lastRow, Value column, int64_t columns) {
  loop(firstRow, lastRow, 1, [&](Value row) {
    Value from = k.add(times(row, depth), column);
    Value to = times(k.sub(row, firstRow), roundedStride);
    loop(k.index(0), k.index(columns), stepColumns, [&](Value at) {
      Value source = k.add(from, at);
      Value both = roundPair(load(x, source), load(x, plus(source, vectorLanes)));
      b.create<vector::StoreOp>(both, rounded, ValueRange{k.add(to, at)});
    });
  });
}

void Bf16Tiles::copyPanel(Value weight, Value start, int64_t panel, int64_t columns) {
  SmallVector<int64_t> interleaved;
  for (int64_t i = 0; i < vectorLanes; ++i)
    llvm::append_values(interleaved, i, i + vectorLanes);
  loop(k.index(0), k.index(columns * vectorLanes), 2 * vectorLanes, [&](Value at) {
    Value source = k.add(start, at);
    Value both = roundPair(load(weight, source), load(weight, plus(source, vectorLanes)));
    both = b.create<vector::ShuffleOp>(both, both, interleaved);
    b.create<vector::StoreOp>(both, pairs,
                              ValueRange{plus(at, panel * pieceColumns * vectorLanes)});
  });
}

/// Two tiles of rows by two panels over a piece.
void Bf16Tiles::emitTiles(Value row, int64_t panel, int64_t columns, Value sums) {
  int64_t sumsBytes = panels * vectorLanes * int64_t(sizeof(float));
  auto forSums = [&](function_ref<void(unsigned tile, Value at)> body) {
    for (unsigned i = 0; i < 4; ++i)
      body(i, plus(times(plus(row, i / 2 * AmxCode::rows), panels * vectorLanes),
                   (panel + i % 2) * vectorLanes));
  };
  forSums([&](unsigned tile, Value at) { amx.load(tile, sums, at, sumsBytes); });
  loop(k.index(0), k.index(columns), stepColumns, [&](Value column) {
    for (int64_t i = 0; i < 2; ++i)
      amx.load(panelTiles + i, pairs,
               plus(times(column, vectorLanes), (panel + i) * pieceColumns * vectorLanes),
               AmxCode::bytes);
    for (int64_t i = 0; i < 2; ++i)
      amx.load(rowTiles + i, rounded,
               k.add(times(plus(row, i * AmxCode::rows), roundedStride), column),
               roundedStride * bf16Bytes);
    for (unsigned i = 0; i < 4; ++i)
      amx.multiplyBf16(i, rowTiles + i / 2, panelTiles + i % 2);
  });
  forSums([&](unsigned tile, Value at) { amx.store(tile, sums, at, sumsBytes); });
}

void Bf16Tiles::emit(Value x, Value firstRow, Value lastRow, ArrayRef<Value> weights,
                     ArrayRef<Value> starts, Value sums) {
  Value count = k.sub(lastRow, firstRow);
  amx.configure();
  auto emitPiece = [&](Value column, int64_t columns) {
    copyRows(x, firstRow, lastRow, column, columns);
    for (int64_t panel = 0; panel < panels; ++panel)
      copyPanel(weights[panel], k.add(starts[panel], times(column, vectorLanes)), panel, columns);
    loop(k.index(0), count, tileRows, [&](Value row) {
      for (int64_t panel = 0; panel < panels; panel += 2)
        emitTiles(row, panel, columns, sums);
    });
  };
  int64_t rest = depth % pieceColumns, whole = depth - rest;
  if (whole > 0)
    loop(k.index(0), k.index(whole), pieceColumns,
         [&](Value column) { emitPiece(column, pieceColumns); });
  if (rest > 0)
    emitPiece(k.index(whole), rest);
  amx.release();
}
