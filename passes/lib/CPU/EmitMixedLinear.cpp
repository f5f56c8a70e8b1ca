//===- EmitMixedLinear.cpp - Products with mixed-precision weights --------===//
//
// A task is a group of rows of the input by two rows of tiles of a weight (by one of each of two
// weights, if gated): the panels of the task, of 16 results for each row.
//
// A single row (decoding) is bound by the weights' way from memory: the codes stream through
// registers, a tile of 16 rows by 128 columns at a time, and each lane keeps the sum of its row.
//
// For several rows a tile of each panel is decoded once into bytes on the stack; then tiles of the
// result, `rows` rows by the panels, are held in registers as integers over a block of columns, and
// are scaled and added to the task's sums in memory. What a tile has in slots is added row by row.
//
//===----------------------------------------------------------------------===//

#include "MixedTile.h"
#include "tacq/CPU/HotKernels.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;

namespace {

/// Rows of a task: enough to use decoded tiles many times, few enough to share the work.
constexpr int64_t rowsPerTask = 96;
constexpr int64_t panels = 2;
/// Bytes of a decoded tile.
constexpr int64_t panelBytes = quantizedColumns * vectorLanes;
/// How far ahead of a single row's product its codes are asked for.
constexpr int64_t prefetchBytes = 4096, lineBytes = 64;

struct Weight {
  MixedFormat format;
  Value weight, bias, output;
  /// Groups of panels.
  int64_t groups;
};

class MixedLinearKernel : DotCode {
public:
  MixedLinearKernel(KernelBuilder &k, LinearOp op, const CpuTarget &target)
      : DotCode(k, target), op(op), target(target), gated(op.getGated()) {
    // Twelve by two sums of 32 registers (AVX-512); three by one of two parts each of 16 (AVX2);
    // four by one of four parts each of 32 (NEON).
    rows = isWide() ? 12 : isArm() ? 4 : 3;
    tailRows = isWide() ? 4 : isArm() ? 2 : 3;
    jointPanels = isWide() ? panels : 1;
  }
  LogicalResult emit();

private:
  /// A row of tiles of a weight that a task works on.
  struct Panel {
    const Weight *weight;
    std::unique_ptr<MixedTile> tile;
    Value rowOfTiles;
  };

  LogicalResult collect();
  void emitTask(const Weight &weight, Value group, Value firstRow, Value lastRow);
  void emitPanels(const Weight &weight, Value group, Value firstRow, Value lastRow);
  Panel beginPanel(const Weight &weight, Value rowOfTiles);
  Value singleRow(const Weight &weight, Value rowOfTiles, Value row);
  SmallVector<Value> addTile(MixedTile &tile, Value number, int64_t width, Value row,
                             ValueRange carried);
  void emitTile(MutableArrayRef<Panel> task, SmallVectorImpl<Value> &slots, Value number,
                int64_t width, Value firstRow, Value lastRow);
  void emitBlock(MutableArrayRef<Panel> task, Value number, int64_t width, Value firstRow,
                 Value row, Value lastRow, int64_t tileRows, int64_t firstPanel);
  SmallVector<Value> products(MutableArrayRef<Panel> task, ArrayRef<Value> inputs, Value start,
                              int64_t width, int64_t firstPanel);
  SmallVector<Value> matrixProducts(ArrayRef<Value> inputs, Value start, int64_t width,
                                    int64_t firstPanel);
  Value addTileSlots(Panel &panel, int64_t number, Value slots, Value tile, int64_t width,
                     Value firstRow, Value lastRow);
  void emitResult(const Weight &weight, Value rowOfTiles, Value row, Value sum, Value other,
                  const Weight *otherWeight);

  Value inputAt(Value row) { return times(row, inputColumns); }
  Value inputScalesAt(Value row) { return times(row, 2 * blocks); }
  Value sumAt(Value row, int64_t panel) {
    return plus(times(row, panels * vectorLanes), panel * vectorLanes);
  }

  LinearOp op;
  const CpuTarget &target;
  bool gated;
  int64_t rows, tailRows, jointPanels;
  int64_t inputColumns = 0, blocks = 0, block = 0;
  Sym rowCount;
  Value x, xScales, residual;
  Value decoded; // a tile of each panel, as bytes
  Value sums;    // of a task, [rowsPerTask][panels][16]
  SmallVector<Weight> weights;
};

LogicalResult MixedLinearKernel::collect() {
  auto inputBuffer = [&](Value tensor) -> Value {
    std::optional<unsigned> input = k.inputOf(tensor);
    return input ? k.inputBuffer(*input) : Value();
  };
  if (!op.getXScales() || !op.getWeightLayouts())
    return op.emitError("the kernel of a linear operation with mixed-precision weights needs "
                        "quantized rows and packed weights");
  Dims xDims = k.dims(op.getX()), scaleDims = k.dims(op.getXScales());
  inputColumns = *xDims.back().constant();
  blocks = *scaleDims[scaleDims.size() - 2].constant();
  rowCount = elementCount(ArrayRef(xDims).drop_back());
  x = inputBuffer(op.getX());
  xScales = inputBuffer(op.getXScales());
  residual = op.getResidual() ? inputBuffer(op.getResidual()) : Value();
  Operation *yield = k.region().front().getTerminator();
  for (auto [i, operand] : llvm::enumerate(op.getWeights())) {
    auto type = cast<MixedType>(operand.getType());
    auto layout = cast<LayoutAttr>((*op.getWeightLayouts())[i]);
    block = *quantizationBlock(type.getColumns(), blocks);
    std::optional<MixedFormat> format = MixedFormat::get(type, layout, block);
    if (!format)
      return op.emitError("there is no kernel for a weight of type ")
             << type << " in " << layout << " and input in blocks of " << block;
    Value result = op.getResults()[gated ? 0 : i];
    auto yielded = llvm::find(yield->getOperands(), result);
    Value buffer = inputBuffer(operand);
    if (!buffer || !x || !xScales || yielded == yield->operand_end() ||
        (op.getResidual() && !residual))
      return op.emitError("the kernel of a linear operation holds that operation alone");
    Value output = k.outputBuffer(std::distance(yield->operand_begin(), yielded));
    Value bias = op.getBiases().empty() ? Value() : inputBuffer(op.getBiases()[i]);
    int64_t groups = llvm::divideCeil(format->rowsOfTiles, gated ? 1 : panels);
    weights.push_back({*format, buffer, bias, output, groups});
  }
  if (gated && (weights[0].format.sorted || weights[1].format.sorted))
    return op.emitError("the weights of a gated linear operation have their rows in the natural "
                        "order");
  return success();
}

LogicalResult MixedLinearKernel::emit() {
  if (failed(collect()))
    return failure();
  std::optional<int64_t> count = rowCount.constant();
  if (!count || *count > 1) {
    decoded = stackBuffer(panels * panelBytes, b.getI8Type());
    sums = stackBuffer(rowsPerTask * panels * vectorLanes, b.getF32Type());
  }
  int64_t groups = 0;
  for (const Weight &weight : ArrayRef(weights).take_front(gated ? 1 : weights.size()))
    groups += weight.groups;
  Sym rowGroups = Sym::ceilDiv(rowCount, rowsPerTask);
  k.parallel(rowGroups * groups, [&](Value task) {
    Value group = task, firstRow = k.index(0), lastRow = k.sym(rowCount);
    if (!rowGroups.isConstant(1)) {
      Value count = k.index(groups);
      group = b.create<arith::RemUIOp>(task, count);
      firstRow = times(b.create<arith::DivUIOp>(task, count), rowsPerTask);
      lastRow = k.min(plus(firstRow, rowsPerTask), lastRow);
    }
    if (gated || weights.size() == 1)
      return emitTask(weights[0], group, firstRow, lastRow);
    int64_t first = 0;
    for (const Weight &weight : weights) {
      Value isIt = k.logicalAnd(k.lessEqual(k.index(first), group),
                                k.less(group, k.index(first + weight.groups)));
      when(isIt, [&] { emitTask(weight, plus(group, -first), firstRow, lastRow); });
      first += weight.groups;
    }
  });
  return success();
}

void MixedLinearKernel::emitTask(const Weight &weight, Value group, Value firstRow, Value lastRow) {
  auto emitSingle = [&] {
    if (gated) {
      Value gate = singleRow(weights[0], group, firstRow);
      Value up = singleRow(weights[1], group, firstRow);
      emitResult(weights[0], group, firstRow, gate, up, &weights[1]);
      return;
    }
    Value first = times(group, panels);
    Value last = k.min(plus(first, panels), k.index(weight.format.rowsOfTiles));
    loop(first, last, 1, [&](Value rowOfTiles) {
      Value sum = singleRow(weight, rowOfTiles, firstRow);
      emitResult(weight, rowOfTiles, firstRow, sum, Value(), nullptr);
    });
  };
  if (rowCount.isConstant(1))
    return emitSingle();
  auto branch = b.create<scf::IfOp>(k.equal(k.sub(lastRow, firstRow), k.index(1)),
                                    /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  emitSingle();
  b.setInsertionPointToStart(branch.elseBlock());
  emitPanels(weight, group, firstRow, lastRow);
}

MixedLinearKernel::Panel MixedLinearKernel::beginPanel(const Weight &weight, Value rowOfTiles) {
  Panel panel{&weight, std::make_unique<MixedTile>(k, target, weight.format, weight.weight),
              rowOfTiles};
  panel.tile->beginRow(rowOfTiles);
  return panel;
}

//===----------------------------------------------------------------------===//
// A single row
//===----------------------------------------------------------------------===//

/// Adds a tile to what is carried: the sums of the rows; if a row has one group, those of the
/// circuit and the sum of the input; the next slot.
SmallVector<Value> MixedLinearKernel::addTile(MixedTile &tile, Value number, int64_t width,
                                              Value row, ValueRange carried) {
  const MixedFormat &format = tile.format;
  bool hasSlots = format.circuit == MixedFormat::Circuit::Slots ||
                  format.circuit == MixedFormat::Circuit::Uniform;
  Value sum = carried[0], circuit = carried[1], total = carried[2], slots = carried[3];
  Value at = tile.tileAt(number);
  InputColumns input =
      loadColumns(x, k.add(inputAt(row), times(number, quantizedColumns)), quantizedColumns);
  // AArch64 processors find a stream of whole tiles themselves; asking costs 2 % of the
  // instructions.
  for (int64_t line = 0; !isArm() && line < format.tileBytes(width); line += lineBytes)
    prefetch(tile.buffer, plus(at, line + prefetchBytes));
  int64_t blocksOfTile = quantizedColumns / block;
  Value firstBlock = times(number, blocksOfTile);
  auto scaleAt = [&](int64_t i) {
    return k.add(inputScalesAt(row), times(plus(firstBlock, i), 2));
  };
  Value count = hasSlots ? tile.slotCount(number) : Value();
  auto addSlots = [&](Value to) {
    return tile.addSlots(to, slots, count, input, xScales, scaleAt(0), width);
  };
  for (int64_t i = 0; i * block < width; ++i) {
    int64_t first = i * block;
    Value dots = tile.multiply(at, width, first, std::min(block, width - first), input);
    Value scale = loadScalar(xScales, scaleAt(i)),
          offset = loadScalar(xScales, plus(scaleAt(i), 1));
    if (format.oneGroup()) {
      sum = fma(dots, splat(scale), sum);
      total = k.add(total, offset);
      continue;
    }
    Value number = plus(firstBlock, i), scales = tile.scales(number);
    Value low = k.mul(scales, dots);
    if (hasSlots && !tile.slotsHaveInputScales())
      low = addSlots(low);
    sum = fma(low, splat(scale), sum);
    sum = subtractProduct(sum, k.mul(scales, tile.zeros(number)), splat(offset));
  }
  if (hasSlots && tile.slotsHaveInputScales())
    circuit = addSlots(circuit);
  else if (hasSlots && format.oneGroup())
    circuit = fma(addSlots(splat(0.0f)), splat(loadScalar(xScales, scaleAt(0))), circuit);
  if (hasSlots)
    slots = k.add(slots, times(count, format.slotBytes()));
  return {sum, circuit, total, slots};
}

/// 16 results of a row of the input.
Value MixedLinearKernel::singleRow(const Weight &weight, Value rowOfTiles, Value row) {
  const MixedFormat &format = weight.format;
  MixedTile tile(k, target, format, weight.weight);
  tile.beginRow(rowOfTiles);
  Value slots = tile.firstSlot();
  SmallVector<Value> carried{splat(0.0f), splat(0.0f), k.constant(b.getF32Type(), 0),
                             slots ? slots : k.index(0)};
  carried = loop(k.index(0), k.index(format.wholeTiles), 1, carried,
                 [&](Value number, ValueRange carried) {
                   return addTile(tile, number, quantizedColumns, row, carried);
                 });
  if (format.lastColumns)
    carried = addTile(tile, k.index(format.wholeTiles), format.lastColumns, row, carried);
  Value sum = carried[0];
  if (format.oneGroup()) {
    Value block = k.index(0);
    Value offset = k.mul(tile.zeros(block), splat(carried[2]));
    sum = k.mul(tile.scales(block), k.sub(sum, offset));
  }
  sum = k.add(sum, carried[1]);
  if (format.circuit == MixedFormat::Circuit::List)
    sum = tile.addList(sum, x, inputAt(row), xScales, inputScalesAt(row));
  return sum;
}

//===----------------------------------------------------------------------===//
// Several rows
//===----------------------------------------------------------------------===//

void MixedLinearKernel::emitPanels(const Weight &weight, Value group, Value firstRow,
                                   Value lastRow) {
  SmallVector<Panel, panels> task;
  for (int64_t i = 0; i < panels; ++i) {
    Value rowOfTiles = group;
    // The last group may have a panel too few: it does one twice.
    if (!gated)
      rowOfTiles = k.min(plus(times(group, panels), i), k.index(weight.format.rowsOfTiles - 1));
    task.push_back(beginPanel(gated ? weights[i] : weight, rowOfTiles));
  }
  // Tiles of the result repeat the last row; those sums have places of their own.
  Value count = k.sub(lastRow, firstRow);
  Value zeros = splat(0.0f);
  loop(k.index(0), k.index(rowsPerTask * panels * vectorLanes), vectorLanes,
       [&](Value at) { store(zeros, sums, at); });
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
  loop(k.index(0), count, 1, [&](Value i) {
    Value row = k.add(firstRow, i);
    SmallVector<Value, panels> results;
    for (auto [p, panel] : llvm::enumerate(task)) {
      Value sum = load(sums, sumAt(i, p));
      if (panel.tile->format.circuit == MixedFormat::Circuit::List)
        sum = panel.tile->addList(sum, x, inputAt(row), xScales, inputScalesAt(row));
      results.push_back(sum);
    }
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
  Value blockEnd = k.sub(lastRow, b.create<arith::RemUIOp>(count, k.index(rows)));
  auto emitRows = [&](Value row, int64_t tileRows) {
    for (int64_t panel = 0; panel < panels; panel += jointPanels)
      emitBlock(task, number, columns, firstRow, row, lastRow, tileRows, panel);
  };
  loop(firstRow, blockEnd, rows, [&](Value row) { emitRows(row, rows); });
  loop(blockEnd, lastRow, tailRows, [&](Value row) { emitRows(row, tailRows); });
  for (auto [i, panel] : llvm::enumerate(task)) {
    MixedFormat::Circuit circuit = panel.tile->format.circuit;
    if (circuit == MixedFormat::Circuit::Slots || circuit == MixedFormat::Circuit::Uniform)
      slots[i] = addTileSlots(panel, i, slots[i], number, columns, firstRow, lastRow);
  }
}

/// Some rows by some panels over a column of tiles. Columns of a decoded tile that it does not have
/// may hold anything: the input is 0 there.
void MixedLinearKernel::emitBlock(MutableArrayRef<Panel> task, Value number, int64_t columns,
                                  Value firstRow, Value row, Value lastRow, int64_t tileRows,
                                  int64_t firstPanel) {
  SmallVector<Value> inputs, scalesAt;
  for (int64_t i = 0; i < tileRows; ++i) {
    Value from = tileRows == rows ? row : k.min(plus(row, i), plus(lastRow, -1));
    Value at = k.add(inputAt(from), times(number, quantizedColumns));
    Value scaleAt = k.add(inputScalesAt(from), times(number, 2 * quantizedColumns / block));
    inputs.push_back(tileRows == rows ? plus(at, i * inputColumns) : at);
    scalesAt.push_back(tileRows == rows ? plus(scaleAt, i * 2 * blocks) : scaleAt);
  }
  Value sumsRow = k.sub(row, firstRow);
  auto emitColumns = [&](Value blockOfTile, int64_t width) {
    Value start = times(blockOfTile, block);
    SmallVector<Value> dots = hasMatrices() ? matrixProducts(inputs, start, width, firstPanel)
                                            : products(task, inputs, start, width, firstPanel);
    Value blockNumber = k.add(times(number, quantizedColumns / block), blockOfTile);
    for (int64_t p = 0; p < jointPanels; ++p) {
      MixedTile &tile = *task[firstPanel + p].tile;
      Value scales = tile.scales(blockNumber);
      Value zeros = k.mul(scales, tile.zeros(blockNumber));
      for (int64_t r = 0; r < tileRows; ++r) {
        Value scaleAt = k.add(scalesAt[r], times(blockOfTile, 2));
        Value at = sumAt(plus(sumsRow, r), firstPanel + p);
        Value low = k.mul(
            scales, sumsToFloat(ArrayRef(dots).slice((r * jointPanels + p) * parts(), parts())));
        Value sum = fma(low, splat(loadScalar(xScales, scaleAt)), load(sums, at));
        sum = subtractProduct(sum, zeros, splat(loadScalar(xScales, plus(scaleAt, 1))));
        store(sum, sums, at);
      }
    }
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
Value MixedLinearKernel::addTileSlots(Panel &panel, int64_t number, Value slots, Value tile,
                                      int64_t width, Value firstRow, Value lastRow) {
  Value count = panel.tile->slotCount(tile);
  when(k.less(k.index(0), count), [&] {
    loop(firstRow, lastRow, 1, [&](Value row) {
      InputColumns input =
          loadColumns(x, k.add(inputAt(row), times(tile, quantizedColumns)), quantizedColumns);
      Value scaleAt = k.add(inputScalesAt(row), times(tile, 2 * quantizedColumns / block));
      Value at = sumAt(k.sub(row, firstRow), number);
      Value sum = load(sums, at);
      if (panel.tile->slotsHaveInputScales()) {
        sum = panel.tile->addSlots(sum, slots, count, input, xScales, scaleAt, width);
      } else {
        Value products =
            panel.tile->addSlots(splat(0.0f), slots, count, input, xScales, scaleAt, width);
        sum = fma(products, splat(loadScalar(xScales, scaleAt)), sum);
      }
      store(sum, sums, at);
    });
  });
  return k.add(slots, times(count, panel.tile->format.slotBytes()));
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

/// Bias, activation, residual and the rounding of 16 results of a row. Stored rows of the weight
/// that are sorted belong to the features that the permutation names.
void MixedLinearKernel::emitResult(const Weight &weight, Value rowOfTiles, Value row, Value sum,
                                   Value other, const Weight *otherWeight) {
  const MixedFormat &format = weight.format;
  Value first = times(rowOfTiles, vectorLanes);
  Value rowStart = times(row, format.rows);
  Value active;
  if (format.rows % vectorLanes != 0)
    active = mask(k.sub(k.index(format.rows), first));
  Value features; // of sorted rows
  if (format.sorted) {
    Value at = plus(times(first, format.permutationBytes), format.permutationAt);
    Value raw = b.create<vector::BitCastOp>(
        vector(vectorLanes, 8 * unsigned(format.permutationBytes)),
        loadBytes(weight.weight, at, vectorLanes * format.permutationBytes));
    features = format.permutationBytes == 4
                   ? raw
                   : b.create<arith::ExtUIOp>(vector(vectorLanes, 32), raw).getResult();
    if (!active)
      active = mask(k.index(vectorLanes));
  }
  auto loadAt = [&](Value buffer, Value start) {
    if (!features)
      return load(buffer, k.add(start, first), active);
    auto type = VectorType::get(vectorLanes, cast<MemRefType>(buffer.getType()).getElementType());
    Value none = b.create<arith::ConstantOp>(b.getZeroAttr(type));
    Value raw = b.create<vector::GatherOp>(type, buffer, ValueRange{start}, features, active, none);
    return type.getElementType().isF32() ? raw
                                         : b.create<arith::ExtFOp>(f32Vector(), raw).getResult();
  };
  auto withBias = [&](const Weight &weight, Value sum) {
    return weight.bias ? k.add(sum, loadAt(weight.bias, k.index(0))) : sum;
  };
  Value y = activate(op.getActivation(), withBias(weight, sum));
  if (otherWeight)
    y = k.mul(y, withBias(*otherWeight, other));
  if (residual)
    y = k.add(y, loadAt(residual, rowStart));
  if (!features)
    return store(y, weight.output, k.add(rowStart, first), active);
  Type element = cast<MemRefType>(weight.output.getType()).getElementType();
  if (!element.isF32())
    y = b.create<arith::TruncFOp>(VectorType::get(vectorLanes, element), y);
  b.create<vector::ScatterOp>(weight.output, ValueRange{rowStart}, features, active, y);
}

} // namespace

LogicalResult tacq::emitMixedLinear(KernelBuilder &kernel, LinearOp op, const CpuTarget &target) {
  return MixedLinearKernel(kernel, op, target).emit();
}
