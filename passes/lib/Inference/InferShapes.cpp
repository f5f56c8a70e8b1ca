//===- InferShapes.cpp - Symbolic shapes of all values --------------------===//

#include "Signatures.h"
#include "tacq/Ops/Inference.h"
#include "tacq/Ops/LoopUnrolling.h"
#include "tacq/Ops/OpSpec.h"
#include "tacq/Ops/Passes.h"

namespace tacq {
#define GEN_PASS_DEF_INFERSHAPES
#include "tacq/Ops/Passes.h.inc"
} // namespace tacq

using namespace mlir;
using namespace tacq;

/// The element types that the model declares for its outputs must be those that its operators give;
/// declared sizes are often those of one example.
static LogicalResult checkDeclared(NodeOp node, ArrayRef<Type> declared) {
  for (auto [i, before] : llvm::enumerate(declared)) {
    Value result = node->getResult(i);
    auto told = dyn_cast<ShapedType>(before);
    auto found = dyn_cast<ShapedType>(result.getType());
    bool isOutput =
        llvm::any_of(result.getUsers(), [](Operation *user) { return isa<func::ReturnOp>(user); });
    if (isOutput && told && found && !isa<UnknownType>(told.getElementType()) &&
        told.getElementType() != found.getElementType())
      return node.emitError("node '")
             << node.getNodeName() << "' (" << node.getOpType() << ", opset " << node.getOpset()
             << "): its result " << i << " has elements of type " << found.getElementType()
             << ", but the model declares " << told.getElementType();
  }
  return success();
}

namespace {
class InferShapesPass : public tacq::impl::InferShapesBase<InferShapesPass> {
  using InferShapesBase::InferShapesBase;

  void runOnOperation() override {
    func::FuncOp function = getOperation();
    reportUnknownOperators(function);
    if (failed_ || failed(inferBlock(function.getBody().front())) || failed_)
      return signalPassFailure();
    Operation *terminator = function.getBody().front().getTerminator();
    function.setFunctionType(FunctionType::get(&getContext(), function.getArgumentTypes(),
                                               terminator->getOperandTypes()));
  }

  /// Everything that has no chance is named before any work starts.
  void reportUnknownOperators(func::FuncOp function) {
    function.walk([&](NodeOp node) {
      if (lookupOp(node))
        return;
      node.emitError("unsupported node '")
          << node.getNodeName() << "' (" << node.getOpType() << ", opset " << node.getOpset()
          << "): TACQ does not know this operator"
          << (node.getDomain().empty() ? "" : " of domain ") << node.getDomain();
      failed_ = true;
    });
  }

  LogicalResult inferBlock(Block &block) {
    // Unrolling and inlining put nodes in front of the one they replace, to be visited next.
    for (Operation *op = &block.front(); op;) {
      Operation *next = op->getNextNode();
      if (auto node = dyn_cast<NodeOp>(op)) {
        Operation *before = op->getPrevNode();
        bool expanded = false;
        if (failed(inferOne(node, expanded)))
          return failure();
        if (expanded)
          next = before ? before->getNextNode() : &block.front();
      }
      op = next;
    }
    return success();
  }

  /// Uses the values instead of the results; the node goes unless it gives one of them itself.
  LogicalResult replace(NodeOp node, ArrayRef<Value> values) {
    for (auto [result, value] : llvm::zip(node.getOutputs(), values))
      if (value && value != result)
        result.replaceAllUsesWith(value);
    if (llvm::none_of(values, [&](Value v) { return v && v.getDefiningOp() == node; }))
      node.erase();
    return success();
  }

  LogicalResult inferOne(NodeOp node, bool &expanded) {
    if (failed(checkSignature(node)))
      return failure();
    StringRef type = node.getOpType();
    if (node.getDomain().empty() && (type == "Loop" || type == "Scan")) {
      FailureOr<SmallVector<Value>> values = unrollLoop(node, maxUnroll);
      if (failed(values))
        return failure();
      expanded = true;
      ++numUnrolled;
      return replace(node, *values);
    }
    if (node.getDomain().empty() && type == "If") {
      std::optional<Dims> condition = knownIntegers(node.getInputs()[0]);
      if (condition && condition->size() == 1 && (*condition)[0].constant()) {
        Region &taken = node.getBodies()[(*condition)[0].isConstant(0) ? 1 : 0];
        expanded = true;
        return replace(node, inlineBody(node, taken));
      }
      for (Region &body : node.getBodies())
        if (failed(inferBlock(body.front())))
          return failure();
    }
    SmallVector<Type> declared(node->getResultTypes());
    FailureOr<SmallVector<Value>> values = inferAndFold(node);
    if (failed(values) || failed(checkDeclared(node, declared)))
      return failure();
    if (!values->empty() && (*values)[0].getDefiningOp() != node)
      ++numFolded;
    return replace(node, *values);
  }

  bool failed_ = false;
};
} // namespace
