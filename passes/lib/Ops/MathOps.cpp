//===- MathOps.cpp - Functions of one number ------------------------------===//

#include "ElementwiseOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace tacq;

static std::optional<Sym> foldNeg(ArrayRef<Sym> x) { return Sym(0) - x[0]; }
static std::optional<Sym> foldAbs(ArrayRef<Sym> x) { return Sym::max(x[0], Sym(0) - x[0]); }
static std::optional<Sym> foldSign(ArrayRef<Sym> x) { return signOf(x[0]); }
static std::optional<Sym> foldBitwiseNot(ArrayRef<Sym> x) { return Sym(-1) - x[0]; }

template <typename Op> static Value mathOp(KernelBuilder &k, Value x, Type) {
  return k.b.create<Op>(x);
}

static Value negate(KernelBuilder &k, Value x, Type element) {
  if (isFloat(element))
    return k.b.create<arith::NegFOp>(x);
  return k.sub(k.integer(x.getType(), 0), x);
}

static Value absolute(KernelBuilder &k, Value x, Type element) {
  if (isFloat(element))
    return k.b.create<math::AbsFOp>(x);
  if (isUnsigned(element))
    return x;
  return k.max(x, k.sub(k.integer(x.getType(), 0), x));
}

static Value sign(KernelBuilder &k, Value x, Type element) {
  Type type = x.getType();
  Value zero = k.constant(type, 0), one = k.constant(type, 1);
  Value positive = k.select(k.less(zero, x, isUnsigned(element)), one, x);
  if (isUnsigned(element))
    return positive;
  // Zeros keep their sign, NaN stays.
  return k.select(k.less(x, zero), k.constant(type, -1), positive);
}

static Value reciprocal(KernelBuilder &k, Value x, Type) {
  return k.div(k.constant(x.getType(), 1.0), x);
}

static Value bitwiseNot(KernelBuilder &k, Value x, Type) {
  return k.b.create<arith::XOrIOp>(x, k.integer(x.getType(), -1));
}

/// A function of floating-point numbers.
template <typename Op> static OpSpec function(llvm::StringRef name) {
  return {name, inferSame, nullptr, unaryElement<mathOp<Op>>};
}

llvm::ArrayRef<OpSpec> tacq::mathOps() {
  static const OpSpec table[] = {
      {"Neg", inferFolding<inferSame, foldNeg>, nullptr, unaryElement<negate>, nullptr, true},
      {"Abs", inferFolding<inferSame, foldAbs>, nullptr, unaryElement<absolute>, nullptr, true},
      {"Sign", inferFolding<inferSame, foldSign>, nullptr, unaryElement<sign>},
      {"Reciprocal", inferSame, nullptr, unaryElement<reciprocal>},
      {"BitwiseNot", inferFolding<inferSame, foldBitwiseNot>, nullptr, unaryElement<bitwiseNot>,
       nullptr, true},
      function<math::SqrtOp>("Sqrt"),
      function<math::ExpOp>("Exp"),
      function<math::LogOp>("Log"),
      function<math::SinOp>("Sin"),
      function<math::CosOp>("Cos"),
      function<math::TanOp>("Tan"),
      function<math::AsinOp>("Asin"),
      function<math::AcosOp>("Acos"),
      function<math::AtanOp>("Atan"),
      function<math::SinhOp>("Sinh"),
      function<math::CoshOp>("Cosh"),
      function<math::TanhOp>("Tanh"),
      function<math::AsinhOp>("Asinh"),
      function<math::AcoshOp>("Acosh"),
      function<math::AtanhOp>("Atanh"),
      function<math::ErfOp>("Erf"),
      function<math::CeilOp>("Ceil"),
      function<math::FloorOp>("Floor"),
      function<math::RoundEvenOp>("Round"),
  };
  return table;
}
