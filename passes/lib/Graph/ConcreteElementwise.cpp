//===- ConcreteElementwise.cpp - Elementwise operators, evaluated ---------===//

#include "tacq/Graph/ConcreteEvaluator.h"
#include "tacq/Ops/OpSpec.h"
#include "llvm/ADT/StringSwitch.h"
#include <cmath>

using namespace mlir;
using namespace tacq;

namespace {

enum class Kind {
  None,
  // Unary.
  Identity,
  Neg,
  Abs,
  Sign,
  Floor,
  Ceil,
  Round,
  Not,
  IsNaN,
  IsInf,
  Sqrt,
  Reciprocal,
  Exp,
  Log,
  Cos,
  Sin,
  Relu,
  Cast,
  BitwiseNot,
  // Binary; the comparisons give bool.
  Add,
  Sub,
  Mul,
  Div,
  Mod,
  Pow,
  And,
  Or,
  Xor,
  Min,
  Max,
  BitwiseAnd,
  BitwiseOr,
  BitwiseXor,
  Equal,
  Less,
  LessOrEqual,
  Greater,
  GreaterOrEqual,
  // Ternary.
  Where,
  Clip,
};

} // namespace

static Kind kindOf(StringRef name) {
  return llvm::StringSwitch<Kind>(name)
      .Case("Identity", Kind::Identity)
      .Case("Neg", Kind::Neg)
      .Case("Abs", Kind::Abs)
      .Case("Sign", Kind::Sign)
      .Case("Floor", Kind::Floor)
      .Case("Ceil", Kind::Ceil)
      .Case("Round", Kind::Round)
      .Case("Not", Kind::Not)
      .Case("IsNaN", Kind::IsNaN)
      .Case("IsInf", Kind::IsInf)
      .Case("Sqrt", Kind::Sqrt)
      .Case("Reciprocal", Kind::Reciprocal)
      .Case("Exp", Kind::Exp)
      .Case("Log", Kind::Log)
      .Case("Cos", Kind::Cos)
      .Case("Sin", Kind::Sin)
      .Case("Relu", Kind::Relu)
      .Case("Cast", Kind::Cast)
      .Case("CastLike", Kind::Cast)
      .Case("BitwiseNot", Kind::BitwiseNot)
      .Case("Add", Kind::Add)
      .Case("Sub", Kind::Sub)
      .Case("Mul", Kind::Mul)
      .Case("Div", Kind::Div)
      .Case("Mod", Kind::Mod)
      .Case("Pow", Kind::Pow)
      .Case("And", Kind::And)
      .Case("Or", Kind::Or)
      .Case("Xor", Kind::Xor)
      .Case("Min", Kind::Min)
      .Case("Max", Kind::Max)
      .Case("Sum", Kind::Add)
      .Case("BitwiseAnd", Kind::BitwiseAnd)
      .Case("BitwiseOr", Kind::BitwiseOr)
      .Case("BitwiseXor", Kind::BitwiseXor)
      .Case("Equal", Kind::Equal)
      .Case("Less", Kind::Less)
      .Case("LessOrEqual", Kind::LessOrEqual)
      .Case("Greater", Kind::Greater)
      .Case("GreaterOrEqual", Kind::GreaterOrEqual)
      .Case("Where", Kind::Where)
      .Case("Clip", Kind::Clip)
      .Default(Kind::None);
}

/// The numpy broadcast of the shapes, or nullopt.
static std::optional<SmallVector<int64_t>> broadcastShapes(ArrayRef<int64_t> a,
                                                           ArrayRef<int64_t> b) {
  SmallVector<int64_t> result(std::max(a.size(), b.size()), 1);
  for (ArrayRef<int64_t> shape : {a, b})
    for (size_t i = 0; i < shape.size(); ++i) {
      int64_t &extent = result[result.size() - shape.size() + i];
      if (shape[i] == extent || shape[i] == 1)
        continue;
      if (extent != 1)
        return std::nullopt;
      extent = shape[i];
    }
  return result;
}

/// The tensor with its elements repeated to the shape that it broadcasts to.
static ConcreteTensor expandTo(const ConcreteTensor &tensor, ArrayRef<int64_t> shape) {
  if (ArrayRef<int64_t>(tensor.shape) == shape)
    return tensor;
  ConcreteTensor result = ConcreteTensor::zeros(shape, tensor.isReal);
  SmallVector<int64_t> strides = stridesOf(tensor.shape);
  size_t skip = shape.size() - tensor.shape.size();
  forEachIndex(shape, [&](ArrayRef<int64_t> index, int64_t linear) {
    int64_t from = 0;
    for (size_t i = 0; i < tensor.shape.size(); ++i)
      if (tensor.shape[i] != 1)
        from += index[skip + i] * strides[i];
    result.copyElement(linear, tensor, from);
  });
  return result;
}

static int64_t integerPower(int64_t base, int64_t exponent) {
  int64_t result = 1;
  for (; exponent > 0; --exponent)
    result *= base;
  return result;
}

static std::optional<int64_t> integerBinary(Kind kind, int64_t a, int64_t b, bool fmod) {
  switch (kind) {
  case Kind::Add:
    return a + b;
  case Kind::Sub:
    return a - b;
  case Kind::Mul:
    return a * b;
  case Kind::Div:
    if (b == 0)
      return std::nullopt;
    return a / b;
  case Kind::Mod: {
    if (b == 0)
      return std::nullopt;
    int64_t rest = a % b;
    return !fmod && rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
  }
  case Kind::Pow:
    if (b < 0 || b > 62)
      return std::nullopt;
    return integerPower(a, b);
  case Kind::And:
    return a != 0 && b != 0;
  case Kind::Or:
    return a != 0 || b != 0;
  case Kind::Xor:
    return (a != 0) != (b != 0);
  case Kind::Min:
    return std::min(a, b);
  case Kind::Max:
    return std::max(a, b);
  case Kind::BitwiseAnd:
    return a & b;
  case Kind::BitwiseOr:
    return a | b;
  case Kind::BitwiseXor:
    return a ^ b;
  default:
    return std::nullopt;
  }
}

static std::optional<double> realBinary(Kind kind, double a, double b, bool fmod) {
  switch (kind) {
  case Kind::Add:
    return a + b;
  case Kind::Sub:
    return a - b;
  case Kind::Mul:
    return a * b;
  case Kind::Div:
    return a / b;
  case Kind::Mod:
    if (!fmod)
      return std::nullopt;
    return std::fmod(a, b);
  case Kind::Pow:
    return std::pow(a, b);
  case Kind::Min:
    return std::isnan(a) || a < b ? a : b;
  case Kind::Max:
    return std::isnan(a) || a > b ? a : b;
  default:
    return std::nullopt;
  }
}

template <typename T> static std::optional<bool> compare(Kind kind, T a, T b) {
  switch (kind) {
  case Kind::Equal:
    return a == b;
  case Kind::Less:
    return a < b;
  case Kind::LessOrEqual:
    return a <= b;
  case Kind::Greater:
    return a > b;
  case Kind::GreaterOrEqual:
    return a >= b;
  default:
    return std::nullopt;
  }
}

static std::optional<ConcreteTensor> binary(Kind kind, const ConcreteTensor &left,
                                            const ConcreteTensor &right, bool fmod,
                                            std::string &reason) {
  std::optional<SmallVector<int64_t>> shape = broadcastShapes(left.shape, right.shape);
  if (!shape) {
    reason = "its operands do not broadcast";
    return std::nullopt;
  }
  ConcreteTensor a = expandTo(left, *shape), b = expandTo(right, *shape);
  bool isReal = a.isReal || b.isReal;
  bool compares = kind >= Kind::Equal && kind <= Kind::GreaterOrEqual;
  ConcreteTensor result = ConcreteTensor::zeros(*shape, isReal && !compares);
  for (int64_t i = 0, e = result.size(); i < e; ++i) {
    if (compares) {
      result.integers[i] = isReal ? *compare(kind, a.real(i), b.real(i))
                                  : *compare(kind, a.integers[i], b.integers[i]);
    } else if (isReal) {
      std::optional<double> value = realBinary(kind, a.real(i), b.real(i), fmod);
      if (!value) {
        reason = "it is not defined for floating-point operands";
        return std::nullopt;
      }
      result.reals[i] = *value;
    } else {
      std::optional<int64_t> value = integerBinary(kind, a.integers[i], b.integers[i], fmod);
      if (!value) {
        reason = "it divides by zero or leaves the range of integers";
        return std::nullopt;
      }
      result.integers[i] = *value;
    }
  }
  return result;
}

static double realUnary(Kind kind, double x) {
  switch (kind) {
  case Kind::Neg:
    return -x;
  case Kind::Abs:
    return std::fabs(x);
  case Kind::Sign:
    return x > 0 ? 1 : x < 0 ? -1 : x;
  case Kind::Floor:
    return std::floor(x);
  case Kind::Ceil:
    return std::ceil(x);
  case Kind::Round:
    return std::nearbyint(x);
  case Kind::Sqrt:
    return std::sqrt(x);
  case Kind::Reciprocal:
    return 1 / x;
  case Kind::Exp:
    return std::exp(x);
  case Kind::Log:
    return std::log(x);
  case Kind::Cos:
    return std::cos(x);
  case Kind::Sin:
    return std::sin(x);
  case Kind::Relu:
    return x < 0 ? 0 : x;
  default:
    return x;
  }
}

static int64_t integerUnary(Kind kind, int64_t x) {
  switch (kind) {
  case Kind::Neg:
    return -x;
  case Kind::Abs:
    return x < 0 ? -x : x;
  case Kind::Sign:
    return x > 0 ? 1 : x < 0 ? -1 : 0;
  case Kind::BitwiseNot:
    return ~x;
  case Kind::Relu:
    return std::max<int64_t>(x, 0);
  default:
    return x;
  }
}

static ConcreteTensor unary(Kind kind, const ConcreteTensor &x) {
  bool isBool = kind == Kind::Not || kind == Kind::IsNaN || kind == Kind::IsInf;
  bool isReal = !isBool && (x.isReal || kind == Kind::Sqrt || kind == Kind::Reciprocal ||
                            (kind >= Kind::Exp && kind <= Kind::Sin));
  ConcreteTensor result = ConcreteTensor::zeros(x.shape, isReal);
  for (int64_t i = 0, e = x.size(); i < e; ++i) {
    if (kind == Kind::Not)
      result.integers[i] = x.integer(i) == 0;
    else if (kind == Kind::IsNaN)
      result.integers[i] = std::isnan(x.real(i));
    else if (kind == Kind::IsInf)
      result.integers[i] = std::isinf(x.real(i));
    else if (isReal)
      result.reals[i] = realUnary(kind, x.real(i));
    else
      result.integers[i] = integerUnary(kind, x.integers[i]);
  }
  return result;
}

static std::optional<ConcreteTensor> cast(const ConcreteNode &node, std::string &reason) {
  const ConcreteTensor &x = node.operand(0);
  auto type = dyn_cast<ShapedType>(node.node.getOutputs().front().getType());
  Type element = type ? type.getElementType() : Type();
  if (!element || !element.isIntOrFloat()) {
    reason = "its element type is not known";
    return std::nullopt;
  }
  ConcreteTensor result = ConcreteTensor::zeros(x.shape, isa<FloatType>(element));
  unsigned width = element.getIntOrFloatBitWidth();
  for (int64_t i = 0, e = x.size(); i < e; ++i) {
    if (result.isReal) {
      result.reals[i] = x.real(i);
      continue;
    }
    if (width == 1) {
      result.integers[i] = x.isReal ? x.reals[i] != 0 : x.integers[i] != 0;
      continue;
    }
    // Out of range is undefined in ONNX; saturating keeps the evaluation itself defined.
    int64_t value =
        x.isReal ? int64_t(std::fmin(std::fmax(x.reals[i], -9.2e18), 9.2e18)) : x.integers[i];
    if (width < 64) {
      uint64_t low = uint64_t(value) & ((uint64_t(1) << width) - 1);
      bool negative = !element.isUnsignedInteger() && (low >> (width - 1)) != 0;
      value = negative ? int64_t(low) - (int64_t(1) << width) : int64_t(low);
    }
    result.integers[i] = value;
  }
  return result;
}

static std::optional<ConcreteTensor> where(const ConcreteNode &node, std::string &reason) {
  auto first = broadcastShapes(node.operand(0).shape, node.operand(1).shape);
  auto shape = first ? broadcastShapes(*first, node.operand(2).shape) : std::nullopt;
  if (!shape) {
    reason = "its operands do not broadcast";
    return std::nullopt;
  }
  ConcreteTensor condition = expandTo(node.operand(0), *shape);
  ConcreteTensor a = expandTo(node.operand(1), *shape), b = expandTo(node.operand(2), *shape);
  ConcreteTensor result = ConcreteTensor::zeros(*shape, a.isReal || b.isReal);
  for (int64_t i = 0, e = result.size(); i < e; ++i)
    result.copyElement(i, condition.integer(i) ? a : b, i);
  return result;
}

static std::optional<ConcreteTensor> clip(const ConcreteNode &node, std::string &reason) {
  NodeAttrs attrs(node.node);
  ConcreteTensor result = node.operand(0);
  for (auto [operand, name, kind] : {std::tuple{1u, "min", Kind::Max}, {2u, "max", Kind::Min}}) {
    ConcreteTensor bound = ConcreteTensor::zeros({}, /*isReal=*/true);
    if (node.has(operand))
      bound = node.operand(operand);
    else if (attrs.has(name))
      bound.reals[0] = attrs.real(name, 0);
    else
      continue;
    std::optional<ConcreteTensor> clipped = binary(kind, result, bound, false, reason);
    if (!clipped)
      return std::nullopt;
    result = std::move(*clipped);
  }
  return result;
}

std::optional<ConcreteTensor> tacq::evaluateElementwise(const ConcreteNode &node, bool &known,
                                                        std::string &reason) {
  Kind kind = kindOf(node.node.getOpType());
  if (kind == Kind::None)
    return std::nullopt;
  known = true;
  unsigned needed = kind < Kind::Add ? 1 : kind < Kind::Where ? 1 : kind == Kind::Where ? 3 : 1;
  for (unsigned i = 0; i < needed; ++i)
    if (!node.has(i)) {
      reason = "an operand is missing";
      return std::nullopt;
    }
  if (kind == Kind::Where)
    return where(node, reason);
  if (kind == Kind::Clip)
    return clip(node, reason);
  if (kind == Kind::Cast)
    return cast(node, reason);
  if (kind < Kind::Add)
    return unary(kind, node.operand(0));
  // Min, Max and Sum take any number of operands.
  bool fmod = kind == Kind::Mod && NodeAttrs(node.node).integer("fmod", 0) != 0;
  ConcreteTensor result = node.operand(0);
  for (unsigned i = 1; i < node.operands.size(); ++i) {
    std::optional<ConcreteTensor> next =
        node.has(i) ? binary(kind, result, node.operand(i), fmod, reason) : std::nullopt;
    if (!next)
      return std::nullopt;
    result = std::move(*next);
  }
  return result;
}
