//===- EmitNormRope.cpp - Normalization and rotary embedding --------------===//

#include "ShaderKernels.h"
#include "WorkgroupCode.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;

namespace {

constexpr int64_t largestWorkgroup = 512;

/// A task is a row, of a workgroup.
class NormShader : WorkgroupCode {
public:
  NormShader(KernelBuilder &k, NormOp op, VulkanProfileAttr profile)
      : WorkgroupCode(k, profile), op(op) {}

  LogicalResult emit() {
    x = inputBuffer(op.getX());
    y = outputBuffer(op.getResult());
    gain = inputBuffer(op.getGain());
    bias = inputBuffer(op.getBias());
    if (!x || !y || bool(op.getGain()) != bool(gain) || bool(op.getBias()) != bool(bias))
      return op.emitError("the kernel of a normalization holds that operation alone");
    Dims dims = k.dims(op.getX());
    // Four elements for each invocation, or more.
    int64_t extent = dims.back().constant().value_or(largestWorkgroup * 4);
    int64_t most = subgroup() > 1 ? largestWorkgroup : profile.getWorkgroup();
    setWorkgroup(std::clamp<int64_t>(llvm::PowerOf2Ceil(extent / 4), 32, most));
    memory = shared(subgroups(), b.getF32Type());
    k.parallel(elementCount(ArrayRef(dims).drop_back()), [&](Value row) {
      columns = k.sym(dims.back());
      emitRow(k.mul(row, columns));
    });
    return success();
  }

private:
  Value sumRow(Value row, function_ref<Value(Value)> term) {
    Value own = loop(thread(), columns, workgroup(), f(0.0), [&](Value at, ValueRange carried) {
      return SmallVector<Value>{k.add(carried[0], term(load(x, k.add(row, at))))};
    })[0];
    return reduce(own, memory, [&](Value x, Value y) { return k.add(x, y); });
  }

  void emitRow(Value row) {
    Value wide = b.create<arith::IndexCastOp>(b.getI64Type(), columns);
    Value count = b.create<arith::SIToFPOp>(b.getF32Type(), wide);
    Value mean;
    if (op.getKind() == NormKind::Layer)
      mean = k.div(sumRow(row, [](Value x) { return x; }), count);
    auto centered = [&](Value x) { return mean ? k.sub(x, mean) : x; };
    Value squares = sumRow(row, [&](Value x) {
      Value difference = centered(x);
      return k.mul(difference, difference);
    });
    Value epsilon = f(op.getEpsilon().convertToDouble());
    Value deviation = b.create<math::SqrtOp>(k.add(k.div(squares, count), epsilon));
    Value scale = k.div(f(1.0), deviation);
    loop(thread(), columns, workgroup(), [&](Value at) {
      Value result = k.mul(centered(load(x, k.add(row, at))), scale);
      if (gain)
        result = k.mul(result, load(gain, at));
      if (bias)
        result = k.add(result, load(bias, at));
      store(result, y, k.add(row, at));
    });
  }

  NormOp op;
  Value x, y, gain, bias, columns, memory;
};

/// A task is an element.
LogicalResult emitRope(ShaderCode &code, RopeOp op) {
  KernelBuilder &k = code.k;
  Value x = code.inputBuffer(op.getX()), cosines = code.inputBuffer(op.getCos());
  Value sines = code.inputBuffer(op.getSin()), y = code.outputBuffer(op.getResult());
  if (!x || !cosines || !sines || !y)
    return op.emitError("the kernel of a rotary embedding holds that operation alone");
  Dims dims = k.dims(op.getX()), table = k.dims(op.getCos());
  k.parallel(elementCount(dims), [&](Value task) {
    KernelBuilder::Index at = k.delinearize(task, dims);
    Value pairs = k.sym(table.back()), zero = k.index(0), one = k.index(1), feature = at[3];
    Value rotated = k.less(feature, k.add(pairs, pairs));
    // Where the feature and its pair are, and which of the two comes first.
    Value first, pair, other;
    if (op.getInterleaved()) {
      Value odd = code.remainder(feature, k.index(2));
      first = k.equal(odd, zero);
      pair = code.quotient(feature, k.index(2));
      other = k.select(first, k.add(feature, one), k.sub(feature, one));
    } else {
      first = k.less(feature, pairs);
      pair = k.select(first, feature, k.sub(feature, pairs));
      other = k.select(first, k.add(feature, pairs), k.sub(feature, pairs));
    }
    Value own = code.load(x, task);
    auto rotate = [&] {
      Value batch = k.select(k.equal(k.sym(table[0]), one), zero, at[0]);
      Value angle = k.add(k.mul(k.add(k.mul(batch, k.sym(dims[1])), at[1]), pairs), pair);
      Value partner = code.load(x, k.add(task, k.sub(other, feature)));
      Value turned = k.mul(partner, code.load(sines, angle));
      Value kept = k.mul(own, code.load(cosines, angle));
      return SmallVector<Value>{k.select(first, k.sub(kept, turned), k.add(kept, turned))};
    };
    Value result = k.branch(rotated, rotate, [&] { return SmallVector<Value>{own}; })[0];
    code.store(result, y, task);
  });
  return success();
}

} // namespace

LogicalResult tacq::emitNormShader(KernelBuilder &kernel, NormOp op, VulkanProfileAttr profile) {
  return NormShader(kernel, op, profile).emit();
}

LogicalResult tacq::emitRopeShader(KernelBuilder &kernel, RopeOp op) {
  ShaderCode code(kernel);
  return emitRope(code, op);
}
