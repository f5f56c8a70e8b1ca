//===- EmitMixedLinear.cpp - Products with mixed-precision weights --------===//

#include "MixedLinearKernel.h"
#include "tacq/CPU/HotKernels.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;

LogicalResult MixedLinearKernel::collect() {
  std::string reason;
  auto operands = collectOperands(*this, op, reason);
  if (failed(operands))
    return op.emitError(reason);
  for (auto [operand, weight] : llvm::zip(*operands, op.getWeights()))
    weights.push_back({operand.format, operand.buffer, operand.bias, operand.output,
                       int64_t(llvm::divideCeil(operand.format.rowsOfTiles, gated ? 1 : panels)),
                       tilingOf(cast<MixedType>(weight.getType()))});
  return success();
}

TilingAttr MixedLinearKernel::tilingOf(MixedType weight) const {
  for (TilingAttr tiling : options.tilings)
    if (tiling.getTarget() == target.name && tiling.getWeight() == weight)
      return tiling;
  return modelTiling(target, weight);
}

LogicalResult MixedLinearKernel::emit() {
  if (failed(collect()))
    return failure();
  rowsPerTask = weights[0].tiling.getTaskRows();
  std::optional<int64_t> count = rowCount.constant();
  if (!xScales) {
    rowsPerTask = floatRowsPerTask;
    decoded = stackBuffer(panelBytes, b.getI8Type());
    sums = stackBuffer(rowsPerTask * panels * vectorLanes, b.getF32Type());
    weightFloats = stackBuffer(panelBytes, b.getF32Type());
    inputFloats = stackBuffer(rowsPerTask * quantizedColumns, b.getF32Type());
  } else if (!count || *count > 1) {
    decoded = stackBuffer(panels * panelBytes, b.getI8Type());
    sums = stackBuffer(rowsPerTask * panels * vectorLanes, b.getF32Type());
    if (usesAmx())
      tileProducts = stackBuffer(amxRows * panels * vectorLanes, b.getI32Type());
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
  if (!xScales)
    return emitFloatPanels(weight, group, firstRow, lastRow);
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
  bool hasSlots = format.hasSlots();
  Value sum = carried[0], circuit = carried[1], total = carried[2], slots = carried[3];
  Value at = tile.tileAt(number);
  int64_t blocksOfTile = quantizedColumns / block;
  Value firstBlock = times(number, blocksOfTile);
  auto scaleAt = [&](int64_t i) {
    return k.add(inputScalesAt(row), times(plus(firstBlock, i), 2));
  };
  Value count = hasSlots ? tile.slotCount(number) : Value();
  if (hasSlots)
    tile.prefetchSlots(slots);
  ofEachPlane([&] {
    InputColumns input = loadColumns(x, inputAt(row, number), quantizedColumns);
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
  });
  if (hasSlots)
    slots = k.add(slots, times(count, format.slotBytes()));
  return {sum, circuit, total, slots};
}

/// 16 results of a row of the input.
Value MixedLinearKernel::singleRow(const Weight &weight, Value rowOfTiles, Value row) {
  const MixedFormat &format = weight.format;
  MixedTile tile(k, target, format, weight.weight);
  tile.prefetchAhead(WeightPrefetch::of(weight.tiling));
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
  return addList(tile, k.add(sum, carried[1]), row);
}

/// Adds the products of a row of the input with what 16 rows of the weight have in a list.
Value MixedLinearKernel::addList(MixedTile &tile, Value sum, Value row) {
  if (tile.format.circuit != MixedFormat::Circuit::List)
    return sum;
  if (!xScales)
    return tile.addList(sum, [&](Value position) {
      return loadScalar(x, k.add(times(row, tile.format.columns), position));
    });
  return tile.addList(sum, [&](Value position) {
    Value width = k.index(quantizedColumns);
    Value number = b.create<arith::DivUIOp>(position, width);
    Value column = b.create<arith::RemUIOp>(position, width);
    Value blockNumber = b.create<arith::DivUIOp>(position, k.index(tile.format.block));
    Value sum;
    ofEachPlane([&] {
      Value integer = b.create<memref::LoadOp>(x, ValueRange{k.add(inputAt(row, number), column)});
      Value scale = loadScalar(xScales, k.add(inputScalesAt(row), times(blockNumber, 2)));
      Value part = k.mul(b.create<arith::SIToFPOp>(b.getF32Type(), integer), scale);
      sum = sum ? k.add(sum, part) : part;
    });
    return sum;
  });
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
    // A tile lies in one block of the permutation.
    static_assert(permutationBlock % vectorLanes == 0);
    Value raw = loadBytes(weight.weight, plus(first, format.permutationAt), vectorLanes);
    Value inBlock = b.create<arith::ExtUIOp>(vector(vectorLanes, 32), raw);
    Value block = b.create<arith::IndexCastOp>(
        b.getI32Type(), k.sub(first, b.create<arith::RemUIOp>(first, k.index(permutationBlock))));
    features =
        b.create<arith::AddIOp>(inBlock, b.create<vector::SplatOp>(vector(vectorLanes, 32), block));
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

LogicalResult tacq::emitMixedLinear(KernelBuilder &kernel, LinearOp op, const CpuTarget &target,
                                    const KernelOptions &options) {
  return MixedLinearKernel(kernel, op, target, options).emit();
}
