//===- RecognizeNorm.cpp - RMS and layer normalization --------------------===//

#include "tacq/Graph/GraphMatch.h"
#include "tacq/Graph/GraphPasses.h"

using namespace mlir;
using namespace tacq;

namespace tacq {
#define GEN_PASS_DEF_RECOGNIZENORM
#include "tacq/Graph/Passes.h.inc"
} // namespace tacq

/// The mean over the last axis, kept with size 1.
static NodeOp meanOf(Value value) {
  NodeOp node = nodeOf(value, "ReduceMean");
  if (!node)
    return nullptr;
  int64_t rank = rankOf(node.getInputs()[0]);
  std::optional<SmallVector<int64_t>> axes = axesOf(node, 1, rank);
  if (rank < 1 || !axes || axes->size() != 1 || (*axes)[0] != rank - 1 ||
      NodeAttrs(node).integer("keepdims", 1) == 0)
    return nullptr;
  return node;
}

/// t if the value is t squared.
static Value rootOf(Value value) {
  if (NodeOp power = nodeOf(value, "Pow"))
    return scalarOf(power.getInputs()[1]) == 2.0 ? power.getInputs()[0] : Value();
  if (NodeOp product = nodeOf(value, "Mul"))
    return product.getInputs()[0] == product.getInputs()[1] ? product.getInputs()[0] : Value();
  return nullptr;
}

/// The source of a cast between floating-point types; the value itself if it is none.
static Value behindCast(Value value) {
  NodeOp cast = nodeOf(value, "Cast");
  if (cast && isa_and_nonnull<FloatType>(elementTypeOf(cast.getInputs()[0])) &&
      isa_and_nonnull<FloatType>(elementTypeOf(value)))
    return cast.getInputs()[0];
  return value;
}

static NodeOp onlyUser(Value value, StringRef opType) {
  if (!value.hasOneUse())
    return nullptr;
  Operation *user = *value.getUsers().begin();
  return isNode(user, opType) ? cast<NodeOp>(user) : NodeOp();
}

/// The first user that is such a node.
static NodeOp anyUser(Value value, StringRef opType) {
  for (Operation *user : value.getUsers())
    if (isNode(user, opType))
      return cast<NodeOp>(user);
  return nullptr;
}

/// Finds t / sqrt(variance) among what is made from the variance (with epsilon).
static Value findNormalized(Value variance, Value t) {
  Value root, inverse;
  if (NodeOp sqrt = anyUser(variance, "Sqrt"))
    root = sqrt.getOutputs()[0];
  if (NodeOp power = anyUser(variance, "Pow"))
    if (power.getInputs()[0] == variance) {
      std::optional<double> exponent = scalarOf(power.getInputs()[1]);
      if (exponent == 0.5)
        root = power.getOutputs()[0];
      else if (exponent == -0.5)
        inverse = power.getOutputs()[0];
    }
  if (root) {
    if (NodeOp reciprocal = anyUser(root, "Reciprocal"))
      inverse = reciprocal.getOutputs()[0];
    if (NodeOp quotient = anyUser(root, "Div")) {
      if (quotient.getInputs()[1] != root)
        return nullptr;
      if (quotient.getInputs()[0] == t)
        return quotient.getOutputs()[0];
      if (scalarOf(quotient.getInputs()[0]) == 1.0)
        inverse = quotient.getOutputs()[0];
    }
  }
  if (!inverse)
    return nullptr;
  NodeOp product = anyUser(inverse, "Mul");
  if (!product || !splitOperands(product, [&](Value v) { return v == t; }))
    return nullptr;
  return product.getOutputs()[0];
}

namespace {

/// What follows the normalization proper, step by step.
struct Tail {
  Value result;
  Value gain, bias;
  Type narrow; ///< the element type before the cast to fp32

  /// Takes up a cast back, a gain, a bias, in the order in which they come.
  void follow(bool hasBias) {
    Type wide = elementTypeOf(result);
    for (unsigned step = 0; step < 4; ++step) {
      if (NodeOp cast = onlyUser(result, "Cast"); cast && elementTypeOf(result) == wide &&
                                                  wide != narrow &&
                                                  elementTypeOf(cast.getOutputs()[0]) == narrow)
        result = cast.getOutputs()[0];
      else if (NodeOp mul = onlyUser(result, "Mul"); mul && !gain && !bias && take(mul, gain))
        continue;
      else if (NodeOp add = onlyUser(result, "Add");
               add && hasBias && !bias && gain && take(add, bias))
        continue;
      else
        return;
    }
  }

private:
  bool take(NodeOp node, Value &operand) {
    auto split = splitOperands(node, [&](Value v) { return v == result; });
    std::optional<Dims> own = dimsOf(result);
    std::optional<Dims> other = split ? dimsOf(split->second) : std::nullopt;
    if (!other || other->empty() || own->empty() || other->back() != own->back() ||
        !sameDims(node.getOutputs()[0], result) || !isWeight(behindCast(split->second)) ||
        elementTypeOf(node.getOutputs()[0]) != elementTypeOf(result))
      return false;
    for (const Sym &dim : ArrayRef<Sym>(*other).drop_back())
      if (!dim.isConstant(1))
        return false;
    operand = behindCast(split->second);
    result = node.getOutputs()[0];
    return true;
  }
};

struct RecognizeNorm : tacq::impl::RecognizeNormBase<RecognizeNorm> {
  using RecognizeNormBase::RecognizeNormBase;

  void runOnOperation() override {
    Block &block = getOperation().getBody().front();
    MatchReport report(remarks, "normalization");
    SmallVector<NodeOp> nodes = llvm::to_vector(block.getOps<NodeOp>());
    for (NodeOp node : nodes) {
      std::string reason;
      bool done = true;
      if (!isComputedInF32(node.getOutputs()[0]))
        continue;
      if (isNode(node, "RMSNormalization") || isNode(node, "LayerNormalization") ||
          node.getOpType() == "SimplifiedLayerNormalization")
        done = rewriteNode(node, report, reason);
      else if (Value t = isNode(node, "ReduceMean") ? rootOf(node.getInputs()[0]) : Value())
        done = rewriteSpelledOut(node, t, report, reason);
      if (!done)
        report.nearMatch(node, node.getNodeName(), reason);
    }
    eraseDeadNodes(block);
    numRecognized += report.matches;
    numNearMatches += report.nearMatches;
  }

  /// Gain and bias as tensors of one axis.
  static Value flat(GraphBuilder &builder, Value value) {
    return value ? builder.reshape(value, {dimsOf(value)->back()}) : Value();
  }

  void replace(NodeOp anchor, Value result, Value x, Value gain, Value bias, NormKind kind,
               double epsilon, MatchReport &report) {
    Operation *last = result.getDefiningOp();
    OpBuilder opBuilder(last);
    GraphBuilder builder(opBuilder, last->getLoc(), anchor.getNodeName());
    gain = flat(builder, gain);
    bias = flat(builder, bias);
    auto norm = opBuilder.create<NormOp>(last->getLoc(), x.getType(), x, gain, bias, kind,
                                         APFloat(epsilon), anchor.getNodeName());
    result.replaceAllUsesWith(norm.getResult());
    report.matched(norm, anchor.getNodeName(), kind == NormKind::RMS ? ": rms" : ": layer");
  }

  bool rewriteSpelledOut(NodeOp mean, Value t, MatchReport &report, std::string &reason) {
    if (!meanOf(mean.getOutputs()[0])) {
      reason = "the mean of squares is not over the last axis";
      return false;
    }
    NodeOp add = anyUser(mean.getOutputs()[0], "Add");
    auto split =
        add ? splitOperands(add, [&](Value v) { return v == mean.getOutputs()[0]; }) : std::nullopt;
    std::optional<double> epsilon = split ? scalarOf(split->second) : std::nullopt;
    if (!epsilon) {
      reason = "no constant epsilon is added to the mean of squares";
      return false;
    }
    Value normalized = findNormalized(add.getOutputs()[0], t);
    if (!normalized) {
      reason = "what was squared is not divided by the root";
      return false;
    }
    NormKind kind = NormKind::RMS;
    Value x = t;
    if (NodeOp sub = nodeOf(t, "Sub"))
      if (NodeOp inner = meanOf(sub.getInputs()[1]);
          inner && inner.getInputs()[0] == sub.getInputs()[0]) {
        kind = NormKind::Layer;
        x = sub.getInputs()[0];
      }
    Value narrow = behindCast(x);
    Tail tail{normalized, {}, {}, elementTypeOf(narrow)};
    tail.follow(kind == NormKind::Layer);
    if (elementTypeOf(tail.result) == elementTypeOf(narrow))
      x = narrow;
    if (x.getType() != tail.result.getType()) {
      reason = "input and result differ in type";
      return false;
    }
    replace(mean, tail.result, x, tail.gain, tail.bias, kind, *epsilon, report);
    return true;
  }

  bool rewriteNode(NodeOp node, MatchReport &report, std::string &reason) {
    NodeAttrs attrs(node);
    Value x = node.getInputs()[0];
    int64_t rank = rankOf(x), axis = attrs.integer("axis", -1);
    if (rank < 1 || (axis != -1 && axis != rank - 1)) {
      reason = "it normalizes over more than the last axis";
      return false;
    }
    for (Value extra : node.getOutputs().drop_front())
      if (!extra.use_empty()) {
        reason = "its statistics are used";
        return false;
      }
    auto operand = [&](unsigned i) {
      return i < node.getInputs().size() && !isAbsent(node.getInputs()[i]) ? node.getInputs()[i]
                                                                           : Value();
    };
    bool isLayer = node.getOpType() == "LayerNormalization";
    std::optional<Dims> dims = dimsOf(x);
    for (Value parameter : {operand(1), isLayer ? operand(2) : Value()}) {
      std::optional<Dims> given = parameter ? dimsOf(parameter) : dims;
      if (!dims || !given || given->empty() || given->back() != dims->back() ||
          (parameter && elementCount(*given) != dims->back())) {
        reason = "gain or bias does not have the size of the last axis";
        return false;
      }
    }
    if (x.getType() != node.getOutputs()[0].getType()) {
      reason = "input and result differ in type";
      return false;
    }
    replace(node, node.getOutputs()[0], x, operand(1), isLayer ? operand(2) : Value(),
            isLayer ? NormKind::Layer : NormKind::RMS, attrs.real("epsilon", 1e-5), report);
    return true;
  }
};

} // namespace
