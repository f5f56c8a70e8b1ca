//===- EmitNorm.cpp - RMS and layer normalization -------------------------===//
//
// A task is a few rows. A row is read twice (three times for layer normalization): once for its
// moments, with several sums in flight, and once for the result. Fused with the quantization of its
// result, a row of it is on the stack only.
//
//===----------------------------------------------------------------------===//

#include "RowCode.h"
#include "tacq/CPU/HotKernels.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;

namespace {

constexpr int64_t rowsPerTask = 4;
constexpr int64_t sumsInFlight = 4;

} // namespace

Value NormCode::sumRow(Value row, function_ref<Value(Value, Value)> term) {
  int64_t step = vectorLanes * sumsInFlight;
  SmallVector<Value> zeros(sumsInFlight, splat(0.0f));
  SmallVector<Value> sums = loop(k.index(0), whole, step, zeros, [&](Value at, ValueRange carried) {
    SmallVector<Value> next;
    for (int64_t i = 0; i < sumsInFlight; ++i)
      next.push_back(
          k.add(carried[i], term(load(x, plus(k.add(row, at), i * vectorLanes)), Value())));
    return next;
  });
  Value total = k.add(k.add(sums[0], sums[1]), k.add(sums[2], sums[3]));
  total = loop(whole, columns, vectorLanes, total, [&](Value at, ValueRange carried) {
    Value active = mask(k.sub(columns, at));
    return SmallVector<Value>{k.add(carried[0], term(load(x, k.add(row, at), active), active))};
  })[0];
  return sum(total);
}

void NormCode::emitRow(Value row, Value y, Value to) {
  Value count = b.create<arith::SIToFPOp>(b.getF32Type(),
                                          b.create<arith::IndexCastOp>(b.getI64Type(), columns));
  Value mean;
  if (op.getKind() == NormKind::Layer)
    mean = splat(k.div(sumRow(row, [&](Value x, Value) { return x; }), count));
  auto centered = [&](Value x) { return mean ? k.sub(x, mean) : x; };
  Value squares = sumRow(row, [&](Value x, Value active) {
    Value difference = centered(x);
    // Lanes beyond the row hold 0, which is not the mean.
    if (mean && active)
      difference = k.select(active, difference, splat(0.0f));
    return k.mul(difference, difference);
  });
  Value variance = k.div(squares, count);
  Value epsilon = k.constant(b.getF32Type(), op.getEpsilon().convertToDouble());
  Value deviation = b.create<math::SqrtOp>(k.add(variance, epsilon));
  Value scale = splat(k.div(k.constant(b.getF32Type(), 1.0), deviation));

  auto emitVector = [&](Value at, Value active) {
    Value from = k.add(row, at);
    Value result = k.mul(centered(load(x, from, active)), scale);
    if (gain)
      result = k.mul(result, load(gain, at, active));
    if (bias)
      result = k.add(result, load(bias, at, active));
    store(result, y, k.add(to, at), active);
  };
  int64_t step = vectorLanes * sumsInFlight;
  loop(k.index(0), whole, step, [&](Value at) {
    for (int64_t i = 0; i < sumsInFlight; ++i)
      emitVector(plus(at, i * vectorLanes), Value());
  });
  loop(whole, columns, vectorLanes, [&](Value at) { emitVector(at, mask(k.sub(columns, at))); });
}

LogicalResult NormCode::collect() {
  x = inputBuffer(op.getX());
  gain = inputBuffer(op.getGain());
  bias = inputBuffer(op.getBias());
  if (!x || bool(op.getGain()) != bool(gain) || bool(op.getBias()) != bool(bias))
    return op.emitError("the kernel of a normalization holds that operation alone");
  return success();
}

void NormCode::beginTask() {
  columns = k.sym(k.dims(op.getX()).back());
  int64_t step = vectorLanes * sumsInFlight;
  whole = k.sub(columns, b.create<arith::RemUIOp>(columns, k.index(step)));
}

LogicalResult tacq::emitNorm(KernelBuilder &kernel, NormOp op, const CpuTarget &) {
  NormCode code(kernel, op);
  if (failed(code.collect()))
    return failure();
  Value y = kernel.outputBuffer(0);
  Dims dims = kernel.dims(op.getX());
  Sym rowCount = elementCount(ArrayRef(dims).drop_back());
  kernel.parallel(Sym::ceilDiv(rowCount, rowsPerTask), [&](Value task) {
    code.beginTask();
    Value first = code.times(task, rowsPerTask);
    Value last = kernel.min(code.plus(first, rowsPerTask), kernel.sym(rowCount));
    code.loop(first, last, 1, [&](Value row) {
      Value at = kernel.mul(row, code.columns);
      code.emitRow(at, y, at);
    });
  });
  return success();
}

LogicalResult tacq::emitQuantizedNorm(KernelBuilder &kernel, NormOp op, QuantizeRowsOp quantize) {
  NormCode norm(kernel, op);
  QuantizeRowsCode code(kernel, quantize);
  if (failed(norm.collect()))
    return failure();
  // In the precision of the result that is not in memory: the integers are those of two kernels.
  Value row = norm.stackBuffer(llvm::alignTo(code.columns, vectorLanes),
                               kernel.elementType(op.getResult()));
  kernel.parallel(code.rows, [&](Value task) {
    norm.beginTask();
    norm.emitRow(kernel.mul(task, norm.columns), row, kernel.index(0));
    code.emitRow(row, kernel.index(0), task);
  });
  return success();
}
