//===- RecognizeAttention.cpp - tacq.attention from what is computed ------===//
//
// Two forms: MatMul, Softmax, MatMul with whatever exporters put between them, and the Attention
// node. How heads are laid out and repeated (HeadLayout) and what a mask means (MaskPredicate) is
// found by evaluation.
//
//===----------------------------------------------------------------------===//

#include "tacq/Graph/AttentionRewrite.h"
#include "tacq/Graph/GraphPasses.h"
#include <cmath>

using namespace mlir;
using namespace tacq;

namespace tacq {
#define GEN_PASS_DEF_RECOGNIZEATTENTION
#include "tacq/Graph/Passes.h.inc"
} // namespace tacq

namespace {

/// What is between the two matrix products.
struct ScoreChain {
  Value query, transposedKey;
  double scale = 1;
  SmallVector<Mask> masks;
};

} // namespace

static bool isFloatCast(NodeOp node) {
  return isNode(node, "Cast") && isa_and_nonnull<FloatType>(elementTypeOf(node.getInputs()[0])) &&
         isa_and_nonnull<FloatType>(elementTypeOf(node.getOutputs()[0]));
}

/// True if the value is the product of two activations, or made from one by what can stand between
/// it and the softmax.
static bool leadsToProduct(Value value, unsigned depth = 0) {
  auto node = value.getDefiningOp<NodeOp>();
  if (!node || depth > 8)
    return false;
  if (isNode(node, "MatMul"))
    return !isWeight(node.getInputs()[0]) && !isWeight(node.getInputs()[1]) && rankOf(value) == 4;
  for (StringRef type : {"Add", "Where", "Mul", "Div", "Cast"})
    if (isNode(node, type))
      return llvm::any_of(node.getInputs(),
                          [&](Value input) { return leadsToProduct(input, depth + 1); });
  return false;
}

static bool hides(Value value) {
  std::optional<double> scalar = scalarOf(value);
  return scalar && *scalar <= kInvisible;
}

/// Takes scores apart down to the product of queries and keys.
static std::optional<ScoreChain> takeApart(Value scores, std::string &reason) {
  ScoreChain chain;
  for (unsigned step = 0; step < 16; ++step) {
    auto node = scores.getDefiningOp<NodeOp>();
    if (!node)
      break;
    if (isFloatCast(node)) {
      scores = node.getInputs()[0];
      continue;
    }
    if (isNode(node, "MatMul")) {
      chain.query = node.getInputs()[0];
      chain.transposedKey = node.getInputs()[1];
      return chain;
    }
    bool isMul = isNode(node, "Mul"), isDiv = isNode(node, "Div");
    if (isMul || isDiv) {
      auto split = splitOperands(node, [](Value v) { return leadsToProduct(v); });
      std::optional<double> factor = split ? scalarOf(split->second) : std::nullopt;
      if (!factor || *factor == 0 || (isDiv && split->first != node.getInputs()[0])) {
        reason = "the scores are multiplied by something that is no constant";
        return std::nullopt;
      }
      chain.scale *= isMul ? *factor : 1 / *factor;
      scores = split->first;
      continue;
    }
    if (isNode(node, "Add")) {
      auto split = splitOperands(node, [](Value v) { return leadsToProduct(v); });
      if (!split)
        break;
      chain.masks.push_back({split->second, Mask::Additive, chain.scale});
      scores = split->first;
      continue;
    }
    if (isNode(node, "Where")) {
      Value condition = node.getInputs()[0], yes = node.getInputs()[1], no = node.getInputs()[2];
      if (hides(no) && leadsToProduct(yes)) {
        chain.masks.push_back({condition, Mask::Keep});
        scores = yes;
        continue;
      }
      if (hides(yes) && leadsToProduct(no)) {
        chain.masks.push_back({condition, Mask::Drop});
        scores = no;
        continue;
      }
    }
    reason = "the scores come from a node " + node.getOpType().str() + " that is not understood";
    return std::nullopt;
  }
  reason = "the scores do not come from a product of queries and keys";
  return std::nullopt;
}

/// The value that is used as the probabilities: behind casts and the guard that replaces NaN by 0.
static Value behindGuard(Value probabilities) {
  while (true) {
    NodeOp isNaN, where, other;
    unsigned others = 0;
    for (Operation *user : probabilities.getUsers()) {
      if (isNode(user, "IsNaN"))
        isNaN = cast<NodeOp>(user);
      else if (isNode(user, "Where"))
        where = cast<NodeOp>(user);
      else {
        other = dyn_cast<NodeOp>(user);
        ++others;
      }
    }
    if (isNaN && where && others == 0 && where.getInputs()[0] == isNaN.getOutputs()[0] &&
        scalarOf(where.getInputs()[1]) == 0.0 && where.getInputs()[2] == probabilities) {
      probabilities = where.getOutputs()[0];
      continue;
    }
    if (!isNaN && !where && others == 1 && other && isFloatCast(other)) {
      probabilities = other.getOutputs()[0];
      continue;
    }
    return probabilities;
  }
}

namespace {

struct RecognizeAttention : tacq::impl::RecognizeAttentionBase<RecognizeAttention> {
  using RecognizeAttentionBase::RecognizeAttentionBase;

  void runOnOperation() override {
    Block &block = getOperation().getBody().front();
    MatchReport report(remarks, "attention");
    AttentionRewriter rewriter(block, report);
    SmallVector<NodeOp> nodes;
    for (auto node : block.getOps<NodeOp>())
      if (isNode(node, "Softmax") || isNode(node, "Attention"))
        nodes.push_back(node);
    for (NodeOp node : nodes) {
      std::string reason;
      std::string name = node.getNodeName().str();
      bool done = isNode(node, "Softmax") ? rewriteSoftmax(node, rewriter, reason)
                                          : rewriteNode(node, rewriter, reason);
      if (!done)
        report.nearMatch(node, name, reason);
    }
    eraseDeadNodes(block);
    numRecognized += report.matches;
    numNearMatches += report.nearMatches;
  }

  bool rewriteSoftmax(NodeOp softmax, AttentionRewriter &rewriter, std::string &reason) {
    Value result = softmax.getOutputs()[0];
    int64_t rank = rankOf(result);
    int64_t axis = NodeAttrs(softmax).integer("axis", softmax.getOpset() >= 13 ? -1 : 1);
    if (rank != 4 || (axis != -1 && axis != rank - 1)) {
      reason = "the softmax is not over the last of four axes";
      return false;
    }
    Value probabilities = behindGuard(result);
    NodeOp product =
        probabilities.hasOneUse() ? dyn_cast<NodeOp>(*probabilities.getUsers().begin()) : NodeOp();
    if (!isNode(product, "MatMul") || product.getInputs()[0] != probabilities) {
      reason = "the probabilities are not used by exactly one product with values";
      return false;
    }
    std::optional<ScoreChain> chain = takeApart(softmax.getInputs()[0], reason);
    if (!chain)
      return false;
    auto query = findHeadView(chain->query, HeadLayout::BHSD, /*repeated=*/false, reason);
    auto key =
        query ? findCachedHeads(chain->transposedKey, HeadLayout::BHDS, reason) : std::nullopt;
    auto value =
        key ? findCachedHeads(product.getInputs()[1], HeadLayout::BHSD, reason) : std::nullopt;
    if (!value)
      return false;
    AttentionParts parts;
    parts.anchor = product;
    parts.nodeName = product.getNodeName().str();
    parts.query = *query;
    parts.key = *key;
    parts.value = *value;
    parts.scale = chain->scale;
    parts.masks = chain->masks;
    AttentionOp attention = rewriter.rewrite(parts, reason);
    if (!attention)
      return false;
    OpBuilder opBuilder(product);
    GraphBuilder builder(opBuilder, product.getLoc(), parts.nodeName);
    Value out = builder.transpose(attention.getOut(), {0, 2, 1, 3});
    product.getOutputs()[0].replaceAllUsesWith(
        builder.cast(out, elementTypeOf(product.getOutputs()[0])));
    return true;
  }

  bool rewriteNode(NodeOp node, AttentionRewriter &rewriter, std::string &reason) {
    NodeAttrs attrs(node);
    auto given = [&](unsigned i) {
      return i < node.getInputs().size() && !isAbsent(node.getInputs()[i]) ? node.getInputs()[i]
                                                                           : Value();
    };
    auto used = [&](unsigned i) {
      return i < node.getNumResults() && !node.getOutputs()[i].use_empty();
    };
    if (attrs.real("softcap", 0) != 0) {
      reason = "softcap is not fused";
      return false;
    }
    if (given(6) || used(3) || attrs.integer("left_window_size", -1) != -1 ||
        attrs.integer("right_window_size", -1) != -1) {
      reason = "lengths of unpadded keys, windows and the scores as a result are not fused";
      return false;
    }
    OpBuilder opBuilder(node);
    GraphBuilder builder(opBuilder, node.getLoc(), node.getNodeName());
    bool flat = rankOf(node.getInputs()[0]) == 3;
    SmallVector<Value, 3> heads;
    for (unsigned i = 0; i < 3; ++i) {
      Value operand = node.getInputs()[i];
      std::optional<Dims> dims = dimsOf(operand);
      if (!dims || dims->size() != (flat ? 3 : 4)) {
        reason = "queries, keys and values do not have the same three or four axes";
        return false;
      }
      if (flat) {
        int64_t count = attrs.integer(i == 0 ? "q_num_heads" : "kv_num_heads", 0);
        std::optional<int64_t> all = (*dims)[2].constant();
        if (count <= 0 || !all || *all % count != 0) {
          reason = "the number of heads does not divide the features";
          return false;
        }
        operand = builder.reshape(operand, {(*dims)[0], (*dims)[1], Sym(count), Sym(*all / count)});
        operand = builder.transpose(operand, {0, 2, 1, 3});
      }
      heads.push_back(operand);
    }
    AttentionParts parts;
    parts.anchor = node;
    parts.nodeName = node.getNodeName().str();
    auto query = findHeadView(heads[0], HeadLayout::BHSD, /*repeated=*/false, reason);
    if (!query)
      return false;
    parts.query = *query;
    bool presents = used(1) || used(2);
    for (unsigned i : {1u, 2u}) {
      std::optional<CachedHeads> found;
      if (given(4) || presents) {
        // The node's own cache is not repeated: neither may the keys be.
        auto fresh = findHeadView(heads[i], HeadLayout::BHSD, /*repeated=*/false, reason);
        if (fresh)
          found =
              CachedHeads{*fresh, given(3 + i), false,
                          given(4) && i < node.getNumResults() ? node.getOutputs()[i] : Value()};
      } else {
        found = findCachedHeads(heads[i], HeadLayout::BHSD, reason);
      }
      if (!found)
        return false;
      (i == 1 ? parts.key : parts.value) = *found;
    }
    int64_t features = parts.query.features;
    parts.scale = attrs.real("scale", 1 / std::sqrt(double(features)));
    parts.causal = attrs.integer("is_causal", 0) != 0;
    // The node aligns causality to its own cache, not to one that was concatenated before it.
    if (parts.causal && !given(4) && (parts.key.past || parts.value.past)) {
      reason = "it is causal from the first key on although keys were concatenated before it";
      return false;
    }
    if (Value mask = given(3)) {
      std::optional<Dims> dims = dimsOf(mask);
      Sym keys = parts.key.heads.sequence;
      if (parts.key.past)
        keys = keys + (*dimsOf(parts.key.past))[parts.key.sequenceMajor ? 1 : 2];
      if (!dims || dims->empty() || (dims->back() != keys && !dims->back().isConstant(1))) {
        reason = "the mask does not cover all keys";
        return false;
      }
      bool isBool = elementTypeOf(mask).isInteger(1);
      parts.masks.push_back({mask, isBool ? Mask::Keep : Mask::Additive});
    }
    AttentionOp attention = rewriter.rewrite(parts, reason);
    if (!attention)
      return false;
    opBuilder.setInsertionPoint(node);
    Value out = attention.getOut();
    std::optional<Dims> dims = dimsOf(out);
    out = flat ? builder.reshape(out, {(*dims)[0], (*dims)[1], (*dims)[2] * (*dims)[3]})
               : builder.transpose(out, {0, 2, 1, 3});
    node.getOutputs()[0].replaceAllUsesWith(out);
    // Without a cache the node's presents are its keys and values.
    if (presents && !given(4))
      for (unsigned i : {1u, 2u})
        if (used(i))
          node.getOutputs()[i].replaceAllUsesWith(heads[i]);
    return true;
  }
};

} // namespace
