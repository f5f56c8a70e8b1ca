//===- ArithmeticOps.cpp - Arithmetic of two or more operands -------------===//

#include "ElementwiseOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace tacq;

//===----------------------------------------------------------------------===//
// Known elements
//===----------------------------------------------------------------------===//

static std::optional<Sym> foldAdd(ArrayRef<Sym> x) { return x[0] + x[1]; }
static std::optional<Sym> foldSub(ArrayRef<Sym> x) { return x[0] - x[1]; }
static std::optional<Sym> foldMul(ArrayRef<Sym> x) { return x[0] * x[1]; }
static std::optional<Sym> foldDiv(ArrayRef<Sym> x) { return truncatingDiv(x[0], x[1]); }

static std::optional<Sym> foldMin(ArrayRef<Sym> x) {
  Sym result = x[0];
  for (const Sym &other : x.drop_front())
    result = Sym::min(result, other);
  return result;
}

static std::optional<Sym> foldMax(ArrayRef<Sym> x) {
  Sym result = x[0];
  for (const Sym &other : x.drop_front())
    result = Sym::max(result, other);
  return result;
}

static std::optional<Sym> foldFloorMod(ArrayRef<Sym> x) {
  if (x[1].isConstant(0) || !(x[1].constant() || x[1].isNonNegative()))
    return std::nullopt;
  return Sym::mod(x[0], x[1]);
}

static std::optional<Sym> foldTruncMod(ArrayRef<Sym> x) {
  std::optional<Sym> quotient = truncatingDiv(x[0], x[1]);
  if (!quotient)
    return std::nullopt;
  return x[0] - *quotient * x[1];
}

static std::optional<Sym> foldPow(ArrayRef<Sym> x) {
  std::optional<int64_t> exponent = x[1].constant();
  if (!exponent || *exponent < 0 || *exponent > 4)
    return std::nullopt;
  Sym result(1);
  for (int64_t i = 0; i < *exponent; ++i)
    result = result * x[0];
  return result;
}

static LogicalResult inferMod(InferContext &c) {
  if (failed(inferBroadcast(c)))
    return failure();
  foldElementwise(c, c.attrs.integer("fmod", 0) ? foldTruncMod : foldFloorMod);
  return success();
}

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

static Value add(KernelBuilder &k, Value x, Value y, Type) { return k.add(x, y); }
static Value subtract(KernelBuilder &k, Value x, Value y, Type) { return k.sub(x, y); }
static Value multiply(KernelBuilder &k, Value x, Value y, Type) { return k.mul(x, y); }
static Value divide(KernelBuilder &k, Value x, Value y, Type element) {
  return k.div(x, y, isUnsigned(element));
}
static Value minimum(KernelBuilder &k, Value x, Value y, Type element) {
  return k.min(x, y, isUnsigned(element));
}
static Value maximum(KernelBuilder &k, Value x, Value y, Type element) {
  return k.max(x, y, isUnsigned(element));
}

static Value meanElement(KernelBuilder &k, NodeOp node, unsigned result, ValueRange index) {
  Value sum = variadicElement<add>(k, node, result, index);
  return k.div(sum, k.constant(sum.getType(), node.getInputs().size()));
}

static Value modElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Type element = k.elementType(node.getInputs()[0]);
  Value x = operandAt(k, node, 0, index), y = operandAt(k, node, 1, index);
  Value zero = k.constant(x.getType(), 0);
  Value rest;
  if (isFloat(element))
    rest = k.b.create<arith::RemFOp>(x, y);
  else
    rest = k.sub(x, k.mul(k.div(x, y, isUnsigned(element)), y));
  if (isUnsigned(element) || NodeAttrs(node).integer("fmod", 0))
    return rest;
  // The remainder has the divisor's sign.
  Value differ = k.b.create<arith::XOrIOp>(k.less(rest, zero), k.less(y, zero));
  Value adjust = k.logicalAnd(differ, k.logicalNot(k.equal(rest, zero)));
  return k.select(adjust, k.add(rest, y), rest);
}

/// x to an integer power by squaring; wraps as multiplication does.
static Value integerPower(KernelBuilder &k, Value x, Value y, Type xElement, Type yElement) {
  Type type = x.getType(), exponentType = y.getType();
  Value one = k.integer(type, 1), zero = k.integer(type, 0);
  Value exponentOne = k.integer(exponentType, 1);
  int64_t bits = exponentType.getIntOrFloatBitWidth();
  Value power = k.reduce({Sym(bits)}, {one, x, y}, [&](ValueRange, ValueRange carried) {
    Value low = k.b.create<arith::AndIOp>(carried[2], exponentOne);
    Value result = k.select(k.equal(low, exponentOne), k.mul(carried[0], carried[1]), carried[0]);
    Value rest = k.b.create<arith::ShRUIOp>(carried[2], exponentOne);
    return SmallVector<Value>{result, k.mul(carried[1], carried[1]), rest};
  })[0];
  if (isUnsigned(yElement))
    return power;
  // 1 / x^n is an integer only for 1 and -1, whose powers have been computed: bits of n's two's
  // complement tell even from odd as well.
  Value isUnit = k.equal(x, one);
  if (!isUnsigned(xElement))
    isUnit = k.logicalOr(isUnit, k.equal(x, k.integer(type, -1)));
  Value negative = k.less(y, k.integer(exponentType, 0));
  return k.select(k.logicalAnd(negative, k.logicalNot(isUnit)), zero, power);
}

/// The exponent, if it is one constant.
static std::optional<double> constantExponent(Value exponent) {
  auto constant = exponent.getDefiningOp<ConstantOp>();
  if (!constant || !(constant.getValue().isSplat() || constant.getValue().getNumElements() == 1))
    return std::nullopt;
  if (isa<IntegerType>(constant.getValue().getElementType()))
    return double((*constant.getValue().getValues<APInt>().begin()).getSExtValue());
  APFloat value = *constant.getValue().getValues<APFloat>().begin();
  bool lossy;
  value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lossy);
  return value.convertToDouble();
}

static Value powElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Type xElement = k.elementType(node.getInputs()[0]), yElement = k.elementType(node.getInputs()[1]);
  Value x = operandAt(k, node, 0, index);
  if (isFloat(xElement)) {
    std::optional<double> exponent = constantExponent(node.getInputs()[1]);
    if (exponent == 1.0)
      return x;
    if (exponent == 2.0)
      return k.mul(x, x);
    if (exponent == 3.0)
      return k.mul(k.mul(x, x), x);
    if (exponent == -1.0)
      return k.div(k.constant(x.getType(), 1.0), x);
  }
  Value y = operandAt(k, node, 1, index);
  if (!isFloat(xElement) && !isFloat(yElement))
    return integerPower(k, x, y, xElement, yElement);
  // The wider type holds both, except the largest integers.
  Type f64 = k.b.getF64Type();
  Type common =
      xElement.isF64() || yElement.isF64() || !isFloat(xElement) ? f64 : Type(k.b.getF32Type());
  Value power = k.b.create<math::PowFOp>(k.cast(x, xElement, common), k.cast(y, yElement, common));
  return k.cast(power, common, xElement);
}

static Value bitAnd(KernelBuilder &k, Value x, Value y, Type) {
  return k.b.create<arith::AndIOp>(x, y);
}
static Value bitOr(KernelBuilder &k, Value x, Value y, Type) {
  return k.b.create<arith::OrIOp>(x, y);
}
static Value bitXor(KernelBuilder &k, Value x, Value y, Type) {
  return k.b.create<arith::XOrIOp>(x, y);
}

static Value bitShiftElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Value x = operandAt(k, node, 0, index), y = operandAt(k, node, 1, index);
  Type type = x.getType();
  // Shifts by the width or more are poison in LLVM; all bits are gone then.
  Value width = k.integer(type, type.getIntOrFloatBitWidth());
  Value inRange = k.less(y, width, /*isUnsigned=*/true);
  Value amount = k.select(inRange, y, k.integer(type, 0));
  Value shifted;
  if (NodeAttrs(node).string("direction", "LEFT") == "LEFT")
    shifted = k.b.create<arith::ShLIOp>(x, amount);
  else
    shifted = k.b.create<arith::ShRUIOp>(x, amount);
  return k.select(inRange, shifted, k.integer(type, 0));
}

llvm::ArrayRef<OpSpec> tacq::arithmeticOps() {
  static const OpSpec table[] = {
      {"Add", inferFolding<inferBroadcast, foldAdd>, nullptr, variadicElement<add>},
      {"Sub", inferFolding<inferBroadcast, foldSub>, nullptr, variadicElement<subtract>},
      {"Mul", inferFolding<inferBroadcast, foldMul>, nullptr, variadicElement<multiply>},
      {"Div", inferFolding<inferBroadcast, foldDiv>, nullptr, variadicElement<divide>},
      {"Mod", inferMod, nullptr, modElement},
      {"Pow", inferFolding<inferBroadcast, foldPow>, nullptr, powElement},
      {"Min", inferFolding<inferBroadcast, foldMin>, nullptr, variadicElement<minimum>},
      {"Max", inferFolding<inferBroadcast, foldMax>, nullptr, variadicElement<maximum>},
      {"Sum", inferBroadcast, nullptr, variadicElement<add>},
      {"Mean", inferBroadcast, nullptr, meanElement},
      {"BitwiseAnd", inferBroadcast, nullptr, variadicElement<bitAnd>},
      {"BitwiseOr", inferBroadcast, nullptr, variadicElement<bitOr>},
      {"BitwiseXor", inferBroadcast, nullptr, variadicElement<bitXor>},
      {"BitShift", inferBroadcast, nullptr, bitShiftElement},
  };
  return table;
}
