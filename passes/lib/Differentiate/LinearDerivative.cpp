//===- LinearDerivative.cpp - Products with weights -----------------------===//

#include "Derivatives.h"

using namespace mlir;
using namespace tacq;

namespace {

class LinearDeriver {
public:
  LinearDeriver(GradientBuilder &b, LinearOp op) : b(b), op(op) {}

  void derive(ArrayRef<Value> gradients) {
    products.resize(op.getWeights().size());
    if (op.getResidual())
      b.accumulate(op.getResidual(), gradients[0]);
    if (op.getGated())
      throughGate(gradients[0]);
    else
      for (auto [i, gradient] : llvm::enumerate(gradients))
        if (gradient)
          products[i] = throughActivation(gradient, i);
    for (auto [i, gradient] : llvm::enumerate(products))
      if (gradient)
        intoWeight(i, gradient);
    intoInput();
  }

private:
  WeightOrder order(unsigned i) {
    return WeightOrder(cast<IntegerAttr>(op.getWeightOrder()[i]).getInt());
  }

  /// x · Wᵀ + bias, which is not kept.
  Value preactivation(unsigned i) {
    Dims dims = *dimsOf(op.getX());
    auto type = cast<RankedTensorType>(op.getWeights()[i].getType());
    dims.back() = type.getDimSize(order(i) == WeightOrder::NK ? 0 : 1);
    SmallVector<Value> biases;
    if (!op.getBiases().empty())
      biases.push_back(op.getBiases()[i]);
    return b.builder
        .create<LinearOp>(b.loc, tensorType(elementTypeOf(op.getResults()[0]), dims), op.getX(),
                          op.getWeights()[i], biases, Value(), orders(order(i)), Activation::None,
                          /*gated=*/false, b.nodeName())
        .getResults()[0];
  }

  Value slope(Value x) {
    switch (op.getActivation()) {
    case Activation::None:
      break;
    case Activation::SiLU:
      return siluSlope(b, x);
    case Activation::Gelu:
      return geluSlope(b, x);
    case Activation::GeluTanh:
      return geluTanhSlope(b, x);
    case Activation::ReLU:
      return reluSlope(b, x);
    }
    return b.constantLike(x, 1);
  }

  Value activate(Value x) {
    switch (op.getActivation()) {
    case Activation::None:
      break;
    case Activation::SiLU:
      return b.mul(x, b.create("Sigmoid", {x}));
    case Activation::Gelu:
      return b.create("Gelu", {x});
    case Activation::GeluTanh:
      return b.create("Gelu", {x}, {b.attr("approximate", StringRef("tanh"))});
    case Activation::ReLU:
      return b.create("Relu", {x});
    }
    return x;
  }

  Value throughActivation(Value gradient, unsigned i) {
    if (op.getActivation() == Activation::None)
      return gradient;
    return b.mul(gradient, slope(preactivation(i)));
  }

  void throughGate(Value gradient) {
    Value gate = preactivation(0), up = preactivation(1);
    Value share = b.mul(gradient, up);
    products[0] = op.getActivation() == Activation::None ? share : b.mul(share, slope(gate));
    products[1] = b.mul(gradient, activate(gate));
  }

  void intoWeight(unsigned i, Value gradient) {
    if (!op.getBiases().empty())
      b.accumulate(op.getBiases()[i], gradient);
    Value weight = op.getWeights()[i];
    if (LinearTap *tap = b.tapOf(op, i))
      tap->outputGradient = b.rows(gradient);
    else if (b.wants(weight)) {
      Value x = b.rows(op.getX()), g = b.rows(b.cast(gradient, elementTypeOf(op.getX())));
      bool rowsFirst = order(i) == WeightOrder::NK;
      Value left = rowsFirst ? g : x, right = rowsFirst ? x : g;
      b.accumulate(weight, b.create("MatMul", {b.transposeLast(left), right}));
    }
  }

  /// Products with the same weights read the other way, each added to the one before it.
  void intoInput() {
    Value x = op.getX();
    if (!b.wants(x))
      return;
    Value sum = b.gradientOf(x);
    for (auto [i, gradient] : llvm::enumerate(products)) {
      if (!gradient)
        continue;
      auto turned = order(i) == WeightOrder::NK ? WeightOrder::KN : WeightOrder::NK;
      sum =
          b.builder
              .create<LinearOp>(b.loc, x.getType(), gradient, op.getWeights()[i], ValueRange(), sum,
                                orders(turned), Activation::None, /*gated=*/false, b.nodeName())
              .getResults()[0];
    }
    if (sum)
      b.setGradient(x, sum);
  }

  ArrayAttr orders(WeightOrder order) { return b.builder.getI32ArrayAttr({int32_t(order)}); }

  GradientBuilder &b;
  LinearOp op;
  /// Gradients of the products x · Wᵀ, one for each weight.
  SmallVector<Value> products;
};

} // namespace

void tacq::deriveLinear(GradientBuilder &b, LinearOp op, ArrayRef<Value> gradients) {
  LinearDeriver(b, op).derive(gradients);
}
