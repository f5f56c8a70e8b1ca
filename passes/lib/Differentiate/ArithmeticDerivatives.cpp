//===- ArithmeticDerivatives.cpp - Arithmetic, selection and casts --------===//

#include "Derivatives.h"

using namespace mlir;
using namespace tacq;

namespace {

/// Add and Sum.
void deriveSum(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  for (Value operand : node.getInputs())
    b.accumulate(operand, gradients[0]);
}

void deriveMean(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  Value share = b.mul(gradients[0], 1.0 / double(node.getInputs().size()));
  for (Value operand : node.getInputs())
    b.accumulate(operand, share);
}

void deriveSub(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  Value x = node.getInputs()[0], y = node.getInputs()[1];
  b.accumulate(x, gradients[0]);
  if (b.wants(y))
    b.accumulate(y, b.neg(gradients[0]));
}

void deriveMul(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  Value x = node.getInputs()[0], y = node.getInputs()[1];
  if (b.wants(x))
    b.accumulate(x, b.mul(gradients[0], y));
  if (b.wants(y))
    b.accumulate(y, b.mul(gradients[0], x));
}

void deriveDiv(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  Value x = node.getInputs()[0], y = node.getInputs()[1];
  Value share = b.div(gradients[0], y);
  b.accumulate(x, share);
  if (b.wants(y))
    b.accumulate(y, b.neg(b.mul(share, node.getResult(0))));
}

void deriveNeg(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  b.accumulate(node.getInputs()[0], b.neg(gradients[0]));
}

void derivePow(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  Value x = node.getInputs()[0], exponent = node.getInputs()[1], g = gradients[0];
  std::optional<double> power = scalarOf(exponent);
  if (power == 2.0)
    return b.accumulate(x, b.mul(g, b.mul(x, 2.0)));
  if (power == 0.5)
    return b.accumulate(x, b.div(b.mul(g, 0.5), node.getResult(0)));
  Value p = b.cast(exponent, elementTypeOf(x));
  Value slope = b.mul(p, b.create("Pow", {x, b.add(p, -1.0)}));
  // 0 to the power -1 is not a number, but the slope of a constant is 0.
  slope = b.where(b.equal(p, b.constantLike(p, 0)), b.constantLike(x, 0), slope);
  b.accumulate(x, b.mul(g, slope));
}

std::string refusePow(NodeOp node, IsActive isActive) {
  return isActive(node.getInputs()[1]) ? "its exponent depends on a parameter" : "";
}

/// Min and Max: equal operands share the gradient.
void deriveExtremum(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  Value y = node.getResult(0), count;
  SmallVector<Value> shares;
  for (Value operand : node.getInputs()) {
    Value equal = b.equal(operand, y);
    shares.push_back(b.where(equal, b.constantLike(y, 1), b.constantLike(y, 0)));
    count = count ? b.add(count, shares.back()) : shares.back();
  }
  Value g = b.div(gradients[0], count);
  for (auto [operand, share] : llvm::zip(node.getInputs(), shares))
    if (b.wants(operand))
      b.accumulate(operand, b.mul(g, share));
}

void deriveWhere(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  Value condition = node.getInputs()[0], x = node.getInputs()[1], y = node.getInputs()[2];
  Value zero = b.constantLike(x, 0);
  if (b.wants(x))
    b.accumulate(x, b.where(condition, gradients[0], zero));
  if (b.wants(y))
    b.accumulate(y, b.where(condition, zero, gradients[0]));
}

/// Cast and CastLike between floating-point types.
void deriveCast(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  b.accumulate(node.getInputs()[0], gradients[0]);
}

} // namespace

ArrayRef<Derivative> tacq::arithmeticDerivatives() {
  static const Derivative table[] = {
      {"Add", deriveSum},       {"Sum", deriveSum},
      {"Mean", deriveMean},     {"Sub", deriveSub},
      {"Mul", deriveMul},       {"Div", deriveDiv},
      {"Neg", deriveNeg},       {"Pow", derivePow, refusePow},
      {"Min", deriveExtremum},  {"Max", deriveExtremum},
      {"Where", deriveWhere},   {"Cast", deriveCast},
      {"CastLike", deriveCast},
  };
  return table;
}
