//===- FuseLinear.cpp - What follows and stands beside a linear operation -===//

#include "tacq/Graph/GraphMatch.h"
#include "tacq/Graph/GraphPasses.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"
#include <cmath>

using namespace mlir;
using namespace tacq;

namespace tacq {
#define GEN_PASS_DEF_FUSELINEAR
#include "tacq/Graph/Passes.h.inc"
} // namespace tacq

namespace {

/// activation(input), and the nodes that read the input for it.
struct Activated {
  Value input;
  Activation kind;
  SmallVector<Operation *, 3> readers;
};

/// The parts of a linear operation, to make another from.
struct LinearParts {
  Value x, residual;
  SmallVector<Value> weights, biases;
  SmallVector<int32_t> orders;
  Activation activation;
  bool gated;
  std::string name;

  explicit LinearParts(LinearOp op)
      : x(op.getX()), residual(op.getResidual()), weights(op.getWeights()), biases(op.getBiases()),
        activation(op.getActivation()), gated(op.getGated()), name(op.getNodeName().str()) {
    for (auto order : op.getWeightOrder().getAsRange<IntegerAttr>())
      orders.push_back(int32_t(order.getInt()));
  }

  void append(const LinearParts &other) {
    weights.append(other.weights);
    biases.append(other.biases);
    orders.append(other.orders);
    name += ", " + other.name;
  }

  LinearOp create(OpBuilder &builder, Location loc, TypeRange types) const {
    return builder.create<LinearOp>(loc, types, x, weights, biases, residual,
                                    builder.getI32ArrayAttr(orders), activation, gated, name);
  }
};

} // namespace

static LinearOp linearOf(Value value) {
  return value ? value.getDefiningOp<LinearOp>() : LinearOp();
}

/// A linear operation with one weight and nothing after the bias.
static LinearOp plainLinear(Value value) {
  LinearOp linear = linearOf(value);
  return linear && linear.getWeights().size() == 1 && !linear.getResidual() &&
                 linear.getActivation() == Activation::None
             ? linear
             : LinearOp();
}

static bool near(std::optional<double> value, double wanted) {
  return value && std::fabs(*value - wanted) <= 1e-3 * std::fabs(wanted);
}

/// The other operand of a product with a scalar near `factor`.
static Value scaledBy(Value value, double factor) {
  if (NodeOp mul = nodeOf(value, "Mul")) {
    auto split = splitOperands(mul, [&](Value v) { return near(scalarOf(v), factor); });
    return split ? split->second : Value();
  }
  if (NodeOp div = nodeOf(value, "Div"))
    return near(scalarOf(div.getInputs()[1]), 1 / factor) ? div.getInputs()[0] : Value();
  return nullptr;
}

/// True if the value is x + 0.044715 x³.
static bool isCubic(Value value, Value x) {
  NodeOp add = nodeOf(value, "Add");
  auto split = add ? splitOperands(add, [&](Value v) { return v == x; }) : std::nullopt;
  Value cube = split ? scaledBy(split->second, 0.044715) : Value();
  if (!cube)
    return false;
  if (NodeOp power = nodeOf(cube, "Pow"))
    return power.getInputs()[0] == x && scalarOf(power.getInputs()[1]) == 3.0;
  NodeOp outer = nodeOf(cube, "Mul");
  auto rest = outer ? splitOperands(outer, [&](Value v) { return v == x; }) : std::nullopt;
  NodeOp square = rest ? nodeOf(rest->second, "Mul") : NodeOp();
  return square && square.getInputs()[0] == x && square.getInputs()[1] == x;
}

/// The nodes between `root` and x, `root` included.
static SmallVector<Operation *, 3> nodesBetween(NodeOp root, Value x) {
  llvm::SmallSetVector<Operation *, 8> found;
  found.insert(root);
  for (unsigned i = 0; i < found.size() && found.size() < 32; ++i)
    for (Value operand : found[i]->getOperands())
      if (operand != x && operand.getDefiningOp<NodeOp>())
        found.insert(operand.getDefiningOp());
  return {found.begin(), found.end()};
}

/// x of 0.5 x (1 + erf(x / sqrt 2)), or of 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x³))),
/// however the factors are grouped.
static std::optional<Activated> matchGelu(NodeOp root) {
  SmallVector<Value> factors{root.getOutputs()[0]}, leaves;
  double scale = 1;
  while (!factors.empty()) {
    Value factor = factors.pop_back_val();
    NodeOp mul = nodeOf(factor, "Mul");
    if (mul && leaves.size() + factors.size() < 4 && (mul == root || factor.hasOneUse()))
      factors.append(mul.getInputs().begin(), mul.getInputs().end());
    else if (std::optional<double> scalar = scalarOf(factor))
      scale *= *scalar;
    else
      leaves.push_back(factor);
  }
  if (leaves.size() != 2 || std::fabs(scale - 0.5) > 1e-6)
    return std::nullopt;
  for (unsigned i : {0u, 1u}) {
    Value x = leaves[1 - i];
    NodeOp add = nodeOf(leaves[i], "Add");
    auto split =
        add ? splitOperands(add, [](Value v) { return scalarOf(v) == 1.0; }) : std::nullopt;
    if (!split)
      continue;
    NodeOp erf = nodeOf(split->second, "Erf"), tanh = nodeOf(split->second, "Tanh");
    if (erf && scaledBy(erf.getInputs()[0], std::sqrt(0.5)) == x)
      return Activated{x, Activation::Gelu, nodesBetween(root, x)};
    Value inner = tanh ? scaledBy(tanh.getInputs()[0], std::sqrt(2 / M_PI)) : Value();
    if (inner && isCubic(inner, x))
      return Activated{x, Activation::GeluTanh, nodesBetween(root, x)};
  }
  return std::nullopt;
}

static std::optional<Activated> matchActivation(NodeOp node) {
  if (isNode(node, "Relu"))
    return Activated{node.getInputs()[0], Activation::ReLU, {node}};
  if (isNode(node, "Swish") && NodeAttrs(node).real("alpha", 1) == 1)
    return Activated{node.getInputs()[0], Activation::SiLU, {node}};
  if (isNode(node, "Gelu")) {
    bool isTanh = NodeAttrs(node).string("approximate", "none") == "tanh";
    return Activated{node.getInputs()[0], isTanh ? Activation::GeluTanh : Activation::Gelu, {node}};
  }
  if (!isNode(node, "Mul"))
    return std::nullopt;
  for (unsigned i : {0u, 1u})
    if (NodeOp sigmoid = nodeOf(node.getInputs()[i], "Sigmoid"))
      if (sigmoid.getInputs()[0] == node.getInputs()[1 - i])
        return Activated{node.getInputs()[1 - i], Activation::SiLU, {node, sigmoid}};
  return matchGelu(node);
}

namespace {

struct FuseLinear : tacq::impl::FuseLinearBase<FuseLinear> {
  using FuseLinearBase::FuseLinearBase;

  void runOnOperation() override {
    Block &block = getOperation().getBody().front();
    hoistConstants(block);
    MatchReport report(remarks, "fused linear");
    // A fusion gives a linear operation in the place of the last node of it: what reads that comes
    // later in the block and is seen with the fusion done.
    SmallVector<NodeOp> nodes = llvm::to_vector(block.getOps<NodeOp>());
    for (NodeOp node : nodes) {
      if (node.getNumResults() != 1 || node.getOutputs()[0].use_empty())
        continue;
      if (isNode(node, "Add")) {
        if (fuseBias(node, report) || fuseResidual(node, report))
          continue;
      } else if (fuseActivation(node, report) || fuseGate(node, report)) {
        continue;
      }
    }
    eraseDeadNodes(block);
    joinSiblings(block, report);
    eraseDeadNodes(block);
    numRecognized += report.matches;
    numNearMatches += report.nearMatches;
  }

  void replace(NodeOp node, const LinearParts &parts, MatchReport &report, StringRef what) {
    OpBuilder builder(node);
    LinearOp fused = parts.create(builder, node.getLoc(), node.getResultTypes());
    node.getOutputs()[0].replaceAllUsesWith(fused.getResults()[0]);
    report.matched(fused, parts.name, ": " + what);
  }

  bool fuseBias(NodeOp add, MatchReport &report) {
    auto split = splitOperands(add, [](Value v) {
      LinearOp linear = plainLinear(v);
      return linear && linear.getBiases().empty() && v.hasOneUse();
    });
    if (!split)
      return false;
    Value result = add.getOutputs()[0], bias = split->second;
    std::optional<Dims> dims = dimsOf(bias), own = dimsOf(result);
    if (!dims || !own || dims->empty() || !isWeight(bias) || dims->back() != own->back() ||
        elementCount(*dims) != own->back() || split->first.getType() != result.getType())
      return false;
    OpBuilder opBuilder(add);
    GraphBuilder builder(opBuilder, add.getLoc(), add.getNodeName());
    LinearParts parts(plainLinear(split->first));
    parts.biases.push_back(builder.reshape(bias, {own->back()}));
    replace(add, parts, report, "bias");
    return true;
  }

  bool fuseResidual(NodeOp add, MatchReport &report) {
    Value result = add.getOutputs()[0];
    auto split = splitOperands(add, [&](Value v) {
      LinearOp linear = linearOf(v);
      return linear && linear.getResults().size() == 1 && !linear.getResidual() && v.hasOneUse() &&
             v.getType() == result.getType();
    });
    if (!split)
      return false;
    if (split->second.getType() != result.getType()) {
      report.nearMatch(add, add.getNodeName(), "what is added has another shape");
      return false;
    }
    LinearParts parts(linearOf(split->first));
    parts.residual = split->second;
    replace(add, parts, report, "residual");
    return true;
  }

  bool fuseActivation(NodeOp node, MatchReport &report) {
    std::optional<Activated> activated = matchActivation(node);
    LinearOp linear = activated ? plainLinear(activated->input) : LinearOp();
    if (!linear || activated->input.getType() != node.getOutputs()[0].getType())
      return false;
    for (Operation *user : activated->input.getUsers())
      if (!llvm::is_contained(activated->readers, user)) {
        report.nearMatch(node, node.getNodeName(), "the input of the activation is used elsewhere");
        return false;
      }
    LinearParts parts(linear);
    parts.activation = activated->kind;
    replace(node, parts, report, stringifyActivation(activated->kind));
    return true;
  }

  bool fuseGate(NodeOp node, MatchReport &report) {
    if (!isNode(node, "Mul"))
      return false;
    auto split = splitOperands(node, [](Value v) {
      LinearOp linear = linearOf(v);
      return linear && linear.getActivation() != Activation::None && !linear.getGated() &&
             linear.getWeights().size() == 1 && !linear.getResidual();
    });
    LinearOp up = split ? plainLinear(split->second) : LinearOp();
    if (!up)
      return false;
    LinearOp gate = linearOf(split->first);
    if (up.getX() != gate.getX() || up.getBiases().size() != gate.getBiases().size() ||
        !split->first.hasOneUse() || !split->second.hasOneUse() ||
        split->first.getType() != node.getOutputs()[0].getType() ||
        split->second.getType() != node.getOutputs()[0].getType()) {
      report.nearMatch(node, node.getNodeName(),
                       "gate and up differ in input, bias or shape, or are used elsewhere");
      return false;
    }
    LinearParts parts(gate);
    parts.append(LinearParts(up));
    parts.gated = true;
    replace(node, parts, report, "gate");
    return true;
  }

  /// Plain linear operations of one input become one with several results.
  void joinSiblings(Block &block, MatchReport &report) {
    llvm::MapVector<std::tuple<Value, Type, Type, size_t>, SmallVector<LinearOp>> groups;
    for (auto linear : block.getOps<LinearOp>())
      if (plainLinear(linear.getResults()[0]))
        groups[{linear.getX(), elementTypeOf(linear.getWeights()[0]),
                elementTypeOf(linear.getResults()[0]), linear.getBiases().size()}]
            .push_back(linear);
    for (auto &[key, members] : groups) {
      Operation *first = members.front();
      llvm::erase_if(members, [&](LinearOp member) {
        return llvm::any_of(member.getBiases(), [&](Value bias) {
          Operation *op = bias.getDefiningOp();
          return op && !op->isBeforeInBlock(first);
        });
      });
      if (members.size() < 2)
        continue;
      LinearParts parts(members.front());
      SmallVector<Type> types{members.front().getResults()[0].getType()};
      for (LinearOp member : ArrayRef<LinearOp>(members).drop_front()) {
        parts.append(LinearParts(member));
        types.push_back(member.getResults()[0].getType());
      }
      OpBuilder builder(first);
      LinearOp joined = parts.create(builder, first->getLoc(), types);
      report.matched(joined, parts.name, ": " + Twine(types.size()) + " of one input");
      for (auto [member, result] : llvm::zip(members, joined.getResults()))
        member.getResults()[0].replaceAllUsesWith(result);
    }
  }
};

} // namespace
