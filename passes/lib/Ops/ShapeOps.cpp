//===- ShapeOps.cpp - Operators about shapes, and generated tensors -------===//

#include "SymbolicValues.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "tacq/Codegen/KernelBuilder.h"
#include "tacq/Dialect/TACQ/OnnxTypes.h"
#include <cmath>

using namespace mlir;
using namespace tacq;

static Type int64(InferContext &c) { return IntegerType::get(c.node.getContext(), 64); }

//===----------------------------------------------------------------------===//
// Shape, Size
//===----------------------------------------------------------------------===//

static LogicalResult inferShape(InferContext &c) {
  Dims dims = c.dims(0);
  int64_t rank = dims.size();
  auto bound = [&](llvm::StringRef name, int64_t fallback) {
    int64_t value = c.attrs.integer(name, fallback);
    return std::clamp<int64_t>(value < 0 ? value + rank : value, 0, rank);
  };
  int64_t start = bound("start", 0), end = bound("end", rank);
  ArrayRef<Sym> part = ArrayRef(dims).slice(start, std::max<int64_t>(end - start, 0));
  c.setResult(0, int64(c), {Sym(int64_t(part.size()))});
  c.setValues(0, part);
  return success();
}

static LogicalResult inferSize(InferContext &c) {
  c.setResult(0, int64(c), {});
  c.setValues(0, {elementCount(c.dims(0))});
  return success();
}

//===----------------------------------------------------------------------===//
// Range
//===----------------------------------------------------------------------===//

/// The only element of an integer operand, as an expression.
static std::optional<Sym> scalarOperand(InferContext &c, unsigned i) {
  std::optional<Dims> values = c.values(i);
  if (!values || values->size() != 1)
    return std::nullopt;
  return values->front();
}

static LogicalResult inferRange(InferContext &c) {
  Type element = c.elementType(0);
  if (isa<FloatType>(element)) {
    SmallVector<double> bounds;
    for (unsigned i = 0; i < 3; ++i)
      if (std::optional<SmallVector<double>> value = c.constantReals(i); value && !value->empty())
        bounds.push_back(value->front());
    if (bounds.size() == 3) {
      if (bounds[2] == 0)
        return c.fail("its delta is 0");
      double count = std::ceil((bounds[1] - bounds[0]) / bounds[2]);
      c.setResult(0, element, {Sym(int64_t(std::max(count, 0.0)))});
      return success();
    }
    std::optional<Dims> declared = declaredDims(c, 0);
    if (!declared)
      return c.unsupported("its floating-point bounds are known only at run time");
    c.setResult(0, element, *declared);
    return success();
  }
  std::optional<Sym> start = scalarOperand(c, 0), limit = scalarOperand(c, 1),
                     delta = scalarOperand(c, 2);
  if (!start || !limit || !delta)
    return c.unsupported("its bounds are not tensors of one element");
  if (delta->isConstant(0))
    return c.fail("its delta is 0");
  Sym count = stepCount(*start, *limit, *delta);
  c.setResult(0, element, {count});
  std::optional<int64_t> size = count.constant();
  if (size && *size <= 4096 && c.knownValues(0) && c.knownValues(2)) {
    Dims values;
    for (int64_t i = 0; i < *size; ++i)
      values.push_back(*start + Sym(i) * *delta);
    setElements(c, 0, values);
  }
  return success();
}

static Value rangeElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Type element = k.elementType(node.getInputs()[0]);
  auto scalar = [&](unsigned i) {
    Value operand = node.getInputs()[i];
    return k.load(operand, KernelBuilder::Index(k.dims(operand).size(), k.index(0)));
  };
  Value start = scalar(0), delta = scalar(2);
  Value step;
  if (isFloat(element))
    step = k.b.create<arith::SIToFPOp>(start.getType(),
                                       k.b.create<arith::IndexCastOp>(k.b.getI64Type(), index[0]));
  else
    step = k.fromIndex(index[0], element);
  return k.add(start, k.mul(step, delta));
}

//===----------------------------------------------------------------------===//
// ConstantOfShape, EyeLike
//===----------------------------------------------------------------------===//

static ElementsAttr valueAttr(NodeOp node) { return node.getAttrs().getAs<ElementsAttr>("value"); }

static LogicalResult inferConstantOfShape(InferContext &c) {
  std::optional<Dims> shape = c.values(0);
  if (!shape)
    return c.unsupported("its shape is not a tensor of known size");
  ElementsAttr value = valueAttr(c.node);
  Type element = value ? value.getElementType() : Type(Float32Type::get(c.node.getContext()));
  c.setResult(0, element, *shape);
  auto type = cast<RankedTensorType>(c.types[0]);
  if (!type.hasStaticShape() || !isa<IntegerType>(element) || type.getNumElements() > 4096)
    return success();
  APInt bits = *value.getValues<APInt>().begin();
  bool zeroExtends = element.isUnsignedInteger() || element.isInteger(1);
  Sym constant(zeroExtends ? int64_t(bits.getZExtValue()) : bits.getSExtValue());
  setElements(c, 0, Dims(type.getNumElements(), constant));
  return success();
}

static Value constantOfShapeElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange) {
  Type element = k.elementType(node.getResult(0));
  Type type = computeType(element);
  ElementsAttr value = valueAttr(node);
  if (!value)
    return k.constant(type, 0);
  if (!isFloat(element))
    return k.b.create<arith::ConstantOp>(
        k.b.getIntegerAttr(type, *value.getValues<APInt>().begin()));
  APFloat real = *value.getValues<APFloat>().begin();
  bool lossy;
  real.convert(cast<FloatType>(type).getFloatSemantics(), APFloat::rmNearestTiesToEven, &lossy);
  return k.b.create<arith::ConstantOp>(k.b.getFloatAttr(type, real));
}

static LogicalResult inferEyeLike(InferContext &c) {
  if (c.rank(0) != 2)
    return c.fail("its input is not of rank 2");
  Type element = c.elementType(0);
  if (c.attrs.has("dtype")) {
    element = elementTypeOfOnnx(c.attrs.integer("dtype", 0), c.node.getContext());
    if (!element)
      return c.unsupported("TACQ does not compute with its element type");
  }
  c.setResult(0, element, c.dims(0));
  return success();
}

static Value eyeLikeElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Value column = k.add(index[0], k.index(NodeAttrs(node).integer("k", 0)));
  Type type = computeType(k.elementType(node.getResult(0)));
  return k.select(k.equal(column, index[1]), k.constant(type, 1), k.constant(type, 0));
}

//===----------------------------------------------------------------------===//
// Windows
//===----------------------------------------------------------------------===//

static LogicalResult inferWindow(InferContext &c) {
  std::optional<Sym> size = scalarOperand(c, 0);
  if (!size)
    return c.unsupported("its size is not a tensor of one element");
  Type element = elementTypeOfOnnx(c.attrs.integer("output_datatype", 1), c.node.getContext());
  if (!element)
    return c.unsupported("TACQ does not compute with its element type");
  c.setResult(0, element, {*size});
  return success();
}

/// a0 - a1 cos(2 pi n / N) + a2 cos(4 pi n / N), N being the size, or one less if not periodic.
static Value window(KernelBuilder &k, NodeOp node, Value n, double a0, double a1, double a2) {
  Type element = k.elementType(node.getResult(0));
  Type type = k.b.getF32Type();
  Value size = k.sym(k.dims(node.getResult(0))[0]);
  if (!NodeAttrs(node).integer("periodic", 1))
    size = k.max(k.sub(size, k.index(1)), k.index(1));
  Value angle =
      k.div(k.mul(k.fromIndex(n, type), k.constant(type, 2 * M_PI)), k.fromIndex(size, type));
  auto term = [&](double factor, Value x) {
    return k.mul(k.constant(type, factor), k.b.create<math::CosOp>(x));
  };
  Value result = k.sub(k.constant(type, a0), term(a1, angle));
  if (a2 != 0)
    result = k.add(result, term(a2, k.mul(angle, k.constant(type, 2.0))));
  return k.cast(result, type, element);
}

static Value hannElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  return window(k, node, index[0], 0.5, 0.5, 0);
}
static Value hammingElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  return window(k, node, index[0], 25.0 / 46.0, 21.0 / 46.0, 0);
}
static Value blackmanElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  return window(k, node, index[0], 0.42, 0.5, 0.08);
}

llvm::ArrayRef<OpSpec> tacq::shapeOps() {
  static const OpSpec table[] = {
      {"Shape", inferShape},
      {"Size", inferSize},
      {"Range", inferRange, nullptr, rangeElement, nullptr, true},
      {"ConstantOfShape", inferConstantOfShape, nullptr, constantOfShapeElement, nullptr, true},
      {"EyeLike", inferEyeLike, nullptr, eyeLikeElement, nullptr, true},
      {"HannWindow", inferWindow, nullptr, hannElement},
      {"HammingWindow", inferWindow, nullptr, hammingElement},
      {"BlackmanWindow", inferWindow, nullptr, blackmanElement},
  };
  return table;
}
