//===- EmitNorm.cpp - RMS and layer normalization -------------------------===//
//
// A task is a few rows. A row is read twice (three times for layer normalization): once for its
// moments, with several sums in flight, and once for the result.
//
//===----------------------------------------------------------------------===//

#include "VectorCode.h"
#include "tacq/CPU/HotKernels.h"

using namespace mlir;
using namespace tacq;

namespace {

constexpr int64_t rowsPerTask = 4;
constexpr int64_t sumsInFlight = 4;

class NormKernel : VectorCode {
public:
  NormKernel(KernelBuilder &k, NormOp op) : VectorCode(k), op(op) {}
  LogicalResult emit();

private:
  /// The sum over a row of `term`, which gets 16 elements (0 beyond the row) and their mask.
  Value sumRow(Value row, function_ref<Value(Value x, Value mask)> term);
  void emitRow(Value row);

  NormOp op;
  Value x, y, gain, bias;
  Value columns; // of a row
  Value whole;   // columns in full vectors of a step
};

Value NormKernel::sumRow(Value row, function_ref<Value(Value, Value)> term) {
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

void NormKernel::emitRow(Value row) {
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
    store(result, y, from, active);
  };
  int64_t step = vectorLanes * sumsInFlight;
  loop(k.index(0), whole, step, [&](Value at) {
    for (int64_t i = 0; i < sumsInFlight; ++i)
      emitVector(plus(at, i * vectorLanes), Value());
  });
  loop(whole, columns, vectorLanes, [&](Value at) { emitVector(at, mask(k.sub(columns, at))); });
}

LogicalResult NormKernel::emit() {
  std::optional<unsigned> input = k.inputOf(op.getX());
  if (!input)
    return op.emitError("the kernel of a normalization holds that operation alone");
  x = k.inputBuffer(*input);
  y = k.outputBuffer(0);
  auto optional = [&](Value tensor, Value &buffer) {
    if (!tensor)
      return true;
    std::optional<unsigned> position = k.inputOf(tensor);
    if (position)
      buffer = k.inputBuffer(*position);
    return position.has_value();
  };
  if (!optional(op.getGain(), gain) || !optional(op.getBias(), bias))
    return op.emitError("the kernel of a normalization holds that operation alone");
  Dims dims = k.dims(op.getX());
  Sym rowCount = elementCount(ArrayRef(dims).drop_back());
  k.parallel(Sym::ceilDiv(rowCount, rowsPerTask), [&](Value task) {
    columns = k.sym(dims.back());
    int64_t step = vectorLanes * sumsInFlight;
    whole = k.sub(columns, b.create<arith::RemUIOp>(columns, k.index(step)));
    Value first = times(task, rowsPerTask);
    Value last = k.min(plus(first, rowsPerTask), k.sym(rowCount));
    loop(first, last, 1, [&](Value row) { emitRow(k.mul(row, columns)); });
  });
  return success();
}

} // namespace

LogicalResult tacq::emitNorm(KernelBuilder &kernel, NormOp op, const CpuTarget &) {
  return NormKernel(kernel, op).emit();
}
