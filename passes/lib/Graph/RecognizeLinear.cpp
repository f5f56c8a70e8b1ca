//===- RecognizeLinear.cpp - MatMul and Gemm with a parameter -------------===//

#include "tacq/Graph/GraphMatch.h"
#include "tacq/Graph/GraphPasses.h"

using namespace mlir;
using namespace tacq;

namespace tacq {
#define GEN_PASS_DEF_RECOGNIZELINEAR
#include "tacq/Graph/Passes.h.inc"
} // namespace tacq

namespace {

/// A parameter [K, N], or [N, K] if it is used transposed.
struct Weight {
  Value param;
  bool transposed = false;
};

} // namespace

/// True if every value of `from` is one of `to`.
static bool isExactCast(Type from, Type to) {
  auto a = dyn_cast<FloatType>(from), b = dyn_cast<FloatType>(to);
  if (!a || !b)
    return false;
  return a == b || (a.getWidth() < b.getWidth() && b.getWidth() >= 32);
}

static std::optional<Weight> findWeight(Value value, std::string &reason) {
  Weight weight;
  std::optional<Dims> wanted = dimsOf(value);
  if (!wanted || wanted->size() < 2 ||
      llvm::any_of(ArrayRef<Sym>(*wanted).drop_back(2),
                   [](const Sym &dim) { return !dim.isConstant(1); })) {
    reason = "";
    return std::nullopt;
  }
  while (true) {
    if (value.getDefiningOp<GetParamOp>()) {
      weight.param = value;
      break;
    }
    auto node = value.getDefiningOp<NodeOp>();
    if (!node || node.getInputs().empty())
      return std::nullopt;
    Value source = node.getInputs()[0];
    if (isNode(node, "Transpose")) {
      SmallVector<int64_t> perm = NodeAttrs(node).integers("perm");
      int64_t rank = rankOf(value);
      for (int64_t i = 0; i + 2 < rank && !perm.empty(); ++i)
        if (perm[i] != i)
          return std::nullopt;
      if (perm.empty() && rank != 2)
        return std::nullopt;
      weight.transposed ^= perm.empty() || perm[rank - 1] == rank - 2;
    } else if (isNode(node, "Cast")) {
      if (!isExactCast(elementTypeOf(source), elementTypeOf(value))) {
        if (source.getDefiningOp<GetParamOp>())
          reason = "the parameter is cast to a type that does not hold its values";
        return std::nullopt;
      }
    } else if (isNode(node, "Reshape") || isNode(node, "Unsqueeze")) {
      std::optional<Dims> from = dimsOf(source), to = dimsOf(value);
      if (!from || !to || from->size() < 2 || to->size() < 2 ||
          ArrayRef<Sym>(*from).take_back(2) != ArrayRef<Sym>(*to).take_back(2))
        return std::nullopt;
    } else if (!isNode(node, "Identity")) {
      return std::nullopt;
    }
    value = source;
  }
  if (rankOf(weight.param) != 2)
    return std::nullopt;
  return weight;
}

namespace {

struct RecognizeLinear : tacq::impl::RecognizeLinearBase<RecognizeLinear> {
  using RecognizeLinearBase::RecognizeLinearBase;

  void runOnOperation() override {
    Block &block = getOperation().getBody().front();
    MatchReport report(remarks, "linear");
    SmallVector<NodeOp> nodes;
    for (auto node : block.getOps<NodeOp>())
      if (isNode(node, "MatMul") || isNode(node, "Gemm"))
        nodes.push_back(node);
    for (NodeOp node : nodes) {
      std::string reason;
      std::string name = node.getNodeName().str();
      Location loc = node.getLoc();
      bool isGemm = isNode(node, "Gemm");
      if (!(isGemm ? rewriteGemm(node, reason) : rewriteMatMul(node, reason))) {
        if (!reason.empty())
          report.nearMatch(node, name, reason);
        continue;
      }
      ++report.matches;
      if (remarks)
        emitRemark(loc) << "linear recognized at node '" << name << "'";
    }
    eraseDeadNodes(block);
    numRecognized += report.matches;
    numNearMatches += report.nearMatches;
  }

  Value makeLinear(OpBuilder &builder, NodeOp node, Value x, const Weight &weight, Type type) {
    auto order = weight.transposed ? WeightOrder::NK : WeightOrder::KN;
    auto linear =
        builder.create<LinearOp>(node.getLoc(), TypeRange{type}, x, ValueRange{weight.param},
                                 ValueRange{}, Value(), builder.getI32ArrayAttr({int32_t(order)}),
                                 Activation::None, /*gated=*/false, node.getNodeName());
    return linear.getResults()[0];
  }

  static bool hasFixedFeatures(Value x) {
    std::optional<Dims> dims = dimsOf(x);
    return dims && !dims->empty() && dims->back().constant();
  }

  bool rewriteMatMul(NodeOp node, std::string &reason) {
    Value x = node.getInputs()[0];
    std::optional<Weight> weight = findWeight(node.getInputs()[1], reason);
    if (!weight) {
      if (reason.empty() && node.getInputs()[1].getDefiningOp<GetParamOp>())
        reason = "the parameter is no matrix";
      return false;
    }
    if (!isComputedInF32(x)) {
      reason = "the elements are not f32, f16 or bf16";
      return false;
    }
    if (!hasFixedFeatures(x)) {
      reason = "the number of input features is not known at compile time";
      return false;
    }
    if (rankOf(x) < 2 || rankOf(x) < rankOf(node.getInputs()[1])) {
      reason = "the input has fewer axes than the product";
      return false;
    }
    OpBuilder builder(node);
    Value result = makeLinear(builder, node, x, *weight, node.getOutputs()[0].getType());
    node.getOutputs()[0].replaceAllUsesWith(result);
    return true;
  }

  bool rewriteGemm(NodeOp node, std::string &reason) {
    NodeAttrs attrs(node);
    std::optional<Weight> weight = findWeight(node.getInputs()[1], reason);
    if (!weight)
      return false;
    if (attrs.integer("transA", 0) != 0) {
      reason = "the input is transposed";
      return false;
    }
    Value x = node.getInputs()[0];
    if (!isComputedInF32(x)) {
      reason = "the elements are not f32, f16 or bf16";
      return false;
    }
    if (!hasFixedFeatures(x)) {
      reason = "the number of input features is not known at compile time";
      return false;
    }
    if (attrs.integer("transB", 0) != 0)
      weight->transposed = !weight->transposed;
    OpBuilder opBuilder(node);
    GraphBuilder builder(opBuilder, node.getLoc(), node.getNodeName());
    Value result = makeLinear(opBuilder, node, x, *weight, node.getOutputs()[0].getType());
    auto scaled = [&](Value value, double factor) {
      if (factor == 1)
        return value;
      return builder.create("Mul", {value, builder.scalar(elementTypeOf(value), factor)});
    };
    result = scaled(result, attrs.real("alpha", 1));
    double beta = attrs.real("beta", 1);
    if (node.getInputs().size() > 2 && !isAbsent(node.getInputs()[2]) && beta != 0)
      result = builder.create("Add", {result, scaled(node.getInputs()[2], beta)});
    node.getOutputs()[0].replaceAllUsesWith(result);
    return true;
  }
};

} // namespace
