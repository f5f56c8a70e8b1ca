//===- ConcreteEvaluator.cpp - Values of small tensors at given sizes -----===//

#include "tacq/Graph/ConcreteEvaluator.h"
#include "tacq/Ops/OpSpec.h"
#include "llvm/ADT/APFloat.h"

using namespace mlir;
using namespace tacq;

ConcreteTensor ConcreteTensor::zeros(ArrayRef<int64_t> shape, bool isReal) {
  ConcreteTensor tensor;
  tensor.shape.assign(shape.begin(), shape.end());
  tensor.isReal = isReal;
  if (isReal)
    tensor.reals.resize(elementCount(shape));
  else
    tensor.integers.resize(elementCount(shape));
  return tensor;
}

int64_t tacq::elementCount(ArrayRef<int64_t> shape) {
  int64_t count = 1;
  for (int64_t extent : shape)
    count *= extent;
  return count;
}

SmallVector<int64_t> tacq::stridesOf(ArrayRef<int64_t> shape) {
  SmallVector<int64_t> strides(shape.size(), 1);
  for (int64_t i = int64_t(shape.size()) - 2; i >= 0; --i)
    strides[i] = strides[i + 1] * shape[i + 1];
  return strides;
}

void tacq::forEachIndex(ArrayRef<int64_t> shape,
                        function_ref<void(ArrayRef<int64_t>, int64_t)> visit) {
  int64_t count = elementCount(shape);
  SmallVector<int64_t> index(shape.size(), 0);
  for (int64_t linear = 0; linear < count; ++linear) {
    visit(index, linear);
    for (int64_t axis = int64_t(shape.size()) - 1; axis >= 0; --axis) {
      if (++index[axis] < shape[axis])
        break;
      index[axis] = 0;
    }
  }
}

SmallVector<int64_t> ConcreteNode::integers(unsigned operand, StringRef attribute) const {
  SmallVector<int64_t> values;
  if (has(operand)) {
    for (int64_t i = 0; i < operands[operand]->size(); ++i)
      values.push_back(operands[operand]->integer(i));
    return values;
  }
  if (attribute.empty())
    return values;
  return NodeAttrs(node).integers(attribute);
}

std::optional<int64_t> ConcreteEvaluator::evaluate(const Sym &sym) const {
  return sym.evaluate([&](StringRef name) -> std::optional<int64_t> {
    auto it = environment.find(name);
    if (it == environment.end())
      return std::nullopt;
    return it->second;
  });
}

std::optional<SmallVector<int64_t>> ConcreteEvaluator::shapeOf(Value value) const {
  std::optional<Dims> dims = dimsOf(value);
  if (!dims)
    return std::nullopt;
  SmallVector<int64_t> shape;
  for (const Sym &dim : *dims) {
    std::optional<int64_t> extent = evaluate(dim);
    if (!extent || *extent < 0)
      return std::nullopt;
    shape.push_back(*extent);
  }
  return shape;
}

ConcreteEvaluator::Tensor ConcreteEvaluator::fail(const Twine &why) {
  if (failure.empty())
    failure = why.str();
  return nullptr;
}

/// Rounds reals to the element type, as the model's own arithmetic does.
static void roundTo(Type element, ConcreteTensor &tensor) {
  if (!tensor.isReal || element.isF64())
    return;
  if (element.isF32()) {
    for (double &value : tensor.reals)
      value = double(float(value));
    return;
  }
  auto type = dyn_cast<FloatType>(element);
  if (!type)
    return;
  for (double &value : tensor.reals) {
    bool lossy;
    llvm::APFloat rounded(value);
    rounded.convert(type.getFloatSemantics(), llvm::APFloat::rmNearestTiesToEven, &lossy);
    rounded.convert(llvm::APFloat::IEEEdouble(), llvm::APFloat::rmNearestTiesToEven, &lossy);
    value = rounded.convertToDouble();
  }
}

static std::optional<ConcreteTensor> fromElements(ElementsAttr elements, int64_t maxElements) {
  if (elements.getNumElements() > maxElements)
    return std::nullopt;
  Type type = elements.getElementType();
  ConcreteTensor tensor =
      ConcreteTensor::zeros(elements.getShapedType().getShape(), isa<FloatType>(type));
  int64_t i = 0;
  if (tensor.isReal) {
    auto values = elements.tryGetValues<llvm::APFloat>();
    if (!values)
      return std::nullopt;
    for (llvm::APFloat value : *values) {
      bool lossy;
      value.convert(llvm::APFloat::IEEEdouble(), llvm::APFloat::rmNearestTiesToEven, &lossy);
      tensor.reals[i++] = value.convertToDouble();
    }
    return tensor;
  }
  auto values = elements.tryGetValues<llvm::APInt>();
  if (!values)
    return std::nullopt;
  bool zeroExtend = type.isUnsignedInteger() || type.isInteger(1);
  for (const llvm::APInt &value : *values)
    tensor.integers[i++] = zeroExtend ? value.getZExtValue() : value.getSExtValue();
  return tensor;
}

ConcreteEvaluator::Tensor ConcreteEvaluator::evaluate(Value value) {
  auto it = known.find(value);
  if (it != known.end())
    return it->second;
  Tensor result = compute(value);
  known[value] = result;
  return result;
}

ConcreteEvaluator::Tensor ConcreteEvaluator::compute(Value value) {
  std::optional<SmallVector<int64_t>> shape = shapeOf(value);
  if (shape && elementCount(*shape) > maxElements)
    return fail("a tensor is too large to be evaluated at compile time");
  if (shape)
    if (std::optional<ConcreteTensor> given = leaf(value, *shape))
      return std::make_shared<ConcreteTensor>(std::move(*given));
  Operation *op = value.getDefiningOp();
  if (!op)
    return fail("it depends on an input of the model");
  if (auto constant = dyn_cast<ConstantOp>(op)) {
    std::optional<ConcreteTensor> tensor = fromElements(constant.getValue(), maxElements);
    if (!tensor)
      return fail("a constant cannot be read");
    return std::make_shared<ConcreteTensor>(std::move(*tensor));
  }
  if (auto symbolic = dyn_cast<SymbolicOp>(op)) {
    if (!shape)
      return fail("the shape of a symbolic tensor is not known");
    ConcreteTensor tensor = ConcreteTensor::zeros(*shape, /*isReal=*/false);
    for (auto [i, text] : llvm::enumerate(symbolic.getValues().getAsValueRange<StringAttr>())) {
      std::optional<Sym> sym = Sym::parse(text);
      std::optional<int64_t> element = sym ? evaluate(*sym) : std::nullopt;
      if (!element || int64_t(i) >= tensor.size())
        return fail("'" + text + "' is only known at run time");
      tensor.integers[i] = *element;
    }
    return std::make_shared<ConcreteTensor>(std::move(tensor));
  }
  auto node = dyn_cast<NodeOp>(op);
  if (!node || !node.getBodies().empty() || value != node.getOutputs().front())
    return fail("it depends on the result of " + op->getName().getStringRef());
  if (!node.getDomain().empty() && node.getDomain() != "ai.onnx")
    return fail("it depends on node '" + node.getNodeName() + "' (" + node.getOpType() + ")");
  ConcreteNode concrete;
  concrete.node = node;
  concrete.resultShape = shape;
  concrete.maxElements = maxElements;
  for (Value operand : node.getInputs()) {
    if (isAbsent(operand)) {
      concrete.operands.push_back(nullptr);
      continue;
    }
    Tensor tensor = evaluate(operand);
    if (!tensor)
      return nullptr;
    concrete.operands.push_back(std::move(tensor));
  }
  bool isKnown = false;
  std::string reason;
  std::optional<ConcreteTensor> result = evaluateElementwise(concrete, isKnown, reason);
  if (!isKnown)
    result = evaluateMovement(concrete, isKnown, reason);
  if (!result) {
    if (!isKnown)
      reason = "its operator is not one of index or mask arithmetic";
    return fail("node '" + node.getNodeName() + "' (" + node.getOpType() + "): " + reason);
  }
  if (result->size() > maxElements)
    return fail("a tensor is too large to be evaluated at compile time");
  if (auto type = dyn_cast<ShapedType>(value.getType()))
    roundTo(type.getElementType(), *result);
  return std::make_shared<ConcreteTensor>(std::move(*result));
}
