//===- AttentionDerivative.cpp - Scaled dot-product attention -------------===//
//
// With P the probabilities and S the scores before the softmax:
//   dV = Pᵀ dO,  dP = dO Vᵀ,  dS = P · (dP - rowsum(P · dP)),  dQ = scale dS K,  dK = scale dSᵀ Q
// P is computed again. One operation does all of it; only the gradient of a bias, which has the size
// of P, needs the nodes. There query heads that share a key head are rows of one matrix.
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
    bool wantsBias = op.getBias() && b.wants(op.getBias());
    if (!wantsBias && dimsOf(op.getQ())->back().constant() && dimsOf(op.getV())->back().constant())
      deriveInOne(gradient);
    else
      deriveAsNodes(gradient);
  }

private:
  void deriveInOne(Value gradient) {
    Type f32 = b.builder.getF32Type();
    Dims q = *dimsOf(op.getQ()), v = *dimsOf(op.getV());
    auto typeOf = [&](const Sym &length, const Sym &features) {
      return tensorType(f32, {batch, length, heads, features});
    };
    auto made = b.builder.create<AttentionGradOp>(
        b.loc,
        TypeRange{typeOf(queries, q.back()), typeOf(keys, q.back()), typeOf(keys, v.back())},
        gradient, op.getQ(), op.getK(), op.getV(), op.getOut(), op.getKeyMask(), op.getBias(),
        op.getScaleAttr(), op.getCausalAttr(), b.builder.getStringAttr(b.nodeName()));
    b.accumulate(op.getQ(), made.getQGradient());
    b.accumulate(op.getK(), sumOfGroups(made.getKGradient()));
    b.accumulate(op.getV(), sumOfGroups(made.getVGradient()));
  }

  /// [B, T, H, D] to [B, T, Hkv, D]
  Value sumOfGroups(Value x) {
    if (heads == keyHeads)
      return x;
    Sym features = dimsOf(x)->back();
    Value split = b.reshape(x, {batch, keys, keyHeads, group, features});
    return b.reshape(b.sum(split, {3}), {batch, keys, keyHeads, features});
  }

  void deriveAsNodes(Value gradient) {
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
