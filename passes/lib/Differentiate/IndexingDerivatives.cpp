//===- IndexingDerivatives.cpp - Reading at indices that are data ---------===//
//
// What was read several times gets the sum of the gradients: they are added up by a scatter.
//
//===----------------------------------------------------------------------===//

#include "Derivatives.h"

using namespace mlir;
using namespace tacq;

namespace {

Value scatterAdd(GradientBuilder &b, StringRef op, Type element, ArrayRef<Sym> dims, Value indices,
                 Value updates, ArrayRef<NamedAttribute> attrs = {}) {
  SmallVector<NamedAttribute> all(attrs);
  all.push_back(b.attr("reduction", StringRef("add")));
  return b.create(op, {b.zeros(element, dims), indices, updates}, all);
}

/// The axis that is read goes first, and the rows that were read are added to zeros.
void deriveGather(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  Value data = node.getInputs()[0], indices = node.getInputs()[1];
  Dims dims = *dimsOf(data), indexDims = *dimsOf(indices), gDims = *dimsOf(gradients[0]);
  int64_t axis = axisOf(node, 0, dims.size());
  // [before, indices, behind] to [indices, before, behind]
  SmallVector<int64_t> order;
  for (int64_t i = 0; i < int64_t(indexDims.size()); ++i)
    order.push_back(axis + i);
  for (int64_t i = 0; i < int64_t(gDims.size()); ++i)
    if (i < axis || i >= axis + int64_t(indexDims.size()))
      order.push_back(i);
  Value updates = b.transpose(gradients[0], order);
  SmallVector<int64_t> axisFirst = {axis}, back;
  for (int64_t i = 0; i < int64_t(dims.size()); ++i)
    if (i != axis)
      axisFirst.push_back(i);
  Dims moved;
  back.resize(dims.size());
  for (auto [to, from] : llvm::enumerate(axisFirst)) {
    moved.push_back(dims[from]);
    back[from] = to;
  }
  indexDims.push_back(Sym(1));
  Value positions = b.reshape(b.cast(indices, b.builder.getI64Type()), indexDims);
  Value sum = scatterAdd(b, "ScatterND", elementTypeOf(data), moved, positions, updates);
  b.accumulate(data, b.transpose(sum, back));
}

void deriveGatherElements(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  Value data = node.getInputs()[0], indices = node.getInputs()[1];
  Dims dims = *dimsOf(data), indexDims = *dimsOf(indices);
  int64_t rank = dims.size(), axis = axisOf(node, 0, rank);
  bool isPick = indexDims[axis].isConstant(1);
  for (int64_t i = 0; i < rank; ++i)
    isPick &= i == axis || indexDims[i] == dims[i];
  if (!isPick) {
    b.accumulate(data, scatterAdd(b, "ScatterElements", elementTypeOf(data), dims, indices,
                                  gradients[0], {b.attr("axis", axis)}));
    return;
  }
  // One element of each row was read: the others get 0, without a scatter.
  Type index = elementTypeOf(indices);
  Value extent = b.cast(b.symbols({dims[axis]}), index);
  Value isNegative = b.less(indices, b.scalar(index, 0));
  Value at = b.where(isNegative, b.add(indices, extent), indices);
  Value here = b.equal(b.cast(b.positions(dims[axis], axis, rank), index), at);
  b.accumulate(data, b.where(here, gradients[0]));
}

void deriveGatherND(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  Value data = node.getInputs()[0];
  b.accumulate(data, scatterAdd(b, "ScatterND", elementTypeOf(data), *dimsOf(data),
                                node.getInputs()[1], gradients[0]));
}

std::string refuseGatherND(NodeOp node, IsActive) {
  return NodeAttrs(node).integer("batch_dims", 0) == 0
             ? ""
             : "only GatherND without batch_dims is differentiable";
}

} // namespace

ArrayRef<Derivative> tacq::indexingDerivatives() {
  static const Derivative table[] = {
      {"Gather", deriveGather},
      {"GatherElements", deriveGatherElements},
      {"GatherND", deriveGatherND, refuseGatherND},
  };
  return table;
}
