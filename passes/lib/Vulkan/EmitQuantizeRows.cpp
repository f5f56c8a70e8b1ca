//===- EmitQuantizeRows.cpp - Rows as integers ----------------------------===//
//
// A task is a block of a row, or a part of one that an invocation of a subgroup has. It stores four
// integers at a time; the last block of a row stores the zeros behind it, too. Integers of 16 bits
// are two planes of 8 bits each.
//
//===----------------------------------------------------------------------===//

#include "RowShaders.h"
#include "ShaderKernels.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "tacq/Dialect/TACQ/MixedStorage.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;

static constexpr double largestInteger = 127;
/// Elements that an invocation keeps between their maximum and their integers.
static constexpr int64_t keptElements = 8;

LogicalResult QuantizeRow::collect() {
  Value output = outputBuffer(op.getQ());
  scales = outputBuffer(op.getScales());
  if (!output || !scales)
    return op.emitError("the kernel of a quantization yields its results");
  words = wordsOf(output);
  return chooseParts(op.getBlock() / 4);
}

LogicalResult QuantizeRow::chooseParts(int64_t most) {
  columns = *k.dims(op.getX()).back().constant();
  block = op.getBlock();
  blocks = llvm::divideCeil(columns, block);
  stored = llvm::alignTo(columns, quantizedColumns);
  if (block % 4 != 0)
    return op.emitError("there is no shader for blocks of ") << block << " columns";
  parts = std::min(subgroup(), most);
  partColumns = block / parts;
  return success();
}

/// What `combine` makes of the values of all parts of a block.
Value QuantizeRow::ofBlock(Value value, function_ref<Value(Value, Value)> combine) {
  for (int64_t mask = 1; mask < parts; mask *= 2)
    value = combine(value, shuffleXor(value, mask));
  return value;
}

/// As integers, the bits of magnitudes are in the order of the magnitudes, and NaN is the largest.
Value QuantizeRow::largest(Value before, Value x) {
  Value own = b.create<arith::BitcastOp>(b.getI32Type(), x);
  own = b.create<arith::AndIOp>(own, word(std::numeric_limits<int32_t>::max()));
  return b.create<arith::MaxUIOp>(before, own);
}

QuantizeRow::Factors QuantizeRow::factorsOf(Value bits) {
  bits = ofBlock(bits, [&](Value x, Value y) -> Value { return b.create<arith::MaxUIOp>(x, y); });
  // Compared as bits, since shaders may take infinities and NaN for any number.
  auto atLeast = [&](float limit) -> Value {
    return b.create<arith::CmpIOp>(arith::CmpIPredicate::uge, bits,
                                   word(llvm::bit_cast<int32_t>(limit)));
  };
  Value isFinite = k.logicalNot(atLeast(std::numeric_limits<float>::infinity()));
  Value isNumber = k.logicalAnd(isFinite, atLeast(0x1p-100f));
  Value magnitude = b.create<arith::BitcastOp>(b.getF32Type(), k.select(isNumber, bits, word(0)));
  Value safe = k.select(isNumber, magnitude, f(1.0));
  return {isNumber, isFinite, k.select(isNumber, k.div(magnitude, f(largestInteger)), f(0.0)),
          k.select(isNumber, k.div(f(largestInteger), safe), f(0.0))};
}

Value QuantizeRow::integerOf(const Factors &factors, Value x, int64_t plane) {
  Value steps = k.mul(x, factors.inverse), rounded = b.create<math::RoundEvenOp>(steps);
  if (plane > 0)
    rounded = b.create<math::RoundEvenOp>(k.mul(k.sub(steps, rounded), f(remainderSteps)));
  return b.create<arith::FPToSIOp>(b.getI32Type(), rounded);
}

Value QuantizeRow::pack(ArrayRef<Value> integers, Value &sum) {
  Value packed;
  for (auto [i, own] : llvm::enumerate(integers)) {
    sum = k.add(sum, own);
    Value low = b.create<arith::AndIOp>(own, word(255));
    low = i ? b.create<arith::ShLIOp>(low, word(8 * i)) : low;
    packed = packed ? b.create<arith::OrIOp>(packed, low) : low;
  }
  return packed;
}

void QuantizeRow::emitScales(const Factors &factors, Value part, ArrayRef<Value> sums, Value buffer,
                             Value at) {
  Value nan = f(std::numeric_limits<double>::quiet_NaN()), scale = factors.scale;
  for (auto [plane, own] : llvm::enumerate(sums)) {
    if (plane > 0)
      scale = k.div(scale, f(remainderSteps));
    Value sum = ofBlock(own, [&](Value x, Value y) { return k.add(x, y); });
    Value product = k.mul(scale, b.create<arith::SIToFPOp>(b.getF32Type(), sum));
    Value to = plus(at, 2 * blocks * int64_t(plane));
    when(k.equal(part, k.index(0)), [&] {
      store(k.select(factors.isFinite, scale, nan), buffer, to);
      store(k.select(factors.isFinite, product, nan), buffer, plus(to, 1));
    });
  }
}

void QuantizeRow::emitKept(ArrayRef<Value> elements, Value part,
                           function_ref<void(Value word, int64_t column, int64_t plane)> storeWord,
                           Value scales, Value scaleAt) {
  Value bits = word(0);
  SmallVector<Value, 2> sums(size_t(op.planes()), word(0));
  for (Value x : elements)
    bits = largest(bits, x);
  Factors factors = factorsOf(bits);
  for (auto [plane, sum] : llvm::enumerate(sums))
    for (size_t first = 0; first < elements.size(); first += 4) {
      SmallVector<Value> integers;
      for (Value x : elements.slice(first, 4))
        integers.push_back(
            integerOf(factors, k.select(factors.isNumber, x, f(0.0)), int64_t(plane)));
      storeWord(pack(integers, sum), int64_t(first), int64_t(plane));
    }
  emitScales(factors, part, sums, scales, scaleAt);
}

void QuantizeRow::emitPart(Value row, Value number, Value part, ElementOfRow element) {
  Value first = k.add(times(number, block), times(part, partColumns));
  Value last = k.min(plus(first, partColumns), k.index(columns));
  int64_t planes = op.planes();
  Value to = times(row, planes * stored);
  Value scaleAt = times(k.add(times(row, planes * blocks), number), 2);
  auto storeWord = [&](Value packed, Value at, int64_t plane) {
    Value place = b.create<arith::ShRUIOp>(k.add(to, plus(at, plane * stored)), k.index(2));
    b.create<memref::StoreOp>(packed, words, ValueRange{place});
  };
  auto orZero = [&](Value condition, function_ref<Value()> value) {
    return k.branch(
        condition, [&] { return SmallVector<Value>{value()}; },
        [&] { return SmallVector<Value>{f(0.0)}; })[0];
  };
  if (partColumns <= keptElements) {
    SmallVector<Value> kept;
    for (int64_t i = 0; i < partColumns; ++i) {
      Value column = plus(first, i);
      kept.push_back(columns % block == 0 ? element(column) : orZero(k.less(column, last), [&] {
        return element(column);
      }));
    }
    emitKept(
        kept, part,
        [&](Value word, int64_t i, int64_t plane) { storeWord(word, plus(first, i), plane); },
        scales, scaleAt);
  } else {
    Value bits = loop(first, last, 1, word(0), [&](Value at, ValueRange carried) {
      return SmallVector<Value>{largest(carried[0], element(at))};
    })[0];
    Factors factors = factorsOf(bits);
    SmallVector<Value> sums(size_t(planes), word(0));
    sums = loop(first, plus(first, partColumns), 4, sums, [&](Value at, ValueRange now) {
      SmallVector<Value> next(now), elements;
      for (int64_t i = 0; i < 4; ++i) {
        Value own = plus(at, i);
        elements.push_back(orZero(k.logicalAnd(k.less(own, last), factors.isNumber),
                                  [&] { return element(own); }));
      }
      for (auto [plane, sum] : llvm::enumerate(next)) {
        SmallVector<Value> integers;
        for (Value x : elements)
          integers.push_back(integerOf(factors, x, int64_t(plane)));
        storeWord(pack(integers, sum), at, int64_t(plane));
      }
      return next;
    });
    emitScales(factors, part, sums, scales, scaleAt);
  }
  if (blocks * block == stored)
    return;
  Value isLast =
      k.logicalAnd(k.equal(number, k.index(blocks - 1)), k.equal(part, k.index(parts - 1)));
  when(isLast, [&] {
    loop(k.index(blocks * block), k.index(stored), 4, [&](Value at) {
      for (int64_t plane = 0; plane < planes; ++plane)
        storeWord(word(0), at, plane);
    });
  });
}

Sym tacq::rowsToQuantize(QuantizeRowsOp op, const Sym &rows, VulkanProfileAttr profile) {
  return isRepeatedRow(op, profile) ? rows * Sym::min(rows - Sym(1), Sym(1)) : rows;
}

LogicalResult tacq::emitQuantizeRowsShader(KernelBuilder &kernel, QuantizeRowsOp op,
                                           VulkanProfileAttr profile) {
  QuantizeRow code(kernel, op, profile);
  if (failed(code.collect()))
    return failure();
  Value x = code.inputBuffer(op.getX());
  if (!x && !op.getX().getDefiningOp<NodeOp>())
    return op.emitError("the kernel of a quantization holds the operation that it quantizes");
  Dims dims = kernel.dims(op.getX());
  Sym rows = elementCount(ArrayRef(dims).drop_back());
  kernel.parallel(rowsToQuantize(op, rows, profile) * (code.blocks * code.parts), [&](Value task) {
    Value whole = code.quotient(task, kernel.index(code.parts));
    Value row = code.quotient(whole, kernel.index(code.blocks));
    KernelBuilder::Index at;
    if (!x)
      at = kernel.delinearize(row, ArrayRef(dims).drop_back());
    at.push_back(Value());
    code.emitPart(row, code.remainder(whole, kernel.index(code.blocks)),
                  code.remainder(task, kernel.index(code.parts)), [&](Value column) {
                    if (x)
                      return code.load(x, kernel.add(code.times(row, code.columns), column));
                    at.back() = column;
                    return kernel.load(op.getX(), at);
                  });
  });
  return success();
}
