//===- CleanupViews.cpp - Data movement that does nothing, equal nodes ----===//

#include "tacq/Graph/GraphMatch.h"
#include "tacq/Graph/GraphPasses.h"
#include <map>
#include <vector>

using namespace mlir;
using namespace tacq;

namespace tacq {
#define GEN_PASS_DEF_CLEANUPVIEWS
#include "tacq/Graph/Passes.h.inc"
} // namespace tacq

static bool sameType(Value a, Value b) {
  return elementTypeOf(a) && elementTypeOf(a) == elementTypeOf(b) && sameDims(a, b);
}

/// A transpose's permutation, reversed axes by default.
static SmallVector<int64_t> permutationOf(NodeOp node) {
  SmallVector<int64_t> perm = NodeAttrs(node).integers("perm");
  if (perm.empty())
    for (int64_t i = rankOf(node.getInputs()[0]) - 1; i >= 0; --i)
      perm.push_back(i);
  return perm;
}

/// True if the elements keep their order, whatever the dimensions become.
static bool keepsOrder(NodeOp node) {
  for (StringRef type : {"Reshape", "Unsqueeze", "Squeeze", "Flatten"})
    if (isNode(node, type))
      return true;
  if (!isNode(node, "Transpose"))
    return false;
  // Axes of size 1 may go anywhere.
  std::optional<Dims> dims = dimsOf(node.getInputs()[0]);
  if (!dims)
    return false;
  int64_t last = -1;
  for (int64_t axis : permutationOf(node)) {
    if ((*dims)[axis].isConstant(1))
      continue;
    if (axis < last)
      return false;
    last = axis;
  }
  return true;
}

/// True if every value of the first type survives a cast to the second and back.
static bool survives(Type narrow, Type wide) {
  auto a = dyn_cast_or_null<FloatType>(narrow), b = dyn_cast_or_null<FloatType>(wide);
  if (a && b)
    return a.getWidth() < b.getWidth() && b.getWidth() >= 32;
  return narrow && wide && narrow.isInteger(1) && wide.isIntOrFloat();
}

static bool isUnitStep(NodeOp slice) {
  if (slice.getInputs().size() <= 4 || isAbsent(slice.getInputs()[4]))
    return true;
  std::optional<SmallVector<int64_t>> steps = integersOf(slice.getInputs()[4]);
  return steps && llvm::all_of(*steps, [](int64_t step) { return step == 1; });
}

/// Nodes that draw random numbers are never equal.
static bool isRandom(NodeOp node) {
  StringRef type = node.getOpType();
  return type.starts_with("Random") || type == "Multinomial" || type == "Bernoulli" ||
         type == "Dropout";
}

namespace {

struct CleanupViews : tacq::impl::CleanupViewsBase<CleanupViews> {
  void runOnOperation() override {
    Block &block = getOperation().getBody().front();
    bool changed = true;
    while (changed) {
      changed = false;
      for (Operation &op : llvm::make_early_inc_range(block)) {
        auto node = dyn_cast<NodeOp>(op);
        if (!node || node.getNumResults() == 0 || node.getOutputs()[0].use_empty() ||
            !isNode(node, node.getOpType()) || node.getInputs().empty())
          continue;
        if (Value same = unchanged(node)) {
          node.getOutputs()[0].replaceAllUsesWith(same);
          ++numRemoved;
          changed = true;
        } else if (merge(node)) {
          ++numMerged;
          changed = true;
        }
      }
      changed |= shareEqual(block);
      eraseDeadNodes(block);
    }
    Operation *terminator = block.getTerminator();
    func::FuncOp function = getOperation();
    function.setFunctionType(FunctionType::get(&getContext(), function.getArgumentTypes(),
                                               terminator->getOperandTypes()));
  }

  /// The value that the node's result is equal to, if that is known.
  Value unchanged(NodeOp node) {
    Value x = node.getInputs()[0], result = node.getOutputs()[0];
    auto isScalar = [](Value value, double wanted) { return scalarOf(value) == wanted; };
    if (isNode(node, "Identity"))
      return x;
    for (StringRef type : {"Mul", "Add"})
      if (isNode(node, type)) {
        double neutral = type == "Mul" ? 1 : 0;
        auto split = splitOperands(node, [&](Value v) { return isScalar(v, neutral); });
        return split && sameType(split->second, result) ? split->second : Value();
      }
    for (StringRef type : {"Div", "Sub"})
      if (isNode(node, type))
        return isScalar(node.getInputs()[1], type == "Div" ? 1 : 0) && sameType(x, result)
                   ? x
                   : Value();
    if (isNode(node, "Cast") && !sameType(x, result)) {
      NodeOp before = nodeOf(x, "Cast");
      return before && sameType(before.getInputs()[0], result) &&
                     survives(elementTypeOf(result), elementTypeOf(x))
                 ? before.getInputs()[0]
                 : Value();
    }
    if (!sameType(x, result))
      return nullptr;
    if (isNode(node, "Cast") || isNode(node, "Expand") || keepsOrder(node))
      return x;
    if (isNode(node, "Concat"))
      return node.getInputs().size() == 1 ? x : Value();
    if (isNode(node, "Slice"))
      return isUnitStep(node) ? x : Value();
    return nullptr;
  }

  bool merge(NodeOp node) {
    auto before = node.getInputs()[0].getDefiningOp<NodeOp>();
    if (!before || before.getInputs().empty() || !isNode(before, before.getOpType()) ||
        before.getOutputs()[0] != node.getInputs()[0])
      return false;
    Value source = before.getInputs()[0], result = node.getOutputs()[0];
    OpBuilder opBuilder(node);
    GraphBuilder builder(opBuilder, node.getLoc(), node.getNodeName());
    Value merged;
    if (keepsOrder(node) && keepsOrder(before) && dimsOf(result)) {
      merged = builder.reshape(source, *dimsOf(result));
    } else if (isNode(node, "Transpose") && isNode(before, "Transpose")) {
      SmallVector<int64_t> outer = permutationOf(node), inner = permutationOf(before), both;
      for (int64_t axis : outer)
        both.push_back(inner[axis]);
      merged = builder.transpose(source, both);
    }
    if (!merged)
      return false;
    result.replaceAllUsesWith(merged);
    return true;
  }

  /// Replaces nodes, constants and parameters by an earlier one that gives the same.
  bool shareEqual(Block &block) {
    std::map<std::vector<const void *>, Operation *> known;
    bool changed = false;
    for (Operation &op : llvm::make_early_inc_range(block)) {
      std::vector<const void *> key{op.getName().getAsOpaquePointer()};
      if (auto node = dyn_cast<NodeOp>(op)) {
        if (!node.getBodies().empty() || isRandom(node))
          continue;
        key.push_back(node.getOpTypeAttr().getAsOpaquePointer());
        key.push_back(node.getDomainAttr().getAsOpaquePointer());
        key.push_back(node.getOpsetAttr().getAsOpaquePointer());
        key.push_back(node.getAttrs().getAsOpaquePointer());
      } else if (isa<ConstantOp, SymbolicOp, GetParamOp, NoneOp>(op)) {
        key.push_back(op.getPropertiesAsAttribute().getAsOpaquePointer());
      } else {
        continue;
      }
      for (Type type : op.getResultTypes())
        key.push_back(type.getAsOpaquePointer());
      for (Value operand : op.getOperands())
        key.push_back(operand.getAsOpaquePointer());
      auto [it, inserted] = known.try_emplace(std::move(key), &op);
      if (inserted)
        continue;
      op.replaceAllUsesWith(it->second->getResults());
      op.erase();
      ++numShared;
      changed = true;
    }
    return changed;
  }
};

} // namespace
