//===- MixedLinearFloats.cpp - Products with input that is not quantized --===//
//
// For each tile the weights, with what the tile has in slots, become f32 on the stack, and so do
// the columns of the task's rows; then the rows are multiplied with them.
//
//===----------------------------------------------------------------------===//

#include "MixedLinearKernel.h"

using namespace mlir;
using namespace tacq;

/// Each product of a row with a panel holds a register of sums for each part.
static int64_t rowsTogether(int64_t parts) { return parts == 1 ? 8 : 4; }
/// A single row has so many sums instead.
static constexpr int64_t chains = 4;

void MixedLinearKernel::emitFloatPanels(const Weight &weight, Value group, Value firstRow,
                                        Value lastRow) {
  SmallVector<Panel, panels> task = beginTask(weight, group);
  Value count = k.sub(lastRow, firstRow);
  for (int64_t i = 0; i < panels; ++i) {
    MixedTile &tile = *task[i].tile;
    const MixedFormat &format = tile.format;
    Value first = tile.firstSlot();
    SmallVector<Value> slots{first ? first : k.index(0)};
    auto emitTile = [&](Value number, Value slots, int64_t columns, int64_t width) {
      tile.decode(tile.tileAt(number), width, decoded, k.index(0), /*asMatrices=*/false);
      tile.scaleDecoded(number, width, decoded, weightFloats);
      if (first)
        slots = tile.addSlotsTo(weightFloats, slots, tile.slotCount(number));
      loadInputFloats(format, number, columns, width, firstRow, count);
      multiplyFloats(i, width, count);
      return slots;
    };
    slots = loop(k.index(0), k.index(format.wholeTiles), 1, slots,
                 [&](Value number, ValueRange carried) {
                   return SmallVector<Value>{
                       emitTile(number, carried[0], quantizedColumns, quantizedColumns)};
                 });
    if (format.lastColumns)
      emitTile(k.index(format.wholeTiles), slots[0],
               format.columns - format.wholeTiles * quantizedColumns, format.lastColumns);
  }
  emitResults(task, weight, group, firstRow, lastRow);
}

/// Columns of a tile of the task's rows; those beyond the input are 0.
void MixedLinearKernel::loadInputFloats(const MixedFormat &format, Value tile, int64_t columns,
                                        int64_t width, Value firstRow, Value count) {
  Value start = times(tile, quantizedColumns);
  loop(k.index(0), count, 1, [&](Value i) {
    Value from = k.add(times(k.add(firstRow, i), format.columns), start);
    for (int64_t column = 0; column < width; column += vectorLanes) {
      Value active;
      if (column + vectorLanes > columns)
        active = mask(k.index(std::max<int64_t>(columns - column, 0)));
      store(load(x, plus(from, column), active), inputFloats,
            plus(times(i, quantizedColumns), column));
    }
  });
}

/// Adds the products of the task's rows with a tile of a panel to their sums.
void MixedLinearKernel::multiplyFloats(int64_t panel, int64_t width, Value count) {
  auto emitRows = [&](Value row, int64_t tileRows) {
    int64_t step = tileRows == 1 ? chains : 1;
    SmallVector<Value> totals;
    for (int64_t i = 0; i < tileRows; ++i) {
      totals.push_back(load(sums, sumAt(plus(row, i), panel)));
      totals.append(step - 1, splat(0.0f));
    }
    totals = loop(k.index(0), k.index(width), step, totals, [&](Value column, ValueRange carried) {
      SmallVector<Value> next(carried);
      for (int64_t offset = 0; offset < step; ++offset) {
        Value at = plus(column, offset);
        Value weights = load(weightFloats, times(at, vectorLanes));
        for (int64_t i = 0; i < tileRows; ++i) {
          Value from = k.add(times(plus(row, i), quantizedColumns), at);
          Value &sum = next[i * step + offset];
          sum = fma(weights, splat(loadScalar(inputFloats, from)), sum);
        }
      }
      return next;
    });
    for (int64_t i = 0; i < tileRows; ++i) {
      Value total = totals[i * step];
      for (int64_t offset = 1; offset < step; ++offset)
        total = k.add(total, totals[i * step + offset]);
      store(total, sums, sumAt(plus(row, i), panel));
    }
  };
  int64_t together = rowsTogether(parts());
  Value end = k.sub(count, b.create<arith::RemUIOp>(count, k.index(together)));
  loop(k.index(0), end, together, [&](Value row) { emitRows(row, together); });
  loop(end, count, 1, [&](Value row) { emitRows(row, 1); });
}
