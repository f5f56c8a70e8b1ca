//===- EmitLinear.cpp - Matrix products with dense weights ----------------===//
//
// A task is an element of the result, or one of each pair of a gated operation. Neighbouring tasks
// are neighbouring output features, which stand side by side in a panel.
//
//===----------------------------------------------------------------------===//

#include "ShaderCode.h"
#include "ShaderKernels.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace tacq;

namespace {

class LinearShader : ShaderCode {
public:
  LinearShader(KernelBuilder &k, LinearOp op) : ShaderCode(k), op(op) {}
  LogicalResult emit();

private:
  struct Weight {
    Value weight, bias, output;
    int64_t features;
    PanelAttr panel; // null: row-major
    WeightOrder order;
  };
  LogicalResult collect();
  Value product(const Weight &weight, Value row, Value feature);
  void emitResult(const Weight &weight, Value row, Value feature);

  LinearOp op;
  Sym depth, rowCount;
  Value x, residual;
  SmallVector<Weight> weights;
};

LogicalResult LinearShader::collect() {
  Dims dims = k.dims(op.getX());
  depth = dims.back();
  rowCount = elementCount(ArrayRef(dims).drop_back());
  x = inputBuffer(op.getX());
  residual = inputBuffer(op.getResidual());
  if (!x || bool(op.getResidual()) != bool(residual))
    return op.emitError("the kernel of a linear operation holds that operation alone");
  for (auto [i, operand] : llvm::enumerate(op.getWeights())) {
    Weight weight;
    if (op.getWeightLayouts())
      weight.panel = dyn_cast<PanelAttr>((*op.getWeightLayouts())[i]);
    weight.order = WeightOrder(cast<IntegerAttr>(op.getWeightOrder()[i]).getInt());
    std::optional<int64_t> features =
        k.dims(operand)[weight.order == WeightOrder::NK ? 0 : 1].constant();
    weight.weight = inputBuffer(operand);
    weight.output = outputBuffer(op.getResults()[op.getGated() ? 0 : i]);
    weight.bias = op.getBiases().empty() ? Value() : inputBuffer(op.getBiases()[i]);
    if (!features || !weight.weight || !weight.output || (op.getWeightLayouts() && !weight.panel) ||
        (!op.getBiases().empty() && !weight.bias))
      return op.emitError("there is no shader for weight ") << i << " of a linear operation";
    weight.features = *features;
    weights.push_back(weight);
  }
  return success();
}

Value LinearShader::product(const Weight &weight, Value row, Value feature) {
  Value count = k.sym(depth), from = k.mul(row, count), start, step;
  if (weight.panel) {
    int64_t width = weight.panel.getWidth();
    Value panel = quotient(feature, k.index(width));
    start = k.add(times(k.mul(panel, count), width), remainder(feature, k.index(width)));
    step = k.index(width);
  } else {
    bool rowsFirst = weight.order == WeightOrder::NK;
    start = rowsFirst ? k.mul(feature, count) : feature;
    step = k.index(rowsFirst ? 1 : weight.features);
  }
  Value sum = loop(k.index(0), count, 1, f(0.0), [&](Value i, ValueRange carried) {
    Value factor = load(weight.weight, k.add(start, k.mul(i, step)));
    return SmallVector<Value>{k.add(carried[0], k.mul(load(x, k.add(from, i)), factor))};
  })[0];
  return weight.bias ? k.add(sum, load(weight.bias, feature)) : sum;
}

void LinearShader::emitResult(const Weight &weight, Value row, Value feature) {
  Value y = activate(op.getActivation(), product(weight, row, feature));
  if (op.getGated())
    y = k.mul(y, product(weights[1], row, feature));
  Value at = k.add(times(row, weight.features), feature);
  if (residual)
    y = k.add(y, load(residual, at));
  store(y, weight.output, at);
}

LogicalResult LinearShader::emit() {
  if (failed(collect()))
    return failure();
  ArrayRef<Weight> parts = ArrayRef(weights).take_front(op.getGated() ? 1 : weights.size());
  int64_t features = 0;
  for (const Weight &weight : parts)
    features += weight.features;
  k.parallel(rowCount * features, [&](Value task) {
    Value row = quotient(task, k.index(features)), feature = remainder(task, k.index(features));
    int64_t first = 0;
    for (const Weight &weight : parts) {
      Value own = plus(feature, -first);
      if (parts.size() == 1)
        return emitResult(weight, row, own);
      Value isIt = k.logicalAnd(k.lessEqual(k.index(first), feature),
                                k.less(feature, k.index(first + weight.features)));
      when(isIt, [&] { emitResult(weight, row, own); });
      first += weight.features;
    }
  });
  return success();
}

} // namespace

LogicalResult tacq::emitLinearShader(KernelBuilder &kernel, LinearOp op) {
  return LinearShader(kernel, op).emit();
}
