//===- ScatterOps.cpp - Writing at indices that are data ------------------===//
//
// A kernel copies the data and then writes the updates in their order, so that the last of several
// updates of one element wins. Tasks are parts of the result that no update crosses.
//
//===----------------------------------------------------------------------===//

#include "IndexingOps.h"

using namespace mlir;
using namespace tacq;

/// Writes an update into the kernel's output.
static void writeUpdate(KernelBuilder &k, NodeOp node, ValueRange at, Value update) {
  std::string reduction = NodeAttrs(node).string("reduction", "none");
  Type element = k.elementType(node.getResult(0));
  if (reduction != "none") {
    Value old = k.loadOutput(0, at);
    bool isUnsigned = tacq::isUnsigned(element);
    if (reduction == "add")
      update = k.add(old, update);
    else if (reduction == "mul")
      update = k.mul(old, update);
    else if (reduction == "min")
      update = k.min(old, update, isUnsigned);
    else
      update = k.max(old, update, isUnsigned);
    update = k.roundTo(element, update);
  }
  k.store(0, at, update);
}

static LogicalResult checkReduction(InferContext &c) {
  std::string reduction = c.attrs.string("reduction", "none");
  if (llvm::is_contained({"none", "add", "mul", "min", "max"}, reduction))
    return success();
  return c.fail("its reduction '" + reduction + "' is not known");
}

static SmallVector<Sym> toVector(ArrayRef<Sym> dims) {
  return SmallVector<Sym>(dims.begin(), dims.end());
}

//===----------------------------------------------------------------------===//
// ScatterElements (Scatter)
//===----------------------------------------------------------------------===//

static LogicalResult inferScatterElements(InferContext &c) {
  Dims data = c.dims(0), indices = c.dims(1), updates = c.dims(2);
  FailureOr<int64_t> axis = c.axis(c.attrs.integer("axis", 0), data.size());
  if (failed(axis) || failed(checkReduction(c)) || failed(requireElements(c, 1, data[*axis])))
    return failure();
  if (indices.size() != data.size() || updates.size() != data.size())
    return c.fail("its inputs have different ranks");
  for (auto [i, size] : llvm::enumerate(indices)) {
    if (failed(c.require(size, updates[i], "indices and updates have different shapes")))
      return failure();
    if (int64_t(i) != *axis &&
        failed(c.requireAtMost(size, data[i], "the indices are larger than the data")))
      return failure();
  }
  c.setResult(0, c.elementType(0), data);
  return success();
}

/// A task is a line along the axis.
static LogicalResult scatterElementsLoops(KernelBuilder &k, NodeOp node) {
  Value data = node.getInputs()[0], indices = node.getInputs()[1], updates = node.getInputs()[2];
  Dims dims = k.dims(data), indexDims = k.dims(indices);
  int64_t axis = NodeAttrs(node).integer("axis", 0);
  if (axis < 0)
    axis += dims.size();
  Dims others = dims;
  others.erase(others.begin() + axis);
  k.parallel(elementCount(others), [&](Value task) {
    KernelBuilder::Index at = k.delinearize(task, others);
    at.insert(at.begin() + axis, Value());
    k.loop(k.sym(dims[axis]), [&](Value i) {
      at[axis] = i;
      k.store(0, at, k.load(data, at));
    });
    // The indices may cover only a part of the other axes.
    Value count = k.sym(indexDims[axis]);
    for (size_t i = 0; i < dims.size(); ++i)
      if (int64_t(i) != axis && indexDims[i] != dims[i])
        count = k.select(k.less(at[i], k.sym(indexDims[i])), count, k.index(0));
    k.loop(count, [&](Value i) {
      KernelBuilder::Index from = at, to = at;
      from[axis] = i;
      to[axis] = loadIndex(k, node, indices, from, dims[axis]);
      writeUpdate(k, node, to, k.load(updates, from));
    });
  });
  return success();
}

//===----------------------------------------------------------------------===//
// ScatterND
//===----------------------------------------------------------------------===//

static LogicalResult inferScatterND(InferContext &c) {
  Dims data = c.dims(0), indices = c.dims(1), updates = c.dims(2);
  if (failed(checkReduction(c)))
    return failure();
  std::optional<int64_t> depth = indices.empty() ? std::nullopt : indices.back().constant();
  if (!depth)
    return c.unsupported("the last size of its indices is known only at run time");
  if (*depth < 1 || *depth > int64_t(data.size()))
    return c.fail("its indices do not fit data of rank " + Twine(data.size()));
  for (int64_t i = 0; i < *depth; ++i)
    if (failed(requireElements(c, 1, data[i])))
      return failure();
  Dims expected(indices.begin(), indices.end() - 1);
  expected.append(data.begin() + *depth, data.end());
  if (expected.size() != updates.size())
    return c.fail("its updates are of rank " + Twine(updates.size()) + " instead of " +
                  Twine(expected.size()));
  for (auto [a, b] : llvm::zip(expected, updates))
    if (failed(c.require(a, b, "the updates do not have the shape that the indices ask for")))
      return failure();
  c.setResult(0, c.elementType(0), data);
  return success();
}

/// A task is a position along the first axis that is not indexed, if there is one.
static LogicalResult scatterNDLoops(KernelBuilder &k, NodeOp node) {
  Value data = node.getInputs()[0], indices = node.getInputs()[1], updates = node.getInputs()[2];
  Dims dims = k.dims(data), indexDims = k.dims(indices);
  size_t depth = *indexDims.back().constant(), lead = indexDims.size() - 1;
  bool split = depth < dims.size();
  ArrayRef<Sym> indexed = ArrayRef(dims).take_front(depth);
  ArrayRef<Sym> inner = ArrayRef(dims).drop_front(depth + split);
  k.parallel(split ? dims[depth] : Sym(1), [&](Value task) {
    auto inTask = [&](ValueRange front, ValueRange back) {
      KernelBuilder::Index at(front);
      if (split)
        at.push_back(task);
      at.append(back.begin(), back.end());
      return at;
    };
    SmallVector<Sym> copied = toVector(indexed);
    copied.append(inner.begin(), inner.end());
    k.reduce(copied, {}, [&](ValueRange i, ValueRange) {
      KernelBuilder::Index at = inTask(i.take_front(depth), i.drop_front(depth));
      k.store(0, at, k.load(data, at));
      return SmallVector<Value>();
    });
    k.reduce(toVector(ArrayRef(indexDims).take_front(lead)), {}, [&](ValueRange i, ValueRange) {
      KernelBuilder::Index tuple, row(i);
      KernelBuilder::Index batch(i);
      row.push_back(Value());
      for (size_t j = 0; j < depth; ++j) {
        row.back() = k.index(j);
        tuple.push_back(loadIndex(k, node, indices, row, dims[j]));
      }
      k.reduce(toVector(inner), {}, [&](ValueRange rest, ValueRange) {
        writeUpdate(k, node, inTask(tuple, rest), k.load(updates, inTask(batch, rest)));
        return SmallVector<Value>();
      });
      return SmallVector<Value>();
    });
  });
  return success();
}

//===----------------------------------------------------------------------===//
// TensorScatter
//===----------------------------------------------------------------------===//

static LogicalResult inferTensorScatter(InferContext &c) {
  Dims cache = c.dims(0), update = c.dims(1);
  FailureOr<int64_t> axis = c.axis(c.attrs.integer("axis", -2), cache.size());
  if (failed(axis))
    return failure();
  if (*axis == 0 || update.size() != cache.size())
    return c.fail("its axis is the batch, or its inputs have different ranks");
  for (auto [i, size] : llvm::enumerate(update)) {
    bool alongAxis = int64_t(i) == *axis;
    if (failed(alongAxis ? c.requireAtMost(size, cache[i], "the update is longer than the cache")
                         : c.require(size, cache[i], "cache and update differ in shape")))
      return failure();
  }
  c.setResult(0, c.elementType(0), cache);
  return success();
}

/// The update where it covers a position of the cache, else the cache.
static Value tensorScatterElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  NodeAttrs attrs(node);
  Value cache = node.getInputs()[0], update = node.getInputs()[1];
  int64_t axis = attrs.integer("axis", -2);
  if (axis < 0)
    axis += index.size();
  Value start = k.index(0);
  if (node.getInputs().size() > 2 && !isAbsent(node.getInputs()[2])) {
    Value starts = node.getInputs()[2];
    start = k.toIndex(k.load(starts, index.take_front(1)), k.elementType(starts));
  }
  Value position = k.sub(index[axis], start);
  if (attrs.string("mode", "linear") == "circular")
    position = k.select(k.less(position, k.index(0)), k.add(position, k.sym(k.dims(cache)[axis])),
                        position);
  // A negative position is a large unsigned one.
  Value covered = k.less(position, k.sym(k.dims(update)[axis]), /*isUnsigned=*/true);
  return k.branch(
      covered,
      [&] {
        KernelBuilder::Index from(index);
        from[axis] = position;
        return SmallVector<Value>{k.load(update, from)};
      },
      [&] { return SmallVector<Value>{k.load(cache, index)}; })[0];
}

llvm::ArrayRef<OpSpec> tacq::scatterOps() {
  static const OpSpec table[] = {
      {"ScatterElements", inferScatterElements, nullptr, nullptr, scatterElementsLoops},
      {"Scatter", inferScatterElements, nullptr, nullptr, scatterElementsLoops},
      {"ScatterND", inferScatterND, nullptr, nullptr, scatterNDLoops},
      {"TensorScatter", inferTensorScatter, nullptr, tensorScatterElement},
  };
  return table;
}
