//===- AttentionDerivative.cpp - Scaled dot-product attention -------------===//
//
// With P the probabilities and S the scores before the softmax:
//   dV = Pᵀ dO,  dP = dO Vᵀ,  dS = P · (dP - rowsum(P · dP)),  dQ = scale dS K,  dK = scale dSᵀ Q
// P is computed again. Query heads that share a key head are rows of one matrix.
//
//===----------------------------------------------------------------------===//

#include "Derivatives.h"
#include <limits>

using namespace mlir;
using namespace tacq;

namespace {

class AttentionDeriver {
public:
  AttentionDeriver(GradientBuilder &b, AttentionOp op) : b(b), op(op) {
    Dims q = *dimsOf(op.getQ()), k = *dimsOf(op.getK());
    batch = q[0], queries = q[1], heads = q[2];
    keys = k[1], keyHeads = k[2];
    std::optional<Sym> exact = Sym::divideExactly(heads, keyHeads);
    group = exact ? *exact : Sym::floorDiv(heads, keyHeads);
  }

  void derive(Value gradient) {
    Type f32 = b.builder.getF32Type();
    Value q = groupRows(b.cast(op.getQ(), f32)), g = groupRows(b.cast(gradient, f32));
    Value k = headsFirst(b.cast(op.getK(), f32)), v = headsFirst(b.cast(op.getV(), f32));
    double scale = op.getScale().convertToDouble();
    Value p = probabilities(b.mul(b.create("MatMul", {q, b.transposeLast(k)}), scale));
    if (b.wants(op.getV()))
      b.accumulate(op.getV(), headsLast(b.create("MatMul", {b.transposeLast(p), g})));
    Value dp = b.create("MatMul", {g, b.transposeLast(v)});
    Value weighted = b.mul(p, dp);
    Value ds = b.sub(weighted, b.mul(p, b.sum(weighted, {3})));
    if (op.getBias() && b.wants(op.getBias()))
      b.accumulate(op.getBias(), ungroup(ds));
    ds = b.mul(ds, scale);
    if (b.wants(op.getQ())) {
      Value dq = ungroup(b.create("MatMul", {ds, k}));
      b.accumulate(op.getQ(), headsLast(dq));
    }
    if (b.wants(op.getK()))
      b.accumulate(op.getK(), headsLast(b.create("MatMul", {b.transposeLast(ds), q})));
  }

private:
  Value headsFirst(Value x) { return b.transpose(x, {0, 2, 1, 3}); }
  Value headsLast(Value x) { return b.transpose(x, {0, 2, 1, 3}); }

  /// [B, S, H, D] to [B, Hkv, H / Hkv * S, D]
  Value groupRows(Value x) {
    Sym features = dimsOf(x)->back();
    return b.reshape(headsFirst(x), {batch, keyHeads, group * queries, features});
  }
  /// [B, Hkv, H / Hkv * S, N] to [B, H, S, N]
  Value ungroup(Value x) { return b.reshape(x, {batch, heads, queries, dimsOf(x)->back()}); }

  /// Where a query sees a key, as what broadcasts to [B, H, S, T]; null if it sees all.
  Value visibility() {
    Value visible;
    auto restrict = [&](Value more) {
      visible = visible ? b.create("And", {visible, more}) : more;
    };
    if (op.getCausal())
      restrict(b.create("LessOrEqual", {b.positions(keys, 3, 4), b.positions(queries, 2, 4)}));
    if (Value mask = op.getKeyMask()) {
      if (!elementTypeOf(mask).isInteger(1))
        mask = b.create("Not", {b.equal(mask, b.constantLike(mask, 0))});
      Dims dims = *dimsOf(mask);
      restrict(b.reshape(mask, {dims[0], Sym(1), Sym(1), dims[1]}));
    }
    if (Value bias = op.getBias()) {
      // What is masked with -infinity is not seen.
      Value lowest = b.constantLike(bias, -std::numeric_limits<float>::max());
      restrict(b.create("GreaterOrEqual", {bias, lowest}));
    }
    return visible;
  }

  Value probabilities(Value scores) {
    NamedAttribute axis = b.attr("axis", int64_t(-1));
    Value visible = visibility();
    if (!visible)
      return b.create("Softmax", {scores}, {axis});
    scores = ungroup(scores);
    if (op.getBias())
      scores = b.add(scores, b.cast(op.getBias(), elementTypeOf(scores)));
    // A finite number, so that a query that sees nothing has no NaN; its probabilities are 0.
    Value hidden = b.constantLike(scores, std::numeric_limits<float>::lowest());
    Value p = b.create("Softmax", {b.where(visible, scores, hidden)}, {axis});
    p = b.where(visible, p);
    return b.reshape(p, {batch, keyHeads, group * queries, keys});
  }

  GradientBuilder &b;
  AttentionOp op;
  Sym batch, queries, heads, keys, keyHeads, group;
};

} // namespace

void tacq::deriveAttention(GradientBuilder &b, AttentionOp op, Value gradient) {
  AttentionDeriver(b, op).derive(gradient);
}
