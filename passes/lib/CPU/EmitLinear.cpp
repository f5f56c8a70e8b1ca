//===- EmitLinear.cpp - Matrix products with packed weights ---------------===//
//
// A task is a group of rows by a group of panels. One thread's tasks go through the panels with the
// same rows, which then stay in the second-level cache; weights come in order and can be
// prefetched.
//
// A tile of the result is `rows` rows by `panels` panels of 16 output features, held in registers
// over a piece of K: each step loads one vector of each panel and broadcasts one element of each
// row. The pieces are the outer loop, so that a piece of the panels stays in the first-level cache
// for all the rows of the task; the sums wait in memory meanwhile. Rows are in blocks of `rows`;
// what is left over is done in blocks of `tailRows` whose surplus rows repeat the last one.
//
// A single row (decoding) is bound by the weights' way from memory: it runs over all of K at once,
// with several sums for each output so that its additions do not wait for each other.
//
// Where factors may be rounded to bf16 and the target has tiles for them, those take the place of
// blocks of rows.
//
//===----------------------------------------------------------------------===//

#include "Bf16Tiles.h"
#include "tacq/CPU/HotKernels.h"
#include "tacq/CPU/WeightPacking.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;

namespace {

/// Rows and panels, of one weight, of a task; a gated one has one panel of each of its two weights.
/// Enough rows to use a piece of the panels many times, few enough to share the work. The same on
/// every target, since a module has one count of tasks for all of them.
struct TaskSize {
  int64_t rows, panels;
};
constexpr TaskSize plainTask = {96, 2};
/// Rows that are rounded once for more panels.
constexpr TaskSize bf16Task = {96, 4};
/// Columns of a piece of K.
constexpr int64_t pieceColumns = 128;
/// Distance of the copied rows of a piece: not a power of two, so that they do not compete for the
/// same sets of the cache.
constexpr int64_t copiedStride = pieceColumns + 16;
/// How far ahead of a single row's product its weights are asked for, in vectors.
constexpr int64_t prefetchVectors = 16;
/// Chains of dependent additions that keep two multiply-add units busy.
constexpr int64_t chains = 8;

class LinearKernel : VectorCode {
public:
  LinearKernel(KernelBuilder &k, LinearOp op, const CpuTarget &target)
      : VectorCode(k), op(op), gated(op.getGated()), hasTiles(target.amx),
        task(op.getAllowBf16() ? bf16Task : plainTask) {
    bool wide = target.vectorBits >= 512;
    panels = wide || gated ? 2 : 1;
    // Twelve by two of 32 registers, six by one (two registers a panel) or three by two of 16.
    rows = wide ? 12 : gated ? 3 : 6;
    tailRows = wide ? 4 : gated ? 2 : 3;
  }

  LogicalResult emit();

private:
  /// The weight (two, if gated) that a task works on.
  struct Target {
    SmallVector<Value, 2> weights, biases;
    Value output;
    Value features, panelCount; // index
    bool wholeTiles;            // features is a multiple of a tile's
  };
  struct Weight {
    Value weight, bias, output;
    int64_t features, panelCount, groups;
    bool sameTypes(const Weight &other) const {
      return weight.getType() == other.weight.getType() &&
             output.getType() == other.output.getType() &&
             (!bias || bias.getType() == other.bias.getType());
    }
  };

  LogicalResult collect();
  void emitTask(Value group, Value firstRow, Value lastRow);
  void emitPanels(const Target &target, Value group, Value firstRow, Value lastRow);
  void emitRows(const Target &target, Value group, Value firstRow, Value lastRow);
  void emitBlocks(const Target &target, Value group, Value firstRow, Value lastRow);
  void emitPiece(const Target &target, ArrayRef<Value> panelStarts, Value firstRow, Value lastRow,
                 Value firstColumn, int64_t columns);
  void emitTile(ArrayRef<Value> buffers, ArrayRef<Value> panelStarts, Value firstRow, Value row,
                Value lastRow, int64_t tileRows, Value firstColumn, int64_t columns);
  void emitSingleRow(const Target &target, Value group, Value row);
  SmallVector<Value> startsOfPanels(const Target &target, Value group);
  SmallVector<Value> accumulate(SmallVector<Value> sums, int64_t sets, Value buffer,
                                ArrayRef<Value> rowStarts, ArrayRef<Value> weights,
                                ArrayRef<Value> panelStarts, int64_t columns,
                                function_ref<void(Value column)> prefetch);
  void copyRow(Value from, Value to, int64_t columns);
  void emitResults(const Target &target, Value group, Value firstRow, Value rowCount);

  LinearOp op;
  bool gated, hasTiles;
  TaskSize task;
  int64_t panels, rows, tailRows;
  std::optional<Bf16Tiles> tiles;
  int64_t depth = 0; // K
  Sym rowCount;
  Value x, residual;
  Value sums;          // of a task, [task.rows][panels][16]
  bool copies = false; // the rows are not f32
  Value copied;        // a piece of the rows of a tile, as f32
  Value wideWeights;   // a piece of the panels, as f32, if they are of 16 bits
  SmallVector<Weight> weights;
};

LogicalResult LinearKernel::collect() {
  Dims xDims = k.dims(op.getX());
  std::optional<int64_t> inputs = xDims.back().constant();
  if (!inputs || !op.getWeightLayouts())
    return op.emitError("the kernel of a linear operation needs packed weights of static shape");
  depth = *inputs;
  rowCount = elementCount(ArrayRef(xDims).drop_back());
  x = inputBuffer(op.getX());
  residual = inputBuffer(op.getResidual());
  for (auto [i, weight] : llvm::enumerate(op.getWeights())) {
    auto layout = dyn_cast<PanelAttr>((*op.getWeightLayouts())[i]);
    if (!layout || layout.getWidth() != cpuPanelWidth)
      return op.emitError("weight ")
             << i << " of a linear operation is not in panels of " << cpuPanelWidth;
    auto order = WeightOrder(cast<IntegerAttr>(op.getWeightOrder()[i]).getInt());
    std::optional<int64_t> features = k.dims(weight)[order == WeightOrder::NK ? 0 : 1].constant();
    Weight entry;
    entry.weight = inputBuffer(weight);
    entry.output = outputBuffer(op.getResults()[gated ? 0 : i]);
    if (!features || !entry.weight || !x || !entry.output || (op.getResidual() && !residual))
      return op.emitError("the kernel of a linear operation holds that operation alone");
    if (!op.getBiases().empty())
      entry.bias = inputBuffer(op.getBiases()[i]);
    entry.features = *features;
    entry.panelCount = llvm::divideCeil(*features, vectorLanes);
    entry.groups = gated ? entry.panelCount : llvm::divideCeil(entry.panelCount, task.panels);
    weights.push_back(entry);
  }
  return success();
}

LogicalResult LinearKernel::emit() {
  if (failed(collect()))
    return failure();
  bool one = rowCount.isConstant(1);
  if (op.getAllowBf16() && hasTiles && !one && depth % Bf16Tiles::stepColumns == 0) {
    panels = gated ? 2 : task.panels;
    tiles.emplace(k, task.rows, panels, depth);
  }
  if (std::optional<int64_t> count = rowCount.constant()) {
    rows = *count < rows ? std::min(tailRows, *count) : rows;
    tailRows = std::min(tailRows, rows);
  }
  auto isF32 = [](Value buffer) {
    return cast<MemRefType>(buffer.getType()).getElementType().isF32();
  };
  Type f32 = b.getF32Type();
  sums = stackBuffer(task.rows * panels * vectorLanes, f32);
  copies = !isF32(x);
  copied = stackBuffer(std::max(rows * copiedStride, isF32(x) ? 0 : depth + vectorLanes), f32);
  if (llvm::any_of(weights, [&](const Weight &w) { return !isF32(w.weight); }))
    wideWeights = stackBuffer(panels * pieceColumns * vectorLanes, f32);

  int64_t groups = 0;
  for (const Weight &weight : ArrayRef(weights).take_front(gated ? 1 : weights.size()))
    groups += weight.groups;
  Sym rowGroups = Sym::ceilDiv(rowCount, task.rows);
  k.parallel(rowGroups * groups, [&](Value number) {
    Value group = number, firstRow = k.index(0), lastRow = k.sym(rowCount);
    if (!rowGroups.isConstant(1)) {
      Value count = k.index(groups);
      group = b.create<arith::RemUIOp>(number, count);
      firstRow = times(b.create<arith::DivUIOp>(number, count), task.rows);
      lastRow = k.min(plus(firstRow, task.rows), lastRow);
    }
    emitTask(group, firstRow, lastRow);
  });
  return success();
}

/// Finds the weight of a group of panels.
void LinearKernel::emitTask(Value group, Value firstRow, Value lastRow) {
  auto isWhole = [&](const Weight &w) {
    return w.features % (vectorLanes * (gated ? 1 : panels)) == 0;
  };
  auto targetOf = [&](const Weight &w) {
    Target target{{w.weight}, {}, w.output, k.index(w.features), k.index(w.panelCount), isWhole(w)};
    if (w.bias)
      target.biases.push_back(w.bias);
    return target;
  };
  if (weights.size() == 1 || gated) {
    Target target = targetOf(weights[0]);
    if (gated) {
      target.weights.push_back(weights[1].weight);
      if (weights[1].bias)
        target.biases.push_back(weights[1].bias);
    }
    emitPanels(target, group, firstRow, lastRow);
    return;
  }
  if (llvm::all_of(weights, [&](const Weight &w) { return w.sameTypes(weights[0]); })) {
    // One code for all: the buffers are chosen by the group.
    Target target = targetOf(weights[0]);
    int64_t first = 0;
    Value localGroup = group;
    for (size_t i = 1; i < weights.size(); ++i) {
      first += weights[i - 1].groups;
      Target next = targetOf(weights[i]);
      Value isNext = k.lessEqual(k.index(first), group);
      target.weights[0] = k.select(isNext, next.weights[0], target.weights[0]);
      target.output = k.select(isNext, next.output, target.output);
      target.features = k.select(isNext, next.features, target.features);
      target.panelCount = k.select(isNext, next.panelCount, target.panelCount);
      if (!next.biases.empty())
        target.biases[0] = k.select(isNext, next.biases[0], target.biases[0]);
      target.wholeTiles &= next.wholeTiles;
      localGroup = k.select(isNext, plus(group, -first), localGroup);
    }
    emitPanels(target, localGroup, firstRow, lastRow);
    return;
  }
  int64_t first = 0;
  for (const Weight &weight : weights) {
    Value isIt = k.logicalAnd(k.lessEqual(k.index(first), group),
                              k.less(group, k.index(first + weight.groups)));
    when(isIt, [&] { emitPanels(targetOf(weight), plus(group, -first), firstRow, lastRow); });
    first += weight.groups;
  }
}

/// Goes through the panels of a task, as many at a time as tiles have.
void LinearKernel::emitPanels(const Target &target, Value group, Value firstRow, Value lastRow) {
  if (gated || panels == task.panels)
    return emitRows(target, group, firstRow, lastRow);
  int64_t count = task.panels / panels;
  Value first = times(group, count);
  Value all = b.create<arith::CeilDivUIOp>(target.panelCount, k.index(panels));
  loop(first, k.min(plus(first, count), all), 1,
       [&](Value part) { emitRows(target, part, firstRow, lastRow); });
}

void LinearKernel::emitRows(const Target &target, Value group, Value firstRow, Value lastRow) {
  Value count = k.sub(lastRow, firstRow);
  if (rows == 1) {
    emitSingleRow(target, group, firstRow);
    emitResults(target, group, firstRow, count);
    return;
  }
  auto branch = b.create<scf::IfOp>(k.equal(count, k.index(1)), /*withElseRegion=*/true);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    emitSingleRow(target, group, firstRow);
    b.setInsertionPointToStart(branch.elseBlock());
    emitBlocks(target, group, firstRow, lastRow);
  }
  emitResults(target, group, firstRow, count);
}

SmallVector<Value> LinearKernel::startsOfPanels(const Target &target, Value group) {
  int64_t panelSize = depth * vectorLanes;
  if (gated)
    return SmallVector<Value>(2, times(group, panelSize));
  SmallVector<Value> starts;
  for (int64_t panel = 0; panel < panels; ++panel) {
    Value number = plus(times(group, panels), panel);
    // The last group may have a panel too few: it repeats one, and does not store it.
    if (panel > 0 && !target.wholeTiles)
      number = k.min(number, plus(target.panelCount, -1));
    starts.push_back(times(number, panelSize));
  }
  return starts;
}

void LinearKernel::emitSingleRow(const Target &target, Value group, Value row) {
  int64_t sets = std::max<int64_t>(1, chains / panels);
  SmallVector<Value, 2> buffers(target.weights);
  buffers.resize(panels, target.weights[0]);
  Value start = times(row, depth), from = x;
  if (!cast<MemRefType>(x.getType()).getElementType().isF32()) {
    copyRow(start, k.index(0), depth);
    from = copied;
    start = k.index(0);
  }
  SmallVector<Value> zeros(panels * sets, splat(0.0f));
  SmallVector<Value> starts = startsOfPanels(target, group);
  SmallVector<Value> result =
      accumulate(zeros, sets, from, {start}, buffers, starts, depth, [&](Value column) {
        for (auto [buffer, start] : llvm::zip(buffers, starts))
          prefetch(buffer,
                   plus(k.add(start, times(column, vectorLanes)), prefetchVectors * vectorLanes));
      });
  for (int64_t panel = 0; panel < panels; ++panel) {
    Value sum = result[panel];
    for (int64_t set = 1; set < sets; ++set)
      sum = k.add(sum, result[set * panels + panel]);
    store(sum, sums, k.index(panel * vectorLanes));
  }
}

void LinearKernel::emitBlocks(const Target &target, Value group, Value firstRow, Value lastRow) {
  Value count = k.sub(lastRow, firstRow);
  loop(k.index(0), times(count, panels * vectorLanes), vectorLanes,
       [&](Value at) { store(splat(0.0f), sums, at); });
  SmallVector<Value> panelStarts = startsOfPanels(target, group);
  if (tiles) {
    SmallVector<Value, 2> buffers(target.weights);
    buffers.resize(panels, target.weights[0]);
    return tiles->emit(x, firstRow, lastRow, buffers, panelStarts, sums);
  }
  int64_t rest = depth % pieceColumns, whole = depth - rest;
  if (whole > 0)
    loop(k.index(0), k.index(whole), pieceColumns, [&](Value column) {
      emitPiece(target, panelStarts, firstRow, lastRow, column, pieceColumns);
    });
  if (rest > 0)
    emitPiece(target, panelStarts, firstRow, lastRow, k.index(whole), rest);
}

/// Adds the products over a piece of K to the sums of all rows.
void LinearKernel::emitPiece(const Target &target, ArrayRef<Value> panelStarts, Value firstRow,
                             Value lastRow, Value firstColumn, int64_t columns) {
  SmallVector<Value, 2> buffers(target.weights);
  buffers.resize(panels, target.weights[0]);
  SmallVector<Value, 2> starts;
  for (Value start : panelStarts)
    starts.push_back(k.add(start, times(firstColumn, vectorLanes)));
  if (wideWeights && !cast<MemRefType>(buffers[0].getType()).getElementType().isF32()) {
    for (int64_t panel = 0; panel < panels; ++panel) {
      Value to = k.index(panel * pieceColumns * vectorLanes);
      loop(k.index(0), k.index(columns * vectorLanes), vectorLanes, [&](Value at) {
        store(load(buffers[panel], k.add(starts[panel], at)), wideWeights, k.add(to, at));
      });
      starts[panel] = to;
    }
    buffers.assign(panels, wideWeights);
  }
  Value count = k.sub(lastRow, firstRow);
  Value blockEnd = k.sub(lastRow, b.create<arith::RemUIOp>(count, k.index(rows)));
  loop(firstRow, blockEnd, rows, [&](Value row) {
    emitTile(buffers, starts, firstRow, row, lastRow, rows, firstColumn, columns);
  });
  loop(blockEnd, lastRow, tailRows, [&](Value row) {
    emitTile(buffers, starts, firstRow, row, lastRow, tailRows, firstColumn, columns);
  });
}

/// One tile over a piece of K. The surplus rows of the last tile repeat its last row; their sums
/// have places of their own, since a task's sums are for a multiple of every tile's rows.
void LinearKernel::emitTile(ArrayRef<Value> buffers, ArrayRef<Value> panelStarts, Value firstRow,
                            Value row, Value lastRow, int64_t tileRows, Value firstColumn,
                            int64_t columns) {
  SmallVector<Value> rowStarts, tileSums;
  for (int64_t i = 0; i < tileRows; ++i) {
    Value from = tileRows == rows ? row : k.min(plus(row, i), plus(lastRow, -1));
    from = k.add(times(from, depth), firstColumn);
    if (tileRows == rows)
      from = plus(from, i * depth);
    rowStarts.push_back(copies ? k.index(i * copiedStride) : from);
    if (copies)
      copyRow(from, rowStarts.back(), columns);
  }
  Value sumsAt = times(k.sub(row, firstRow), panels * vectorLanes);
  for (int64_t i = 0; i < tileRows * panels; ++i)
    tileSums.push_back(load(sums, plus(sumsAt, i * vectorLanes)));
  // On the way the same piece of the next tile's rows is fetched, one line of 16 elements a step.
  constexpr int64_t linesOfRow = pieceColumns / vectorLanes;
  tileSums = accumulate(
      tileSums, 1, copies ? copied : x, rowStarts, buffers, panelStarts, columns,
      [&](Value column) {
        if (copies || tileRows < rows)
          return;
        Value nextRow = plus(b.create<arith::DivUIOp>(column, k.index(linesOfRow)), rows);
        Value line = b.create<arith::RemUIOp>(column, k.index(linesOfRow));
        prefetch(x, k.add(k.add(rowStarts[0], times(nextRow, depth)), times(line, vectorLanes)));
      });
  for (auto [i, sum] : llvm::enumerate(tileSums))
    store(sum, sums, plus(sumsAt, i * vectorLanes));
}

/// Adds the products over `columns` columns to the sums, which are ordered by set, row, panel.
SmallVector<Value> LinearKernel::accumulate(SmallVector<Value> sums, int64_t sets, Value buffer,
                                            ArrayRef<Value> rowStarts, ArrayRef<Value> weights,
                                            ArrayRef<Value> panelStarts, int64_t columns,
                                            function_ref<void(Value)> prefetch) {
  int64_t outputs = sums.size() / sets;
  // More than one step of a tile at a time would only give LLVM loads to move around.
  int64_t unroll = rowStarts.size() > 1 ? 1 : std::max<int64_t>(4, sets);
  auto step = [&](Value column, int64_t offset, SmallVectorImpl<Value> &sums) {
    SmallVector<Value, 2> panel;
    prefetch(plus(column, offset));
    Value at = times(plus(column, offset), vectorLanes);
    for (int64_t p = 0; p < panels; ++p)
      panel.push_back(load(weights[p], k.add(panelStarts[p], at)));
    int64_t set = (offset % sets) * outputs;
    for (auto [row, start] : llvm::enumerate(rowStarts)) {
      Value element = splat(loadScalar(buffer, plus(k.add(start, column), offset)));
      for (int64_t p = 0; p < panels; ++p) {
        Value &sum = sums[set + row * panels + p];
        sum = fma(element, panel[p], sum);
      }
    }
  };
  int64_t rest = columns % unroll, whole = columns - rest;
  if (whole > 0)
    sums = loop(k.index(0), k.index(whole), unroll, sums, [&](Value column, ValueRange carried) {
      SmallVector<Value> next(carried);
      for (int64_t offset = 0; offset < unroll; ++offset)
        step(column, offset, next);
      return next;
    });
  for (int64_t offset = 0; offset < rest; ++offset)
    step(k.index(whole), offset, sums);
  return sums;
}

void LinearKernel::copyRow(Value from, Value to, int64_t columns) {
  int64_t rest = columns % vectorLanes, whole = columns - rest;
  loop(k.index(0), k.index(whole), vectorLanes,
       [&](Value column) { store(load(x, k.add(from, column)), copied, k.add(to, column)); });
  for (int64_t column = whole; column < columns; ++column)
    storeScalar(loadScalar(x, plus(from, column)), copied, plus(to, column));
}

/// Bias, activation, residual and the rounding of the sums of a task.
void LinearKernel::emitResults(const Target &target, Value group, Value firstRow, Value rowCount) {
  int64_t results = gated ? 1 : panels;
  loop(k.index(0), rowCount, 1, [&](Value row) {
    Value rowStart = k.mul(k.add(firstRow, row), target.features);
    Value sumsAt = times(row, panels * vectorLanes);
    for (int64_t panel = 0; panel < results; ++panel) {
      Value column = times(plus(times(group, results), panel), vectorLanes);
      Value active = target.wholeTiles ? Value() : mask(k.sub(target.features, column));
      auto sumOf = [&](int64_t i) {
        Value sum = load(sums, plus(sumsAt, i * vectorLanes));
        if (target.biases.empty())
          return sum;
        return k.add(sum, load(target.biases[gated ? i : 0], column, active));
      };
      Value y = activate(op.getActivation(), sumOf(panel));
      if (gated)
        y = k.mul(y, sumOf(1));
      Value at = k.add(rowStart, column);
      if (residual)
        y = k.add(y, load(residual, at, active));
      store(y, target.output, at, active);
    }
  });
}

} // namespace

LogicalResult tacq::emitLinear(KernelBuilder &kernel, LinearOp op, const CpuTarget &target) {
  return LinearKernel(kernel, op, target).emit();
}
