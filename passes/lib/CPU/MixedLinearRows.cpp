//===- MixedLinearRows.cpp - Products of several rows ---------------------===//

#include "MixedLinearKernel.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;

/// The panels of a task, and sums of 0.
SmallVector<MixedLinearKernel::Panel, panels> MixedLinearKernel::beginTask(const Weight &weight,
                                                                           Value group) {
  SmallVector<Panel, panels> task;
  for (int64_t i = 0; i < panels; ++i) {
    Value rowOfTiles = group;
    // The last group may have a panel too few: it does one twice.
    if (!gated)
      rowOfTiles = k.min(plus(times(group, panels), i), k.index(weight.format.rowsOfTiles - 1));
    task.push_back(beginPanel(gated ? weights[i] : weight, rowOfTiles));
  }
  // Tiles of the result repeat the last row; those sums have places of their own.
  Value zeros = splat(0.0f);
  loop(k.index(0), k.index(rowsPerTask * panels * vectorLanes), vectorLanes,
       [&](Value at) { store(zeros, sums, at); });
  return task;
}

void MixedLinearKernel::emitPanels(const Weight &weight, Value group, Value firstRow,
                                   Value lastRow) {
  SmallVector<Panel, panels> task = beginTask(weight, group);
  if (usesAmx())
    amx.configure();
  SmallVector<Value> slots;
  for (Panel &panel : task) {
    Value first = panel.tile->firstSlot();
    slots.push_back(first ? first : k.index(0));
  }
  const MixedFormat &format = task[0].tile->format;
  slots =
      loop(k.index(0), k.index(format.wholeTiles), 1, slots, [&](Value number, ValueRange carried) {
        SmallVector<Value> next(carried);
        emitTile(task, next, number, quantizedColumns, firstRow, lastRow);
        return next;
      });
  if (int64_t columns = format.columns - format.wholeTiles * quantizedColumns; columns > 0)
    emitTile(task, slots, k.index(format.wholeTiles), columns, firstRow, lastRow);
  if (usesAmx())
    amx.release();
  emitResults(task, weight, group, firstRow, lastRow);
}

void MixedLinearKernel::emitResults(MutableArrayRef<Panel> task, const Weight &weight, Value group,
                                    Value firstRow, Value lastRow) {
  loop(k.index(0), k.sub(lastRow, firstRow), 1, [&](Value i) {
    Value row = k.add(firstRow, i);
    SmallVector<Value, panels> results;
    for (auto [p, panel] : llvm::enumerate(task))
      results.push_back(addList(*panel.tile, load(sums, sumAt(i, p)), row));
    if (gated)
      return emitResult(weights[0], group, row, results[0], results[1], &weights[1]);
    for (auto [panel, sum] : llvm::zip(task, results))
      emitResult(weight, panel.rowOfTiles, row, sum, Value(), nullptr);
  });
}

/// A column of tiles for all rows of the task. `columns` is what the input has there.
void MixedLinearKernel::emitTile(MutableArrayRef<Panel> task, SmallVectorImpl<Value> &slots,
                                 Value number, int64_t columns, Value firstRow, Value lastRow) {
  for (auto [i, panel] : llvm::enumerate(task)) {
    int64_t width = columns == quantizedColumns ? columns : panel.tile->format.lastColumns;
    panel.tile->decode(panel.tile->tileAt(number), width, decoded, k.index(i * panelBytes),
                       hasMatrices());
  }
  Value count = k.sub(lastRow, firstRow);
  Value tilesEnd = firstRow;
  if (usesAmx()) {
    tilesEnd = k.sub(lastRow, b.create<arith::RemUIOp>(count, k.index(amxRows)));
    loop(firstRow, tilesEnd, amxRows,
         [&](Value row) { ofPlanes([&] { emitAmxRows(task, number, columns, firstRow, row); }); });
    count = k.sub(lastRow, tilesEnd);
  }
  Value blockEnd = k.sub(lastRow, b.create<arith::RemUIOp>(count, k.index(rows)));
  auto emitRows = [&](Value row, int64_t tileRows) {
    ofPlanes([&] {
      for (int64_t panel = 0; panel < panels; panel += jointPanels)
        emitBlock(task, number, columns, firstRow, row, lastRow, tileRows, panel);
    });
  };
  loop(tilesEnd, blockEnd, rows, [&](Value row) { emitRows(row, rows); });
  loop(blockEnd, lastRow, tailRows, [&](Value row) { emitRows(row, tailRows); });
  for (auto [i, panel] : llvm::enumerate(task))
    if (panel.tile->format.hasSlots())
      slots[i] = addTileSlots(panel, i, slots[i], number, columns, firstRow, lastRow);
}

/// Adds the products of a row of the input with a panel over a block of columns to a sum.
void MixedLinearKernel::addBlock(Panel &panel, Value block, Value dots, Value scaleAt,
                                 Value sumsAt) {
  Value scales = panel.tile->scales(block);
  Value zeros = k.mul(scales, panel.tile->zeros(block));
  Value sum = fma(k.mul(scales, dots), splat(loadScalar(xScales, scaleAt)), load(sums, sumsAt));
  sum = subtractProduct(sum, zeros, splat(loadScalar(xScales, plus(scaleAt, 1))));
  store(sum, sums, sumsAt);
}

/// amxRows rows by the panels over a column of tiles. Columns that a decoded tile does not have may
/// hold anything: the input is 0 there.
void MixedLinearKernel::emitAmxRows(MutableArrayRef<Panel> task, Value number, int64_t columns,
                                    Value firstRow, Value row) {
  constexpr unsigned input = 4, weight = 6; // behind the sums
  constexpr int64_t rowBytes = panels * vectorLanes * 4;
  int64_t blocksOfTile = quantizedColumns / block;
  auto emitColumns = [&](Value blockOfTile) {
    for (unsigned i = 0; i < input; ++i)
      amx.zero(i);
    for (int64_t step = 0; step < block; step += AmxCode::bytes) {
      Value column = plus(times(blockOfTile, block), step);
      Value inputs = k.add(inputAt(row, number), column);
      for (int64_t i : {0, 1}) {
        amx.load(input + i, x, plus(inputs, i * AmxCode::rows * quantizedColumns),
                 quantizedColumns);
        amx.load(weight + i, decoded, plus(times(column, vectorLanes), i * panelBytes),
                 AmxCode::bytes);
      }
      for (unsigned i = 0; i < input; ++i)
        amx.multiply(i, input + i / 2, weight + i % 2);
    }
    for (unsigned i = 0; i < input; ++i)
      amx.store(i, tileProducts,
                k.index(i / 2 * AmxCode::rows * panels * vectorLanes + i % 2 * vectorLanes),
                rowBytes);
    Value blockNumber = k.add(times(number, blocksOfTile), blockOfTile);
    loop(k.index(0), k.index(amxRows), 1, [&](Value i) {
      Value scaleAt = k.add(inputScalesAt(k.add(row, i)), times(blockNumber, 2));
      for (int64_t p = 0; p < panels; ++p) {
        Value dots = b.create<vector::LoadOp>(vector(vectorLanes, 32), tileProducts,
                                              ValueRange{sumAt(i, p)});
        addBlock(task[p], blockNumber, b.create<arith::SIToFPOp>(f32Vector(), dots), scaleAt,
                 sumAt(k.add(k.sub(row, firstRow), i), p));
      }
    });
  };
  loop(k.index(0), k.index(llvm::divideCeil(columns, block)), 1, emitColumns);
}

/// Some rows by some panels over a column of tiles. Columns of a decoded tile that it does not have
/// may hold anything: the input is 0 there.
void MixedLinearKernel::emitBlock(MutableArrayRef<Panel> task, Value number, int64_t columns,
                                  Value firstRow, Value row, Value lastRow, int64_t tileRows,
                                  int64_t firstPanel) {
  SmallVector<Value> inputs, scalesAt;
  for (int64_t i = 0; i < tileRows; ++i) {
    Value from = tileRows == rows ? row : k.min(plus(row, i), plus(lastRow, -1));
    Value at = inputAt(from, number);
    Value scaleAt = k.add(inputScalesAt(from), times(number, 2 * quantizedColumns / block));
    inputs.push_back(tileRows == rows ? plus(at, i * quantizedColumns) : at);
    scalesAt.push_back(tileRows == rows ? plus(scaleAt, i * 2 * blocks) : scaleAt);
  }
  Value sumsRow = k.sub(row, firstRow);
  auto emitColumns = [&](Value blockOfTile, int64_t width) {
    Value start = times(blockOfTile, block);
    SmallVector<Value> dots = hasMatrices() ? matrixProducts(inputs, start, width, firstPanel)
                                            : products(task, inputs, start, width, firstPanel);
    Value blockNumber = k.add(times(number, quantizedColumns / block), blockOfTile);
    for (int64_t p = 0; p < jointPanels; ++p)
      for (int64_t r = 0; r < tileRows; ++r)
        addBlock(task[firstPanel + p], blockNumber,
                 sumsToFloat(ArrayRef(dots).slice((r * jointPanels + p) * parts(), parts())),
                 k.add(scalesAt[r], times(blockOfTile, 2)),
                 sumAt(plus(sumsRow, r), firstPanel + p));
  };
  int64_t whole = columns / block;
  if (whole == 1)
    emitColumns(k.index(0), block);
  else
    loop(k.index(0), k.index(whole), 1, [&](Value i) { emitColumns(i, block); });
  if (int64_t rest = columns % block)
    emitColumns(k.index(whole), rest);
}

/// The products of some rows of the input with some panels over columns from `start` on: sums of
/// each row, of each panel, of each part.
SmallVector<Value> MixedLinearKernel::products(MutableArrayRef<Panel> task, ArrayRef<Value> inputs,
                                               Value start, int64_t width, int64_t firstPanel) {
  // Columns of a step: a divisor of every block, and on AArch64 what a register holds.
  const int64_t stepColumns = isArm() ? registerBytes : 8;
  SmallVector<Value> dots(inputs.size() * jointPanels * parts(), zeroSums());
  return loop(
      k.index(0), k.index(llvm::alignTo(width, stepColumns)), stepColumns, dots,
      [&](Value column, ValueRange carried) {
        SmallVector<Value> next(carried);
        SmallVector<InputColumns> columns;
        for (Value input : inputs)
          columns.push_back(loadColumns(x, k.add(input, k.add(start, column)), stepColumns));
        for (int64_t offset = 0; offset < stepColumns; offset += quadColumns) {
          Value at = plus(k.add(start, column), offset);
          SmallVector<Value> codes;
          for (int64_t i = 0; i < jointPanels * parts(); ++i) {
            int64_t from = (firstPanel + i / parts()) * panelBytes + i % parts() * registerBytes;
            codes.push_back(loadBytes(decoded, plus(times(at, vectorLanes), from), registerBytes));
          }
          for (size_t r = 0; r < inputs.size(); ++r) {
            Value quad = loadQuad(columns[r], offset);
            for (auto [i, code] : llvm::enumerate(codes)) {
              Value &sum = next[r * codes.size() + i];
              sum = dot(sum, code, quad, task[firstPanel + i / parts()].tile->largest());
            }
          }
        }
        return next;
      });
}

/// The same by products of matrices: two rows of the input with each two rows of a tile.
SmallVector<Value> MixedLinearKernel::matrixProducts(ArrayRef<Value> inputs, Value start,
                                                     int64_t width, int64_t firstPanel) {
  constexpr int64_t stepColumns = 8, pairs = vectorLanes / 2;
  int64_t rowPairs = int64_t(inputs.size()) / 2;
  SmallVector<Value> dots(rowPairs * pairs, zeroSums());
  dots = loop(k.index(0), k.index(llvm::alignTo(width, stepColumns)), stepColumns, dots,
              [&](Value column, ValueRange carried) {
                SmallVector<Value> next(carried), rows;
                Value at = k.add(start, column);
                for (int64_t r = 0; r < rowPairs; ++r)
                  rows.push_back(concat({loadBytes(x, k.add(inputs[2 * r], at), stepColumns),
                                         loadBytes(x, k.add(inputs[2 * r + 1], at), stepColumns)}));
                for (int64_t i = 0; i < pairs; ++i) {
                  int64_t from = firstPanel * panelBytes + i * registerBytes;
                  Value codes =
                      loadBytes(decoded, plus(times(at, vectorLanes), from), registerBytes);
                  for (int64_t r = 0; r < rowPairs; ++r)
                    next[r * pairs + i] = multiplyMatrices(next[r * pairs + i], codes, rows[r]);
                }
                return next;
              });
  // Each has two rows of the tile by two of the input.
  SmallVector<Value> sums;
  for (int64_t r = 0; r < int64_t(inputs.size()); ++r)
    for (int64_t part = 0; part < parts(); ++part) {
      int64_t first = r / 2 * pairs + 2 * part, lane = r % 2;
      sums.push_back(
          pickNumbers(dots[first], dots[first + 1], {lane, 2 + lane, 4 + lane, 6 + lane}));
    }
  return sums;
}

/// Adds what a tile has in slots to the sums of the task's rows; gives the next tile's first slot.
/// Two slots at a time, and a single last one, stay in registers for all rows.
Value MixedLinearKernel::addTileSlots(Panel &panel, int64_t number, Value slots, Value tile,
                                      int64_t width, Value firstRow, Value lastRow) {
  MixedTile &weight = *panel.tile;
  int64_t slotBytes = weight.format.slotBytes();
  auto addAll = [&](ArrayRef<MixedTile::Slot> some) {
    auto addRow = [&](Value row) {
      InputColumns input = loadColumns(x, inputAt(row, tile), quantizedColumns);
      Value scaleAt = k.add(inputScalesAt(row), times(tile, 2 * quantizedColumns / block));
      Value sumsAt = sumAt(k.sub(row, firstRow), number);
      Value sum = load(sums, sumsAt);
      Value blockScales = weight.loadBlockScales(xScales, scaleAt, width);
      Value products = blockScales ? sum : splat(0.0f);
      for (const MixedTile::Slot &slot : some)
        products = weight.addSlot(slot, products, input, blockScales, width);
      if (!blockScales)
        products = fma(products, splat(loadScalar(xScales, scaleAt)), sum);
      store(products, sums, sumsAt);
    };
    loop(firstRow, lastRow, 1, [&](Value row) { ofPlanes([&] { addRow(row); }); });
  };
  Value end = k.add(slots, times(weight.slotCount(tile), slotBytes));
  Value last = plus(end, -slotBytes);
  loop(slots, last, 2 * slotBytes,
       [&](Value at) { addAll({weight.loadSlot(at), weight.loadSlot(plus(at, slotBytes))}); });
  Value odd = b.create<arith::RemUIOp>(k.sub(end, slots), k.index(2 * slotBytes));
  when(k.less(k.index(0), odd), [&] { addAll({weight.loadSlot(last)}); });
  return end;
}
