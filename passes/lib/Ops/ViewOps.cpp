//===- ViewOps.cpp - Operators that keep the order of elements ------------===//

#include "MovementOps.h"

using namespace mlir;
using namespace tacq;

/// Sets result 0 to these dimensions, and its elements to the operand's.
static LogicalResult setView(InferContext &c, ArrayRef<Sym> dims) {
  c.setResult(0, c.elementType(0), dims);
  foldView(c);
  return success();
}

/// The dimensions that the file declares, where the operand that decides is read at run time.
static LogicalResult setDeclaredView(InferContext &c, const Twine &what) {
  std::optional<Dims> declared = declaredDims(c, 0);
  if (!declared)
    return c.unsupported(what + " known only at run time");
  if (failed(c.require(elementCount(*declared), elementCount(c.dims(0)),
                       "the number of elements changes")))
    return failure();
  return setView(c, *declared);
}

//===----------------------------------------------------------------------===//
// Reshape
//===----------------------------------------------------------------------===//

/// Where the values are read at run time, any of them may turn out to be 0 (as in the input) or -1
/// (what is left): the dimensions are expressions that cover all cases.
static Dims runTimeShape(ArrayRef<Sym> values, ArrayRef<Sym> input, bool zeroCopies) {
  Dims result;
  SmallVector<Sym> remaining;
  Sym product(1);
  for (auto [i, value] : llvm::enumerate(values)) {
    Sym dim = value;
    if (zeroCopies && i < input.size())
      dim = dim + whenEqual(value, Sym(0)) * input[i];
    Sym isRest = whenEqual(value, Sym(-1));
    // For the others' product, what is left counts as 1.
    dim = Sym::max(dim + Sym(2) * isRest, Sym(0));
    result.push_back(dim);
    remaining.push_back(isRest);
    product = product * dim;
  }
  for (auto [dim, isRest] : llvm::zip(result, remaining))
    if (!isRest.isConstant(0)) {
      Sym missing = Sym::floorDiv(elementCount(input), product) - Sym(1);
      // As one atom, or products of dimensions would have a term for each combination of cases.
      dim = Sym::max(dim + isRest * missing, Sym(0));
    }
  return result;
}

static LogicalResult inferReshape(InferContext &c) {
  std::optional<Dims> shape = attributeOrOperand(c, "shape", 1);
  if (!shape)
    return setDeclaredView(c, "its shape is");
  Dims input = c.dims(0), dims;
  bool zeroCopies = !c.attrs.integer("allowzero", 0);
  std::optional<size_t> rest;
  bool readAtRunTime = false;
  for (auto [i, value] : llvm::enumerate(*shape)) {
    readAtRunTime |= !value.constant() && !value.isNonNegative();
    if (value.isConstant(-1)) {
      if (rest)
        return c.fail("more than one size of the shape is -1");
      rest = i;
      dims.push_back(Sym(1));
    } else if (value.isConstant(0) && zeroCopies) {
      if (i >= input.size())
        return c.fail("size " + Twine(i) + " of the shape is 0, but the input has rank " +
                      Twine(input.size()));
      dims.push_back(input[i]);
    } else {
      dims.push_back(value);
    }
  }
  if (readAtRunTime) {
    for (const Sym &value : *shape)
      if (failed(c.requireAtMost(Sym(-1), value, "a size of the shape is below -1")))
        return failure();
    std::optional<Dims> declared = declaredDims(c, 0);
    dims = declared && declared->size() == shape->size() ? *declared
                                                         : runTimeShape(*shape, input, zeroCopies);
    rest.reset();
  }
  Sym total = elementCount(input), known = elementCount(dims);
  if (rest) {
    // Dimensions that both sides have need not be divided by, which keeps batches of 0 valid.
    Dims left(dims.begin(), dims.end()), right(input.begin(), input.end());
    for (const Sym &dim : dims)
      if (auto it = llvm::find(right, dim); it != right.end() && !dim.isConstant(1)) {
        right.erase(it);
        left.erase(llvm::find(left, dim));
      }
    Sym numerator = elementCount(right), denominator = elementCount(left);
    if (denominator.isConstant(0))
      dims[*rest] = Sym(0);
    else
      dims[*rest] = Sym::floorDiv(numerator, denominator);
    known = elementCount(dims);
  }
  if (failed(c.require(known, total, "the number of elements changes")))
    return failure();
  return setView(c, dims);
}

//===----------------------------------------------------------------------===//
// Flatten, Squeeze, Unsqueeze
//===----------------------------------------------------------------------===//

static LogicalResult inferFlatten(InferContext &c) {
  Dims dims = c.dims(0);
  int64_t rank = dims.size(), axis = c.attrs.integer("axis", 1);
  if (axis < -rank || axis > rank)
    return c.fail("axis " + Twine(axis) + " is out of range for rank " + Twine(rank));
  if (axis < 0)
    axis += rank;
  ArrayRef<Sym> all(dims);
  return setView(c, {elementCount(all.take_front(axis)), elementCount(all.drop_front(axis))});
}

static LogicalResult inferSqueeze(InferContext &c) {
  Dims dims = c.dims(0), result;
  if (!c.has(1) && !c.attrs.has("axes")) {
    for (const Sym &dim : dims)
      if (!dim.isConstant(1))
        result.push_back(dim);
    return setView(c, result);
  }
  std::optional<Dims> axes = attributeOrOperand(c, "axes", 1);
  if (!axes || llvm::any_of(*axes, [](const Sym &axis) { return !axis.constant(); }))
    return setDeclaredView(c, "its axes are");
  FailureOr<SmallVector<int64_t>> removed = constantAxes(c, *axes, dims.size());
  if (failed(removed))
    return failure();
  for (auto [i, dim] : llvm::enumerate(dims)) {
    if (!llvm::is_contained(*removed, int64_t(i)))
      result.push_back(dim);
    else if (failed(c.require(dim, Sym(1), "axis " + Twine(i) + " cannot be squeezed")))
      return failure();
  }
  return setView(c, result);
}

static LogicalResult inferUnsqueeze(InferContext &c) {
  std::optional<Dims> axes = attributeOrOperand(c, "axes", 1);
  if (!axes || llvm::any_of(*axes, [](const Sym &axis) { return !axis.constant(); }))
    return setDeclaredView(c, "its axes are");
  Dims dims = c.dims(0), result;
  int64_t rank = dims.size() + axes->size();
  FailureOr<SmallVector<int64_t>> added = constantAxes(c, *axes, rank);
  if (failed(added))
    return failure();
  size_t next = 0;
  for (int64_t axis = 0; axis < rank; ++axis) {
    if (llvm::is_contained(*added, axis))
      result.push_back(Sym(1));
    else if (next < dims.size())
      result.push_back(dims[next++]);
    else
      return c.fail("an axis is listed twice");
  }
  return setView(c, result);
}

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

/// True if the dimensions differ only in ones.
static bool differInOnes(ArrayRef<Sym> a, ArrayRef<Sym> b) {
  auto isOne = [](const Sym &dim) { return dim.isConstant(1); };
  Dims left, right;
  llvm::copy_if(a, std::back_inserter(left), [&](const Sym &d) { return !isOne(d); });
  llvm::copy_if(b, std::back_inserter(right), [&](const Sym &d) { return !isOne(d); });
  return ArrayRef<Sym>(left) == ArrayRef<Sym>(right);
}

static Value viewElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Value in = node.getInputs()[0];
  Dims from = k.dims(in), to = k.dims(node.getResult(0));
  if (!differInOnes(from, to))
    return k.load(in, k.delinearize(k.linearize(index, to), from));
  // Without division.
  KernelBuilder::Index kept, source;
  for (auto [at, dim] : llvm::zip(index, to))
    if (!dim.isConstant(1))
      kept.push_back(at);
  size_t next = 0;
  for (const Sym &dim : from)
    source.push_back(dim.isConstant(1) ? k.index(0) : kept[next++]);
  return k.load(in, source);
}

llvm::ArrayRef<OpSpec> tacq::viewOps() {
  static const OpSpec table[] = {
      {"Reshape", inferReshape, nullptr, viewElement, nullptr, true},
      {"Flatten", inferFlatten, nullptr, viewElement, nullptr, true},
      {"Squeeze", inferSqueeze, nullptr, viewElement, nullptr, true},
      {"Unsqueeze", inferUnsqueeze, nullptr, viewElement, nullptr, true},
  };
  return table;
}
