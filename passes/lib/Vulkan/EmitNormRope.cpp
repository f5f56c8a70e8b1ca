//===- EmitNormRope.cpp - Normalization and rotary embedding --------------===//

#include "RowShaders.h"
#include "ShaderKernels.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;

static constexpr int64_t largestWorkgroup = 512;

LogicalResult NormRow::collect() {
  x = inputBuffer(op.getX());
  gain = inputBuffer(op.getGain());
  bias = inputBuffer(op.getBias());
  if (!x || bool(op.getGain()) != bool(gain) || bool(op.getBias()) != bool(bias))
    return op.emitError("the kernel of a normalization holds that operation alone");
  // Four elements for each invocation, or more.
  int64_t extent = k.dims(op.getX()).back().constant().value_or(largestWorkgroup * 4);
  int64_t most = subgroup() > 1 ? largestWorkgroup : profile.getWorkgroup();
  most = std::min(most, mostInvocations());
  setWorkgroup(std::clamp<int64_t>(llvm::PowerOf2Ceil(extent / 4), 32, most));
  memory = shared(subgroups(), b.getF32Type());
  return success();
}

Value NormRow::sumRow(Value row, function_ref<Value(Value)> term) {
  Value own = loop(thread(), columns, workgroup(), f(0.0), [&](Value at, ValueRange carried) {
    return SmallVector<Value>{k.add(carried[0], term(load(x, k.add(row, at))))};
  })[0];
  return reduce(own, memory, [&](Value x, Value y) { return k.add(x, y); });
}

void NormRow::beginRow(Value row) {
  Value wide = b.create<arith::IndexCastOp>(b.getI64Type(), columns);
  Value count = b.create<arith::SIToFPOp>(b.getF32Type(), wide);
  mean = nullptr;
  if (op.getKind() == NormKind::Layer)
    mean = k.div(sumRow(row, [](Value x) { return x; }), count);
  Value squares = sumRow(row, [&](Value x) {
    Value difference = centered(x);
    return k.mul(difference, difference);
  });
  Value epsilon = f(op.getEpsilon().convertToDouble());
  Value deviation = b.create<math::SqrtOp>(k.add(k.div(squares, count), epsilon));
  scale = k.div(f(1.0), deviation);
}

Value NormRow::result(Value row, Value column) {
  Value result = k.mul(centered(load(x, k.add(row, column))), scale);
  if (gain)
    result = k.mul(result, load(gain, column));
  if (bias)
    result = k.add(result, load(bias, column));
  return result;
}

LogicalResult tacq::emitNormShader(KernelBuilder &kernel, NormOp op, VulkanProfileAttr profile) {
  NormRow code(kernel, op, profile);
  if (failed(code.collect()))
    return failure();
  Value y = kernel.outputBuffer(0);
  kernel.parallel(elementCount(ArrayRef(kernel.dims(op.getX())).drop_back()), [&](Value task) {
    code.beginTask();
    Value row = kernel.mul(task, code.columns);
    code.beginRow(row);
    code.loop(code.thread(), code.columns, code.workgroup(),
              [&](Value at) { code.store(code.result(row, at), y, kernel.add(row, at)); });
  });
  return success();
}

LogicalResult tacq::emitQuantizedNormShader(KernelBuilder &kernel, NormOp op,
                                            QuantizeRowsOp quantize, VulkanProfileAttr profile) {
  NormRow norm(kernel, op, profile);
  QuantizeRow code(kernel, quantize, profile);
  if (failed(norm.collect()) || failed(code.collect()))
    return failure();
  Type element = kernel.elementType(op.getResult());
  Sym rows = elementCount(ArrayRef(kernel.dims(op.getX())).drop_back());
  kernel.parallel(rowsToQuantize(quantize, rows, profile), [&](Value task) {
    norm.beginTask();
    Value row = kernel.mul(task, norm.columns), parts = kernel.index(code.parts);
    norm.beginRow(row);
    norm.loop(norm.thread(), kernel.index(code.blocks * code.parts), norm.workgroup(),
              [&](Value at) {
                // In the precision of the result that is not in memory.
                code.emitPart(task, norm.quotient(at, parts), norm.remainder(at, parts),
                              [&](Value column) {
                                return kernel.roundTo(element, norm.result(row, column));
                              });
              });
  });
  return success();
}

LogicalResult RopeRow::collect() {
  x = inputBuffer(op.getX());
  cosines = inputBuffer(op.getCos());
  sines = inputBuffer(op.getSin());
  if (!x || !cosines || !sines)
    return op.emitError("the kernel of a rotary embedding holds that operation alone");
  return success();
}

Value RopeRow::element(Value batch, Value position, Value start, Value feature) {
  Dims dims = k.dims(op.getX()), table = k.dims(op.getCos());
  Value pairs = k.sym(table.back()), zero = k.index(0), one = k.index(1);
  Value rotated = k.less(feature, k.add(pairs, pairs));
  // Where the feature and its pair are, and which of the two comes first.
  Value first, pair, other;
  if (op.getInterleaved()) {
    Value odd = remainder(feature, k.index(2));
    first = k.equal(odd, zero);
    pair = quotient(feature, k.index(2));
    other = k.select(first, k.add(feature, one), k.sub(feature, one));
  } else {
    first = k.less(feature, pairs);
    pair = k.select(first, feature, k.sub(feature, pairs));
    other = k.select(first, k.add(feature, pairs), k.sub(feature, pairs));
  }
  Value own = load(x, k.add(start, feature));
  // Without a branch, several elements are under way at once.
  bool isWhole = (dims.back() - table.back() * Sym(2)).isConstant(0);
  auto rotate = [&] {
    Value sequence = k.select(k.equal(k.sym(table[0]), one), zero, batch);
    Value angle = k.add(k.mul(k.add(k.mul(sequence, k.sym(dims[1])), position), pairs), pair);
    Value partner = load(x, k.add(start, other));
    Value turned = k.mul(partner, load(sines, angle));
    Value kept = k.mul(own, load(cosines, angle));
    return SmallVector<Value>{k.select(first, k.sub(kept, turned), k.add(kept, turned))};
  };
  if (isWhole)
    return rotate()[0];
  return k.branch(rotated, rotate, [&] { return SmallVector<Value>{own}; })[0];
}

LogicalResult tacq::emitRopeShader(KernelBuilder &kernel, RopeOp op) {
  RopeRow code(kernel, op);
  if (failed(code.collect()))
    return failure();
  Value y = kernel.outputBuffer(0);
  Dims dims = kernel.dims(op.getX());
  // A task is an element.
  kernel.parallel(elementCount(dims), [&](Value task) {
    KernelBuilder::Index at = kernel.delinearize(task, dims);
    code.store(code.element(at[0], at[1], kernel.sub(task, at[3]), at[3]), y, task);
  });
  return success();
}
