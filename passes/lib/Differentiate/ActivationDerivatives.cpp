//===- ActivationDerivatives.cpp - Functions of one number ----------------===//

#include "Derivatives.h"
#include <cmath>

using namespace mlir;
using namespace tacq;

//===----------------------------------------------------------------------===//
// Slopes
//===----------------------------------------------------------------------===//

/// s + c x s (1 - s) with s the logistic function of c x.
static Value swishSlope(GradientBuilder &b, Value x, double factor) {
  Value scaled = factor == 1.0 ? x : b.mul(x, factor);
  Value s = b.create("Sigmoid", {scaled});
  return b.mul(s, b.add(b.mul(scaled, b.subFrom(1, s)), 1.0));
}

Value tacq::siluSlope(GradientBuilder &b, Value x) { return swishSlope(b, x, 1.0); }

Value tacq::geluSlope(GradientBuilder &b, Value x) {
  Value share = b.mul(b.add(b.create("Erf", {b.mul(x, M_SQRT1_2)}), 1.0), 0.5);
  Value density = b.mul(b.exp(b.mul(b.square(x), -0.5)), M_2_SQRTPI * M_SQRT1_2 / 2);
  return b.add(share, b.mul(x, density));
}

Value tacq::geluTanhSlope(GradientBuilder &b, Value x) {
  // 0.5 (1 + t) + 0.5 x (1 - t²) u' with t = tanh(u), u = √(2/π) (x + 0.044715 x³)
  double root = std::sqrt(2 / M_PI), cubic = 0.044715;
  Value squared = b.square(x);
  Value inner = b.mul(b.mul(x, root), b.add(b.mul(squared, cubic), 1.0));
  Value t = b.create("Tanh", {inner});
  Value innerSlope = b.add(b.mul(squared, 3 * root * cubic), root);
  Value rest = b.mul(b.mul(x, b.subFrom(1, b.square(t))), innerSlope);
  return b.mul(b.add(b.add(t, 1.0), rest), 0.5);
}

Value tacq::reluSlope(GradientBuilder &b, Value x) {
  return b.where(b.less(b.constantLike(x, 0), x), b.constantLike(x, 1));
}

namespace {

/// The slope of a function at x, where it has the value y.
using Slope = Value (*)(GradientBuilder &, NodeOp, Value x, Value y);

template <Slope slope>
void deriveUnary(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  Value x = node.getInputs()[0];
  b.accumulate(x, b.mul(gradients[0], slope(b, node, x, node.getResult(0))));
}

/// A function of x plus an optional bias.
template <Slope slope>
void deriveBiased(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  Value x = node.getInputs()[0], bias = operandOf(node, 1);
  Value shifted = bias ? b.add(x, bias) : x;
  Value gradient = b.mul(gradients[0], slope(b, node, shifted, node.getResult(0)));
  b.accumulate(x, gradient);
  if (bias)
    b.accumulate(bias, gradient);
}

/// Constant between its steps.
void deriveSteps(GradientBuilder &, NodeOp, ArrayRef<Value>) {}

Value positive(GradientBuilder &b, Value x) { return b.less(b.constantLike(x, 0), x); }
Value expSlope(GradientBuilder &, NodeOp, Value, Value y) { return y; }
Value logSlope(GradientBuilder &b, NodeOp, Value x, Value) { return b.reciprocal(x); }
Value sqrtSlope(GradientBuilder &b, NodeOp, Value, Value y) {
  return b.div(b.constantLike(y, 0.5), y);
}
Value reciprocalSlope(GradientBuilder &b, NodeOp, Value, Value y) { return b.neg(b.square(y)); }
Value absSlope(GradientBuilder &b, NodeOp, Value x, Value) { return b.create("Sign", {x}); }
Value tanhSlope(GradientBuilder &b, NodeOp, Value, Value y) { return b.subFrom(1, b.square(y)); }
Value sigmoidSlope(GradientBuilder &b, NodeOp, Value, Value y) { return b.mul(y, b.subFrom(1, y)); }
Value erfSlope(GradientBuilder &b, NodeOp, Value x, Value) {
  return b.mul(b.exp(b.neg(b.square(x))), M_2_SQRTPI);
}
Value sinSlope(GradientBuilder &b, NodeOp, Value x, Value) { return b.create("Cos", {x}); }
Value cosSlope(GradientBuilder &b, NodeOp, Value x, Value) { return b.neg(b.create("Sin", {x})); }
Value tanSlope(GradientBuilder &b, NodeOp, Value, Value y) { return b.add(b.square(y), 1.0); }
Value asinSlope(GradientBuilder &b, NodeOp, Value x, Value) {
  return b.reciprocal(b.sqrt(b.subFrom(1, b.square(x))));
}
Value acosSlope(GradientBuilder &b, NodeOp node, Value x, Value y) {
  return b.neg(asinSlope(b, node, x, y));
}
Value atanSlope(GradientBuilder &b, NodeOp, Value x, Value) {
  return b.reciprocal(b.add(b.square(x), 1.0));
}
Value sinhSlope(GradientBuilder &b, NodeOp, Value x, Value) { return b.create("Cosh", {x}); }
Value coshSlope(GradientBuilder &b, NodeOp, Value x, Value) { return b.create("Sinh", {x}); }
Value asinhSlope(GradientBuilder &b, NodeOp, Value x, Value) {
  return b.reciprocal(b.sqrt(b.add(b.square(x), 1.0)));
}
Value acoshSlope(GradientBuilder &b, NodeOp, Value x, Value) {
  return b.reciprocal(b.sqrt(b.add(b.square(x), -1.0)));
}
Value atanhSlope(GradientBuilder &b, NodeOp, Value x, Value) {
  return b.reciprocal(b.subFrom(1, b.square(x)));
}
Value reluNodeSlope(GradientBuilder &b, NodeOp, Value x, Value) { return reluSlope(b, x); }
Value leakyReluSlope(GradientBuilder &b, NodeOp node, Value x, Value) {
  double alpha = NodeAttrs(node).real("alpha", double(0.01f));
  return b.where(positive(b, x), b.constantLike(x, 1), b.constantLike(x, alpha));
}
Value thresholdedReluSlope(GradientBuilder &b, NodeOp node, Value x, Value) {
  Value alpha = b.constantLike(x, NodeAttrs(node).real("alpha", 1.0));
  return b.where(b.less(alpha, x), b.constantLike(x, 1));
}
/// factor for x > 0, else factor * alpha * exp(x / width).
Value exponentialSlope(GradientBuilder &b, Value x, double factor, double alpha, double width) {
  // The branch that is not taken must not overflow.
  Value below = b.create("Min", {x, b.constantLike(x, 0)});
  Value curve = b.mul(b.exp(width == 1.0 ? below : b.mul(below, 1 / width)), factor * alpha);
  return b.where(positive(b, x), b.constantLike(x, factor), curve);
}
Value eluSlope(GradientBuilder &b, NodeOp node, Value x, Value) {
  return exponentialSlope(b, x, 1.0, NodeAttrs(node).real("alpha", 1.0), 1.0);
}
Value seluSlope(GradientBuilder &b, NodeOp node, Value x, Value) {
  NodeAttrs attrs(node);
  return exponentialSlope(b, x, attrs.real("gamma", 1.05070102214813232421875),
                          attrs.real("alpha", 1.67326319217681884765625), 1.0);
}
Value celuSlope(GradientBuilder &b, NodeOp node, Value x, Value) {
  return exponentialSlope(b, x, 1.0, 1.0, NodeAttrs(node).real("alpha", 1.0));
}
/// `slope` where low < x < high, else 0.
Value slopeBetween(GradientBuilder &b, Value x, double low, double high, Value slope) {
  Value inside =
      b.create("And", {b.less(b.constantLike(x, low), x), b.less(x, b.constantLike(x, high))});
  return b.where(inside, slope);
}
Value hardSigmoidSlope(GradientBuilder &b, NodeOp node, Value x, Value) {
  NodeAttrs attrs(node);
  double alpha = attrs.real("alpha", double(0.2f)), beta = attrs.real("beta", 0.5);
  Value inner = b.add(b.mul(x, alpha), beta);
  return slopeBetween(b, inner, 0, 1, b.constantLike(x, alpha));
}
Value hardSwishSlope(GradientBuilder &b, NodeOp, Value x, Value) {
  Value curve = slopeBetween(b, x, -3, 3, b.add(b.mul(x, 1.0 / 3), 0.5));
  return b.where(b.less(x, b.constantLike(x, 3)), curve, b.constantLike(x, 1));
}
Value softplusSlope(GradientBuilder &b, NodeOp, Value x, Value) { return b.create("Sigmoid", {x}); }
Value softsignSlope(GradientBuilder &b, NodeOp, Value x, Value) {
  return b.reciprocal(b.square(b.add(b.create("Abs", {x}), 1.0)));
}
Value geluNodeSlope(GradientBuilder &b, NodeOp node, Value x, Value) {
  bool isTanh = NodeAttrs(node).string("approximate", "none") == "tanh";
  return isTanh ? geluTanhSlope(b, x) : geluSlope(b, x);
}
Value exactGeluSlope(GradientBuilder &b, NodeOp, Value x, Value) { return geluSlope(b, x); }
Value fastGeluSlope(GradientBuilder &b, NodeOp, Value x, Value) { return geluTanhSlope(b, x); }
Value swishNodeSlope(GradientBuilder &b, NodeOp node, Value x, Value) {
  return swishSlope(b, x, NodeAttrs(node).real("alpha", 1.0));
}
Value quickGeluSlope(GradientBuilder &b, NodeOp node, Value x, Value) {
  return swishSlope(b, x, NodeAttrs(node).real("alpha", double(1.702f)));
}
Value mishSlope(GradientBuilder &b, NodeOp, Value x, Value) {
  Value t = b.create("Tanh", {b.create("Softplus", {x})});
  Value curve = b.mul(b.mul(x, b.create("Sigmoid", {x})), b.subFrom(1, b.square(t)));
  return b.add(t, curve);
}
Value shrinkSlope(GradientBuilder &b, NodeOp node, Value x, Value) {
  Value lambda = b.constantLike(x, NodeAttrs(node).real("lambd", 0.5));
  return b.where(b.less(lambda, b.create("Abs", {x})), b.constantLike(x, 1));
}

void derivePRelu(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  Value x = node.getInputs()[0], slope = node.getInputs()[1], g = gradients[0];
  Value negative = b.less(x, b.constantLike(x, 0));
  b.accumulate(x, b.where(negative, b.mul(g, slope), g));
  if (b.wants(slope))
    b.accumulate(slope, b.where(negative, b.mul(g, x)));
}

void deriveClip(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  Value x = node.getInputs()[0], g = gradients[0];
  NodeAttrs attrs(node);
  auto limit = [&](unsigned i, StringRef name) -> Value {
    if (Value operand = operandOf(node, i))
      return operand;
    return attrs.has(name) ? b.constantLike(x, attrs.real(name, 0)) : Value();
  };
  if (Value low = limit(1, "min"))
    g = b.where(b.create("GreaterOrEqual", {x, low}), g);
  if (Value high = limit(2, "max"))
    g = b.where(b.create("LessOrEqual", {x, high}), g);
  b.accumulate(x, g);
}

std::string refuseClip(NodeOp node, IsActive isActive) {
  for (Value limit : node.getInputs().drop_front())
    if (isActive(limit))
      return "its limits depend on a parameter";
  return "";
}

} // namespace

ArrayRef<Derivative> tacq::activationDerivatives() {
  static const Derivative table[] = {
      {"Exp", deriveUnary<expSlope>},
      {"Log", deriveUnary<logSlope>},
      {"Sqrt", deriveUnary<sqrtSlope>},
      {"Reciprocal", deriveUnary<reciprocalSlope>},
      {"Abs", deriveUnary<absSlope>},
      {"Tanh", deriveUnary<tanhSlope>},
      {"Sigmoid", deriveUnary<sigmoidSlope>},
      {"Erf", deriveUnary<erfSlope>},
      {"Sin", deriveUnary<sinSlope>},
      {"Cos", deriveUnary<cosSlope>},
      {"Tan", deriveUnary<tanSlope>},
      {"Asin", deriveUnary<asinSlope>},
      {"Acos", deriveUnary<acosSlope>},
      {"Atan", deriveUnary<atanSlope>},
      {"Sinh", deriveUnary<sinhSlope>},
      {"Cosh", deriveUnary<coshSlope>},
      {"Asinh", deriveUnary<asinhSlope>},
      {"Acosh", deriveUnary<acoshSlope>},
      {"Atanh", deriveUnary<atanhSlope>},
      {"Relu", deriveUnary<reluNodeSlope>},
      {"LeakyRelu", deriveUnary<leakyReluSlope>},
      {"ThresholdedRelu", deriveUnary<thresholdedReluSlope>},
      {"Elu", deriveUnary<eluSlope>},
      {"Selu", deriveUnary<seluSlope>},
      {"Celu", deriveUnary<celuSlope>},
      {"HardSigmoid", deriveUnary<hardSigmoidSlope>},
      {"HardSwish", deriveUnary<hardSwishSlope>},
      {"Softplus", deriveUnary<softplusSlope>},
      {"Softsign", deriveUnary<softsignSlope>},
      {"Gelu", deriveUnary<geluNodeSlope>},
      {"Swish", deriveUnary<swishNodeSlope>},
      {"Mish", deriveUnary<mishSlope>},
      {"Shrink", deriveUnary<shrinkSlope>},
      {"PRelu", derivePRelu},
      {"Clip", deriveClip, refuseClip},
      {"Floor", deriveSteps},
      {"Ceil", deriveSteps},
      {"Round", deriveSteps},
      {"Sign", deriveSteps},
      {"Gelu", deriveBiased<exactGeluSlope>, nullptr, "com.microsoft"},
      {"BiasGelu", deriveBiased<exactGeluSlope>, nullptr, "com.microsoft"},
      {"FastGelu", deriveBiased<fastGeluSlope>, nullptr, "com.microsoft"},
      {"QuickGelu", deriveUnary<quickGeluSlope>, nullptr, "com.microsoft"},
  };
  return table;
}
