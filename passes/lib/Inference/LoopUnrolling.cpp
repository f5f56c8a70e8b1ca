//===- LoopUnrolling.cpp - Loop and Scan with known trip counts -----------===//

#include "tacq/Ops/LoopUnrolling.h"
#include "mlir/IR/IRMapping.h"
#include "tacq/Ops/Inference.h"
#include "tacq/Ops/OpSpec.h"

using namespace mlir;
using namespace tacq;

SmallVector<Value> tacq::inlineBody(NodeOp node, Region &body) {
  Block &block = body.front();
  auto yield = cast<YieldOp>(block.getTerminator());
  SmallVector<Value> values(yield.getValues());
  yield.erase();
  node->getBlock()->getOperations().splice(Block::iterator(node), block.getOperations());
  return values;
}

/// A copy of the body in front of `node`, with these arguments; returns what it yields.
static SmallVector<Value> copyBody(OpBuilder &builder, Block &body, ValueRange arguments) {
  IRMapping mapping;
  mapping.map(body.getArguments(), arguments);
  for (Operation &op : body.without_terminator())
    builder.clone(op, mapping);
  SmallVector<Value> values;
  for (Value value : body.getTerminator()->getOperands())
    values.push_back(mapping.lookupOrDefault(value));
  return values;
}

namespace {
/// Makes nodes whose types inference fills in later.
class RawNodes {
public:
  RawNodes(OpBuilder &builder, NodeOp node) : builder(builder), node(node) {}

  Value make(StringRef opType, ValueRange operands, ArrayRef<NamedAttribute> attrs = {}) {
    Type type = UnrankedTensorType::get(builder.getF32Type());
    return builder
        .create<NodeOp>(node.getLoc(), type, opType, operands, builder.getDictionaryAttr(attrs),
                        node.getNodeName(), /*opset=*/21)
        .getOutputs()[0];
  }
  Value integers(ArrayRef<int64_t> values, bool scalar = false) {
    SmallVector<int64_t> shape;
    if (!scalar)
      shape.push_back(values.size());
    auto type = RankedTensorType::get(shape, builder.getI64Type());
    return builder.create<ConstantOp>(node.getLoc(), type, DenseElementsAttr::get(type, values));
  }
  NamedAttribute attr(StringRef name, int64_t value) {
    return builder.getNamedAttr(name, builder.getI64IntegerAttr(value));
  }
  /// The slices, each with a new axis, one behind the other.
  Value stack(ArrayRef<Value> slices, int64_t axis) {
    SmallVector<Value> unsqueezed;
    for (Value slice : slices)
      unsqueezed.push_back(make("Unsqueeze", {slice, integers(axis)}));
    return make("Concat", unsqueezed, attr("axis", axis));
  }

private:
  OpBuilder &builder;
  NodeOp node;
};
} // namespace

static InFlightDiagnostic reportUnsupported(NodeOp node, const Twine &reason) {
  return node.emitError("unsupported node '") << node.getNodeName() << "' (" << node.getOpType()
                                              << ", opset " << node.getOpset() << "): " << reason;
}

static FailureOr<SmallVector<Value>> unrollOnnxLoop(NodeOp node, int64_t maxIterations) {
  Block &body = node.getBodies()[0].front();
  ValueRange inputs = node.getInputs();
  if (inputs.size() < 2 || body.getNumArguments() != inputs.size())
    return node.emitError("node '")
           << node.getNodeName() << "' (Loop): its body takes another number of values";
  std::optional<int64_t> trips;
  if (!isAbsent(inputs[0]))
    if (std::optional<Dims> count = knownIntegers(inputs[0]); count && count->size() == 1)
      trips = (*count)[0].constant();
  if (!trips || *trips > maxIterations) {
    reportUnsupported(node, trips ? Twine("its trip count of ") + Twine(*trips) +
                                        " is above the limit for unrolling"
                                  : Twine("its trip count is not known at compile time"));
    return failure();
  }
  auto isTrue = [](Value value) {
    std::optional<Dims> known = knownIntegers(value);
    return known && known->size() == 1 && (*known)[0].isConstant(1);
  };
  // The condition that the body yields may go on unchanged, through Identity or not.
  Value condition = body.getTerminator()->getOperand(0);
  while (auto identity = condition.getDefiningOp<NodeOp>()) {
    if (identity.getOpType() != "Identity")
      break;
    condition = identity.getInputs()[0];
  }
  bool startsTrue = isAbsent(inputs[1]) || isTrue(inputs[1]);
  bool staysTrue = condition == body.getArgument(1) || isTrue(condition);
  if (!startsTrue || !staysTrue) {
    reportUnsupported(node, "it may end before its trip count, which is known only at run time");
    return failure();
  }
  OpBuilder builder(node);
  RawNodes nodes(builder, node);
  size_t carriedCount = inputs.size() - 2;
  SmallVector<Value> carried(inputs.drop_front(2));
  size_t scanCount = node.getNumResults() - std::min<size_t>(node.getNumResults(), carriedCount);
  SmallVector<SmallVector<Value>> scans(scanCount);
  auto conditionType = RankedTensorType::get({}, builder.getI1Type());
  Value alwaysTrue = builder.create<ConstantOp>(node.getLoc(), conditionType,
                                                DenseElementsAttr::get(conditionType, true));
  for (int64_t i = 0; i < *trips; ++i) {
    SmallVector<Value> arguments{nodes.integers(i, /*scalar=*/true), alwaysTrue};
    arguments.append(carried.begin(), carried.end());
    SmallVector<Value> yielded = copyBody(builder, body, arguments);
    for (size_t c = 0; c < carriedCount; ++c)
      carried[c] = yielded[1 + c];
    for (size_t s = 0; s < scanCount; ++s)
      scans[s].push_back(yielded[1 + carriedCount + s]);
  }
  SmallVector<Value> results = carried;
  for (ArrayRef<Value> slices : scans) {
    if (slices.empty()) {
      reportUnsupported(node, "a scan output of a loop without iterations has no known shape");
      return failure();
    }
    results.push_back(nodes.stack(slices, 0));
  }
  results.resize(node.getNumResults());
  return results;
}

static FailureOr<SmallVector<Value>> unrollOnnxScan(NodeOp node, int64_t maxIterations) {
  if (node.getOpset() < 9) {
    reportUnsupported(node, "Scan with a batch axis (opset 8) is not compiled");
    return failure();
  }
  Block &body = node.getBodies()[0].front();
  NodeAttrs attrs(node);
  int64_t scanInputs = attrs.integer("num_scan_inputs", 0);
  ValueRange inputs = node.getInputs();
  int64_t stateCount = int64_t(inputs.size()) - scanInputs;
  int64_t scanOutputs = int64_t(node.getNumResults()) - stateCount;
  if (scanInputs < 1 || stateCount < 0 || scanOutputs < 0)
    return node.emitError("node '") << node.getNodeName() << "' (Scan): its inputs do not match "
                                    << "num_scan_inputs";
  auto entry = [&](StringRef name, int64_t i) {
    SmallVector<int64_t> list = attrs.integers(name);
    return i < int64_t(list.size()) ? list[i] : 0;
  };
  SmallVector<int64_t> axes;
  std::optional<int64_t> trips;
  for (int64_t i = 0; i < scanInputs; ++i) {
    Dims dims = *dimsOf(inputs[stateCount + i]);
    int64_t axis = entry("scan_input_axes", i);
    axes.push_back(axis < 0 ? axis + int64_t(dims.size()) : axis);
    if (axes.back() >= 0 && axes.back() < int64_t(dims.size()))
      trips = dims[axes.back()].constant();
  }
  if (!trips || *trips > maxIterations || *trips < 1) {
    reportUnsupported(node, "its number of iterations is not known at compile time, or above the "
                            "limit for unrolling");
    return failure();
  }
  OpBuilder builder(node);
  RawNodes nodes(builder, node);
  SmallVector<Value> states(inputs.take_front(stateCount));
  SmallVector<SmallVector<Value>> scans(scanOutputs);
  for (int64_t t = 0; t < *trips; ++t) {
    SmallVector<Value> arguments = states;
    for (int64_t i = 0; i < scanInputs; ++i) {
      int64_t at = entry("scan_input_directions", i) ? *trips - 1 - t : t;
      arguments.push_back(nodes.make("Gather", {inputs[stateCount + i], nodes.integers(at, true)},
                                     nodes.attr("axis", axes[i])));
    }
    SmallVector<Value> yielded = copyBody(builder, body, arguments);
    for (int64_t s = 0; s < stateCount; ++s)
      states[s] = yielded[s];
    for (int64_t s = 0; s < scanOutputs; ++s)
      scans[s].push_back(yielded[stateCount + s]);
  }
  SmallVector<Value> results = states;
  for (int64_t s = 0; s < scanOutputs; ++s) {
    if (entry("scan_output_directions", s))
      std::reverse(scans[s].begin(), scans[s].end());
    results.push_back(nodes.stack(scans[s], entry("scan_output_axes", s)));
  }
  return results;
}

FailureOr<SmallVector<Value>> tacq::unrollLoop(NodeOp node, int64_t maxIterations) {
  return node.getOpType() == "Scan" ? unrollOnnxScan(node, maxIterations)
                                    : unrollOnnxLoop(node, maxIterations);
}
