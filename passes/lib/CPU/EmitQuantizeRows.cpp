//===- EmitQuantizeRows.cpp - Rows as integers ----------------------------===//
//
// A task is a row. A block's elements are in registers between its maximum and its integers.
//
//===----------------------------------------------------------------------===//

#include "RowCode.h"
#include "tacq/CPU/HotKernels.h"
#include "tacq/Dialect/TACQ/MixedStorage.h"
#include "llvm/Support/MathExtras.h"
#include <limits>

using namespace mlir;
using namespace tacq;

namespace {

constexpr double largestInteger = 127;

} // namespace

QuantizeRowsCode::QuantizeRowsCode(KernelBuilder &k, QuantizeRowsOp op)
    : VectorCode(k), rows(elementCount(ArrayRef(k.dims(op.getX())).drop_back())),
      columns(*k.dims(op.getX()).back().constant()), block(op.getBlock()), planes(op.planes()),
      q(outputBuffer(op.getQ())), scales(outputBuffer(op.getScales())) {}

Value QuantizeRowsCode::integerSplat(int32_t value) {
  return b.create<arith::ConstantOp>(DenseElementsAttr::get(integers(32), value));
}

void QuantizeRowsCode::emitBlock(Value x, Value from, Value to, Value scaleAt, int64_t columns) {
  Type f32 = b.getF32Type();
  SmallVector<Value> elements;
  // As integers, the bits of magnitudes are in the order of the magnitudes, and NaN is the largest.
  Value largest = integerSplat(0);
  for (int64_t i = 0; i < columns; i += vectorLanes) {
    Value active = columns - i < vectorLanes ? mask(k.index(columns - i)) : Value();
    elements.push_back(load(x, plus(from, i), active));
    Value bits = b.create<vector::BitCastOp>(integers(32), elements.back());
    bits = b.create<arith::AndIOp>(bits, integerSplat(std::numeric_limits<int32_t>::max()));
    largest = b.create<arith::MaxUIOp>(largest, bits);
  }
  Value bits = b.create<vector::ReductionOp>(vector::CombiningKind::MAXUI, largest);
  Value magnitude = b.create<arith::BitcastOp>(f32, bits);
  auto compare = [&](arith::CmpFPredicate predicate, double limit) {
    return b.create<arith::CmpFOp>(predicate, magnitude, k.constant(f32, limit));
  };
  Value isFinite = compare(arith::CmpFPredicate::OLE, std::numeric_limits<float>::max());
  Value isLarge = compare(arith::CmpFPredicate::OGE, 0x1p-100);
  Value isNumber = k.logicalAnd(isFinite, isLarge);
  Value zero = k.constant(f32, 0), limit = k.constant(f32, largestInteger);
  Value scale = k.select(isLarge, k.div(magnitude, limit), zero);
  scale = k.select(isFinite, scale, k.constant(f32, std::numeric_limits<double>::quiet_NaN()));
  Value inverse = splat(k.select(isNumber, k.div(limit, magnitude), zero));
  Value keep = b.create<vector::BroadcastOp>(VectorType::get(vectorLanes, b.getI1Type()), isNumber);
  SmallVector<Value> rounded, remainders;
  for (Value element : elements) {
    Value steps = k.select(keep, k.mul(element, inverse), splat(0.0f));
    rounded.push_back(b.create<math::RoundEvenOp>(steps));
    if (planes > 1)
      remainders.push_back(b.create<math::RoundEvenOp>(
          k.mul(k.sub(steps, rounded.back()), splat(float(remainderSteps)))));
  }
  storeIntegers(rounded, scale, to, scaleAt);
  if (planes == 1)
    return;
  int64_t tiles = llvm::divideCeil(this->columns, quantizedColumns);
  int64_t blocks = llvm::divideCeil(this->columns, block);
  storeIntegers(remainders, k.div(scale, k.constant(f32, remainderSteps)),
                k.add(to, k.mul(k.sym(rows), k.index(tiles * quantizedColumns))),
                plus(scaleAt, 2 * blocks));
}

/// Stores a block's integers of a plane, and their scales.
void QuantizeRowsCode::storeIntegers(ArrayRef<Value> rounded, Value scale, Value to,
                                     Value scaleAt) {
  Value sums = integerSplat(0);
  for (auto [i, each] : llvm::enumerate(rounded)) {
    Value number = b.create<arith::FPToSIOp>(integers(32), each);
    sums = b.create<arith::AddIOp>(sums, number);
    Value narrow = b.create<arith::TruncIOp>(integers(8), number);
    b.create<vector::StoreOp>(narrow, q, ValueRange{plus(to, int64_t(i) * vectorLanes)});
  }
  Value sum = b.create<vector::ReductionOp>(vector::CombiningKind::ADD, sums);
  storeScalar(scale, scales, scaleAt);
  storeScalar(k.mul(scale, b.create<arith::SIToFPOp>(b.getF32Type(), sum)), scales,
              plus(scaleAt, 1));
}

void QuantizeRowsCode::emitRow(Value x, Value from, Value row) {
  int64_t stored = llvm::alignTo(columns, quantizedColumns);
  int64_t whole = columns / block, blocks = llvm::divideCeil(columns, block);
  Value scaleAt = times(row, 2 * planes * blocks);
  auto tileAt = [&](Value tile) {
    return times(k.add(k.mul(tile, k.sym(rows)), row), quantizedColumns);
  };
  int64_t blocksOfTile = quantizedColumns / block;
  loop(k.index(0), k.index(whole), 1, [&](Value i) {
    Value blocksOfWidth = k.index(blocksOfTile);
    Value tile = b.create<arith::DivUIOp>(i, blocksOfWidth);
    Value inTile = times(b.create<arith::RemUIOp>(i, blocksOfWidth), block);
    emitBlock(x, k.add(from, times(i, block)), k.add(tileAt(tile), inTile),
              k.add(scaleAt, times(i, 2)), block);
  });
  Value lastTile = tileAt(k.index(stored / quantizedColumns - 1));
  int64_t lastColumn = stored - quantizedColumns;
  if (whole < blocks)
    emitBlock(x, plus(from, whole * block), plus(lastTile, whole * block - lastColumn),
              plus(scaleAt, 2 * whole), columns - whole * block);
  Value zeros = b.create<arith::ConstantOp>(b.getZeroAttr(integers(8)));
  for (int64_t plane = 0; plane < planes; ++plane) {
    Value own = tileAt(k.index((plane + 1) * (stored / quantizedColumns) - 1));
    for (int64_t at = llvm::alignTo(columns, vectorLanes); at < stored; at += vectorLanes)
      b.create<vector::StoreOp>(zeros, q, ValueRange{plus(own, at - lastColumn)});
  }
}

LogicalResult tacq::emitQuantizeRows(KernelBuilder &kernel, QuantizeRowsOp op) {
  QuantizeRowsCode code(kernel, op);
  if (Value x = code.inputBuffer(op.getX())) {
    kernel.parallel(code.rows,
                    [&](Value row) { code.emitRow(x, code.times(row, code.columns), row); });
    return success();
  }
  if (!op.getX().getDefiningOp<NodeOp>())
    return op.emitError("the kernel of a quantization holds the operation that it quantizes");
  // A row of what the nodes compute, in the precision of the tensor that is not in memory.
  Type element = kernel.elementType(op.getX());
  Value x = code.stackBuffer(llvm::alignTo(code.columns, vectorLanes), element);
  Dims dims = kernel.dims(op.getX());
  kernel.parallel(code.rows, [&](Value row) {
    KernelBuilder::Index at = kernel.delinearize(row, ArrayRef(dims).drop_back());
    at.push_back(Value());
    kernel.loop(kernel.index(code.columns), [&](Value column) {
      at.back() = column;
      code.storeScalar(kernel.load(op.getX(), at), x, column);
    });
    code.emitRow(x, kernel.index(0), row);
  });
  return success();
}
