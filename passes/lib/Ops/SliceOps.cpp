//===- SliceOps.cpp - Slice, Split, Concat, CenterCropPad -----------------===//

#include "MovementOps.h"

using namespace mlir;
using namespace tacq;

//===----------------------------------------------------------------------===//
// Slice
//===----------------------------------------------------------------------===//

/// Bounds this far out mean "to the end" whatever the size is.
static bool isBeyondAll(const Sym &value, bool positive) {
  std::optional<int64_t> constant = value.constant();
  return constant && (positive ? *constant >= INT32_MAX : *constant <= INT32_MIN + 1);
}

namespace {
/// What a slice takes of one axis.
struct AxisRange {
  Sym start, step, count;
};
} // namespace

/// A range with step 1.
static AxisRange forwardRange(const Sym &dim, const Sym &start, const Sym &end) {
  bool toEnd = isBeyondAll(end, true) || end == dim;
  std::optional<int64_t> from = start.constant();
  if (toEnd && from && *from < 0) {
    // The last few, or all if there are fewer.
    Sym count = isBeyondAll(start, false) ? dim : Sym::min(Sym(-*from), dim);
    return {dim - count, Sym(1), count};
  }
  Sym last = toEnd ? dim : Sym::min(end + whenNegative(end) * dim, dim);
  Sym first = start.isNonNegative()       ? start
              : isBeyondAll(start, false) ? Sym(0)
                                          : Sym::max(start + whenNegative(start) * dim, Sym(0));
  return {first, Sym(1), Sym::max(last - first, Sym(0))};
}

static AxisRange rangeOf(const Sym &dim, const Sym &start, const Sym &end, const Sym &step) {
  if (step.isConstant(1))
    return forwardRange(dim, start, end);
  std::optional<int64_t> stride = step.constant();
  bool fromLast = start.isConstant(-1) || isBeyondAll(start, true);
  if (stride && *stride < 0 && fromLast && isBeyondAll(end, false))
    return {dim - Sym(1), step, Sym::ceilDiv(dim, Sym(-*stride))};
  // 1 for negative steps, which go from the last element down to "-1".
  Sym down = whenNegative(step);
  auto clamped = [&](const Sym &value, const Sym &lower) {
    Sym upper = dim - down;
    if (isBeyondAll(value, true))
      return upper;
    if (isBeyondAll(value, false))
      return lower;
    return Sym::max(Sym::min(value + whenNegative(value) * dim, upper), lower);
  };
  Sym first = clamped(start, Sym(0)), last = clamped(end, Sym(0) - down);
  return {first, step, stepCount(first, last, step)};
}

static LogicalResult inferSlice(InferContext &c) {
  Dims dims = c.dims(0);
  int64_t rank = dims.size();
  std::optional<Dims> starts = attributeOrOperand(c, "starts", 1);
  std::optional<Dims> ends = attributeOrOperand(c, "ends", 2);
  if (!starts || !ends || starts->size() != ends->size())
    return c.unsupported("its starts and ends are not tensors of one known size");
  Dims axes, steps(starts->size(), Sym(1));
  for (size_t i = 0; i < starts->size(); ++i)
    axes.push_back(Sym(int64_t(i)));
  if (c.has(3) || c.attrs.has("axes")) {
    std::optional<Dims> given = attributeOrOperand(c, "axes", 3);
    if (!given || given->size() != starts->size())
      return c.unsupported("its axes are not a tensor of the size of its starts");
    axes = *given;
  }
  if (c.has(4)) {
    std::optional<Dims> given = c.values(4);
    if (!given || given->size() != starts->size())
      return c.unsupported("its steps are not a tensor of the size of its starts");
    steps = *given;
  }
  for (const Sym &axis : axes)
    if (axis.constant() && failed(c.axis(*axis.constant(), rank)))
      return failure();
  for (Sym &step : steps) {
    std::optional<int64_t> constant = step.constant();
    if (constant == 0)
      return c.fail("a step is 0");
    // Larger ones leave one element as well, but overflow.
    if (constant)
      step = Sym(std::clamp<int64_t>(*constant, -INT32_MAX, INT32_MAX));
  }

  Dims allStarts = perAxis(axes, *starts, Dims(rank, Sym(0)));
  Dims allEnds = perAxis(axes, *ends, dims);
  Dims allSteps = perAxis(axes, steps, Dims(rank, Sym(1)));
  Dims firsts, result;
  for (int64_t axis = 0; axis < rank; ++axis) {
    AxisRange range = rangeOf(dims[axis], allStarts[axis], allEnds[axis], allSteps[axis]);
    firsts.push_back(range.start);
    result.push_back(range.count);
  }
  recordSymbols(c.node, "tacq.starts", firsts);
  recordSymbols(c.node, "tacq.steps", allSteps);
  c.setResult(0, c.elementType(0), result);
  auto isConstant = [](const Sym &value) { return value.constant().has_value(); };
  if (llvm::all_of(firsts, isConstant) && llvm::all_of(allSteps, isConstant))
    foldMovement(c, 0, 0, [&](ArrayRef<int64_t> index) {
      SmallVector<int64_t> source;
      for (auto [at, first, step] : llvm::zip(index, firsts, allSteps))
        source.push_back(*first.constant() + at * *step.constant());
      return source;
    });
  return success();
}

static Value sliceElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Dims starts = recordedSymbols(node, "tacq.starts"), steps = recordedSymbols(node, "tacq.steps");
  KernelBuilder::Index source;
  for (auto [at, start, step] : llvm::zip(index, starts, steps)) {
    Value moved = step.isConstant(1) ? at : k.mul(at, k.sym(step));
    source.push_back(start.isConstant(0) ? moved : k.add(moved, k.sym(start)));
  }
  return k.load(node.getInputs()[0], source);
}

//===----------------------------------------------------------------------===//
// Split
//===----------------------------------------------------------------------===//

static LogicalResult inferSplit(InferContext &c) {
  Dims dims = c.dims(0);
  FailureOr<int64_t> axis = c.axis(c.attrs.integer("axis", 0), dims.size());
  if (failed(axis))
    return failure();
  const Sym &extent = dims[*axis];
  unsigned count = c.resultCount();
  Dims sizes;
  if (c.has(1) || c.attrs.has("split")) {
    std::optional<Dims> given = attributeOrOperand(c, "split", 1);
    if (!given || given->size() != count)
      return c.unsupported("its split is not a tensor with one size for each result");
    sizes = *given;
    Sym sum;
    for (const Sym &size : sizes)
      sum = sum + size;
    if (failed(c.require(sum, extent, "the sizes do not add up to that of the axis")))
      return failure();
  } else if (c.opset() >= 18) {
    // The last part may be smaller, or several may be empty.
    Sym chunk = Sym::ceilDiv(extent, Sym(count));
    Sym left = extent;
    for (unsigned i = 0; i + 1 < count; ++i) {
      sizes.push_back(Sym::divideExactly(extent, Sym(count)) ? chunk : Sym::min(chunk, left));
      left = left - sizes.back();
    }
    sizes.push_back(left);
  } else {
    sizes.assign(count, Sym::floorDiv(extent, Sym(count)));
    if (failed(
            c.require(sizes[0] * Sym(count), extent, "the axis does not split into equal parts")))
      return failure();
  }
  Dims offsets;
  Sym offset;
  for (const Sym &size : sizes) {
    offsets.push_back(offset);
    offset = offset + size;
  }
  recordSymbols(c.node, "tacq.offsets", offsets);
  for (unsigned i = 0; i < count; ++i) {
    if (isAbsent(c.node.getResult(i)))
      continue;
    Dims part = dims;
    part[*axis] = sizes[i];
    c.setResult(i, c.elementType(0), part);
    if (std::optional<int64_t> first = offsets[i].constant())
      foldMovement(c, 0, i, [&](ArrayRef<int64_t> index) {
        SmallVector<int64_t> source(index);
        source[*axis] += *first;
        return source;
      });
  }
  return success();
}

static Value splitElement(KernelBuilder &k, NodeOp node, unsigned result, ValueRange index) {
  Value in = node.getInputs()[0];
  int64_t axis = NodeAttrs(node).integer("axis", 0);
  if (axis < 0)
    axis += k.dims(in).size();
  KernelBuilder::Index source(index);
  source[axis] = k.add(source[axis], k.sym(recordedSymbols(node, "tacq.offsets")[result]));
  return k.load(in, source);
}

//===----------------------------------------------------------------------===//
// Concat
//===----------------------------------------------------------------------===//

static LogicalResult inferConcat(InferContext &c) {
  Dims dims = c.dims(0);
  FailureOr<int64_t> axis = c.axis(c.attrs.integer("axis", 0), dims.size());
  if (failed(axis))
    return failure();
  for (unsigned i = 1; i < c.operandCount(); ++i) {
    Dims other = c.dims(i);
    if (other.size() != dims.size())
      return c.fail("its inputs have different ranks");
    for (auto [j, dim] : llvm::enumerate(other)) {
      if (int64_t(j) == *axis) {
        dims[j] = dims[j] + dim;
        continue;
      }
      if (failed(c.require(dim, dims[j], "inputs differ in size along axis " + Twine(j))))
        return failure();
      if (dim.constant())
        dims[j] = dim;
    }
  }
  c.setResult(0, c.elementType(0), dims);

  // Row-major along the axis: the inputs' blocks alternate.
  auto type = cast<RankedTensorType>(c.types[0]);
  if (!type.hasStaticShape() || !isa<IntegerType>(type.getElementType()))
    return success();
  SmallVector<Dims> parts;
  for (unsigned i = 0; i < c.operandCount(); ++i) {
    std::optional<Dims> known = c.knownValues(i);
    if (!known)
      return success();
    parts.push_back(*known);
  }
  int64_t blocks = 1;
  for (int64_t extent : type.getShape().take_front(*axis))
    blocks *= extent;
  Dims values;
  for (int64_t block = 0; block < blocks; ++block)
    for (const Dims &part : parts) {
      int64_t size = part.size() / blocks;
      values.append(part.begin() + block * size, part.begin() + (block + 1) * size);
    }
  setElements(c, 0, values);
  return success();
}

static Value concatElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  int64_t axis = NodeAttrs(node).integer("axis", 0);
  if (axis < 0)
    axis += index.size();
  // From the first input on: position < its size, or the rest with the position that remains.
  std::function<Value(unsigned, Value)> from = [&](unsigned i, Value position) -> Value {
    Value in = node.getInputs()[i];
    auto loadIt = [&] {
      KernelBuilder::Index source(index);
      source[axis] = position;
      return SmallVector<Value>{k.load(in, source)};
    };
    if (i + 1 == node.getInputs().size())
      return loadIt()[0];
    Sym extent = k.dims(in)[axis];
    if (extent.isConstant(0))
      return from(i + 1, position);
    Value size = k.sym(extent);
    return k.branch(k.less(position, size), loadIt,
                    [&] { return SmallVector<Value>{from(i + 1, k.sub(position, size))}; })[0];
  };
  return from(0, index[axis]);
}

//===----------------------------------------------------------------------===//
// CenterCropPad
//===----------------------------------------------------------------------===//

static LogicalResult inferCenterCropPad(InferContext &c) {
  Dims dims = c.dims(0), axes;
  int64_t rank = dims.size();
  std::optional<Dims> shape = c.values(1);
  if (!shape)
    return c.unsupported("its shape is not a tensor of known size");
  if (c.attrs.has("axes")) {
    for (int64_t axis : c.attrs.integers("axes")) {
      if (failed(c.axis(axis, rank)))
        return failure();
      axes.push_back(Sym(axis));
    }
  } else {
    for (int64_t axis = 0; axis < rank; ++axis)
      axes.push_back(Sym(axis));
  }
  if (axes.size() != shape->size())
    return c.fail("its shape has " + Twine(shape->size()) + " sizes for " + Twine(axes.size()) +
                  " axes");
  Dims target = perAxis(axes, *shape, dims), offsets;
  for (auto [from, to] : llvm::zip(dims, target))
    offsets.push_back(*truncatingDiv(from - to, Sym(2)));
  recordSymbols(c.node, "tacq.offsets", offsets);
  c.setResult(0, c.elementType(0), target);
  return success();
}

static Value centerCropPadElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Value in = node.getInputs()[0];
  Dims dims = k.dims(in), result = k.dims(node.getResult(0));
  Dims offsets = recordedSymbols(node, "tacq.offsets");
  KernelBuilder::Index source;
  Value inside;
  for (auto [at, from, to, offset] : llvm::zip(index, dims, result, offsets)) {
    if (from == to) {
      source.push_back(at);
      continue;
    }
    Value moved = k.add(at, k.sym(offset));
    source.push_back(moved);
    Value within = k.less(moved, k.sym(from), /*isUnsigned=*/true);
    inside = inside ? k.logicalAnd(inside, within) : within;
  }
  if (!inside)
    return k.load(in, source);
  Type type = computeType(k.elementType(in));
  return k.branch(
      inside, [&] { return SmallVector<Value>{k.load(in, source)}; },
      [&] { return SmallVector<Value>{k.constant(type, 0)}; })[0];
}

llvm::ArrayRef<OpSpec> tacq::sliceOps() {
  static const OpSpec table[] = {
      {"Slice", inferSlice, nullptr, sliceElement, nullptr, true},
      {"Split", inferSplit, nullptr, splitElement, nullptr, true},
      {"Concat", inferConcat, nullptr, concatElement},
      {"CenterCropPad", inferCenterCropPad, nullptr, centerCropPadElement},
  };
  return table;
}
