//===- ReductionDerivatives.cpp - Reductions, softmax and sums ------------===//

#include "Derivatives.h"

using namespace mlir;
using namespace tacq;

namespace {

/// The axes of a reduction, all of them if none is given; nullopt if they are not constant.
std::optional<SmallVector<int64_t>> reducedAxes(NodeOp node) {
  int64_t rank = rankOf(node.getInputs()[0]);
  std::optional<SmallVector<int64_t>> axes = axesOf(node, 1, rank);
  if (axes && axes->empty() && NodeAttrs(node).integer("noop_with_empty_axes", 0) == 0)
    axes->append(llvm::to_vector(llvm::seq<int64_t>(0, rank)));
  return axes;
}

std::string refuseUnknownAxes(NodeOp node, IsActive) {
  return reducedAxes(node) ? "" : "its axes are not constant";
}

/// What a rule of a reduction sees; `gradient` and `result` have the reduced axes as 1.
struct Reduced {
  GradientBuilder &b;
  Value x, result, gradient;
  SmallVector<int64_t> axes;
};

template <Value (*rule)(const Reduced &)>
void deriveReduction(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  Value x = node.getInputs()[0];
  SmallVector<int64_t> axes = *reducedAxes(node);
  Dims dims = *dimsOf(x), kept = dims;
  for (int64_t axis : axes)
    kept[axis] = Sym(1);
  Value gradient =
      rule({b, x, b.reshape(node.getResult(0), kept), b.reshape(gradients[0], kept), axes});
  b.accumulate(x, b.expand(gradient, dims));
}

Value sumRule(const Reduced &r) { return r.gradient; }

Value meanRule(const Reduced &r) {
  Sym count(1);
  Dims dims = *dimsOf(r.x);
  for (int64_t axis : r.axes)
    count = count * dims[axis];
  Type element = elementTypeOf(r.x);
  Value divisor;
  if (std::optional<int64_t> constant = count.constant())
    divisor = r.b.scalar(element, double(*constant));
  else
    divisor = r.b.cast(r.b.create("Squeeze", {r.b.symbols({count}), r.b.integers({0})}), element);
  return r.b.div(r.gradient, divisor);
}

/// ReduceMax and ReduceMin: equal elements share the gradient.
Value extremumRule(const Reduced &r) {
  Value one = r.b.constantLike(r.x, 1);
  Value share = r.b.where(r.b.equal(r.x, r.result), one);
  return r.b.mul(share, r.b.div(r.gradient, r.b.sum(share, r.axes)));
}

Value l1Rule(const Reduced &r) { return r.b.mul(r.gradient, r.b.create("Sign", {r.x})); }

Value l2Rule(const Reduced &r) {
  // At 0 the norm has no slope; 0 is one that does no harm.
  Value isZero = r.b.equal(r.result, r.b.constantLike(r.x, 0));
  Value slope = r.b.where(isZero, r.b.constantLike(r.x, 0), r.b.div(r.gradient, r.result));
  return r.b.mul(slope, r.x);
}

Value sumSquareRule(const Reduced &r) { return r.b.mul(r.gradient, r.b.mul(r.x, 2.0)); }

Value logSumRule(const Reduced &r) { return r.b.div(r.gradient, r.b.exp(r.result)); }

Value logSumExpRule(const Reduced &r) {
  return r.b.mul(r.gradient, r.b.exp(r.b.sub(r.x, r.result)));
}

/// Until opset 12 a softmax goes over all axes from its own on.
SmallVector<int64_t> softmaxAxes(NodeOp node) {
  int64_t rank = rankOf(node.getInputs()[0]);
  bool isFlat = node.getOpset() < 13;
  int64_t axis = axisOf(node, isFlat ? 1 : -1, rank);
  return llvm::to_vector(llvm::seq<int64_t>(axis, isFlat ? rank : axis + 1));
}

void deriveSoftmax(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  Value y = node.getResult(0);
  Value weighted = b.mul(gradients[0], y);
  Value total = b.sum(weighted, softmaxAxes(node));
  b.accumulate(node.getInputs()[0], b.sub(weighted, b.mul(y, total)));
}

void deriveLogSoftmax(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  Value total = b.sum(gradients[0], softmaxAxes(node));
  Value share = b.mul(b.exp(node.getResult(0)), total);
  b.accumulate(node.getInputs()[0], b.sub(gradients[0], share));
}

void deriveCumSum(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  NodeAttrs attrs(node);
  int64_t exclusive = attrs.integer("exclusive", 0), reverse = attrs.integer("reverse", 0);
  b.accumulate(node.getInputs()[0],
               b.create("CumSum", {gradients[0], node.getInputs()[1]},
                        {b.attr("exclusive", exclusive), b.attr("reverse", int64_t(!reverse))}));
}

template <Value (*rule)(const Reduced &)> Derivative reduction(StringRef name) {
  return {name, deriveReduction<rule>, refuseUnknownAxes};
}

} // namespace

ArrayRef<Derivative> tacq::reductionDerivatives() {
  static const Derivative table[] = {
      reduction<sumRule>("ReduceSum"),
      reduction<meanRule>("ReduceMean"),
      reduction<extremumRule>("ReduceMax"),
      reduction<extremumRule>("ReduceMin"),
      reduction<l1Rule>("ReduceL1"),
      reduction<l2Rule>("ReduceL2"),
      reduction<sumSquareRule>("ReduceSumSquare"),
      reduction<logSumRule>("ReduceLogSum"),
      reduction<logSumExpRule>("ReduceLogSumExp"),
      {"Softmax", deriveSoftmax},
      {"LogSoftmax", deriveLogSoftmax},
      {"CumSum", deriveCumSum},
  };
  return table;
}
