//===- AttentionOps.cpp - Attention and RotaryEmbedding -------------------===//
//
// Both are composites: what no fused kernel takes is expanded as the standard defines it.
//
//===----------------------------------------------------------------------===//

#include "tacq/Ops/OpSpec.h"
#include <cmath>

using namespace mlir;
using namespace tacq;

namespace {

Type elementOf(Value tensor) { return cast<ShapedType>(tensor.getType()).getElementType(); }
int64_t rankOf(Value tensor) { return cast<ShapedType>(tensor.getType()).getRank(); }

Value operandOrNull(NodeOp node, size_t i) {
  if (i >= node.getInputs().size() || isAbsent(node.getInputs()[i]))
    return {};
  return node.getInputs()[i];
}

Value reshape(NodeBuilder &b, Value x, ArrayRef<Sym> dims) {
  return b.create("Reshape", {x, b.symbols(dims)}, b.attr("allowzero", int64_t(1)));
}

Value transpose(NodeBuilder &b, Value x, ArrayRef<int64_t> permutation) {
  return b.create("Transpose", x, b.attr("perm", permutation));
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// The sizes of an attention, whichever way its operands are laid out.
struct AttentionSizes {
  bool flat;
  Sym batch, queries, newKeys, past, keys, heads, keyHeads, size, valueSize;

  AttentionSizes(NodeOp node, ArrayRef<Sym> q, ArrayRef<Sym> k, ArrayRef<Sym> v) {
    NodeAttrs attrs(node);
    flat = q.size() == 3;
    batch = q[0];
    queries = q[flat ? 1 : 2];
    newKeys = k[flat ? 1 : 2];
    heads = flat ? Sym(attrs.integer("q_num_heads", 1)) : q[1];
    keyHeads = flat ? Sym(attrs.integer("kv_num_heads", 1)) : k[1];
    size = flat ? Sym::floorDiv(q[2], heads) : q[3];
    valueSize = flat ? Sym::floorDiv(v[2], keyHeads) : v[3];
    if (Value pastKey = operandOrNull(node, 4))
      past = (*dimsOf(pastKey))[2];
    keys = past + newKeys;
  }

  explicit AttentionSizes(NodeOp node)
      : AttentionSizes(node, *dimsOf(node.getInputs()[0]), *dimsOf(node.getInputs()[1]),
                       *dimsOf(node.getInputs()[2])) {}
};

LogicalResult inferAttention(InferContext &ctx) {
  int64_t rank = ctx.rank(0);
  if ((rank != 3 && rank != 4) || ctx.rank(1) != rank || ctx.rank(2) != rank)
    return ctx.fail("Q, K and V must all have 3 or all 4 dimensions");
  if (rank == 3 && (!ctx.attrs.has("q_num_heads") || !ctx.attrs.has("kv_num_heads")))
    return ctx.fail("q_num_heads and kv_num_heads must be given for operands of 3 dimensions");
  if (ctx.has(4) != ctx.has(5) || (ctx.has(4) && (ctx.rank(4) != 4 || ctx.rank(5) != 4)))
    return ctx.fail("past_key and past_value must be given together, with 4 dimensions");
  AttentionSizes s(ctx.node, ctx.dims(0), ctx.dims(1), ctx.dims(2));
  if (std::optional<int64_t> heads = s.heads.constant(), keyHeads = s.keyHeads.constant();
      heads && keyHeads && (*keyHeads < 1 || *heads % *keyHeads != 0))
    return ctx.fail("the number of query heads must be a multiple of that of key heads");
  if (s.flat)
    ctx.setResult(0, ctx.elementType(0), {s.batch, s.queries, s.heads * s.valueSize});
  else
    ctx.setResult(0, ctx.elementType(0), {s.batch, s.heads, s.queries, s.valueSize});
  auto set = [&](unsigned i, Type element, ArrayRef<Sym> dims) {
    if (i < ctx.resultCount() && !ctx.types[i])
      ctx.setResult(i, element, dims);
  };
  set(1, ctx.elementType(1), {s.batch, s.keyHeads, s.keys, s.size});
  set(2, ctx.elementType(2), {s.batch, s.keyHeads, s.keys, s.valueSize});
  set(3, ctx.elementType(0), {s.batch, s.heads, s.queries, s.keys});
  return success();
}

class AttentionExpander {
public:
  AttentionExpander(NodeBuilder &b, NodeOp node)
      : b(b), node(node), attrs(node), s(node), element(elementOf(node.getInputs()[0])) {}

  SmallVector<Value> expand() {
    Value q = headsFirst(node.getInputs()[0], s.queries, s.heads, s.size);
    Value k = headsFirst(node.getInputs()[1], s.newKeys, s.keyHeads, s.size);
    Value v = headsFirst(node.getInputs()[2], s.newKeys, s.keyHeads, s.valueSize);
    if (Value past = operandOrNull(node, 4)) {
      k = b.create("Concat", {past, k}, b.attr("axis", int64_t(2)));
      v = b.create("Concat", {operandOrNull(node, 5), v}, b.attr("axis", int64_t(2)));
    }
    SmallVector<Value> results(node.getNumResults());
    auto result = [&](size_t i, Value value) {
      if (i < results.size())
        results[i] = value;
    };
    result(1, k);
    result(2, v);

    Value scores =
        b.create("MatMul", {grouped(scaled(q), s.size), transpose(b, scaled(k), {0, 1, 3, 2})});
    scores = ungrouped(scores, s.keys);
    int64_t mode = attrs.integer("qk_matmul_output_mode", 0);
    if (mode == 0)
      result(3, scores);
    double softcap = attrs.real("softcap", 0.0);
    if (softcap > 0) {
      Value cap = b.scalar(element, softcap);
      scores = b.create("Mul", {b.create("Tanh", b.create("Div", {scores, cap})), cap});
    }
    if (mode == 1)
      result(3, scores);
    Value bias = makeBias();
    if (bias)
      scores = b.create("Add", {scores, bias});
    if (mode == 2)
      result(3, scores);
    Value weights = softmax(scores);
    if (bias) {
      // A query that may see no key has zeros, not the quotient of nothing by nothing.
      Value best = b.create("ReduceMax", {bias, b.integers(-1)});
      Value blind = b.create("Equal", {best, b.scalar(element, -INFINITY)});
      weights = b.create("Where", {blind, b.scalar(element, 0.0), weights});
    }
    if (mode == 3)
      result(3, weights);
    Value out = ungrouped(b.create("MatMul", {grouped(weights, s.keys), v}), s.valueSize);
    if (s.flat)
      out =
          reshape(b, transpose(b, out, {0, 2, 1, 3}), {s.batch, s.queries, s.heads * s.valueSize});
    result(0, out);
    return results;
  }

private:
  Value headsFirst(Value x, const Sym &length, const Sym &heads, const Sym &size) {
    if (!s.flat)
      return x;
    return transpose(b, reshape(b, x, {s.batch, length, heads, size}), {0, 2, 1, 3});
  }

  /// Query heads that share a key head become rows of one matrix.
  Value grouped(Value x, const Sym &size) {
    if (s.heads == s.keyHeads)
      return x;
    return reshape(b, x,
                   {s.batch, s.keyHeads, Sym::floorDiv(s.heads, s.keyHeads) * s.queries, size});
  }
  Value ungrouped(Value x, const Sym &size) {
    if (s.heads == s.keyHeads)
      return x;
    return reshape(b, x, {s.batch, s.heads, s.queries, size});
  }

  /// Each factor takes the root of the scale.
  Value scaled(Value x) {
    if (attrs.has("scale"))
      return b.create("Mul", {x, b.scalar(element, std::sqrt(attrs.real("scale", 1.0)))});
    if (std::optional<int64_t> size = s.size.constant())
      return b.create("Mul", {x, b.scalar(element, std::pow(double(*size), -0.25))});
    Value size = b.create("Cast", b.symbols({s.size}), b.attr("to", int64_t(1)));
    Value root = b.create("Pow", {size, b.scalar(b.builder.getF32Type(), -0.25)});
    return b.create("Mul", {x, b.create("CastLike", {root, x})});
  }

  Value select(Value allowed) {
    return b.create("Where", {allowed, b.scalar(element, 0.0), b.scalar(element, -INFINITY)});
  }

  /// 0, 1, … along one axis of a tensor of rank 2.
  Value positions(const Sym &count, int64_t axis) {
    Value limit = b.create("Squeeze", {b.symbols({count}), b.integers(0)});
    Value range = b.create("Range", {b.integers(0, true), limit, b.integers(1, true)});
    return b.create("Unsqueeze", {range, b.integers(1 - axis)});
  }

  /// What is added to the scores; null for nothing.
  Value makeBias() {
    Value bias;
    if (Value mask = operandOrNull(node, 3)) {
      bool isBool = elementOf(mask).isInteger(1);
      Sym given = dimsOf(mask)->back();
      bias = isBool ? select(mask) : mask;
      if (!given.isConstant(1) && given != s.keys) {
        // Keys behind the mask's last are not seen.
        Dims pads(2 * rankOf(mask), Sym());
        pads.back() = s.keys - given;
        bias = b.create("Pad", {bias, b.symbols(pads), b.scalar(element, -INFINITY)});
      }
    }
    auto addTo = [&](Value more) { bias = bias ? b.create("Add", {bias, more}) : more; };
    Value lengths = operandOrNull(node, 6);
    Value perBatch;
    if (lengths)
      perBatch = b.create("Unsqueeze", {lengths, b.integers({1, 2, 3})});
    Value key = attrs.integer("is_causal", 0) || lengths ? positions(s.keys, 1) : Value();
    if (attrs.integer("is_causal", 0)) {
      Value query = positions(s.queries, 0), offset = b.symbols({s.past});
      if (lengths && !operandOrNull(node, 4))
        offset = b.create("Sub", {perBatch, b.symbols({s.queries})});
      Value last = b.create("Add", {query, offset});
      addTo(select(b.create("LessOrEqual", {key, last})));
    }
    if (lengths)
      addTo(select(b.create("Less", {key, perBatch})));
    return bias;
  }

  Value softmax(Value scores) {
    NamedAttribute axis = b.attr("axis", int64_t(-1));
    int64_t precision = attrs.integer("softmax_precision", 0);
    bool wider = (precision == 1 && !element.isF32()) || (precision == 11 && !element.isF64());
    if (!wider)
      return b.create("Softmax", scores, axis);
    Value weights = b.create("Softmax", b.create("Cast", scores, b.attr("to", precision)), axis);
    return b.create("CastLike", {weights, scores});
  }

  NodeBuilder &b;
  NodeOp node;
  NodeAttrs attrs;
  AttentionSizes s;
  Type element;
};

SmallVector<Value> decomposeAttention(NodeBuilder &b, NodeOp node) {
  return AttentionExpander(b, node).expand();
}

//===----------------------------------------------------------------------===//
// RotaryEmbedding
//===----------------------------------------------------------------------===//

LogicalResult inferRotary(InferContext &ctx) {
  int64_t rank = ctx.rank(0);
  if (rank != 3 && rank != 4)
    return ctx.fail("its input must have 3 or 4 dimensions");
  if (rank == 3 && ctx.attrs.integer("num_heads", 0) < 1)
    return ctx.fail("num_heads must be given for an input of 3 dimensions");
  // With positions, a row of the caches for each position; else a row for each token.
  int64_t cacheRank = ctx.has(3) ? 2 : 3;
  if (ctx.rank(1) != cacheRank || ctx.rank(2) != cacheRank)
    return ctx.fail("its cosines and sines must have " + Twine(cacheRank) + " dimensions");
  if (ctx.has(3) && ctx.rank(3) != 2)
    return ctx.fail("its positions must have 2 dimensions");
  ctx.setResult(0, ctx.elementType(0), ctx.dims(0));
  return success();
}

SmallVector<Value> decomposeRotary(NodeBuilder &b, NodeOp node) {
  NodeAttrs attrs(node);
  Value x = node.getInputs()[0], cos = node.getInputs()[1], sin = node.getInputs()[2];
  Dims dims = *dimsOf(x);
  bool flat = dims.size() == 3, interleaved = attrs.integer("interleaved", 0) != 0;
  Sym size = dims.back();
  if (flat) {
    Sym heads = attrs.integer("num_heads", 1);
    size = Sym::floorDiv(dims[2], heads);
    x = reshape(b, x, {dims[0], dims[1], heads, size});
  }
  Sym rotated = attrs.integer("rotary_embedding_dim", 0);
  if (rotated.isConstant(0))
    rotated = size;
  Sym half = Sym::floorDiv(rotated, 2);
  auto slice = [&](Value from, const Sym &begin, const Sym &end, int64_t step) {
    return b.create("Slice",
                    {from, b.symbols({begin}), b.symbols({end}), b.integers(3), b.integers(step)});
  };
  // The caches get an axis for the heads.
  auto perPosition = [&](Value cache) {
    if (Value ids = operandOrNull(node, 3))
      cache = b.create("Gather", {cache, ids}, b.attr("axis", int64_t(0)));
    return b.create("Unsqueeze", {cache, b.integers(flat ? 2 : 1)});
  };
  cos = perPosition(cos);
  sin = perPosition(sin);
  Value first, second;
  if (interleaved) {
    first = slice(x, 0, rotated, 2);
    second = slice(x, 1, rotated, 2);
  } else {
    first = slice(x, 0, half, 1);
    second = slice(x, half, rotated, 1);
  }
  auto mul = [&](Value l, Value r) { return b.create("Mul", {l, r}); };
  Value real = b.create("Sub", {mul(cos, first), mul(sin, second)});
  Value imaginary = b.create("Add", {mul(sin, first), mul(cos, second)});
  SmallVector<Value> parts = {real, imaginary};
  if (interleaved) {
    Value pairs = b.create("Concat",
                           {b.create("Unsqueeze", {real, b.integers(4)}),
                            b.create("Unsqueeze", {imaginary, b.integers(4)})},
                           b.attr("axis", int64_t(4)));
    Dims joined = *dimsOf(real);
    joined.back() = rotated;
    parts = {reshape(b, pairs, joined)};
  }
  if (rotated != size)
    parts.push_back(slice(x, rotated, size, 1));
  Value result =
      parts.size() == 1 ? parts[0] : b.create("Concat", parts, b.attr("axis", int64_t(3)));
  return {flat ? reshape(b, result, dims) : result};
}

} // namespace

ArrayRef<OpSpec> tacq::attentionOps() {
  static const std::vector<OpSpec> table = [] {
    OpSpec attention, rotary;
    attention.name = "Attention";
    attention.infer = inferAttention;
    attention.decompose = decomposeAttention;
    rotary.name = "RotaryEmbedding";
    rotary.infer = inferRotary;
    rotary.decompose = decomposeRotary;
    return std::vector<OpSpec>{attention, rotary};
  }();
  return table;
}
