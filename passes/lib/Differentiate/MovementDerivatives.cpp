//===- MovementDerivatives.cpp - Nodes that move elements -----------------===//

#include "../Ops/SymbolicValues.h"
#include "Derivatives.h"

using namespace mlir;
using namespace tacq;

namespace {

/// Nodes that give the same elements another shape.
void deriveView(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  Value x = node.getInputs()[0];
  b.accumulate(x, b.reshape(gradients[0], *dimsOf(x)));
}

void deriveTranspose(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  Value x = node.getInputs()[0];
  SmallVector<int64_t> order = NodeAttrs(node).integers("perm");
  if (order.empty())
    order = llvm::to_vector(llvm::reverse(llvm::seq<int64_t>(0, rankOf(x))));
  SmallVector<int64_t> inverse(order.size());
  for (auto [to, from] : llvm::enumerate(order))
    inverse[from] = to;
  b.accumulate(x, b.transpose(gradients[0], inverse));
}

void deriveExpand(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  b.accumulate(node.getInputs()[0], gradients[0]);
}

void deriveTile(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  // Each axis as repetitions by extent; then the repetitions are added up.
  Value x = node.getInputs()[0];
  Dims dims = *dimsOf(x), split;
  Dims repeats = *symbolsOf(node.getInputs()[1]);
  SmallVector<int64_t> axes;
  for (auto [dim, count] : llvm::zip(dims, repeats)) {
    axes.push_back(split.size());
    split.push_back(count);
    split.push_back(dim);
  }
  b.accumulate(x, b.reshape(b.sum(b.reshape(gradients[0], split), axes), dims));
}

std::string refuseTile(NodeOp node, IsActive) {
  return symbolsOf(node.getInputs()[1]) ? "" : "its repetitions are not known at compile time";
}

void deriveConcat(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  int64_t axis = axisOf(node, 0, rankOf(node.getResult(0)));
  Sym start;
  for (Value operand : node.getInputs()) {
    Sym size = (*dimsOf(operand))[axis];
    if (b.wants(operand))
      b.accumulate(operand, b.part(gradients[0], axis, start, size));
    start = start + size;
  }
}

void deriveSplit(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  Value x = node.getInputs()[0];
  int64_t axis = axisOf(node, 0, rankOf(x));
  SmallVector<Value> parts;
  for (auto [result, gradient] : llvm::zip(node.getOutputs(), gradients))
    parts.push_back(gradient ? gradient : b.zeros(elementTypeOf(x), *dimsOf(result)));
  b.accumulate(x, b.create("Concat", parts, {b.attr("axis", axis)}));
}

/// The part of an axis that a slice takes is put back among zeros.
void deriveSlice(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  Value x = node.getInputs()[0], g = gradients[0];
  Dims dims = *dimsOf(x), taken = *dimsOf(node.getResult(0));
  Dims starts = recordedSymbols(node, "tacq.starts"), steps = recordedSymbols(node, "tacq.steps");
  int64_t rank = dims.size();
  Dims before, behind;
  for (int64_t axis = 0; axis < rank; ++axis) {
    bool isWhole = taken[axis] == dims[axis] && starts[axis].isConstant(0);
    bool isDense = steps[axis].isConstant(1) && !isWhole;
    before.push_back(isDense ? starts[axis] : Sym(0));
    behind.push_back(isDense ? dims[axis] - starts[axis] - taken[axis] : Sym(0));
    if (isWhole || isDense)
      continue;
    // Element i of the axis was taken as element (i - start) / step, if that is one.
    Value offset = b.sub(b.positions(dims[axis], 0, 1), b.symbols({starts[axis]}));
    Value step = b.symbols({steps[axis]}), last = b.symbols({taken[axis] - Sym(1)});
    Value zero = b.integers({0}, true);
    Value at = b.create("Min", {b.create("Max", {b.div(offset, step), zero}), last});
    Value isTaken = b.equal(b.mul(at, step), offset);
    Value spread = b.create("Gather", {g, at}, {b.attr("axis", axis)});
    Dims along(rank, Sym(1));
    along[axis] = dims[axis];
    g = b.where(b.reshape(isTaken, along), spread);
  }
  auto isZero = [](const Sym &size) { return size.isConstant(0); };
  if (!llvm::all_of(before, isZero) || !llvm::all_of(behind, isZero)) {
    before.append(behind);
    g = b.create("Pad", {g, b.symbols(before), b.constantLike(g, 0)});
  }
  b.accumulate(x, g);
}

void derivePad(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  Value x = node.getInputs()[0], g = gradients[0];
  Dims dims = *dimsOf(x), before = recordedSymbols(node, "tacq.before");
  for (auto [axis, start] : llvm::enumerate(before))
    g = b.part(g, axis, start, dims[axis]);
  b.accumulate(x, g);
}

std::string refusePad(NodeOp node, IsActive isActive) {
  NodeAttrs attrs(node);
  if (attrs.string("mode", "constant") != "constant")
    return "only padding with a constant is differentiable";
  auto isNonNegative = [](const Sym &size) { return size.isNonNegative(); };
  for (StringRef side : {"tacq.before", "tacq.behind"})
    if (!llvm::all_of(recordedSymbols(node, side), isNonNegative))
      return "its pads may be negative";
  if (node.getInputs().size() > 2 && isActive(node.getInputs()[2]))
    return "the value that it pads with depends on a parameter";
  return "";
}

void deriveTrilu(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  SmallVector<Value> operands(node.getInputs());
  operands[0] = gradients[0];
  int64_t upper = NodeAttrs(node).integer("upper", 1);
  b.accumulate(node.getInputs()[0], b.create("Trilu", operands, {b.attr("upper", upper)}));
}

} // namespace

ArrayRef<Derivative> tacq::movementDerivatives() {
  static const Derivative table[] = {
      {"Identity", deriveView}, {"Reshape", deriveView},          {"Flatten", deriveView},
      {"Squeeze", deriveView},  {"Unsqueeze", deriveView},        {"Transpose", deriveTranspose},
      {"Expand", deriveExpand}, {"Tile", deriveTile, refuseTile}, {"Concat", deriveConcat},
      {"Split", deriveSplit},   {"Slice", deriveSlice},           {"Pad", derivePad, refusePad},
      {"Trilu", deriveTrilu},
  };
  return table;
}
