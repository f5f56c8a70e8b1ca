//===- Folding.cpp - Folds and canonicalizations --------------------------===//

#include "mlir/IR/PatternMatch.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"

using namespace mlir;
using namespace tacq;

OpFoldResult ConstantOp::fold(FoldAdaptor) { return getValue(); }

/// Expressions without names are a constant.
OpFoldResult SymbolicOp::fold(FoldAdaptor) {
  auto type = cast<RankedTensorType>(getResult().getType());
  auto element = dyn_cast<IntegerType>(type.getElementType());
  if (!element)
    return nullptr;
  SmallVector<APInt> values;
  for (auto text : getValues().getAsValueRange<StringAttr>()) {
    std::optional<Sym> value = Sym::parse(text);
    std::optional<int64_t> constant = value ? value->constant() : std::nullopt;
    if (!constant)
      return nullptr;
    values.push_back(APInt(64, *constant, /*isSigned=*/true).sextOrTrunc(element.getWidth()));
  }
  return DenseElementsAttr::get(type, values);
}

/// Identity gives its input, where that has been found to have the same type.
LogicalResult NodeOp::fold(FoldAdaptor, SmallVectorImpl<OpFoldResult> &results) {
  if (getOpType() != "Identity" || !getDomain().empty() || getInputs().size() != 1 ||
      getOutputs().size() != 1 || getInputs()[0].getType() != getOutputs()[0].getType())
    return failure();
  results.push_back(getInputs()[0]);
  return success();
}

static bool alwaysHolds(RequireOp op) {
  std::optional<Sym> lhs = Sym::parse(op.getLhs()), rhs = Sym::parse(op.getRhs());
  if (!lhs || !rhs)
    return false;
  return op.getAtMost() ? (*rhs - *lhs).isNonNegative() : *lhs == *rhs;
}

/// Conditions that hold for any values, and those that were checked before, are not checked.
LogicalResult RequireOp::canonicalize(RequireOp op, PatternRewriter &rewriter) {
  bool needless = alwaysHolds(op);
  for (Operation *before = op->getPrevNode(); before && !needless; before = before->getPrevNode()) {
    // A name that is read again may stand for another value.
    if (isa<ReadSymbolOp>(before))
      break;
    auto other = dyn_cast<RequireOp>(before);
    needless = other && other.getLhsAttr() == op.getLhsAttr() &&
               other.getRhsAttr() == op.getRhsAttr() && other.getAtMost() == op.getAtMost();
  }
  if (!needless)
    return failure();
  rewriter.eraseOp(op);
  return success();
}

/// Weights whose products nobody uses are dropped.
LogicalResult LinearOp::canonicalize(LinearOp op, PatternRewriter &rewriter) {
  if (op.getGated())
    return failure();
  SmallVector<unsigned> kept;
  for (OpResult result : op.getResults())
    if (!result.use_empty())
      kept.push_back(result.getResultNumber());
  // An operation without any use is erased as dead code.
  if (kept.empty() || kept.size() == op.getResults().size())
    return failure();
  SmallVector<Type> types;
  SmallVector<Value> weights, biases;
  SmallVector<Attribute> orders, layouts;
  for (unsigned i : kept) {
    types.push_back(op.getResults()[i].getType());
    weights.push_back(op.getWeights()[i]);
    orders.push_back(op.getWeightOrder()[i]);
    if (!op.getBiases().empty())
      biases.push_back(op.getBiases()[i]);
    if (op.getWeightLayouts())
      layouts.push_back((*op.getWeightLayouts())[i]);
  }
  auto narrowed = rewriter.create<LinearOp>(op.getLoc(), types, op.getX(), weights, biases, Value(),
                                            rewriter.getArrayAttr(orders), op.getActivation(),
                                            /*gated=*/false, op.getNodeName());
  if (op.getWeightLayouts())
    narrowed.setWeightLayoutsAttr(rewriter.getArrayAttr(layouts));
  if (op.getXScales())
    narrowed.getXScalesMutable().assign(op.getXScales());
  SmallVector<Value> replacements(op.getResults().size());
  for (auto [i, result] : llvm::zip(kept, narrowed.getResults()))
    replacements[i] = result;
  rewriter.replaceOp(op, replacements);
  return success();
}
