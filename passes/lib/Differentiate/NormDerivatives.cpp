//===- NormDerivatives.cpp - Normalization and rotary embedding -----------===//

#include "Derivatives.h"

using namespace mlir;
using namespace tacq;

/// With n the normalized input and r = 1 / sqrt(var + epsilon):
///   dx = r (dn - n mean(dn · n)) for RMS, and mean(dn) less for layer normalization.
void tacq::deriveNorm(GradientBuilder &b, NormOp op, Value gradient) {
  Type f32 = b.builder.getF32Type();
  Value x = b.cast(op.getX(), f32), g = b.cast(gradient, f32);
  int64_t last = rankOf(x) - 1;
  bool isLayer = op.getKind() == NormKind::Layer;
  Value centered = isLayer ? b.sub(x, b.mean(x, {last})) : x;
  Value variance = b.mean(b.square(centered), {last});
  Value r = b.reciprocal(b.sqrt(b.add(variance, op.getEpsilon().convertToDouble())));
  Value n = b.mul(centered, r);
  if (op.getGain() && b.wants(op.getGain()))
    b.accumulate(op.getGain(), b.mul(g, n));
  if (op.getBias())
    b.accumulate(op.getBias(), g);
  if (!b.wants(op.getX()))
    return;
  Value dn = op.getGain() ? b.mul(g, b.cast(op.getGain(), f32)) : g;
  Value along = b.mean(b.mul(dn, n), {last});
  Value dx = b.sub(dn, b.mul(n, along));
  if (isLayer)
    dx = b.sub(dx, b.mean(dn, {last}));
  b.accumulate(op.getX(), b.mul(dx, r));
}

/// The inverse of a rotation is the rotation by the negative angle.
void tacq::deriveRope(GradientBuilder &b, RopeOp op, Value gradient) {
  Value back = b.builder.create<RopeOp>(b.loc, gradient.getType(), gradient, op.getCos(),
                                        b.neg(op.getSin()), op.getInterleaved(), b.nodeName());
  b.accumulate(op.getX(), back);
}
