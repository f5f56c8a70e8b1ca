//===- InferShapes.cpp - Symbolic shapes of all values --------------------===//

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

/// Operators whose operands all have one element type, as ONNX defines them.
static bool hasOneElementType(StringRef opType) {
  static const StringRef names[] = {"Add",
                                    "Sub",
                                    "Mul",
                                    "Div",
                                    "Mod",
                                    "Min",
                                    "Max",
                                    "Mean",
                                    "Sum",
                                    "And",
                                    "Or",
                                    "Xor",
                                    "Equal",
                                    "Greater",
                                    "Less",
                                    "LessOrEqual",
                                    "GreaterOrEqual",
                                    "BitwiseAnd",
                                    "PRelu",
                                    "BitwiseOr",
                                    "Gemm",
                                    "BitwiseXor",
                                    "MatMul",
                                    "Concat",
                                    "Conv",
                                    "ConvTranspose",
                                    "Einsum"};
  return llvm::is_contained(names, opType);
}

static LogicalResult checkElementTypes(NodeOp node) {
  bool isWhere = node.getOpType() == "Where";
  if (!node.getDomain().empty() || (!isWhere && !hasOneElementType(node.getOpType())))
    return success();
  Type first;
  for (Value operand : node.getInputs().drop_front(isWhere ? 1 : 0)) {
    auto type = dyn_cast<ShapedType>(operand.getType());
    if (!type)
      continue;
    if (!first)
      first = type.getElementType();
    if (type.getElementType() != first)
      return node.emitError("node '")
             << node.getNodeName() << "' (" << node.getOpType() << ", opset " << node.getOpset()
             << "): its operands have different element types, " << first << " and "
             << type.getElementType() << "; a Cast is missing";
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
    if (failed(checkElementTypes(node)))
      return failure();
    FailureOr<SmallVector<Value>> values = inferAndFold(node);
    if (failed(values))
      return failure();
    if (!values->empty() && (*values)[0].getDefiningOp() != node)
      ++numFolded;
    return replace(node, *values);
  }

  bool failed_ = false;
};
} // namespace
