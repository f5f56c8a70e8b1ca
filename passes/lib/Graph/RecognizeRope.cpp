//===- RecognizeRope.cpp - Rotary position embedding ----------------------===//

#include "tacq/Graph/GraphMatch.h"
#include "tacq/Graph/GraphPasses.h"
#include "tacq/Graph/HeadLayout.h"
#include "llvm/ADT/DenseMap.h"

using namespace mlir;
using namespace tacq;

namespace tacq {
#define GEN_PASS_DEF_RECOGNIZEROPE
#include "tacq/Graph/Passes.h.inc"
} // namespace tacq

/// True if the value is the lower (or upper) half of x's last axis.
static bool isHalf(Value value, Value x, bool upper) {
  std::optional<Dims> dims = dimsOf(x), half = dimsOf(value);
  if (!dims || !half || dims->empty() || half->size() != dims->size())
    return false;
  std::optional<int64_t> features = dims->back().constant();
  if (!features || *features % 2 != 0 || !half->back().isConstant(*features / 2))
    return false;
  auto node = value.getDefiningOp<NodeOp>();
  if (!node || node.getInputs().empty() || node.getInputs()[0] != x)
    return false;
  int64_t rank = dims->size();
  if (isNode(node, "Split")) {
    int64_t axis = NodeAttrs(node).integer("axis", 0);
    return (axis < 0 ? axis + rank : axis) == rank - 1 && node.getNumResults() == 2 &&
           node.getOutputs()[upper ? 1 : 0] == value;
  }
  if (!isNode(node, "Slice"))
    return false;
  // The halved size says where the slice ends if it starts right and goes on step by step.
  std::optional<SmallVector<int64_t>> starts, steps;
  std::optional<SmallVector<int64_t>> axes = axesOf(node, 3, rank);
  if (node.getOpset() >= 10) {
    starts = integersOf(node.getInputs()[1]);
    if (node.getInputs().size() > 4 && !isAbsent(node.getInputs()[4])) {
      steps = integersOf(node.getInputs()[4]);
      if (!steps)
        return false;
    }
  } else {
    starts = NodeAttrs(node).integers("starts");
  }
  if (!starts || starts->size() != 1 || !axes || axes->size() != 1 || (*axes)[0] != rank - 1 ||
      (steps && (*steps)[0] != 1))
    return false;
  int64_t start = (*starts)[0] < 0 ? (*starts)[0] + *features : (*starts)[0];
  return start == (upper ? *features / 2 : 0);
}

/// True if the value is concat(-upper half of x, lower half of x) on the last axis.
static bool isRotated(Value value, Value x) {
  NodeOp concat = nodeOf(value, "Concat");
  if (!concat || concat.getInputs().size() != 2 || !sameDims(value, x))
    return false;
  int64_t axis = NodeAttrs(concat).integer("axis", 0), rank = rankOf(x);
  NodeOp neg = nodeOf(concat.getInputs()[0], "Neg");
  return (axis == -1 || axis == rank - 1) && neg && isHalf(neg.getInputs()[0], x, true) &&
         isHalf(concat.getInputs()[1], x, false);
}

namespace {

/// x * cos + rotated(x) * sin.
struct Rotation {
  Value x, cos, sin;
};

/// Halves tables whose two halves are known to be equal.
class TableHalver {
public:
  /// The first half of the last axis; null if the halves are not known to be equal.
  Value half(GraphBuilder &builder, Value table) {
    auto it = known.find(table);
    if (it != known.end())
      return it->second;
    Value result = compute(builder, table);
    known[table] = result;
    return result;
  }

private:
  Value compute(GraphBuilder &builder, Value table) {
    auto node = table.getDefiningOp<NodeOp>();
    std::optional<Dims> dims = dimsOf(table);
    if (!node || !dims || dims->empty() || node.getInputs().empty())
      return nullptr;
    std::optional<int64_t> features = dims->back().constant();
    if (!features || *features % 2 != 0)
      return nullptr;
    int64_t rank = dims->size();
    if (isNode(node, "Concat")) {
      int64_t axis = NodeAttrs(node).integer("axis", 0);
      bool twice = node.getInputs().size() == 2 && node.getInputs()[0] == node.getInputs()[1];
      return twice && (axis == -1 || axis == rank - 1) ? node.getInputs()[0] : Value();
    }
    dims->back() = Sym(*features / 2);
    for (StringRef type : {"Cos", "Sin", "Cast", "Neg"})
      if (isNode(node, type)) {
        Value operand = half(builder, node.getInputs()[0]);
        return operand
                   ? builder.create(type, {operand}, node.getAttrs().getValue(), node.getOpset())
                   : Value();
      }
    for (StringRef type : {"Mul", "Div"})
      if (isNode(node, type)) {
        bool second = scalarOf(node.getInputs()[1]).has_value();
        if (!second && (type == "Div" || !scalarOf(node.getInputs()[0])))
          return nullptr;
        Value operand = half(builder, node.getInputs()[second ? 0 : 1]);
        if (!operand || !sameDims(node.getInputs()[second ? 0 : 1], table))
          return nullptr;
        return builder.create(type, {operand, node.getInputs()[second ? 1 : 0]});
      }
    for (StringRef type : {"Reshape", "Unsqueeze", "Squeeze", "Expand"})
      if (isNode(node, type)) {
        std::optional<Dims> from = dimsOf(node.getInputs()[0]);
        if (!from || from->empty() || !from->back().isConstant(*features))
          return nullptr;
        Value operand = half(builder, node.getInputs()[0]);
        if (!operand)
          return nullptr;
        return type == "Expand" ? builder.expand(operand, *dims) : builder.reshape(operand, *dims);
      }
    return nullptr;
  }

  llvm::DenseMap<Value, Value> known;
};

} // namespace

static std::optional<Rotation> matchRotation(NodeOp add) {
  NodeOp first = nodeOf(add.getInputs()[0], "Mul"), second = nodeOf(add.getInputs()[1], "Mul");
  if (!first || !second)
    return std::nullopt;
  for (auto [plain, rotated] : {std::pair{first, second}, std::pair{second, first}})
    for (unsigned i : {0u, 1u})
      for (unsigned j : {0u, 1u})
        if (isRotated(rotated.getInputs()[j], plain.getInputs()[i]))
          return Rotation{plain.getInputs()[i], plain.getInputs()[1 - i],
                          rotated.getInputs()[1 - j]};
  return std::nullopt;
}

namespace {

struct RecognizeRope : tacq::impl::RecognizeRopeBase<RecognizeRope> {
  using RecognizeRopeBase::RecognizeRopeBase;

  void runOnOperation() override {
    Block &block = getOperation().getBody().front();
    MatchReport report(remarks, "rotary embedding");
    TableHalver halver;
    SmallVector<NodeOp> nodes = llvm::to_vector(block.getOps<NodeOp>());
    for (NodeOp node : nodes) {
      std::string reason;
      RopeOp rope;
      if (!isComputedInF32(node.getOutputs()[0]))
        continue;
      if (isNode(node, "RotaryEmbedding"))
        rope = rewriteNode(node, reason);
      else if (std::optional<Rotation> rotation =
                   isNode(node, "Add") ? matchRotation(node) : std::nullopt)
        rope = rewriteRotation(node, *rotation, halver, reason);
      else
        continue;
      if (rope)
        report.matched(rope, node.getNodeName());
      else
        report.nearMatch(node, node.getNodeName(), reason);
    }
    eraseDeadNodes(block);
    numRecognized += report.matches;
    numNearMatches += report.nearMatches;
  }

  /// x as [B, S, H, D], its data movement undone where that is understood.
  static Value sequenceMajor(GraphBuilder &builder, Value x, HeadLayout order) {
    std::string ignored;
    std::optional<HeadView> view = findHeadView(x, order, /*repeated=*/false, ignored);
    if (view && view->scale == 1)
      return toSequenceMajor(builder, *view);
    return order == HeadLayout::BHSD ? builder.transpose(x, {0, 2, 1, 3}) : x;
  }

  RopeOp rewriteRotation(NodeOp add, const Rotation &rotation, TableHalver &halver,
                         std::string &reason) {
    std::optional<Dims> dims = dimsOf(rotation.x);
    if (!dims || dims->size() != 4 || !sameDims(rotation.x, add.getOutputs()[0])) {
      reason = "the input does not have the axes batch, heads, sequence and features";
      return nullptr;
    }
    OpBuilder opBuilder(add);
    GraphBuilder builder(opBuilder, add.getLoc(), add.getNodeName());
    std::optional<HeadLayout> order;
    SmallVector<Value, 2> tables;
    for (Value table : {rotation.cos, rotation.sin}) {
      std::optional<Dims> own = dimsOf(table);
      if (!own || own->size() > 4 || own->size() < 2 || own->back() != dims->back()) {
        reason = "a table does not have the features of the input";
        return nullptr;
      }
      while (own->size() < 4)
        own->insert(own->begin(), Sym(1));
      HeadLayout layout =
          (*own)[1].isConstant(1) && (*own)[2] == (*dims)[2] ? HeadLayout::BHSD : HeadLayout::BSHD;
      unsigned sequence = layout == HeadLayout::BHSD ? 2 : 1;
      if (!(*own)[3 - sequence].isConstant(1) || (*own)[sequence] != (*dims)[sequence] ||
          (order && *order != layout)) {
        reason = "the tables are not the same for all heads";
        return nullptr;
      }
      order = layout;
      Value half = halver.half(builder, table);
      if (!half) {
        reason = "the two halves of a table are not known to be equal";
        return nullptr;
      }
      tables.push_back(builder.reshape(half, {(*own)[0], (*own)[sequence], dimsOf(half)->back()}));
    }
    Value x = sequenceMajor(builder, rotation.x, *order);
    auto rope = opBuilder.create<RopeOp>(add.getLoc(), x.getType(), x, tables[0], tables[1],
                                         /*interleaved=*/false, add.getNodeName());
    Value result = *order == HeadLayout::BHSD ? builder.transpose(rope, {0, 2, 1, 3}) : Value(rope);
    add.getOutputs()[0].replaceAllUsesWith(result);
    return rope;
  }

  RopeOp rewriteNode(NodeOp node, std::string &reason) {
    NodeAttrs attrs(node);
    Value x = node.getInputs()[0];
    std::optional<Dims> dims = dimsOf(x);
    if (!dims || (dims->size() != 3 && dims->size() != 4)) {
      reason = "the input does not have three or four axes";
      return nullptr;
    }
    bool flat = dims->size() == 3;
    int64_t heads = attrs.integer("num_heads", 0);
    std::optional<int64_t> all = dims->back().constant();
    if (flat && (heads <= 0 || !all || *all % heads != 0)) {
      reason = "the number of heads does not divide the features";
      return nullptr;
    }
    OpBuilder opBuilder(node);
    GraphBuilder builder(opBuilder, node.getLoc(), node.getNodeName());
    SmallVector<Value, 2> tables{node.getInputs()[1], node.getInputs()[2]};
    if (node.getInputs().size() > 3 && !isAbsent(node.getInputs()[3]))
      for (Value &table : tables)
        table = builder.create("Gather", {table, node.getInputs()[3]},
                               {builder.attr("axis", int64_t(0))});
    Sym sequence = (*dims)[flat ? 1 : 2];
    for (Value table : tables) {
      std::optional<Dims> own = dimsOf(table);
      if (!own || own->size() != 3 || (*own)[1] != sequence ||
          ((*own)[0] != (*dims)[0] && !(*own)[0].isConstant(1))) {
        reason = "the tables are not [batch, sequence, features / 2]";
        return nullptr;
      }
    }
    Value major = flat ? builder.reshape(x, {(*dims)[0], sequence, Sym(heads), Sym(*all / heads)})
                       : sequenceMajor(builder, x, HeadLayout::BHSD);
    auto rope =
        opBuilder.create<RopeOp>(node.getLoc(), major.getType(), major, tables[0], tables[1],
                                 attrs.integer("interleaved", 0) != 0, node.getNodeName());
    Value result = flat ? builder.reshape(rope, *dims) : builder.transpose(rope, {0, 2, 1, 3});
    node.getOutputs()[0].replaceAllUsesWith(result);
    return rope;
  }
};

} // namespace
