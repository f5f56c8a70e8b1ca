//===- GradientBuilder.cpp - Builds the gradients of one operation --------===//

#include "GradientBuilder.h"

using namespace mlir;
using namespace tacq;

void GradientBuilder::accumulate(Value value, Value gradient) {
  if (!gradient || !wants(value))
    return;
  gradient = sumTo(gradient, *dimsOf(value));
  gradient = cast(gradient, elementTypeOf(value));
  Value &sum = state.gradients[value];
  sum = sum ? add(sum, gradient) : gradient;
}

LinearTap *GradientBuilder::tapOf(LinearOp linear, unsigned weight) {
  auto found = state.taps.find({linear, weight});
  return found == state.taps.end() ? nullptr : &found->second;
}

Value GradientBuilder::sum(Value x, ArrayRef<int64_t> axes) {
  if (axes.empty())
    return x;
  return create("ReduceSum", {x, integers(axes)}, {attr("keepdims", int64_t(1))});
}

Value GradientBuilder::mean(Value x, ArrayRef<int64_t> axes) {
  if (axes.empty())
    return x;
  return create("ReduceMean", {x, integers(axes)}, {attr("keepdims", int64_t(1))});
}

Value GradientBuilder::positions(const Sym &n, int64_t axis, int64_t rank) {
  Value limit = create("Squeeze", {symbols({n}), integers({0})});
  Value range = create("Range", {integers({0}, true), limit, integers({1}, true)});
  Dims dims(rank, Sym(1));
  dims[axis] = n;
  return reshape(range, dims);
}

Value GradientBuilder::part(Value x, int64_t axis, const Sym &start, const Sym &size) {
  Dims dims = *dimsOf(x);
  if (dims[axis] == size)
    return x;
  dims[axis] = size;
  Value sliced = create("Slice", {x, symbols({start}), symbols({start + size}), integers({axis})});
  // Inference cannot always tell that the slice lies inside.
  return reshape(sliced, dims);
}

Value GradientBuilder::transposeLast(Value x) {
  auto order = llvm::to_vector(llvm::seq<int64_t>(0, rankOf(x)));
  std::swap(order[order.size() - 1], order[order.size() - 2]);
  return transpose(x, order);
}

Value GradientBuilder::rows(Value x) {
  Dims dims = *dimsOf(x);
  return reshape(x, {elementCount(ArrayRef(dims).drop_back()), dims.back()});
}

Value GradientBuilder::sumTo(Value x, ArrayRef<Sym> dims) {
  Dims from = *dimsOf(x);
  int64_t leading = int64_t(from.size()) - int64_t(dims.size());
  SmallVector<int64_t> axes;
  for (int64_t axis = 0; axis < int64_t(from.size()); ++axis)
    if (axis < leading || (dims[axis - leading].isConstant(1) && !from[axis].isConstant(1)))
      axes.push_back(axis);
  // Sizes of the same number may be different expressions; where they are not the same number after
  // all, the reshape fails at the call.
  return reshape(sum(x, axes), dims);
}
