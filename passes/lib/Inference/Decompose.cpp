//===- Decompose.cpp - Composite nodes into simpler ones ------------------===//

#include "ExpandCaches.h"
#include "tacq/Ops/Inference.h"
#include "tacq/Ops/OpSpec.h"
#include "tacq/Ops/Passes.h"

namespace tacq {
#define GEN_PASS_DEF_DECOMPOSE
#include "tacq/Ops/Passes.h.inc"
} // namespace tacq

using namespace mlir;
using namespace tacq;

bool tacq::decomposeNode(NodeOp node) {
  const OpSpec *spec = lookupOp(node);
  if (!spec || !spec->decompose)
    return false;
  OpBuilder builder(node);
  NodeBuilder nodes(builder, node.getLoc(), node.getNodeName());
  SmallVector<Value> values = spec->decompose(nodes, node);
  if (values.empty())
    return false;
  for (auto [result, value] : llvm::zip(node.getOutputs(), values)) {
    if (!value)
      continue;
    // Sizes that the node requires to be equal may be other expressions of the same number.
    if (value.getType() != result.getType() && value.getDefiningOp<NodeOp>())
      value.setType(result.getType());
    result.replaceAllUsesWith(value);
  }
  node.erase();
  return true;
}

namespace {
class DecomposePass : public tacq::impl::DecomposeBase<DecomposePass> {
  using DecomposeBase::DecomposeBase;

  void runOnOperation() override {
    bool changed = true;
    while (changed) {
      changed = false;
      SmallVector<NodeOp> nodes;
      getOperation().walk([&](NodeOp node) { nodes.push_back(node); });
      for (NodeOp node : nodes)
        if (decomposeNode(node)) {
          changed = true;
          ++numDecomposed;
        }
    }
    eraseDead();
    expandCaches(getOperation());
    // The parts may know a dimension by another expression than the whole did.
    func::FuncOp function = getOperation();
    function.setFunctionType(
        FunctionType::get(&getContext(), function.getArgumentTypes(),
                          function.getBody().front().getTerminator()->getOperandTypes()));
    bool failed = false;
    getOperation().walk([&](NodeOp node) {
      std::string reason = reasonAgainst(node);
      if (reason.empty())
        return;
      node.emitError("unsupported node '") << node.getNodeName() << "' (" << node.getOpType()
                                           << ", opset " << node.getOpset() << "): " << reason;
      failed = true;
    });
    if (failed)
      signalPassFailure();
  }

  static std::string reasonAgainst(NodeOp node) {
    const OpSpec *spec = lookupOp(node);
    if (!spec)
      return "TACQ does not know this operator";
    if (spec->unsupported)
      if (std::string reason = spec->unsupported(node); !reason.empty())
        return reason;
    bool controlFlow = !node.getBodies().empty();
    if (!spec->element && !spec->loops && !controlFlow)
      return "this form of the operator cannot be compiled";
    return "";
  }

  /// Nodes without a use, and what only they used.
  void eraseDead() {
    SmallVector<Operation *> ops;
    getOperation().walk([&](Operation *op) { ops.push_back(op); });
    for (Operation *op : llvm::reverse(ops))
      if (isa<TACQDialect>(op->getDialect()) && isOpTriviallyDead(op))
        op->erase();
  }
};
} // namespace
