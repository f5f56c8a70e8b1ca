//===- MathExpansion.cpp - Elementary functions in arithmetic -------------===//

#include "tacq/Codegen/MathExpansion.h"

using namespace mlir;
using namespace tacq;

Value tacq::f32Constant(ImplicitLocOpBuilder &b, Type type, float value) {
  Attribute scalar = b.getF32FloatAttr(value);
  if (auto vector = dyn_cast<VectorType>(type))
    return b.create<arith::ConstantOp>(DenseElementsAttr::get(vector, scalar));
  return b.create<arith::ConstantOp>(cast<TypedAttr>(scalar));
}

namespace {

/// Arithmetic on values of one shape: f32 or a vector of f32, and integers of the same width.
class Lanes {
public:
  Lanes(ImplicitLocOpBuilder &b, Value like) : b(b), type(like.getType()) {
    intType = b.getI32Type();
    if (auto vector = dyn_cast<VectorType>(type))
      intType = vector.clone(b.getI32Type());
  }

  Value f(float value) { return f32Constant(b, type, value); }
  Value i(int32_t value) {
    Attribute scalar = b.getI32IntegerAttr(value);
    if (auto vector = dyn_cast<VectorType>(intType))
      return b.create<arith::ConstantOp>(DenseElementsAttr::get(vector, scalar));
    return b.create<arith::ConstantOp>(cast<TypedAttr>(scalar));
  }
  Value fma(Value x, Value y, Value z) { return b.create<math::FmaOp>(x, y, z); }
  Value mul(Value x, Value y) { return b.create<arith::MulFOp>(x, y); }
  Value add(Value x, Value y) { return b.create<arith::AddFOp>(x, y); }
  Value sub(Value x, Value y) { return b.create<arith::SubFOp>(x, y); }
  Value abs(Value x) { return b.create<math::AbsFOp>(x); }
  Value bits(Value x) { return b.create<arith::BitcastOp>(intType, x); }
  Value fromBits(Value x) { return b.create<arith::BitcastOp>(type, x); }
  Value compare(arith::CmpFPredicate predicate, Value x, Value y) {
    return b.create<arith::CmpFOp>(predicate, x, y);
  }
  Value select(Value condition, Value x, Value y) {
    return b.create<arith::SelectOp>(condition, x, y);
  }
  // Both keep a NaN in x, which the minimum and maximum instructions do at no cost.
  Value atMost(Value x, float limit) {
    Value bound = f(limit);
    return select(compare(arith::CmpFPredicate::OGT, x, bound), bound, x);
  }
  Value atLeast(Value x, float limit) {
    Value bound = f(limit);
    return select(compare(arith::CmpFPredicate::OLT, x, bound), bound, x);
  }
  /// Horner's rule in x, coefficients from the highest power down.
  Value polynomial(Value x, ArrayRef<float> coefficients) {
    Value result = f(coefficients[0]);
    for (float c : coefficients.drop_front())
      result = fma(result, x, f(c));
    return result;
  }
  /// 2^n for an integer in [-126, 127].
  Value powerOfTwo(Value n) {
    Value biased = b.create<arith::AddIOp>(n, i(127));
    return fromBits(b.create<arith::ShLIOp>(biased, i(23)));
  }

  ImplicitLocOpBuilder &b;
  Type type, intType;
};

/// exp(x) = 2^n * p with p in [sqrt(1/2), sqrt(2)].
struct ReducedExp {
  Value n, p;
};

ReducedExp reduceExp(Lanes &l, Value x) {
  // Adding 1.5 * 2^23 rounds to an integer, which is then in the low bits: no conversion that is
  // undefined on NaN.
  const float magic = 12582912.0f;
  Value shifted = l.fma(x, l.f(1.44269504088896341f), l.f(magic));
  Value rounded = l.sub(shifted, l.f(magic));
  Value r = l.fma(rounded, l.f(-0.693359375f), x);
  r = l.fma(rounded, l.f(2.12194440e-4f), r);
  Value p = l.polynomial(r, {1.9875691500E-4f, 1.3981999507E-3f, 8.3334519073E-3f, 4.1665795894E-2f,
                             1.6666665459E-1f, 5.0000001201E-1f});
  p = l.add(l.fma(p, l.mul(r, r), r), l.f(1.0f));
  Value n = l.b.create<arith::SubIOp>(l.bits(shifted), l.bits(l.f(magic)));
  return {n, p};
}

} // namespace

Value tacq::emitExp(ImplicitLocOpBuilder &b, Value x) {
  Lanes l(b, x);
  x = l.atLeast(l.atMost(x, 89.0f), -105.0f);
  ReducedExp e = reduceExp(l, x);
  // In two steps, since 2^n itself may overflow or be denormal.
  Value half = b.create<arith::ShRSIOp>(e.n, l.i(1));
  Value rest = b.create<arith::SubIOp>(e.n, half);
  return l.mul(l.mul(e.p, l.powerOfTwo(half)), l.powerOfTwo(rest));
}

Value tacq::emitExpNonPositive(ImplicitLocOpBuilder &b, Value x) {
  Lanes l(b, x);
  Value clamped = l.atLeast(x, -87.3f);
  ReducedExp e = reduceExp(l, clamped);
  Value result = l.mul(e.p, l.powerOfTwo(e.n));
  return l.select(l.compare(arith::CmpFPredicate::OLT, x, l.f(-87.3f)), l.f(0.0f), result);
}

Value tacq::emitLog(ImplicitLocOpBuilder &b, Value x) {
  Lanes l(b, x);
  const float smallestNormal = 1.175494351e-38f, infinity = std::numeric_limits<float>::infinity();
  Value denormal = l.compare(arith::CmpFPredicate::OLT, x, l.f(smallestNormal));
  Value a = l.select(denormal, l.mul(x, l.f(8388608.0f)), x);
  Value offset = l.select(denormal, l.f(-23.0f), l.f(0.0f));
  // a = 2^e * (1 + m) with 1 + m in [2/3, 4/3).
  Value e = b.create<arith::AndIOp>(b.create<arith::SubIOp>(l.bits(a), l.i(0x3f2aaaab)),
                                    l.i(int32_t(0xff800000)));
  Value m = l.sub(l.fromBits(b.create<arith::SubIOp>(l.bits(a), e)), l.f(1.0f));
  Value exponent = l.fma(b.create<arith::SIToFPOp>(l.type, e), l.f(1.19209290e-7f), offset);
  Value s = l.mul(m, m);
  Value r = l.polynomial(s, {-0.130310059f, -0.121483512f, -0.166846126f, -0.249996200f});
  Value t = l.polynomial(s, {0.140869141f, 0.139814854f, 0.200120345f});
  r = l.fma(t, m, r);
  r = l.fma(r, m, l.f(0.333331972f));
  r = l.fma(r, m, l.f(-0.5f));
  r = l.fma(r, s, m);
  r = l.fma(exponent, l.f(0.693147182f), r);
  // Infinity and NaN give themselves, zero -infinity, negative numbers NaN.
  r = l.select(l.compare(arith::CmpFPredicate::OLT, x, l.f(infinity)), r, x);
  r = l.select(l.compare(arith::CmpFPredicate::OEQ, x, l.f(0.0f)), l.f(-infinity), r);
  return l.select(l.compare(arith::CmpFPredicate::OLT, x, l.f(0.0f)),
                  l.f(std::numeric_limits<float>::quiet_NaN()), r);
}

Value tacq::emitTanh(ImplicitLocOpBuilder &b, Value x) {
  Lanes l(b, x);
  Value a = l.atLeast(l.atMost(x, 7.99881172180175781f), -7.99881172180175781f);
  Value s = l.mul(a, a);
  Value p = l.polynomial(s, {-2.76076847742355e-16f, 2.00018790482477e-13f, -8.60467152213735e-11f,
                             5.12229709037114e-08f, 1.48572235717979e-05f, 6.37261928875436e-04f,
                             4.89352455891786e-03f});
  Value q = l.polynomial(s, {1.19825839466702e-06f, 1.18534705686654e-04f, 2.26843463243900e-03f,
                             4.89352518554385e-03f});
  Value ratio = b.create<arith::DivFOp>(l.mul(a, p), q);
  return l.select(l.compare(arith::CmpFPredicate::OLT, l.abs(x), l.f(0.0004f)), x, ratio);
}

Value tacq::emitErf(ImplicitLocOpBuilder &b, Value x) {
  Lanes l(b, x);
  Value t = l.abs(x), s = l.mul(x, x);
  // Far from zero: 1 - exp(polynomial of |x|).
  Value r = l.fma(l.f(-1.72853470e-5f), t, l.f(3.83197126e-4f));
  Value u = l.fma(l.f(-3.88396438e-3f), t, l.f(2.42546219e-2f));
  r = l.fma(r, s, u);
  r = l.fma(r, t, l.f(-1.06777877e-1f));
  r = l.fma(r, t, l.f(-6.34846687e-1f));
  r = l.fma(r, t, l.f(-1.28717512e-1f));
  r = l.fma(r, t, b.create<arith::NegFOp>(t));
  // The polynomial is right up to 4, where erf is 1 in f32.
  Value far = l.sub(l.f(1.0f), emitExp(b, l.atLeast(r, -30.0f)));
  far = l.select(l.compare(arith::CmpFPredicate::OGT, t, l.f(4.0f)), l.f(1.0f), far);
  far = b.create<math::CopySignOp>(far, x);
  Value near = l.polynomial(s, {-5.96761703e-4f, 4.99119423e-3f, -2.67681349e-2f, 1.12819925e-1f,
                                -3.76125336e-1f, 1.28379166e-1f});
  near = l.fma(near, x, x);
  return l.select(l.compare(arith::CmpFPredicate::OGT, t, l.f(0.927734375f)), far, near);
}

namespace {

template <typename Op, Value (*emit)(ImplicitLocOpBuilder &, Value)>
struct Expand : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    if (!getElementTypeOrSelf(op.getType()).isF32())
      return failure();
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    rewriter.replaceOp(op, emit(b, op.getOperand()));
    return success();
  }
};

} // namespace

void tacq::populateMathExpansionPatterns(RewritePatternSet &patterns) {
  patterns.add<Expand<math::ExpOp, emitExp>, Expand<math::LogOp, emitLog>,
               Expand<math::TanhOp, emitTanh>, Expand<math::ErfOp, emitErf>>(patterns.getContext());
}
