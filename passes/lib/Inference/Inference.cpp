//===- Inference.cpp - Shape inference of single nodes --------------------===//

#include "tacq/Ops/Inference.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "tacq/Ops/OpSpec.h"

using namespace mlir;
using namespace tacq;

/// Integer tensors above this many elements are data, not shapes.
static constexpr int64_t maxSymbolicElements = 4096;

//===----------------------------------------------------------------------===//
// NodeAttrs
//===----------------------------------------------------------------------===//

int64_t NodeAttrs::integer(StringRef name, int64_t fallback) const {
  auto attr = dyn_cast_or_null<IntegerAttr>(attrs.get(name));
  return attr ? attr.getInt() : fallback;
}

double NodeAttrs::real(StringRef name, double fallback) const {
  auto attr = dyn_cast_or_null<FloatAttr>(attrs.get(name));
  return attr ? attr.getValueAsDouble() : fallback;
}

std::string NodeAttrs::string(StringRef name, StringRef fallback) const {
  auto attr = dyn_cast_or_null<StringAttr>(attrs.get(name));
  return attr ? attr.getValue().str() : fallback.str();
}

SmallVector<int64_t> NodeAttrs::integers(StringRef name) const {
  auto attr = dyn_cast_or_null<DenseI64ArrayAttr>(attrs.get(name));
  return attr ? SmallVector<int64_t>(attr.asArrayRef()) : SmallVector<int64_t>();
}

SmallVector<double> NodeAttrs::reals(StringRef name) const {
  auto attr = dyn_cast_or_null<DenseF32ArrayAttr>(attrs.get(name));
  return attr ? SmallVector<double>(attr.asArrayRef().begin(), attr.asArrayRef().end())
              : SmallVector<double>();
}

//===----------------------------------------------------------------------===//
// InferContext
//===----------------------------------------------------------------------===//

std::optional<Dims> tacq::knownIntegers(Value value) {
  if (auto symbolic = value.getDefiningOp<SymbolicOp>()) {
    Dims result;
    for (StringRef text : symbolic.getValues().getAsValueRange<StringAttr>())
      result.push_back(*Sym::parse(text));
    return result;
  }
  auto constant = value.getDefiningOp<ConstantOp>();
  if (!constant || !isa<IntegerType>(constant.getValue().getElementType()) ||
      constant.getValue().getNumElements() > maxSymbolicElements)
    return std::nullopt;
  bool isUnsigned = constant.getValue().getElementType().isUnsignedInteger() ||
                    constant.getValue().getElementType().isInteger(1);
  Dims result;
  for (const APInt &element : constant.getValue().getValues<APInt>())
    result.push_back(Sym(isUnsigned ? int64_t(element.getZExtValue()) : element.getSExtValue()));
  return result;
}

std::optional<Dims> InferContext::knownValues(unsigned i) const {
  return knownIntegers(operand(i));
}

std::optional<Dims> InferContext::values(unsigned i) {
  if (std::optional<Dims> known = knownValues(i))
    return known;
  return readSymbols ? readSymbols(operand(i)) : std::nullopt;
}

std::optional<SmallVector<int64_t>> InferContext::constants(unsigned i) const {
  std::optional<Dims> known = knownValues(i);
  if (!known)
    return std::nullopt;
  SmallVector<int64_t> result;
  for (const Sym &value : *known) {
    std::optional<int64_t> constant = value.constant();
    if (!constant)
      return std::nullopt;
    result.push_back(*constant);
  }
  return result;
}

std::optional<SmallVector<double>> InferContext::constantReals(unsigned i) const {
  if (std::optional<SmallVector<int64_t>> integers = constants(i))
    return SmallVector<double>(integers->begin(), integers->end());
  auto constant = operand(i).getDefiningOp<ConstantOp>();
  if (!constant || !isa<FloatType>(constant.getValue().getElementType()))
    return std::nullopt;
  SmallVector<double> result;
  for (APFloat element : constant.getValue().getValues<APFloat>()) {
    bool lossy;
    element.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lossy);
    result.push_back(element.convertToDouble());
  }
  return result;
}

LogicalResult InferContext::require(const Sym &a, const Sym &b, const Twine &what) {
  std::optional<int64_t> difference = (a - b).constant();
  if (difference == 0)
    return success();
  if (difference)
    return fail(what + ": " + a.str() + " is not " + b.str());
  requirements.push_back({a, b, what.str(), false});
  return success();
}

LogicalResult InferContext::requireAtMost(const Sym &a, const Sym &b, const Twine &what) {
  if ((b - a).isNonNegative())
    return success();
  if (std::optional<int64_t> difference = (b - a).constant(); difference && *difference < 0)
    return fail(what + ": " + a.str() + " is above " + b.str());
  requirements.push_back({a, b, what.str(), true});
  return success();
}

FailureOr<int64_t> InferContext::axis(int64_t value, int64_t rank) {
  if (value < -rank || value >= rank) {
    (void)fail("axis " + Twine(value) + " is out of range for rank " + Twine(rank));
    return mlir::failure();
  }
  return value < 0 ? value + rank : value;
}

FailureOr<Dims> InferContext::broadcast(ArrayRef<Sym> a, ArrayRef<Sym> b) {
  if (a.size() < b.size())
    std::swap(a, b);
  Dims result(a.begin(), a.end());
  size_t offset = a.size() - b.size();
  for (auto [i, y] : llvm::enumerate(b)) {
    const Sym &x = a[offset + i];
    if (x == y || y.isConstant(1))
      continue;
    Sym &out = result[offset + i];
    if (x.isConstant(1)) {
      out = y;
      continue;
    }
    std::string what = "sizes " + x.str() + " and " + y.str() + " cannot be broadcast together";
    if (x.constant() && y.constant()) {
      (void)fail(what);
      return mlir::failure();
    }
    // One of them may turn out to be 1, and is then repeated.
    out = x.constant() ? x : y.constant() ? y : Sym::max(x, y);
    Sym condition = x - y;
    if (!x.constant())
      condition = condition * (x - Sym(1));
    if (!y.constant())
      condition = condition * (y - Sym(1));
    requirements.push_back({condition, Sym(), what, false});
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Inference of a node
//===----------------------------------------------------------------------===//

static std::string describe(NodeOp node) {
  return "node '" + node.getNodeName().str() + "' (" + node.getOpType().str() + ", opset " +
         std::to_string(node.getOpset()) + ")";
}

/// A name for symbols read from `value` that no other read of the function has.
static std::string nameOfRead(Value value) {
  std::string base = "t";
  func::FuncOp function;
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    function = dyn_cast<func::FuncOp>(argument.getOwner()->getParentOp());
    if (function)
      if (auto name = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), "tacq.name"))
        base = name.getValue().str();
  } else if (auto node = value.getDefiningOp<NodeOp>()) {
    base = node.getNodeName().str();
  }
  for (char &c : base)
    if (!llvm::isAlnum(c) && c != '_' && c != '.')
      c = '_';
  llvm::StringMap<bool> used;
  Operation *scope = value.getParentBlock()->getParentOp();
  if (auto outer = scope->getParentOfType<func::FuncOp>())
    scope = outer;
  scope->walk([&](ReadSymbolOp read) { used[read.getName()] = true; });
  std::string name = base;
  for (unsigned i = 1; used.contains(name); ++i)
    name = base + "_" + std::to_string(i);
  return name;
}

/// Names the elements of `value`, which the run reads before `user`.
static std::optional<Dims> readSymbolsOf(Value value, Operation *user) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || !type.hasStaticShape() || !isa<IntegerType>(type.getElementType()) ||
      type.getNumElements() > maxSymbolicElements)
    return std::nullopt;
  ReadSymbolOp read;
  for (Operation *other : value.getUsers())
    if (auto candidate = dyn_cast<ReadSymbolOp>(other);
        candidate && candidate->getBlock() == value.getParentBlock())
      read = candidate;
  if (!read) {
    OpBuilder builder(user->getContext());
    builder.setInsertionPointAfterValue(value);
    // Behind the reads and arguments, in front of everything that may use it.
    read = builder.create<ReadSymbolOp>(user->getLoc(), value, nameOfRead(value));
  }
  Dims result;
  for (int64_t i = 0; i < type.getNumElements(); ++i)
    result.push_back(Sym::name("%" + read.getName().str() + "[" + std::to_string(i) + "]"));
  return result;
}

LogicalResult tacq::inferNode(NodeOp node) { return success(succeeded(inferAndFold(node))); }

/// The folded form of an integer result.
static Value materializeValues(OpBuilder &builder, Location loc, RankedTensorType type,
                               ArrayRef<Sym> values) {
  SmallVector<APInt> constants;
  SmallVector<Attribute> texts;
  unsigned width = type.getElementType().getIntOrFloatBitWidth();
  bool constant = type.hasStaticShape();
  for (const Sym &value : values) {
    if (std::optional<int64_t> known = value.constant())
      constants.push_back(APInt(width, uint64_t(*known), /*isSigned=*/true));
    else
      constant = false;
    texts.push_back(builder.getStringAttr(value.str()));
  }
  if (constant)
    return builder.create<ConstantOp>(loc, type, DenseElementsAttr::get(type, constants));
  return builder.create<SymbolicOp>(loc, type, builder.getArrayAttr(texts));
}

/// Sizes that depend on the elements of tensors may turn out to be negative at a call.
static LogicalResult requireSizes(InferContext &context) {
  for (Type type : context.types) {
    std::optional<Dims> dims = type ? dimsOf(type) : std::nullopt;
    for (const Sym &dim : dims ? *dims : Dims()) {
      std::optional<int64_t> constant = dim.constant();
      if (constant && *constant < 0)
        return context.fail("a size of the result is negative: " + Twine(*constant));
      bool isRead = false;
      dim.collectNames([&](StringRef name) { isRead |= name.starts_with("%"); });
      // No try to prove it, which may take long for what run-time axes give.
      if (isRead)
        context.requirements.push_back({Sym(0), dim, "a size of the result is negative", true});
    }
  }
  return success();
}

FailureOr<SmallVector<Value>> tacq::inferAndFold(NodeOp node) {
  const OpSpec *spec = lookupOp(node);
  if (!spec || !spec->infer) {
    node.emitError("unsupported ") << describe(node) << ": this operator is not known";
    return failure();
  }
  InferContext context(node);
  context.readSymbols = [&](Value value) { return readSymbolsOf(value, node); };
  for (auto [i, result] : llvm::enumerate(node.getOutputs()))
    if (isAbsent(result))
      context.types[i] = result.getType();
  auto fail = [&]() -> LogicalResult {
    return node.emitError(context.isUnsupported_ ? "unsupported " : "")
           << describe(node) << ": " << context.failure_;
  };
  if (failed(spec->infer(context)))
    return fail();
  if (failed(requireSizes(context)))
    return fail();
  OpBuilder builder(node);
  for (InferContext::Requirement &rule : context.requirements) {
    std::string message = describe(node) + ": " + rule.message;
    builder.create<RequireOp>(node.getLoc(), rule.lhs.str(), rule.rhs.str(), message, rule.atMost);
  }
  SmallVector<Value> results;
  for (auto [i, result] : llvm::enumerate(node.getOutputs())) {
    if (!context.types[i]) {
      node.emitError("inference of ") << describe(node) << " gives no type for result " << i;
      return failure();
    }
    result.setType(context.types[i]);
    auto type = dyn_cast<RankedTensorType>(context.types[i]);
    if (type && context.resultValues[i] && isa<IntegerType>(type.getElementType()))
      results.push_back(materializeValues(builder, node.getLoc(), type, *context.resultValues[i]));
    else
      results.push_back(result);
  }
  return results;
}

//===----------------------------------------------------------------------===//
// NodeBuilder
//===----------------------------------------------------------------------===//

SmallVector<Value> NodeBuilder::createMany(StringRef opType, ValueRange operands, unsigned results,
                                           ArrayRef<NamedAttribute> attrs, int64_t opset) {
  // Types come from inference; until then any tensor type does.
  SmallVector<Type> types(results, UnrankedTensorType::get(builder.getF32Type()));
  auto node = builder.create<NodeOp>(loc, types, opType, operands, builder.getDictionaryAttr(attrs),
                                     nodeName, opset);
  FailureOr<SmallVector<Value>> values = inferAndFold(node);
  if (failed(values))
    llvm::report_fatal_error(Twine("a decomposition made a node that is not valid: ") + opType);
  if (llvm::none_of(*values, [&](Value v) { return v.getDefiningOp() == node; }))
    node.erase();
  return *values;
}

Value NodeBuilder::create(StringRef opType, ValueRange operands, ArrayRef<NamedAttribute> attrs,
                          int64_t opset) {
  return createMany(opType, operands, 1, attrs, opset)[0];
}

NamedAttribute NodeBuilder::attr(StringRef name, int64_t value) {
  return builder.getNamedAttr(name, builder.getI64IntegerAttr(value));
}
NamedAttribute NodeBuilder::attr(StringRef name, double value) {
  return builder.getNamedAttr(name, builder.getF32FloatAttr(float(value)));
}
NamedAttribute NodeBuilder::attr(StringRef name, StringRef value) {
  return builder.getNamedAttr(name, builder.getStringAttr(value));
}
NamedAttribute NodeBuilder::attr(StringRef name, ArrayRef<int64_t> value) {
  return builder.getNamedAttr(name, builder.getDenseI64ArrayAttr(value));
}

Value NodeBuilder::integers(ArrayRef<int64_t> values, bool scalar) {
  SmallVector<int64_t> shape;
  if (!scalar)
    shape.push_back(values.size());
  auto type = RankedTensorType::get(shape, builder.getI64Type());
  return builder.create<ConstantOp>(loc, type, DenseElementsAttr::get(type, values));
}

Value NodeBuilder::symbols(ArrayRef<Sym> values) {
  auto type = RankedTensorType::get({int64_t(values.size())}, builder.getI64Type());
  return materializeValues(builder, loc, type, values);
}

Value NodeBuilder::scalar(Type element, double value) {
  auto type = RankedTensorType::get({}, element);
  Attribute attr;
  if (isa<FloatType>(element))
    attr = builder.getFloatAttr(element, value);
  else
    attr = builder.getIntegerAttr(element, int64_t(value));
  return builder.create<ConstantOp>(loc, type, DenseElementsAttr::get(type, attr));
}

Value NodeBuilder::none() { return builder.create<NoneOp>(loc, builder.getNoneType()); }
