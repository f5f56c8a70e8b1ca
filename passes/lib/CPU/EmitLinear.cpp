//===- EmitLinear.cpp - Matrix products with packed weights ---------------===//
//
// A tile of the result is `rows` rows by `panels` panels of 16 output features, held in registers
// while the kernel runs over K: each step loads one vector of each panel and broadcasts one element
// of each row. Rows are in blocks of `rows`; what is left over is done in blocks of `tailRows`
// whose surplus rows repeat the last one, and a single row (decoding) has a tile of its own, with
// several sums for each output so that its additions do not wait for each other.
//
// A task is a group of panels by a group of rows, panels first: a thread gets neighbouring panels.
//
//===----------------------------------------------------------------------===//

#include "VectorCode.h"
#include "tacq/CPU/HotKernels.h"
#include "tacq/CPU/MathExpansion.h"
#include "tacq/CPU/WeightPacking.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;

namespace {

/// Rows of a task: enough to use a panel many times from cache, few enough to share the work out.
constexpr int64_t rowsPerTask = 96;
/// Inputs of 16 bits are converted to f32 in pieces of this many columns.
constexpr int64_t convertedColumns = 256;
/// Chains of dependent additions that keep two multiply-add units busy.
constexpr int64_t chains = 8;

class LinearKernel : VectorCode {
public:
  LinearKernel(KernelBuilder &k, LinearOp op, const CpuTarget &target)
      : VectorCode(k), op(op), gated(op.getGated()) {
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
  void emitRows(const Target &target, Value group, Value firstRow, Value lastRow);
  void emitTile(const Target &target, Value group, Value firstRow, Value lastRow, int64_t tileRows);
  SmallVector<Value> accumulate(SmallVector<Value> sums, int64_t sets, Value buffer,
                                ArrayRef<Value> rowStarts, ArrayRef<Value> weights,
                                ArrayRef<Value> panelStarts, Value firstColumn, int64_t columns);
  SmallVector<Value> product(const Target &target, ArrayRef<Value> rowStarts,
                             ArrayRef<Value> panelStarts);
  void convertRows(ArrayRef<Value> rowStarts, Value firstColumn, int64_t columns);
  void emitResults(const Target &target, Value group, Value firstRow, Value rowCount);
  Value activate(Value x);

  LinearOp op;
  bool gated;
  int64_t panels, rows, tailRows;
  int64_t depth = 0; // K
  Sym rowCount;
  Value x, residual;
  Value converted; // x in f32, if it is not
  Value tile;      // the sums of a tile, [rows][panels][16]
  SmallVector<Weight> weights;
};

LogicalResult LinearKernel::collect() {
  auto inputBuffer = [&](Value tensor) -> Value {
    std::optional<unsigned> input = k.inputOf(tensor);
    return input ? k.inputBuffer(*input) : Value();
  };
  Dims xDims = k.dims(op.getX());
  std::optional<int64_t> inputs = xDims.back().constant();
  if (!inputs || !op.getWeightLayouts())
    return op.emitError("the kernel of a linear operation needs packed weights of static shape");
  depth = *inputs;
  rowCount = elementCount(ArrayRef(xDims).drop_back());
  x = inputBuffer(op.getX());
  if (op.getResidual())
    residual = inputBuffer(op.getResidual());
  Operation *yield = k.region().front().getTerminator();
  for (auto [i, weight] : llvm::enumerate(op.getWeights())) {
    auto layout = dyn_cast<PanelAttr>((*op.getWeightLayouts())[i]);
    if (!layout || layout.getWidth() != cpuPanelWidth)
      return op.emitError("weight ")
             << i << " of a linear operation is not in panels of " << cpuPanelWidth;
    auto order = WeightOrder(cast<IntegerAttr>(op.getWeightOrder()[i]).getInt());
    std::optional<int64_t> features = k.dims(weight)[order == WeightOrder::NK ? 0 : 1].constant();
    Value result = op.getResults()[gated ? 0 : i];
    auto yielded = llvm::find(yield->getOperands(), result);
    Weight entry;
    entry.weight = inputBuffer(weight);
    if (!features || !entry.weight || !x || yielded == yield->operand_end() ||
        (op.getResidual() && !residual))
      return op.emitError("the kernel of a linear operation holds that operation alone");
    entry.output = k.outputBuffer(std::distance(yield->operand_begin(), yielded));
    if (!op.getBiases().empty())
      entry.bias = inputBuffer(op.getBiases()[i]);
    entry.features = *features;
    entry.panelCount = llvm::divideCeil(*features, vectorLanes);
    entry.groups = gated ? entry.panelCount : llvm::divideCeil(entry.panelCount, panels);
    weights.push_back(entry);
  }
  return success();
}

LogicalResult LinearKernel::emit() {
  if (failed(collect()))
    return failure();
  if (std::optional<int64_t> count = rowCount.constant()) {
    rows = *count < rows ? std::min(tailRows, *count) : rows;
    tailRows = std::min(tailRows, rows);
  }
  tile = stackBuffer(rows * panels * vectorLanes, b.getF32Type());
  if (!cast<MemRefType>(x.getType()).getElementType().isF32())
    converted = stackBuffer(rows * convertedColumns, b.getF32Type());

  int64_t groups = 0;
  for (const Weight &weight : ArrayRef(weights).take_front(gated ? 1 : weights.size()))
    groups += weight.groups;
  Sym rowGroups = Sym::ceilDiv(rowCount, rowsPerTask);
  k.parallel(rowGroups * groups, [&](Value task) {
    Value group = task, firstRow = k.index(0), lastRow = k.sym(rowCount);
    if (!rowGroups.isConstant(1)) {
      Value count = k.sym(rowGroups);
      group = b.create<arith::DivUIOp>(task, count);
      firstRow = times(b.create<arith::RemUIOp>(task, count), rowsPerTask);
      lastRow = k.min(plus(firstRow, rowsPerTask), lastRow);
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
    emitRows(target, group, firstRow, lastRow);
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
    emitRows(target, localGroup, firstRow, lastRow);
    return;
  }
  int64_t first = 0;
  for (const Weight &weight : weights) {
    Value isIt = k.logicalAnd(k.lessEqual(k.index(first), group),
                              k.less(group, k.index(first + weight.groups)));
    when(isIt, [&] { emitRows(targetOf(weight), plus(group, -first), firstRow, lastRow); });
    first += weight.groups;
  }
}

void LinearKernel::emitRows(const Target &target, Value group, Value firstRow, Value lastRow) {
  Value count = k.sub(lastRow, firstRow);
  Value blockEnd = k.sub(lastRow, b.create<arith::RemUIOp>(count, k.index(rows)));
  loop(firstRow, blockEnd, rows, [&](Value row) { emitTile(target, group, row, lastRow, rows); });
  if (rows == 1)
    return;
  loop(blockEnd, lastRow, tailRows, [&](Value row) {
    Value single = k.equal(plus(row, 1), lastRow);
    auto branch = b.create<scf::IfOp>(single, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    emitTile(target, group, row, lastRow, 1);
    b.setInsertionPointToStart(branch.elseBlock());
    emitTile(target, group, row, lastRow, tailRows);
  });
}

void LinearKernel::emitTile(const Target &target, Value group, Value firstRow, Value lastRow,
                            int64_t tileRows) {
  bool whole = tileRows == rows || tileRows == 1;
  SmallVector<Value> rowStarts, panelStarts;
  Value start = times(firstRow, depth);
  for (int64_t row = 0; row < tileRows; ++row)
    rowStarts.push_back(whole ? plus(start, row * depth)
                              : times(k.min(plus(firstRow, row), plus(lastRow, -1)), depth));
  int64_t panelSize = depth * vectorLanes;
  if (gated) {
    panelStarts.assign(2, times(group, panelSize));
  } else {
    for (int64_t panel = 0; panel < panels; ++panel) {
      Value number = plus(times(group, panels), panel);
      if (panel > 0 && !target.wholeTiles)
        number = k.min(number, plus(target.panelCount, -1));
      panelStarts.push_back(times(number, panelSize));
    }
  }
  SmallVector<Value> sums = product(target, rowStarts, panelStarts);
  for (auto [i, sum] : llvm::enumerate(sums))
    store(sum, tile, k.index(i * vectorLanes));
  Value rowCount = k.index(tileRows);
  if (!whole)
    rowCount = k.min(rowCount, k.sub(lastRow, firstRow));
  emitResults(target, group, firstRow, rowCount);
}

/// The sums of a tile, row by row.
SmallVector<Value> LinearKernel::product(const Target &target, ArrayRef<Value> rowStarts,
                                         ArrayRef<Value> panelStarts) {
  int64_t outputs = rowStarts.size() * panels;
  int64_t sets = std::max<int64_t>(1, chains / outputs);
  SmallVector<Value, 2> buffers(target.weights);
  buffers.resize(panels, target.weights[0]);
  SmallVector<Value> sums(outputs * sets, splat(0.0f));
  if (!converted) {
    sums = accumulate(sums, sets, x, rowStarts, buffers, panelStarts, k.index(0), depth);
  } else {
    SmallVector<Value> convertedStarts;
    for (size_t row = 0; row < rowStarts.size(); ++row)
      convertedStarts.push_back(k.index(row * convertedColumns));
    auto piece = [&](Value first, int64_t columns, ValueRange carried) {
      convertRows(rowStarts, first, columns);
      SmallVector<Value> starts;
      for (Value panel : panelStarts)
        starts.push_back(k.add(panel, times(first, vectorLanes)));
      return accumulate(carried, sets, converted, convertedStarts, buffers, starts, k.index(0),
                        columns);
    };
    int64_t rest = depth % convertedColumns, wholePieces = depth - rest;
    if (wholePieces > 0)
      sums = loop(
          k.index(0), k.index(wholePieces), convertedColumns, sums,
          [&](Value first, ValueRange carried) { return piece(first, convertedColumns, carried); });
    if (rest > 0)
      sums = piece(k.index(wholePieces), rest, sums);
  }
  for (int64_t set = 1; set < sets; ++set)
    for (int64_t i = 0; i < outputs; ++i)
      sums[i] = k.add(sums[i], sums[set * outputs + i]);
  sums.resize(outputs);
  return sums;
}

/// Adds the products over `columns` columns to the sums.
SmallVector<Value> LinearKernel::accumulate(SmallVector<Value> sums, int64_t sets, Value buffer,
                                            ArrayRef<Value> rowStarts, ArrayRef<Value> weights,
                                            ArrayRef<Value> panelStarts, Value firstColumn,
                                            int64_t columns) {
  int64_t outputs = sums.size() / sets;
  int64_t unroll = std::max<int64_t>(4, sets);
  auto step = [&](Value column, int64_t offset, SmallVectorImpl<Value> &sums) {
    SmallVector<Value, 2> panel;
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
    sums = loop(firstColumn, plus(firstColumn, whole), unroll, sums,
                [&](Value column, ValueRange carried) {
                  SmallVector<Value> next(carried);
                  for (int64_t offset = 0; offset < unroll; ++offset)
                    step(column, offset, next);
                  return next;
                });
  for (int64_t offset = 0; offset < rest; ++offset)
    step(plus(firstColumn, whole), offset, sums);
  return sums;
}

void LinearKernel::convertRows(ArrayRef<Value> rowStarts, Value firstColumn, int64_t columns) {
  int64_t rest = columns % vectorLanes, whole = columns - rest;
  for (auto [row, rowStart] : llvm::enumerate(rowStarts)) {
    Value from = k.add(rowStart, firstColumn), to = k.index(row * convertedColumns);
    loop(k.index(0), k.index(whole), vectorLanes,
         [&](Value column) { store(load(x, k.add(from, column)), converted, k.add(to, column)); });
    for (int64_t column = whole; column < columns; ++column)
      storeScalar(loadScalar(x, plus(from, column)), converted, plus(to, column));
  }
}

Value LinearKernel::activate(Value x) {
  auto mul = [&](Value x, Value y) { return k.mul(x, y); };
  switch (op.getActivation()) {
  case Activation::None:
    return x;
  case Activation::ReLU:
    return b.create<arith::MaximumFOp>(x, splat(0.0f));
  case Activation::SiLU: {
    Value negated = b.create<arith::NegFOp>(x);
    return b.create<arith::DivFOp>(x, k.add(emitExp(b, negated), splat(1.0f)));
  }
  case Activation::Gelu: {
    Value erf = emitErf(b, mul(x, splat(0.70710678118654752f)));
    return mul(mul(x, splat(0.5f)), k.add(erf, splat(1.0f)));
  }
  case Activation::GeluTanh: {
    Value cubic = fma(mul(mul(x, x), splat(0.044715f)), x, x);
    Value tanh = emitTanh(b, mul(cubic, splat(0.79788456080286536f)));
    return mul(mul(x, splat(0.5f)), k.add(tanh, splat(1.0f)));
  }
  }
  llvm_unreachable("unknown activation");
}

/// Bias, activation, residual and the rounding of a tile's sums.
void LinearKernel::emitResults(const Target &target, Value group, Value firstRow, Value rowCount) {
  int64_t results = gated ? 1 : panels;
  loop(k.index(0), rowCount, 1, [&](Value row) {
    Value rowStart = k.mul(k.add(firstRow, row), target.features);
    Value sums = times(row, panels * vectorLanes);
    for (int64_t panel = 0; panel < results; ++panel) {
      Value column = times(plus(times(group, results), panel), vectorLanes);
      Value active = target.wholeTiles ? Value() : mask(k.sub(target.features, column));
      auto sumOf = [&](int64_t i) {
        Value sum = load(tile, plus(sums, i * vectorLanes));
        if (target.biases.empty())
          return sum;
        return k.add(sum, load(target.biases[gated ? i : 0], column, active));
      };
      Value y = activate(sumOf(panel));
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
