//===- SymbolicValues.cpp - Shape arithmetic of inference functions -------===//

#include "SymbolicValues.h"

using namespace mlir;
using namespace tacq;

/// Tensors above this many elements are followed only as long as all elements are constant: their
/// expressions would cost more than they tell.
static constexpr int64_t maxExpressions = 64;
static constexpr int64_t maxConstants = 4096;

bool tacq::nextIndex(MutableArrayRef<int64_t> index, ArrayRef<int64_t> extents) {
  for (size_t i = index.size(); i-- > 0;) {
    if (++index[i] < extents[i])
      return true;
    index[i] = 0;
  }
  return false;
}

/// The type of a result if its elements may be known, else null.
static RankedTensorType foldableType(InferContext &c, unsigned result) {
  auto type = dyn_cast_or_null<RankedTensorType>(c.types[result]);
  if (!type || !type.hasStaticShape() || !isa<IntegerType>(type.getElementType()) ||
      type.getNumElements() > maxConstants)
    return {};
  return type;
}

void tacq::setElements(InferContext &c, unsigned result, ArrayRef<Sym> values) {
  RankedTensorType type = foldableType(c, result);
  if (!type)
    return;
  Type element = type.getElementType();
  bool allConstant = llvm::all_of(values, [](const Sym &v) { return v.constant().has_value(); });
  bool wide = element.isInteger(32) || element.isInteger(64);
  if (!allConstant && (!wide || type.getNumElements() > maxExpressions))
    return;
  // An unsigned result wraps where an expression is negative.
  if (element.isUnsignedInteger() &&
      !llvm::all_of(values, [](const Sym &v) { return v.isNonNegative(); }))
    return;
  c.setValues(result, values);
}

/// The operand's elements, unless some stand for numbers above 2^63.
static std::optional<Dims> signedValues(InferContext &c, unsigned operand) {
  if (!isa<IntegerType>(c.elementType(operand)))
    return std::nullopt;
  std::optional<Dims> values = c.knownValues(operand);
  if (values && c.elementType(operand).isUnsignedInteger(64) &&
      llvm::any_of(*values, [](const Sym &v) { return v.constant().value_or(0) < 0; }))
    return std::nullopt;
  return values;
}

static SmallVector<int64_t> shapeOf(Value value) {
  return SmallVector<int64_t>(cast<RankedTensorType>(value.getType()).getShape());
}

void tacq::foldElementwise(InferContext &c, FoldFn fold) {
  RankedTensorType type = foldableType(c, 0);
  if (!type)
    return;
  SmallVector<Dims> operands;
  for (unsigned i = 0; i < c.operandCount(); ++i) {
    std::optional<Dims> values = c.has(i) ? signedValues(c, i) : std::nullopt;
    if (!values)
      return;
    operands.push_back(std::move(*values));
  }
  Dims result;
  SmallVector<int64_t> index(type.getRank(), 0);
  if (type.getNumElements() > 0)
    do {
      SmallVector<Sym> elements;
      for (auto [i, values] : llvm::enumerate(operands)) {
        int64_t position = 0;
        SmallVector<int64_t> shape = shapeOf(c.operand(i));
        for (auto [axis, extent] : llvm::enumerate(shape))
          position =
              position * extent + (extent == 1 ? 0 : index[index.size() - shape.size() + axis]);
        elements.push_back(values[position]);
      }
      std::optional<Sym> element = fold(elements);
      if (!element)
        return;
      result.push_back(*element);
    } while (nextIndex(index, type.getShape()));
  setElements(c, 0, result);
}

void tacq::foldMovement(InferContext &c, unsigned operand, unsigned result, SourceFn source) {
  RankedTensorType type = foldableType(c, result);
  std::optional<Dims> values = type ? signedValues(c, operand) : std::nullopt;
  if (!values)
    return;
  SmallVector<int64_t> shape = shapeOf(c.operand(operand));
  Dims elements;
  SmallVector<int64_t> index(type.getRank(), 0);
  if (type.getNumElements() > 0)
    do {
      int64_t position = 0;
      for (auto [at, extent] : llvm::zip(source(index), shape))
        position = position * extent + at;
      elements.push_back((*values)[position]);
    } while (nextIndex(index, type.getShape()));
  setElements(c, result, elements);
}

void tacq::foldView(InferContext &c, unsigned operand) {
  if (!foldableType(c, 0))
    return;
  if (std::optional<Dims> values = signedValues(c, operand))
    setElements(c, 0, *values);
}

//===----------------------------------------------------------------------===//
// Conditions
//===----------------------------------------------------------------------===//

Sym tacq::whenEqual(const Sym &a, const Sym &b) {
  Sym difference = a - b;
  if (std::optional<int64_t> constant = difference.constant())
    return Sym(*constant == 0);
  if ((difference - Sym(1)).isNonNegative() || (Sym(-1) - difference).isNonNegative())
    return Sym(0);
  return Sym::max(Sym(0), Sym(1) - difference * difference);
}

Sym tacq::whenNegative(const Sym &x) {
  if (x.isNonNegative())
    return Sym(0);
  if ((Sym(-1) - x).isNonNegative())
    return Sym(1);
  // Negated last: -x does not exist for the lowest integer.
  return Sym(0) - Sym::max(Sym(-1), Sym::min(Sym(0), x));
}

Sym tacq::signOf(const Sym &x) { return Sym::max(Sym(-1), Sym::min(Sym(1), x)); }

std::optional<Sym> tacq::truncatingDiv(const Sym &a, const Sym &b) {
  if (b.isConstant(0))
    return std::nullopt;
  if (std::optional<Sym> exact = Sym::divideExactly(a, b))
    return exact;
  if (std::optional<int64_t> constant = b.constant(); constant && *constant < 0) {
    std::optional<Sym> positive = truncatingDiv(a, Sym(0) - b);
    return positive ? std::optional<Sym>(Sym(0) - *positive) : std::nullopt;
  }
  if (!b.isNonNegative())
    return std::nullopt;
  if (a.isNonNegative())
    return Sym::floorDiv(a, b);
  return Sym::floorDiv(Sym::max(a, Sym(0)), b) - Sym::floorDiv(Sym::max(Sym(0) - a, Sym(0)), b);
}

Sym tacq::stepCount(const Sym &start, const Sym &end, const Sym &step) {
  if (step.isConstant(0))
    return Sym(0);
  return Sym::max(Sym(0), Sym::floorDiv(end - start + step - signOf(step), step));
}

Dims tacq::perAxis(ArrayRef<Sym> axes, ArrayRef<Sym> values, ArrayRef<Sym> others) {
  int64_t rank = others.size();
  Dims result(others.begin(), others.end());
  for (int64_t axis = 0; axis < rank; ++axis)
    for (auto [listed, value] : llvm::zip(axes, values)) {
      Sym here = whenEqual(listed, Sym(axis)) + whenEqual(listed, Sym(axis - rank));
      result[axis] = result[axis] + here * (value - others[axis]);
    }
  return result;
}

//===----------------------------------------------------------------------===//
// Records
//===----------------------------------------------------------------------===//

void tacq::recordSymbols(NodeOp node, StringRef name, ArrayRef<Sym> values) {
  Builder builder(node.getContext());
  SmallVector<Attribute> texts;
  for (const Sym &value : values)
    texts.push_back(builder.getStringAttr(value.str()));
  NamedAttrList list(node.getAttrs());
  list.set(name, builder.getArrayAttr(texts));
  node.setAttrsAttr(list.getDictionary(node.getContext()));
}

Dims tacq::recordedSymbols(NodeOp node, StringRef name) {
  Dims result;
  for (StringRef text : node.getAttrs().getAs<ArrayAttr>(name).getAsValueRange<StringAttr>())
    result.push_back(*Sym::parse(text));
  return result;
}

std::optional<Dims> tacq::declaredDims(InferContext &c, unsigned result) {
  auto type = dyn_cast<RankedTensorType>(c.node.getResult(result).getType());
  if (!type || !type.hasStaticShape())
    return std::nullopt;
  return dimsOf(type);
}
