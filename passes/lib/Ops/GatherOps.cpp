//===- GatherOps.cpp - Reading at indices that are data -------------------===//

#include "IndexingOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace tacq;

/// A normalized axis attribute in a kernel.
static int64_t axisOf(NodeOp node, int64_t fallback, int64_t rank) {
  int64_t axis = NodeAttrs(node).integer("axis", fallback);
  return axis < 0 ? axis + rank : axis;
}

//===----------------------------------------------------------------------===//
// Gather
//===----------------------------------------------------------------------===//

static LogicalResult inferGather(InferContext &c) {
  Dims data = c.dims(0), indices = c.dims(1);
  FailureOr<int64_t> axis = c.axis(c.attrs.integer("axis", 0), data.size());
  if (failed(axis) || failed(requireElements(c, 1, data[*axis])))
    return failure();
  Dims result(data.begin(), data.begin() + *axis);
  result.append(indices);
  result.append(data.begin() + *axis + 1, data.end());
  c.setResult(0, c.elementType(0), result);

  // Picks of a shape.
  std::optional<SmallVector<int64_t>> picks = c.constants(1);
  std::optional<int64_t> extent = data[*axis].constant();
  if (!picks || !extent)
    return success();
  for (int64_t &pick : *picks) {
    if (pick < -*extent || pick >= *extent)
      return c.fail("index " + Twine(pick) + " is out of range for an axis of " + Twine(*extent));
    pick += pick < 0 ? *extent : 0;
  }
  auto indexType = cast<RankedTensorType>(c.operand(1).getType());
  foldMovement(c, 0, 0, [&](ArrayRef<int64_t> index) {
    int64_t position = 0;
    for (auto [i, size] : llvm::enumerate(indexType.getShape()))
      position = position * size + index[*axis + i];
    SmallVector<int64_t> source(index.take_front(*axis));
    source.push_back((*picks)[position]);
    source.append(index.begin() + *axis + indexType.getRank(), index.end());
    return source;
  });
  return success();
}

static Value gatherElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Value data = node.getInputs()[0], indices = node.getInputs()[1];
  Dims dims = k.dims(data);
  int64_t axis = axisOf(node, 0, dims.size()), count = k.dims(indices).size();
  KernelBuilder::Index source(index.take_front(axis));
  source.push_back(loadIndex(k, node, indices, index.slice(axis, count), dims[axis]));
  source.append(index.begin() + axis + count, index.end());
  if (int64_t width = NodeAttrs(node).integer(panelWidthName, 0))
    return k.loadFromPanel(data, width, source[0], source[1]);
  return k.load(data, source);
}

//===----------------------------------------------------------------------===//
// GatherElements, GatherND
//===----------------------------------------------------------------------===//

static LogicalResult inferGatherElements(InferContext &c) {
  Dims data = c.dims(0), indices = c.dims(1);
  FailureOr<int64_t> axis = c.axis(c.attrs.integer("axis", 0), data.size());
  if (failed(axis) || failed(requireElements(c, 1, data[*axis])))
    return failure();
  if (indices.size() != data.size())
    return c.fail("its indices have another rank than its data");
  for (auto [i, size] : llvm::enumerate(indices))
    if (int64_t(i) != *axis &&
        failed(c.requireAtMost(size, data[i], "the indices are larger than the data")))
      return failure();
  c.setResult(0, c.elementType(0), indices);
  return success();
}

static Value gatherElementsElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Value data = node.getInputs()[0];
  Dims dims = k.dims(data);
  int64_t axis = axisOf(node, 0, dims.size());
  KernelBuilder::Index source(index);
  source[axis] = loadIndex(k, node, node.getInputs()[1], index, dims[axis]);
  return k.load(data, source);
}

static LogicalResult inferGatherND(InferContext &c) {
  Dims data = c.dims(0), indices = c.dims(1);
  int64_t batch = c.attrs.integer("batch_dims", 0);
  std::optional<int64_t> depth = indices.empty() ? std::nullopt : indices.back().constant();
  if (!depth)
    return c.unsupported("the last size of its indices is known only at run time");
  if (batch < 0 || batch >= int64_t(indices.size()) || batch + *depth > int64_t(data.size()))
    return c.fail("its indices do not fit data of rank " + Twine(data.size()));
  for (int64_t i = 0; i < batch; ++i)
    if (failed(c.require(indices[i], data[i], "data and indices have different batches")))
      return failure();
  for (int64_t i = batch; i < batch + *depth; ++i)
    if (failed(requireElements(c, 1, data[i])))
      return failure();
  Dims result(indices.begin(), indices.end() - 1);
  result.append(data.begin() + batch + *depth, data.end());
  c.setResult(0, c.elementType(0), result);
  return success();
}

static Value gatherNDElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Value data = node.getInputs()[0], indices = node.getInputs()[1];
  Dims dims = k.dims(data), indexDims = k.dims(indices);
  int64_t batch = NodeAttrs(node).integer("batch_dims", 0);
  int64_t depth = *indexDims.back().constant(), lead = indexDims.size() - 1;
  KernelBuilder::Index source(index.take_front(batch));
  for (int64_t i = 0; i < depth; ++i) {
    KernelBuilder::Index at(index.take_front(lead));
    at.push_back(k.index(i));
    source.push_back(loadIndex(k, node, indices, at, dims[batch + i]));
  }
  source.append(index.begin() + lead, index.end());
  return k.load(data, source);
}

//===----------------------------------------------------------------------===//
// OneHot
//===----------------------------------------------------------------------===//

static LogicalResult inferOneHot(InferContext &c) {
  Dims dims = c.dims(0);
  FailureOr<int64_t> axis = c.axis(c.attrs.integer("axis", -1), dims.size() + 1);
  if (failed(axis))
    return failure();
  Sym depth;
  if (isa<IntegerType>(c.elementType(1))) {
    std::optional<Dims> values = c.values(1);
    if (!values || values->size() != 1)
      return c.unsupported("its depth is not a tensor of one element");
    depth = values->front();
  } else if (std::optional<SmallVector<double>> values = c.constantReals(1);
             values && values->size() == 1) {
    depth = Sym(int64_t(values->front()));
  } else if (std::optional<Dims> declared = declaredDims(c, 0);
             declared && declared->size() == dims.size() + 1) {
    depth = (*declared)[*axis];
  } else {
    return c.unsupported("its floating-point depth is known only at run time");
  }
  dims.insert(dims.begin() + *axis, depth);
  c.setResult(0, c.elementType(2), dims);
  return success();
}

static Value oneHotElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Value indices = node.getInputs()[0], values = node.getInputs()[2];
  int64_t axis = axisOf(node, -1, index.size());
  KernelBuilder::Index at(index);
  at.erase(at.begin() + axis);
  Type element = k.elementType(indices), i64 = k.b.getI64Type();
  Value hot = k.toIndex(k.cast(k.load(indices, at), element, i64), i64);
  Value depth = k.sym(k.dims(node.getResult(0))[axis]);
  hot = k.select(k.less(hot, k.index(0)), k.add(hot, depth), hot);
  Value off = k.load(values, ValueRange(k.index(0))), on = k.load(values, ValueRange(k.index(1)));
  return k.select(k.equal(hot, index[axis]), on, off);
}

//===----------------------------------------------------------------------===//
// Compress, NonZero
//===----------------------------------------------------------------------===//

/// The number of results depends on the condition's values; where those are constant, so is it.
static LogicalResult inferCompress(InferContext &c) {
  Dims dims = c.dims(0);
  bool flat = !c.attrs.has("axis");
  FailureOr<int64_t> axis = c.axis(c.attrs.integer("axis", 0), std::max<int64_t>(dims.size(), 1));
  if (failed(axis))
    return failure();
  std::optional<SmallVector<int64_t>> condition = c.constants(1);
  if (!condition)
    return c.unsupported("the number of its results depends on values at run time");
  Dims kept;
  for (auto [i, value] : llvm::enumerate(*condition))
    if (value)
      kept.push_back(Sym(int64_t(i)));
  Sym extent = flat ? elementCount(dims) : dims[*axis];
  if (!kept.empty() && failed(c.requireAtMost(kept.back() + Sym(1), extent,
                                              "the condition is longer than the axis")))
    return failure();
  recordSymbols(c.node, "tacq.kept", kept);
  if (flat)
    dims.assign(1, Sym());
  dims[*axis] = Sym(int64_t(kept.size()));
  c.setResult(0, c.elementType(0), dims);
  return success();
}

static SmallVector<Value> decomposeCompress(NodeBuilder &nodes, NodeOp node) {
  SmallVector<int64_t> kept;
  for (const Sym &position : recordedSymbols(node, "tacq.kept"))
    kept.push_back(*position.constant());
  Value data = node.getInputs()[0];
  bool flat = !NodeAttrs(node).has("axis");
  if (flat)
    data = nodes.create("Reshape", {data, nodes.integers({-1})});
  int64_t axis = NodeAttrs(node).integer("axis", 0);
  return {nodes.create("Gather", {data, nodes.integers(kept)}, {nodes.attr("axis", axis)})};
}

static LogicalResult inferNonZero(InferContext &c) {
  std::optional<SmallVector<int64_t>> values = c.constants(0);
  auto type = cast<RankedTensorType>(c.operand(0).getType());
  if (!values)
    return c.unsupported("the number of its results depends on values at run time");
  int64_t rank = type.getRank();
  SmallVector<SmallVector<int64_t>> found;
  SmallVector<int64_t> index(rank, 0);
  for (int64_t value : *values) {
    if (value)
      found.push_back(index);
    (void)nextIndex(index, type.getShape());
  }
  c.setResult(0, IntegerType::get(c.node.getContext(), 64),
              {Sym(rank), Sym(int64_t(found.size()))});
  Dims result;
  for (int64_t axis = 0; axis < rank; ++axis)
    for (const SmallVector<int64_t> &at : found)
      result.push_back(Sym(at[axis]));
  if (result.size() > 4096)
    return c.unsupported("it has too many constant results");
  c.setValues(0, result);
  return success();
}

llvm::ArrayRef<OpSpec> tacq::gatherOps() {
  static const OpSpec table[] = {
      {"Gather", inferGather, nullptr, gatherElement},
      {"GatherElements", inferGatherElements, nullptr, gatherElementsElement},
      {"GatherND", inferGatherND, nullptr, gatherNDElement},
      {"OneHot", inferOneHot, nullptr, oneHotElement, nullptr, true},
      {"Compress", inferCompress, decomposeCompress},
      {"NonZero", inferNonZero},
  };
  return table;
}
