//===- GraphMatch.cpp - Asking what a node is and what its operands are ---===//

#include "tacq/Graph/GraphMatch.h"
#include "tacq/Dialect/TACQ/OnnxTypes.h"
#include "tacq/Graph/ConcreteEvaluator.h"
#include "llvm/ADT/APFloat.h"

using namespace mlir;
using namespace tacq;

bool tacq::isNode(Operation *op, StringRef opType) {
  auto node = dyn_cast_or_null<NodeOp>(op);
  return node && node.getOpType() == opType &&
         (node.getDomain().empty() || node.getDomain() == "ai.onnx");
}

NodeOp tacq::nodeOf(Value value, StringRef opType) {
  Operation *op = value ? value.getDefiningOp() : nullptr;
  if (!isNode(op, opType) || cast<NodeOp>(op).getOutputs().front() != value)
    return nullptr;
  return cast<NodeOp>(op);
}

bool tacq::isUsedOnlyBy(Value value, Operation *user) {
  return llvm::all_of(value.getUsers(), [&](Operation *op) { return op == user; });
}

std::optional<double> tacq::scalarOf(Value value) {
  if (auto constant = value.getDefiningOp<ConstantOp>()) {
    ElementsAttr elements = constant.getValue();
    if (elements.getNumElements() != 1)
      return std::nullopt;
    if (auto reals = elements.tryGetValues<llvm::APFloat>()) {
      llvm::APFloat element = *reals->begin();
      bool lossy;
      element.convert(llvm::APFloat::IEEEdouble(), llvm::APFloat::rmNearestTiesToEven, &lossy);
      return element.convertToDouble();
    }
  }
  if (std::optional<SmallVector<int64_t>> integers = integersOf(value))
    return integers->size() == 1 ? std::optional<double>(integers->front()) : std::nullopt;
  // Exporters compute scales and epsilons: sqrt(cast(constant)) and the like.
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!value.getDefiningOp<NodeOp>() || !type || !type.hasStaticShape() ||
      type.getNumElements() != 1)
    return std::nullopt;
  ConcreteEvaluator evaluator(
      {}, [](Value, ArrayRef<int64_t>) -> std::optional<ConcreteTensor> { return std::nullopt; },
      /*maxElements=*/4096);
  ConcreteEvaluator::Tensor result = evaluator.evaluate(value);
  return result && result->size() == 1 ? std::optional<double>(result->real(0)) : std::nullopt;
}

std::optional<Dims> tacq::symbolsOf(Value value) {
  Dims result;
  if (auto symbolic = value.getDefiningOp<SymbolicOp>()) {
    for (StringRef text : symbolic.getValues().getAsValueRange<StringAttr>()) {
      std::optional<Sym> sym = Sym::parse(text);
      if (!sym)
        return std::nullopt;
      result.push_back(*sym);
    }
    return result;
  }
  auto constant = value.getDefiningOp<ConstantOp>();
  if (!constant)
    return std::nullopt;
  auto integers = constant.getValue().tryGetValues<llvm::APInt>();
  if (!integers)
    return std::nullopt;
  for (const llvm::APInt &element : *integers)
    result.push_back(
        Sym(element.getBitWidth() == 1 ? element.getZExtValue() : element.getSExtValue()));
  return result;
}

std::optional<SmallVector<int64_t>> tacq::integersOf(Value value) {
  std::optional<Dims> symbols = symbolsOf(value);
  if (!symbols)
    return std::nullopt;
  SmallVector<int64_t> result;
  for (const Sym &symbol : *symbols) {
    std::optional<int64_t> element = symbol.constant();
    if (!element)
      return std::nullopt;
    result.push_back(*element);
  }
  return result;
}

std::optional<SmallVector<int64_t>> tacq::axesOf(NodeOp node, unsigned operand, int64_t rank) {
  SmallVector<int64_t> axes;
  if (operand < node.getInputs().size() && !isAbsent(node.getInputs()[operand])) {
    std::optional<SmallVector<int64_t>> given = integersOf(node.getInputs()[operand]);
    if (!given)
      return std::nullopt;
    axes = *given;
  } else {
    axes = NodeAttrs(node).integers("axes");
  }
  for (int64_t &axis : axes)
    axis = axis < 0 ? axis + rank : axis;
  return axes;
}

Type tacq::elementTypeOf(Value value) {
  auto type = dyn_cast<ShapedType>(value.getType());
  return type ? type.getElementType() : Type();
}

int64_t tacq::rankOf(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type ? type.getRank() : -1;
}

bool tacq::sameDims(Value a, Value b) {
  std::optional<Dims> da = dimsOf(a), db = dimsOf(b);
  return da && db && *da == *db;
}

bool tacq::isWeight(Value value) {
  return value.getDefiningOp<GetParamOp>() || value.getDefiningOp<ConstantOp>();
}

std::optional<std::pair<Value, Value>> tacq::splitOperands(NodeOp node,
                                                           function_ref<bool(Value)> matches) {
  if (node.getInputs().size() != 2)
    return std::nullopt;
  Value a = node.getInputs()[0], b = node.getInputs()[1];
  if (matches(a))
    return std::pair{a, b};
  if (matches(b))
    return std::pair{b, a};
  return std::nullopt;
}

Value GraphBuilder::reshape(Value value, ArrayRef<Sym> dims) {
  std::optional<Dims> from = dimsOf(value);
  if (from && ArrayRef<Sym>(*from) == dims)
    return value;
  // The dimensions are the whole truth: a 0 among them is a size, not "as in the operand".
  return create("Reshape", {value, symbols(dims)}, {attr("allowzero", int64_t(1))});
}

Value GraphBuilder::transpose(Value value, ArrayRef<int64_t> permutation) {
  if (llvm::equal(permutation, llvm::seq<int64_t>(0, permutation.size())))
    return value;
  return create("Transpose", {value}, {attr("perm", permutation)});
}

bool tacq::isComputedInF32(Value value) {
  Type element = elementTypeOf(value);
  return element && (element.isF32() || element.isF16() || element.isBF16());
}

Value GraphBuilder::cast(Value value, Type element) {
  if (elementTypeOf(value) == element)
    return value;
  return create("Cast", {value}, {attr("to", onnxNumberOf(element).value())});
}

Value GraphBuilder::expand(Value value, ArrayRef<Sym> dims) {
  std::optional<Dims> from = dimsOf(value);
  if (from && ArrayRef<Sym>(*from) == dims)
    return value;
  return create("Expand", {value, symbols(dims)});
}

Value GraphBuilder::slice(Value value, int64_t axis, int64_t start, int64_t end) {
  return create("Slice", {value, integers({start}), integers({end}), integers({axis})});
}

void MatchReport::matched(Operation *op, StringRef nodeName, const Twine &detail) {
  ++matches;
  if (remarks)
    op->emitRemark() << what << " recognized at node '" << nodeName << "'" << detail.str();
}

void MatchReport::nearMatch(Operation *op, StringRef nodeName, const Twine &reason) {
  ++nearMatches;
  if (remarks)
    op->emitRemark() << "no " << what << " at node '" << nodeName << "': " << reason.str();
}

void MatchReport::note(Operation *op, StringRef nodeName, const Twine &text) {
  ++nearMatches;
  if (remarks)
    op->emitRemark() << what << " at node '" << nodeName << "': " << text.str();
}

void tacq::eraseDeadNodes(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
    if (isOpTriviallyDead(&op))
      op.erase();
}

void tacq::hoistConstants(Block &block) {
  Operation *last = nullptr;
  for (Operation &op : llvm::make_early_inc_range(block)) {
    if (!isa<ConstantOp, SymbolicOp, GetParamOp, NoneOp>(op))
      continue;
    // A symbolic tensor may name elements that a tacq.read_symbol before it reads.
    if (auto symbolic = dyn_cast<SymbolicOp>(op))
      if (llvm::any_of(symbolic.getValues().getAsValueRange<StringAttr>(),
                       [](StringRef text) { return text.contains('%'); }))
        continue;
    if (last)
      op.moveAfter(last);
    else
      op.moveBefore(&block, block.begin());
    last = &op;
  }
}
