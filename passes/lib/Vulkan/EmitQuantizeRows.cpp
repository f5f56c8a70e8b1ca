//===- EmitQuantizeRows.cpp - Rows as 8-bit integers ----------------------===//
//
// A task is a block of a row, or a part of one that an invocation of a subgroup has. It stores four
// integers at a time; the last block of a row stores the zeros behind it, too.
//
//===----------------------------------------------------------------------===//

#include "ShaderKernels.h"
#include "WorkgroupCode.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "tacq/Dialect/TACQ/MixedStorage.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;

namespace {

constexpr double largestInteger = 127;

class QuantizeRowsShader : WorkgroupCode {
public:
  QuantizeRowsShader(KernelBuilder &k, QuantizeRowsOp op, VulkanProfileAttr profile)
      : WorkgroupCode(k, profile), op(op) {}

  LogicalResult emit() {
    Value output = outputBuffer(op.getQ());
    x = inputBuffer(op.getX());
    scales = outputBuffer(op.getScales());
    if (!x || !output || !scales)
      return op.emitError("the kernel of a quantization holds that operation alone");
    Dims dims = k.dims(op.getX());
    columns = *dims.back().constant();
    block = op.getBlock();
    blocks = llvm::divideCeil(columns, block);
    stored = llvm::alignTo(columns, quantizedColumns);
    if (block % 4 != 0)
      return op.emitError("there is no shader for blocks of ") << block << " columns";
    words = wordsOf(output);
    parts = std::min(subgroup(), block / 4);
    partColumns = block / parts;
    k.parallel(elementCount(ArrayRef(dims).drop_back()) * (blocks * parts), [&](Value task) {
      Value whole = quotient(task, k.index(parts));
      emitPart(quotient(whole, k.index(blocks)), remainder(whole, k.index(blocks)), whole,
               remainder(task, k.index(parts)));
    });
    return success();
  }

private:
  /// What `combine` makes of the values of all parts of a block.
  Value ofBlock(Value value, function_ref<Value(Value, Value)> combine) {
    for (int64_t mask = 1; mask < parts; mask *= 2)
      value = combine(value, shuffleXor(value, mask));
    return value;
  }

  void emitPart(Value row, Value number, Value task, Value part) {
    Type f32 = b.getF32Type();
    Value from = times(row, columns);
    Value first = k.add(times(number, block), times(part, partColumns));
    Value last = k.min(plus(first, partColumns), k.index(columns));
    // As integers, the bits of magnitudes are in the order of the magnitudes, and NaN is the
    // largest.
    Value bits = loop(first, last, 1, word(0), [&](Value at, ValueRange carried) {
      Value own = b.create<arith::BitcastOp>(b.getI32Type(), load(x, k.add(from, at)));
      own = b.create<arith::AndIOp>(own, word(std::numeric_limits<int32_t>::max()));
      return SmallVector<Value>{b.create<arith::MaxUIOp>(carried[0], own)};
    })[0];
    bits = ofBlock(bits, [&](Value x, Value y) -> Value { return b.create<arith::MaxUIOp>(x, y); });
    // Compared as bits, since shaders may take infinities and NaN for any number.
    auto atLeast = [&](float limit) -> Value {
      return b.create<arith::CmpIOp>(arith::CmpIPredicate::uge, bits,
                                     word(llvm::bit_cast<int32_t>(limit)));
    };
    Value isFinite = k.logicalNot(atLeast(std::numeric_limits<float>::infinity()));
    Value isLarge = atLeast(0x1p-100f), isNumber = k.logicalAnd(isFinite, isLarge);
    Value magnitude = b.create<arith::BitcastOp>(f32, k.select(isNumber, bits, word(0)));
    Value safe = k.select(isNumber, magnitude, f(1.0));
    Value scale = k.select(isNumber, k.div(magnitude, f(largestInteger)), f(0.0));
    Value inverse = k.select(isNumber, k.div(f(largestInteger), safe), f(0.0));

    Value isLast =
        k.logicalAnd(k.equal(number, k.index(blocks - 1)), k.equal(part, k.index(parts - 1)));
    Value end = k.select(isLast, k.index(stored), plus(first, partColumns));
    Value to = times(row, stored);
    Value sum = loop(first, end, 4, word(0), [&](Value at, ValueRange carried) {
      Value packed = word(0), total = carried[0];
      for (int64_t i = 0; i < 4; ++i) {
        Value own = plus(at, i), inside = k.logicalAnd(k.less(own, last), isNumber);
        Value integer = k.branch(
            inside,
            [&] {
              Value scaled = k.mul(load(x, k.add(from, own)), inverse);
              Value rounded = b.create<math::RoundEvenOp>(scaled);
              return SmallVector<Value>{b.create<arith::FPToSIOp>(b.getI32Type(), rounded)};
            },
            [&] { return SmallVector<Value>{word(0)}; })[0];
        total = k.add(total, integer);
        Value low = b.create<arith::AndIOp>(integer, word(255));
        packed = b.create<arith::OrIOp>(packed, b.create<arith::ShLIOp>(low, word(8 * i)));
      }
      Value place = b.create<arith::ShRUIOp>(k.add(to, at), k.index(2));
      b.create<memref::StoreOp>(packed, words, ValueRange{place});
      return SmallVector<Value>{total};
    })[0];
    sum = ofBlock(sum, [&](Value x, Value y) { return k.add(x, y); });
    Value product = k.mul(scale, b.create<arith::SIToFPOp>(f32, sum));
    Value nan = f(std::numeric_limits<double>::quiet_NaN());
    Value scaleAt = times(task, 2);
    when(k.equal(part, k.index(0)), [&] {
      store(k.select(isFinite, scale, nan), scales, scaleAt);
      store(k.select(isFinite, product, nan), scales, plus(scaleAt, 1));
    });
  }

  QuantizeRowsOp op;
  Value x, words, scales;
  int64_t columns = 0, block = 0, blocks = 0, stored = 0, parts = 1, partColumns = 0;
};

} // namespace

LogicalResult tacq::emitQuantizeRowsShader(KernelBuilder &kernel, QuantizeRowsOp op,
                                           VulkanProfileAttr profile) {
  return QuantizeRowsShader(kernel, op, profile).emit();
}
