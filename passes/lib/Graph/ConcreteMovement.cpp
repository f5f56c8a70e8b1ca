//===- ConcreteMovement.cpp - Data movement and reductions, evaluated -----===//

#include "tacq/Graph/ConcreteEvaluator.h"
#include "tacq/Ops/OpSpec.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace tacq;

using Result = std::optional<ConcreteTensor>;

/// A tensor of the given shape whose element `linear` is the source's element `from(index)`.
template <typename From>
static ConcreteTensor gathered(const ConcreteTensor &source, ArrayRef<int64_t> shape, From from) {
  ConcreteTensor result = ConcreteTensor::zeros(shape, source.isReal);
  forEachIndex(shape, [&](ArrayRef<int64_t> index, int64_t linear) {
    result.copyElement(linear, source, from(index));
  });
  return result;
}

static std::optional<int64_t> normalizedAxis(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank)
    return std::nullopt;
  return axis < 0 ? axis + rank : axis;
}

static Result withShape(const ConcreteTensor &source, ArrayRef<int64_t> shape,
                        std::string &reason) {
  if (elementCount(shape) != source.size()) {
    reason = "the number of elements changes";
    return std::nullopt;
  }
  ConcreteTensor result = source;
  result.shape.assign(shape.begin(), shape.end());
  return result;
}

static Result reshape(const ConcreteNode &node, std::string &reason) {
  const ConcreteTensor &x = node.operand(0);
  SmallVector<int64_t> shape = node.integers(1, "shape");
  bool allowZero = NodeAttrs(node.node).integer("allowzero", 0) != 0;
  int64_t known = 1, inferred = -1;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 0 && !allowZero && i < x.shape.size())
      shape[i] = x.shape[i];
    if (shape[i] < 0)
      inferred = i;
    else
      known *= shape[i];
  }
  if (inferred >= 0)
    shape[inferred] = known == 0 ? 0 : x.size() / known;
  return withShape(x, shape, reason);
}

static Result unsqueeze(const ConcreteNode &node, std::string &reason) {
  const ConcreteTensor &x = node.operand(0);
  SmallVector<int64_t> axes = node.integers(1, "axes");
  int64_t rank = x.rank() + axes.size();
  SmallVector<int64_t> shape(rank, -1);
  for (int64_t axis : axes) {
    std::optional<int64_t> at = normalizedAxis(axis, rank);
    if (!at) {
      reason = "an axis is out of range";
      return std::nullopt;
    }
    shape[*at] = 1;
  }
  size_t next = 0;
  for (int64_t &extent : shape)
    if (extent < 0)
      extent = x.shape[next++];
  return withShape(x, shape, reason);
}

static Result squeeze(const ConcreteNode &node, std::string &reason) {
  const ConcreteTensor &x = node.operand(0);
  SmallVector<int64_t> axes = node.integers(1, "axes"), shape;
  for (int64_t &axis : axes)
    axis = axis < 0 ? axis + x.rank() : axis;
  for (int64_t i = 0; i < x.rank(); ++i)
    if (axes.empty() ? x.shape[i] != 1 : !llvm::is_contained(axes, i))
      shape.push_back(x.shape[i]);
  return withShape(x, shape, reason);
}

static Result flatten(const ConcreteNode &node, std::string &reason) {
  const ConcreteTensor &x = node.operand(0);
  int64_t axis = NodeAttrs(node.node).integer("axis", 1);
  axis = axis < 0 ? axis + x.rank() : axis;
  int64_t outer = elementCount(ArrayRef<int64_t>(x.shape).take_front(axis));
  int64_t inner = elementCount(ArrayRef<int64_t>(x.shape).drop_front(axis));
  return withShape(x, {outer, inner}, reason);
}

static Result expand(const ConcreteNode &node, std::string &reason) {
  const ConcreteTensor &x = node.operand(0);
  SmallVector<int64_t> shape = node.integers(1, "");
  while (shape.size() < x.shape.size())
    shape.insert(shape.begin(), 1);
  size_t skip = shape.size() - x.shape.size();
  for (size_t i = 0; i < x.shape.size(); ++i) {
    if (shape[skip + i] == 1)
      shape[skip + i] = x.shape[i];
    if (x.shape[i] != 1 && x.shape[i] != shape[skip + i]) {
      reason = "its operand does not broadcast";
      return std::nullopt;
    }
  }
  if (elementCount(shape) > node.maxElements) {
    reason = "the result is too large";
    return std::nullopt;
  }
  SmallVector<int64_t> strides = stridesOf(x.shape);
  return gathered(x, shape, [&](ArrayRef<int64_t> index) {
    int64_t from = 0;
    for (size_t i = 0; i < x.shape.size(); ++i)
      from += x.shape[i] == 1 ? 0 : index[skip + i] * strides[i];
    return from;
  });
}

static Result tile(const ConcreteNode &node, std::string &reason) {
  const ConcreteTensor &x = node.operand(0);
  SmallVector<int64_t> repeats = node.integers(1, ""), shape;
  if (repeats.size() != x.shape.size()) {
    reason = "repeats and rank differ";
    return std::nullopt;
  }
  for (auto [extent, repeat] : llvm::zip(x.shape, repeats))
    shape.push_back(extent * repeat);
  if (elementCount(shape) > node.maxElements) {
    reason = "the result is too large";
    return std::nullopt;
  }
  SmallVector<int64_t> strides = stridesOf(x.shape);
  return gathered(x, shape, [&](ArrayRef<int64_t> index) {
    int64_t from = 0;
    for (size_t i = 0; i < index.size(); ++i)
      from += index[i] % x.shape[i] * strides[i];
    return from;
  });
}

static Result transpose(const ConcreteNode &node, std::string &reason) {
  const ConcreteTensor &x = node.operand(0);
  SmallVector<int64_t> perm = NodeAttrs(node.node).integers("perm"), shape;
  if (perm.empty())
    for (int64_t i = x.rank() - 1; i >= 0; --i)
      perm.push_back(i);
  if (int64_t(perm.size()) != x.rank()) {
    reason = "perm and rank differ";
    return std::nullopt;
  }
  for (int64_t axis : perm)
    shape.push_back(x.shape[axis]);
  SmallVector<int64_t> strides = stridesOf(x.shape);
  return gathered(x, shape, [&](ArrayRef<int64_t> index) {
    int64_t from = 0;
    for (size_t i = 0; i < perm.size(); ++i)
      from += index[i] * strides[perm[i]];
    return from;
  });
}

static Result slice(const ConcreteNode &node, std::string &reason) {
  const ConcreteTensor &x = node.operand(0);
  SmallVector<int64_t> starts = node.integers(1, "starts"), ends = node.integers(2, "ends");
  SmallVector<int64_t> axes = node.integers(3, "axes"), steps = node.integers(4, "");
  SmallVector<int64_t> first(x.rank(), 0), step(x.rank(), 1), shape = x.shape;
  for (size_t i = 0; i < starts.size() && i < ends.size(); ++i) {
    std::optional<int64_t> axis = normalizedAxis(i < axes.size() ? axes[i] : i, x.rank());
    int64_t by = i < steps.size() ? steps[i] : 1;
    if (!axis || by == 0) {
      reason = "an axis or step is invalid";
      return std::nullopt;
    }
    int64_t extent = x.shape[*axis];
    auto clamp = [&](int64_t value, int64_t low, int64_t high) {
      return std::min(std::max(value < 0 ? value + extent : value, low), high);
    };
    int64_t begin = by > 0 ? clamp(starts[i], 0, extent) : clamp(starts[i], 0, extent - 1);
    int64_t end = by > 0 ? clamp(ends[i], 0, extent)
                         : (ends[i] < -extent ? -1 : clamp(ends[i], -1, extent - 1));
    first[*axis] = begin;
    step[*axis] = by;
    int64_t span = by > 0 ? end - begin + by - 1 : end - begin + by + 1;
    shape[*axis] = std::max<int64_t>(0, span / by);
  }
  SmallVector<int64_t> strides = stridesOf(x.shape);
  return gathered(x, shape, [&](ArrayRef<int64_t> index) {
    int64_t from = 0;
    for (size_t i = 0; i < index.size(); ++i)
      from += (first[i] + index[i] * step[i]) * strides[i];
    return from;
  });
}

static Result concat(const ConcreteNode &node, std::string &reason) {
  const ConcreteTensor &first = node.operand(0);
  std::optional<int64_t> axis =
      normalizedAxis(NodeAttrs(node.node).integer("axis", 0), first.rank());
  if (!axis) {
    reason = "the axis is out of range";
    return std::nullopt;
  }
  SmallVector<int64_t> shape = first.shape;
  shape[*axis] = 0;
  bool isReal = false;
  for (const ConcreteEvaluator::Tensor &part : node.operands) {
    if (!part || part->rank() != first.rank()) {
      reason = "its operands differ in rank";
      return std::nullopt;
    }
    shape[*axis] += part->shape[*axis];
    isReal |= part->isReal;
  }
  ConcreteTensor result = ConcreteTensor::zeros(shape, isReal);
  SmallVector<int64_t> strides = stridesOf(shape);
  int64_t offset = 0;
  for (const ConcreteEvaluator::Tensor &part : node.operands) {
    if (elementCount(part->shape) > 0)
      forEachIndex(part->shape, [&](ArrayRef<int64_t> index, int64_t linear) {
        int64_t to = offset * strides[*axis];
        for (size_t i = 0; i < index.size(); ++i)
          to += index[i] * strides[i];
        result.copyElement(to, *part, linear);
      });
    offset += part->shape[*axis];
  }
  return result;
}

static Result gather(const ConcreteNode &node, std::string &reason) {
  const ConcreteTensor &x = node.operand(0), &indices = node.operand(1);
  std::optional<int64_t> axis = normalizedAxis(NodeAttrs(node.node).integer("axis", 0), x.rank());
  if (!axis) {
    reason = "the axis is out of range";
    return std::nullopt;
  }
  int64_t extent = x.shape[*axis];
  for (int64_t i = 0; i < indices.size(); ++i)
    if (indices.integer(i) < -extent || indices.integer(i) >= extent) {
      reason = "an index is out of range";
      return std::nullopt;
    }
  SmallVector<int64_t> shape(x.shape.begin(), x.shape.begin() + *axis);
  shape.append(indices.shape.begin(), indices.shape.end());
  shape.append(x.shape.begin() + *axis + 1, x.shape.end());
  SmallVector<int64_t> strides = stridesOf(x.shape), indexStrides = stridesOf(indices.shape);
  return gathered(x, shape, [&](ArrayRef<int64_t> index) {
    int64_t from = 0, at = 0;
    for (int64_t i = 0; i < *axis; ++i)
      from += index[i] * strides[i];
    for (int64_t i = 0; i < indices.rank(); ++i)
      at += index[*axis + i] * indexStrides[i];
    int64_t picked = indices.integer(at);
    from += (picked < 0 ? picked + extent : picked) * strides[*axis];
    for (int64_t i = *axis + 1; i < x.rank(); ++i)
      from += index[i - 1 + indices.rank()] * strides[i];
    return from;
  });
}

static Result gatherElements(const ConcreteNode &node, std::string &reason) {
  const ConcreteTensor &x = node.operand(0), &indices = node.operand(1);
  std::optional<int64_t> axis = normalizedAxis(NodeAttrs(node.node).integer("axis", 0), x.rank());
  if (!axis || indices.rank() != x.rank()) {
    reason = "the axis is out of range or the ranks differ";
    return std::nullopt;
  }
  SmallVector<int64_t> strides = stridesOf(x.shape), indexStrides = stridesOf(indices.shape);
  bool inRange = true;
  ConcreteTensor result = gathered(x, indices.shape, [&](ArrayRef<int64_t> index) {
    int64_t from = 0, at = 0;
    for (size_t i = 0; i < index.size(); ++i) {
      at += index[i] * indexStrides[i];
      if (int64_t(i) != *axis)
        from += index[i] * strides[i];
    }
    int64_t picked = indices.integer(at);
    picked = picked < 0 ? picked + x.shape[*axis] : picked;
    inRange &= picked >= 0 && picked < x.shape[*axis];
    return inRange ? from + picked * strides[*axis] : 0;
  });
  if (!inRange) {
    reason = "an index is out of range";
    return std::nullopt;
  }
  return result;
}

/// The position in `x` (after `batch` axes) that row `row` of the index tensor names; nullopt if it
/// is out of range.
static std::optional<int64_t> indexedOffset(const ConcreteTensor &x, const ConcreteTensor &indices,
                                            int64_t row, int64_t batch) {
  SmallVector<int64_t> strides = stridesOf(x.shape);
  int64_t depth = indices.shape.back(), offset = 0;
  for (int64_t i = 0; i < depth; ++i) {
    int64_t extent = x.shape[batch + i], picked = indices.integer(row * depth + i);
    picked = picked < 0 ? picked + extent : picked;
    if (picked < 0 || picked >= extent)
      return std::nullopt;
    offset += picked * strides[batch + i];
  }
  return offset;
}

static Result gatherND(const ConcreteNode &node, std::string &reason) {
  const ConcreteTensor &x = node.operand(0), &indices = node.operand(1);
  int64_t batch = NodeAttrs(node.node).integer("batch_dims", 0);
  if (indices.rank() == 0 || batch + indices.shape.back() > x.rank()) {
    reason = "the indices are longer than the rank";
    return std::nullopt;
  }
  int64_t depth = indices.shape.back();
  ArrayRef<int64_t> tail = ArrayRef<int64_t>(x.shape).drop_front(batch + depth);
  int64_t inner = elementCount(tail);
  int64_t perBatch = elementCount(ArrayRef<int64_t>(x.shape).drop_front(batch));
  SmallVector<int64_t> shape(indices.shape.begin(), indices.shape.end() - 1);
  int64_t rows = elementCount(shape);
  int64_t batches = elementCount(ArrayRef<int64_t>(x.shape).take_front(batch));
  shape.append(tail.begin(), tail.end());
  ConcreteTensor result = ConcreteTensor::zeros(shape, x.isReal);
  for (int64_t row = 0; row < rows; ++row) {
    std::optional<int64_t> offset = indexedOffset(x, indices, row, batch);
    if (!offset) {
      reason = "an index is out of range";
      return std::nullopt;
    }
    int64_t base = batches == 0 ? 0 : row / (rows / batches) * perBatch;
    for (int64_t i = 0; i < inner; ++i)
      result.copyElement(row * inner + i, x, base + *offset + i);
  }
  return result;
}

static Result scatterND(const ConcreteNode &node, std::string &reason) {
  const ConcreteTensor &x = node.operand(0), &indices = node.operand(1), &updates = node.operand(2);
  if (NodeAttrs(node.node).string("reduction", "none") != "none") {
    reason = "it reduces";
    return std::nullopt;
  }
  if (indices.rank() == 0 || indices.shape.back() > x.rank()) {
    reason = "the indices are longer than the rank";
    return std::nullopt;
  }
  int64_t inner = elementCount(ArrayRef<int64_t>(x.shape).drop_front(indices.shape.back()));
  int64_t rows = elementCount(ArrayRef<int64_t>(indices.shape).drop_back());
  if (updates.size() != rows * inner) {
    reason = "indices and updates do not fit";
    return std::nullopt;
  }
  ConcreteTensor result = x;
  for (int64_t row = 0; row < rows; ++row) {
    std::optional<int64_t> offset = indexedOffset(x, indices, row, 0);
    if (!offset) {
      reason = "an index is out of range";
      return std::nullopt;
    }
    for (int64_t i = 0; i < inner; ++i)
      result.copyElement(*offset + i, updates, row * inner + i);
  }
  return result;
}

static Result range(const ConcreteNode &node, std::string &reason) {
  const ConcreteTensor &start = node.operand(0), &limit = node.operand(1), &by = node.operand(2);
  if (start.size() != 1 || limit.size() != 1 || by.size() != 1 || by.real(0) == 0) {
    reason = "its bounds are no scalars";
    return std::nullopt;
  }
  double length = std::ceil((limit.real(0) - start.real(0)) / by.real(0));
  if (length > double(node.maxElements)) {
    reason = "the result is too large";
    return std::nullopt;
  }
  int64_t count = std::max<int64_t>(0, int64_t(length));
  ConcreteTensor result = ConcreteTensor::zeros({count}, start.isReal);
  for (int64_t i = 0; i < count; ++i)
    result.set(i, start.real(0) + double(i) * by.real(0));
  return result;
}

static Result constantOfShape(const ConcreteNode &node, std::string &reason) {
  SmallVector<int64_t> shape = node.integers(0, "");
  auto type = dyn_cast<ShapedType>(node.node.getOutputs().front().getType());
  if (!type || elementCount(shape) > node.maxElements) {
    reason = "the result is too large";
    return std::nullopt;
  }
  ConcreteTensor result = ConcreteTensor::zeros(shape, isa<FloatType>(type.getElementType()));
  auto value = dyn_cast_or_null<DenseElementsAttr>(node.node.getAttrs().get("value"));
  if (!value || value.getNumElements() != 1)
    return result;
  double element = 0;
  if (result.isReal) {
    llvm::APFloat first = *value.getValues<llvm::APFloat>().begin();
    bool lossy;
    first.convert(llvm::APFloat::IEEEdouble(), llvm::APFloat::rmNearestTiesToEven, &lossy);
    element = first.convertToDouble();
  } else {
    llvm::APInt first = *value.getValues<llvm::APInt>().begin();
    element = first.getBitWidth() == 1 ? first.getZExtValue() : first.getSExtValue();
  }
  for (int64_t i = 0; i < result.size(); ++i)
    result.set(i, element);
  return result;
}

static Result cumSum(const ConcreteNode &node, std::string &reason) {
  const ConcreteTensor &x = node.operand(0);
  std::optional<int64_t> axis = normalizedAxis(node.operand(1).integer(0), x.rank());
  if (!axis) {
    reason = "the axis is out of range";
    return std::nullopt;
  }
  NodeAttrs attrs(node.node);
  bool exclusive = attrs.integer("exclusive", 0) != 0, reverse = attrs.integer("reverse", 0) != 0;
  ConcreteTensor result = ConcreteTensor::zeros(x.shape, x.isReal);
  int64_t inner = elementCount(ArrayRef<int64_t>(x.shape).drop_front(*axis + 1));
  int64_t extent = x.shape[*axis];
  for (int64_t line = 0, lines = extent == 0 ? 0 : x.size() / extent; line < lines; ++line) {
    int64_t base = line / inner * inner * extent + line % inner;
    double sum = 0;
    for (int64_t i = 0; i < extent; ++i) {
      int64_t at = base + (reverse ? extent - 1 - i : i) * inner;
      if (exclusive)
        result.set(at, sum);
      sum += x.real(at);
      if (!exclusive)
        result.set(at, sum);
    }
  }
  return result;
}

static Result trilu(const ConcreteNode &node, std::string &reason) {
  ConcreteTensor result = node.operand(0);
  if (result.rank() < 2) {
    reason = "its operand is no matrix";
    return std::nullopt;
  }
  bool upper = NodeAttrs(node.node).integer("upper", 1) != 0;
  int64_t k = node.has(1) ? node.operand(1).integer(0) : 0;
  SmallVector<int64_t> shape = result.shape;
  forEachIndex(shape, [&](ArrayRef<int64_t> index, int64_t linear) {
    int64_t diagonal = index[index.size() - 1] - index[index.size() - 2];
    if (upper ? diagonal < k : diagonal > k)
      result.set(linear, 0);
  });
  return result;
}

static Result reduce(const ConcreteNode &node, std::string &reason) {
  const ConcreteTensor &x = node.operand(0);
  NodeAttrs attrs(node.node);
  StringRef name = node.node.getOpType().drop_front(StringRef("Reduce").size());
  SmallVector<int64_t> axes = node.integers(1, "axes");
  if (axes.empty() && attrs.integer("noop_with_empty_axes", 0) != 0)
    return x;
  if (axes.empty())
    axes.append(llvm::to_vector(llvm::seq<int64_t>(0, x.rank())));
  for (int64_t &axis : axes)
    axis = axis < 0 ? axis + x.rank() : axis;
  bool keep = attrs.integer("keepdims", 1) != 0;
  SmallVector<int64_t> kept = x.shape, shape;
  for (int64_t axis : axes) {
    if (axis < 0 || axis >= x.rank()) {
      reason = "an axis is out of range";
      return std::nullopt;
    }
    kept[axis] = 1;
  }
  for (int64_t i = 0; i < x.rank(); ++i)
    if (keep || !llvm::is_contained(axes, i))
      shape.push_back(kept[i]);
  double start = name == "Prod"  ? 1
                 : name == "Min" ? std::numeric_limits<double>::infinity()
                 : name == "Max" ? -std::numeric_limits<double>::infinity()
                                 : 0;
  std::vector<double> sums(elementCount(kept), start);
  SmallVector<int64_t> strides = stridesOf(kept);
  if (x.size() > 0)
    forEachIndex(x.shape, [&](ArrayRef<int64_t> index, int64_t linear) {
      int64_t at = 0;
      for (size_t i = 0; i < index.size(); ++i)
        at += kept[i] == 1 ? 0 : index[i] * strides[i];
      double value = x.real(linear);
      if (name == "Prod")
        sums[at] *= value;
      else if (name == "Min")
        sums[at] = std::min(sums[at], value);
      else if (name == "Max")
        sums[at] = std::max(sums[at], value);
      else
        sums[at] += value;
    });
  ConcreteTensor result = ConcreteTensor::zeros(shape, x.isReal);
  int64_t per = sums.empty() ? 1 : x.size() / int64_t(sums.size());
  for (size_t i = 0; i < sums.size(); ++i)
    result.set(i, name == "Mean" ? sums[i] / double(per) : sums[i]);
  return result;
}

static Result shape(const ConcreteNode &node, std::string &) {
  const ConcreteTensor &x = node.operand(0);
  NodeAttrs attrs(node.node);
  auto bound = [&](StringRef name, int64_t fallback) {
    int64_t value = attrs.integer(name, fallback);
    return std::min(std::max<int64_t>(value < 0 ? value + x.rank() : value, 0), x.rank());
  };
  int64_t start = bound("start", 0), end = bound("end", x.rank());
  ConcreteTensor result =
      ConcreteTensor::zeros({std::max<int64_t>(0, end - start)}, /*isReal=*/false);
  for (int64_t i = 0; i < result.size(); ++i)
    result.integers[i] = x.shape[start + i];
  return result;
}

Result tacq::evaluateMovement(const ConcreteNode &node, bool &known, std::string &reason) {
  struct Entry {
    Result (*evaluate)(const ConcreteNode &, std::string &);
    unsigned operands;
  };
  static const llvm::StringMap<Entry> table = {
      {"Reshape", {reshape, 1}},
      {"Unsqueeze", {unsqueeze, 1}},
      {"Squeeze", {squeeze, 1}},
      {"Flatten", {flatten, 1}},
      {"Expand", {expand, 2}},
      {"Tile", {tile, 2}},
      {"Transpose", {transpose, 1}},
      {"Slice", {slice, 1}},
      {"Concat", {concat, 1}},
      {"Gather", {gather, 2}},
      {"GatherElements", {gatherElements, 2}},
      {"GatherND", {gatherND, 2}},
      {"ScatterND", {scatterND, 3}},
      {"Range", {range, 3}},
      {"ConstantOfShape", {constantOfShape, 1}},
      {"CumSum", {cumSum, 2}},
      {"Trilu", {trilu, 1}},
      {"Shape", {shape, 1}},
      {"ReduceSum", {reduce, 1}},
      {"ReduceMean", {reduce, 1}},
      {"ReduceMin", {reduce, 1}},
      {"ReduceMax", {reduce, 1}},
      {"ReduceProd", {reduce, 1}},
  };
  auto it = table.find(node.node.getOpType());
  if (it == table.end())
    return std::nullopt;
  known = true;
  for (unsigned i = 0; i < it->second.operands; ++i)
    if (!node.has(i)) {
      reason = "an operand is missing";
      return std::nullopt;
    }
  return it->second.evaluate(node, reason);
}
