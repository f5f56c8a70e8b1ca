//===- SearchOps.cpp - ArgMax, ArgMin, TopK -------------------------------===//

#include "IndexingOps.h"

using namespace mlir;
using namespace tacq;

static int64_t axisOf(NodeOp node, int64_t fallback, int64_t rank) {
  int64_t axis = NodeAttrs(node).integer("axis", fallback);
  return axis < 0 ? axis + rank : axis;
}

//===----------------------------------------------------------------------===//
// ArgMax, ArgMin
//===----------------------------------------------------------------------===//

static LogicalResult inferArg(InferContext &c) {
  Dims dims = c.dims(0);
  FailureOr<int64_t> axis = c.axis(c.attrs.integer("axis", 0), dims.size());
  if (failed(axis))
    return failure();
  if (failed(c.requireAtMost(Sym(1), dims[*axis], "there is no largest of no elements")))
    return failure();
  if (c.attrs.integer("keepdims", 1))
    dims[*axis] = Sym(1);
  else
    dims.erase(dims.begin() + *axis);
  c.setResult(0, IntegerType::get(c.node.getContext(), 64), dims);
  return success();
}

template <bool largest>
static Value argElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  NodeAttrs attrs(node);
  Value in = node.getInputs()[0];
  Dims dims = k.dims(in);
  int64_t axis = axisOf(node, 0, dims.size());
  bool isUnsigned = tacq::isUnsigned(k.elementType(in));
  bool last = attrs.integer("select_last_index", 0);
  KernelBuilder::Index at(index);
  if (attrs.integer("keepdims", 1))
    at[axis] = k.index(0);
  else
    at.insert(at.begin() + axis, k.index(0));
  Value first = k.load(in, at);
  Value best = k.reduce({dims[axis]}, {first, k.index(0)}, [&](ValueRange i, ValueRange carried) {
    at[axis] = i[0];
    Value x = k.load(in, at);
    Value better =
        largest
            ? (last ? k.lessEqual(carried[0], x, isUnsigned) : k.less(carried[0], x, isUnsigned))
            : (last ? k.lessEqual(x, carried[0], isUnsigned) : k.less(x, carried[0], isUnsigned));
    return SmallVector<Value>{k.select(better, x, carried[0]), k.select(better, i[0], carried[1])};
  })[1];
  return k.fromIndex(best, k.b.getI64Type());
}

//===----------------------------------------------------------------------===//
// TopK
//===----------------------------------------------------------------------===//

static LogicalResult inferTopK(InferContext &c) {
  Dims dims = c.dims(0);
  FailureOr<int64_t> axis = c.axis(c.attrs.integer("axis", -1), dims.size());
  if (failed(axis))
    return failure();
  Sym count(c.attrs.integer("k", 0));
  if (c.has(1)) {
    std::optional<Dims> values = c.values(1);
    if (!values || values->size() != 1)
      return c.unsupported("its K is not a tensor of one element");
    count = values->front();
  }
  if (failed(c.requireAtMost(count, dims[*axis], "K is above the size of the axis")))
    return failure();
  dims[*axis] = count;
  for (auto [i, result] : llvm::enumerate(c.node.getOutputs()))
    if (!isAbsent(result))
      c.setResult(i, i == 0 ? c.elementType(0) : Type(IntegerType::get(c.node.getContext(), 64)),
                  dims);
  return success();
}

/// The kernel's output for a result, or nullopt if there is none.
static std::optional<unsigned> outputOf(KernelBuilder &k, Value result) {
  for (auto [i, value] : llvm::enumerate(k.region().front().getTerminator()->getOperands()))
    if (value == result)
      return i;
  return std::nullopt;
}

/// A task is a line along the axis. Each of the K results is the best element behind the one before
/// it, in the order by value and then by position, which makes the order of equal elements that of
/// the input, and needs no memory.
static LogicalResult topKLoops(KernelBuilder &k, NodeOp node) {
  Value in = node.getInputs()[0];
  Dims dims = k.dims(in);
  int64_t axis = axisOf(node, -1, dims.size());
  bool isUnsigned = tacq::isUnsigned(k.elementType(in));
  bool largest = NodeAttrs(node).integer("largest", 1);
  Sym count = k.dims(node.getResult(0))[axis];
  Dims others = dims;
  others.erase(others.begin() + axis);
  auto better = [&](Value x, Value y) {
    return largest ? k.less(y, x, isUnsigned) : k.less(x, y, isUnsigned);
  };
  Value noBoundary = k.index(-1);
  k.parallel(elementCount(others), [&](Value task) {
    KernelBuilder::Index at = k.delinearize(task, others);
    at.insert(at.begin() + axis, k.index(0));
    Value first = k.constant(computeType(k.elementType(in)), 0);
    k.reduce({count}, {first, noBoundary}, [&](ValueRange rank, ValueRange previous) {
      // The previous result: its value and its position, -1 for none.
      Value start = k.equal(previous[1], noBoundary);
      auto best = k.reduce({dims[axis]}, {first, noBoundary}, [&](ValueRange i, ValueRange found) {
        KernelBuilder::Index here = at;
        here[axis] = i[0];
        Value x = k.load(in, here);
        Value behindEqual = k.logicalAnd(k.equal(x, previous[0]), k.less(previous[1], i[0]));
        Value behind = k.logicalOr(start, k.logicalOr(better(previous[0], x), behindEqual));
        Value improves = k.logicalOr(k.equal(found[1], noBoundary), better(x, found[0]));
        Value taken = k.logicalAnd(behind, improves);
        return SmallVector<Value>{k.select(taken, x, found[0]), k.select(taken, i[0], found[1])};
      });
      // Only where NaN makes elements incomparable nothing is found.
      Value position = k.max(best[1], k.index(0));
      KernelBuilder::Index to = at;
      to[axis] = rank[0];
      if (std::optional<unsigned> values = outputOf(k, node.getResult(0)))
        k.store(*values, to, best[0]);
      if (node.getNumResults() > 1)
        if (std::optional<unsigned> indices = outputOf(k, node.getResult(1)))
          k.store(*indices, to, k.fromIndex(position, k.b.getI64Type()));
      return SmallVector<Value>{best[0], position};
    });
  });
  return success();
}

llvm::ArrayRef<OpSpec> tacq::searchOps() {
  static const OpSpec table[] = {
      {"ArgMax", inferArg, nullptr, argElement<true>, nullptr, false, true},
      {"ArgMin", inferArg, nullptr, argElement<false>, nullptr, false, true},
      {"TopK", inferTopK, nullptr, nullptr, topKLoops},
  };
  return table;
}
