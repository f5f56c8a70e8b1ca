//===- LossOps.cpp - Losses over the probability of a label ---------------===//

#include "IndexingOps.h"

using namespace mlir;
using namespace tacq;

static LogicalResult inferLoss(InferContext &c) {
  Dims scores = c.dims(0), labels = c.dims(1);
  if (scores.size() < 2 || labels.size() + 1 != scores.size())
    return c.fail("its labels do not have one axis less than its scores");
  for (auto [i, size] : llvm::enumerate(labels))
    if (failed(c.require(size, scores[i == 0 ? 0 : i + 1], "scores and labels differ in shape")))
      return failure();
  std::string reduction = c.attrs.string("reduction", "mean");
  if (!llvm::is_contained({"none", "sum", "mean"}, reduction))
    return c.fail("its reduction '" + reduction + "' is not known");
  if (reduction != "none")
    labels.clear();
  c.setResult(0, c.elementType(0), labels);
  // SoftmaxCrossEntropyLoss also gives the logarithms of the probabilities.
  if (c.resultCount() > 1 && !isAbsent(c.node.getResult(1)))
    c.setResult(1, c.elementType(0), scores);
  return success();
}

/// The loss from the logarithms of the probabilities.
static Value lossOf(NodeBuilder &nodes, NodeOp node, Value logarithms) {
  NodeAttrs attrs(node);
  Value labels = node.getInputs()[1];
  Type element = cast<ShapedType>(logarithms.getType()).getElementType();
  Type labelElement = cast<ShapedType>(labels.getType()).getElementType();

  // Ignored labels need not be valid ones: class 0 stands in for them.
  Value ignored, valid = labels;
  if (attrs.has("ignore_index")) {
    Value index = nodes.scalar(labelElement, double(attrs.integer("ignore_index", 0)));
    ignored = nodes.create("Equal", {labels, index});
    valid = nodes.create("Where", {ignored, nodes.scalar(labelElement, 0), labels});
  }
  Value axis = nodes.integers({1});
  Value column = nodes.create("Unsqueeze", {valid, axis});
  Value picked =
      nodes.create("GatherElements", {logarithms, column}, {nodes.attr("axis", int64_t(1))});
  Value loss = nodes.create("Neg", {nodes.create("Squeeze", {picked, axis})});

  Value weights;
  if (node.getInputs().size() > 2 && !isAbsent(node.getInputs()[2]))
    weights = nodes.create("Gather", {node.getInputs()[2], valid});
  if (ignored)
    weights = nodes.create(
        "Where", {ignored, nodes.scalar(element, 0), weights ? weights : nodes.scalar(element, 1)});
  if (weights)
    loss = nodes.create("Mul", {loss, weights});

  std::string reduction = attrs.string("reduction", "mean");
  if (reduction == "none")
    return loss;
  NamedAttribute noAxes = nodes.attr("keepdims", int64_t(0));
  if (reduction == "mean" && !weights)
    return nodes.create("ReduceMean", {loss}, {noAxes});
  Value sum = nodes.create("ReduceSum", {loss}, {noAxes});
  if (reduction == "sum")
    return sum;
  return nodes.create("Div", {sum, nodes.create("ReduceSum", {weights}, {noAxes})});
}

static SmallVector<Value> decomposeLikelihood(NodeBuilder &nodes, NodeOp node) {
  return {lossOf(nodes, node, node.getInputs()[0])};
}

static SmallVector<Value> decomposeCrossEntropy(NodeBuilder &nodes, NodeOp node) {
  Value logarithms =
      nodes.create("LogSoftmax", {node.getInputs()[0]}, {nodes.attr("axis", int64_t(1))});
  SmallVector<Value> results{lossOf(nodes, node, logarithms)};
  if (node.getNumResults() > 1)
    results.push_back(logarithms);
  return results;
}

llvm::ArrayRef<OpSpec> tacq::lossOps() {
  static const OpSpec table[] = {
      {"NegativeLogLikelihoodLoss", inferLoss, decomposeLikelihood},
      {"SoftmaxCrossEntropyLoss", inferLoss, decomposeCrossEntropy},
  };
  return table;
}
