//===- EmitQuantizeRows.cpp - Rows as 8-bit integers ----------------------===//
//
// A task is a block of a row. It stores four integers at a time; the last block of a row stores the
// zeros behind it, too.
//
//===----------------------------------------------------------------------===//

#include "ShaderCode.h"
#include "ShaderKernels.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "tacq/Dialect/TACQ/MixedStorage.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;

namespace {

constexpr double largestInteger = 127;

class QuantizeRowsShader : ShaderCode {
public:
  QuantizeRowsShader(KernelBuilder &k, QuantizeRowsOp op) : ShaderCode(k), op(op) {}

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
    k.parallel(elementCount(ArrayRef(dims).drop_back()) * blocks, [&](Value task) {
      emitBlock(quotient(task, k.index(blocks)), remainder(task, k.index(blocks)), task);
    });
    return success();
  }

private:
  void emitBlock(Value row, Value number, Value task) {
    Type f32 = b.getF32Type();
    Value from = times(row, columns), first = times(number, block);
    Value last = k.min(plus(first, block), k.index(columns));
    // As integers, the bits of magnitudes are in the order of the magnitudes, and NaN is the
    // largest.
    Value bits = loop(first, last, 1, word(0), [&](Value at, ValueRange carried) {
      Value own = b.create<arith::BitcastOp>(b.getI32Type(), load(x, k.add(from, at)));
      own = b.create<arith::AndIOp>(own, word(std::numeric_limits<int32_t>::max()));
      return SmallVector<Value>{b.create<arith::MaxUIOp>(carried[0], own)};
    })[0];
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

    Value end = k.select(k.equal(number, k.index(blocks - 1)), k.index(stored), plus(first, block));
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
    Value product = k.mul(scale, b.create<arith::SIToFPOp>(f32, sum));
    Value nan = f(std::numeric_limits<double>::quiet_NaN());
    Value scaleAt = times(task, 2);
    store(k.select(isFinite, scale, nan), scales, scaleAt);
    store(k.select(isFinite, product, nan), scales, plus(scaleAt, 1));
  }

  QuantizeRowsOp op;
  Value x, words, scales;
  int64_t columns = 0, block = 0, blocks = 0, stored = 0;
};

} // namespace

LogicalResult tacq::emitQuantizeRowsShader(KernelBuilder &kernel, QuantizeRowsOp op) {
  return QuantizeRowsShader(kernel, op).emit();
}
