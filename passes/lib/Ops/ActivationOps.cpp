//===- ActivationOps.cpp - Activation functions ---------------------------===//

#include "ElementwiseOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include <cmath>

using namespace mlir;
using namespace tacq;

static Value real(KernelBuilder &k, Value like, double value) {
  return k.constant(like.getType(), value);
}

static Value exponential(KernelBuilder &k, Value x) { return k.b.create<math::ExpOp>(x); }

static Value relu(KernelBuilder &k, Value x, Type element) {
  return k.max(x, k.constant(x.getType(), 0), isUnsigned(element));
}

static Value leakyRelu(KernelBuilder &k, Value x, const NodeAttrs &attrs) {
  Value scaled = k.mul(x, real(k, x, attrs.real("alpha", double(0.01f))));
  return k.select(k.less(x, real(k, x, 0)), scaled, x);
}

static Value elu(KernelBuilder &k, Value x, const NodeAttrs &attrs) {
  Value below =
      k.mul(real(k, x, attrs.real("alpha", 1.0)), k.sub(exponential(k, x), real(k, x, 1.0)));
  return k.select(k.less(x, real(k, x, 0)), below, x);
}

static Value selu(KernelBuilder &k, Value x, const NodeAttrs &attrs) {
  Value alpha = real(k, x, attrs.real("alpha", 1.67326319217681884765625));
  Value gamma = real(k, x, attrs.real("gamma", 1.05070102214813232421875));
  Value below = k.sub(k.mul(alpha, exponential(k, x)), alpha);
  return k.mul(gamma, k.select(k.less(real(k, x, 0), x), x, below));
}

static Value celu(KernelBuilder &k, Value x, const NodeAttrs &attrs) {
  Value alpha = real(k, x, attrs.real("alpha", 1.0));
  Value below = k.mul(alpha, k.sub(exponential(k, k.div(x, alpha)), real(k, x, 1.0)));
  return k.select(k.less(x, real(k, x, 0)), below, x);
}

static Value thresholdedRelu(KernelBuilder &k, Value x, const NodeAttrs &attrs) {
  Value above = k.less(real(k, x, attrs.real("alpha", 1.0)), x);
  return k.select(above, x, real(k, x, 0));
}

static Value logistic(KernelBuilder &k, Value x) {
  Value one = real(k, x, 1.0);
  return k.div(one, k.add(one, exponential(k, k.b.create<arith::NegFOp>(x))));
}

static Value sigmoid(KernelBuilder &k, Value x, Type) { return logistic(k, x); }

static Value clampToUnit(KernelBuilder &k, Value x) {
  return k.max(real(k, x, 0), k.min(real(k, x, 1), x));
}

static Value hardSigmoid(KernelBuilder &k, Value x, const NodeAttrs &attrs) {
  Value line = k.add(k.mul(x, real(k, x, attrs.real("alpha", double(0.2f)))),
                     real(k, x, attrs.real("beta", 0.5)));
  return clampToUnit(k, line);
}

static Value hardSwish(KernelBuilder &k, Value x, Type) {
  Value line = k.add(k.mul(x, real(k, x, 1.0 / 6.0)), real(k, x, 0.5));
  return k.mul(x, clampToUnit(k, line));
}

/// log(1 + exp(x)) without overflow, and without losing what is below the precision of 1.
static Value softplus(KernelBuilder &k, Value x) {
  Value one = real(k, x, 1.0);
  Value magnitude = k.b.create<math::AbsFOp>(x);
  Value small = exponential(k, k.b.create<arith::NegFOp>(magnitude));
  Value sum = k.add(one, small);
  // log1p(s) = log(u) * s / (u - 1) with u = 1 + s as rounded.
  Value rounded = k.sub(sum, one);
  Value none = k.equal(rounded, real(k, x, 0));
  Value log = k.b.create<math::LogOp>(sum);
  Value exact = k.div(k.mul(log, small), k.select(none, one, rounded));
  return k.add(k.max(x, real(k, x, 0)), k.select(none, small, exact));
}

static Value softplusElement(KernelBuilder &k, Value x, Type) { return softplus(k, x); }

static Value softsign(KernelBuilder &k, Value x, Type) {
  return k.div(x, k.add(real(k, x, 1.0), k.b.create<math::AbsFOp>(x)));
}

static Value geluExact(KernelBuilder &k, Value x) {
  Value erf = k.b.create<math::ErfOp>(k.mul(x, real(k, x, M_SQRT1_2)));
  return k.mul(k.mul(real(k, x, 0.5), x), k.add(real(k, x, 1.0), erf));
}

static Value geluTanh(KernelBuilder &k, Value x) {
  Value cubic = k.mul(real(k, x, 0.044715), k.mul(x, k.mul(x, x)));
  Value inner = k.mul(real(k, x, M_2_SQRTPI * M_SQRT1_2), k.add(x, cubic));
  Value tanh = k.b.create<math::TanhOp>(inner);
  return k.mul(k.mul(real(k, x, 0.5), x), k.add(real(k, x, 1.0), tanh));
}

static Value gelu(KernelBuilder &k, Value x, const NodeAttrs &attrs) {
  return attrs.string("approximate", "none") == "tanh" ? geluTanh(k, x) : geluExact(k, x);
}

static Value mish(KernelBuilder &k, Value x, Type) {
  return k.mul(x, k.b.create<math::TanhOp>(softplus(k, x)));
}

static Value swish(KernelBuilder &k, Value x, const NodeAttrs &attrs) {
  double alpha = attrs.real("alpha", 1.0);
  return k.mul(x, logistic(k, alpha == 1.0 ? x : k.mul(x, real(k, x, alpha))));
}

static Value quickGelu(KernelBuilder &k, Value x, const NodeAttrs &attrs) {
  return k.mul(x, logistic(k, k.mul(x, real(k, x, attrs.real("alpha", double(1.702f))))));
}

/// Microsoft's Gelu and its forms with a bias, which is added first.
template <Value (*fn)(KernelBuilder &, Value)>
static Value biasedGelu(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Value x = k.load(node.getInputs()[0], index);
  if (node.getInputs().size() > 1 && !isAbsent(node.getInputs()[1]))
    x = k.add(x, operandAt(k, node, 1, index));
  return fn(k, x);
}

static Value shrinkElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  NodeAttrs attrs(node);
  double lambda = attrs.real("lambd", 0.5), bias = attrs.real("bias", 0.0);
  Type element = k.elementType(node.getInputs()[0]);
  // Integers are compared and moved as real numbers.
  Type type = isFloat(element) ? computeType(element) : Type(k.b.getF64Type());
  Value x = k.cast(k.load(node.getInputs()[0], index), element, type);
  Value low = k.less(x, real(k, x, -lambda)), high = k.less(real(k, x, lambda), x);
  Value above = k.select(high, k.sub(x, real(k, x, bias)), real(k, x, 0));
  return k.cast(k.select(low, k.add(x, real(k, x, bias)), above), type, element);
}

static Value preluElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Value x = operandAt(k, node, 0, index);
  Value slope = operandAt(k, node, 1, index);
  bool isUnsigned = tacq::isUnsigned(k.elementType(node.getInputs()[0]));
  return k.select(k.less(x, k.constant(x.getType(), 0), isUnsigned), k.mul(x, slope), x);
}

//===----------------------------------------------------------------------===//
// Clip
//===----------------------------------------------------------------------===//

static LogicalResult inferClip(InferContext &c) {
  c.setResult(0, c.elementType(0), c.dims(0));
  std::optional<Dims> values = c.knownValues(0);
  std::optional<Dims> low = c.has(1) ? c.knownValues(1) : Dims();
  std::optional<Dims> high = c.has(2) ? c.knownValues(2) : Dims();
  if (!values || !low || !high)
    return success();
  for (Sym &value : *values) {
    if (!low->empty())
      value = Sym::max(value, low->front());
    if (!high->empty())
      value = Sym::min(value, high->front());
  }
  setElements(c, 0, *values);
  return success();
}

static Value clipElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  NodeAttrs attrs(node);
  Value x = k.load(node.getInputs()[0], index);
  bool isUnsigned = tacq::isUnsigned(k.elementType(node.getInputs()[0]));
  // Until opset 10 the limits are attributes.
  auto limit = [&](unsigned i, llvm::StringRef name) -> Value {
    if (i < node.getInputs().size() && !isAbsent(node.getInputs()[i])) {
      Value operand = node.getInputs()[i];
      return k.load(operand, KernelBuilder::Index(k.dims(operand).size(), k.index(0)));
    }
    return attrs.has(name) ? real(k, x, attrs.real(name, 0)) : Value();
  };
  if (Value low = limit(1, "min"))
    x = k.max(x, low, isUnsigned);
  if (Value high = limit(2, "max"))
    x = k.min(x, high, isUnsigned);
  return x;
}

llvm::ArrayRef<OpSpec> tacq::activationOps() {
  static const OpSpec table[] = {
      {"Clip", inferClip, nullptr, clipElement},
      {"Relu", inferSame, nullptr, unaryElement<relu>},
      {"LeakyRelu", inferSame, nullptr, activationElement<leakyRelu>},
      {"PRelu", inferBroadcast, nullptr, preluElement},
      {"Elu", inferSame, nullptr, activationElement<elu>},
      {"Selu", inferSame, nullptr, activationElement<selu>},
      {"Celu", inferSame, nullptr, activationElement<celu>},
      {"ThresholdedRelu", inferSame, nullptr, activationElement<thresholdedRelu>},
      {"Sigmoid", inferSame, nullptr, unaryElement<sigmoid>},
      {"HardSigmoid", inferSame, nullptr, activationElement<hardSigmoid>},
      {"HardSwish", inferSame, nullptr, unaryElement<hardSwish>},
      {"Softplus", inferSame, nullptr, unaryElement<softplusElement>},
      {"Softsign", inferSame, nullptr, unaryElement<softsign>},
      {"Gelu", inferSame, nullptr, activationElement<gelu>},
      {"Mish", inferSame, nullptr, unaryElement<mish>},
      {"Swish", inferSame, nullptr, activationElement<swish>},
      {"Shrink", inferSame, nullptr, shrinkElement},
      {"Gelu", inferSame, nullptr, biasedGelu<geluExact>, nullptr, false, false, "com.microsoft"},
      {"BiasGelu", inferSame, nullptr, biasedGelu<geluExact>, nullptr, false, false,
       "com.microsoft"},
      {"FastGelu", inferSame, nullptr, biasedGelu<geluTanh>, nullptr, false, false,
       "com.microsoft"},
      {"QuickGelu", inferSame, nullptr, activationElement<quickGelu>, nullptr, false, false,
       "com.microsoft"},
  };
  return table;
}
