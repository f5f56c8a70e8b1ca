//===- QuantizationOps.cpp - Linear quantization --------------------------===//

#include "KernelMath.h"
#include "tacq/Dialect/TACQ/OnnxTypes.h"
#include "tacq/Ops/OpSpec.h"

using namespace mlir;
using namespace tacq;

namespace {

Type elementOf(Value tensor) { return cast<ShapedType>(tensor.getType()).getElementType(); }
int64_t rankOf(Value tensor) { return cast<ShapedType>(tensor.getType()).getRank(); }

Type byteType(MLIRContext *context) { return IntegerType::get(context, 8, IntegerType::Unsigned); }

/// The value as a tensor of another element type.
Value castTo(NodeBuilder &builder, Value x, Type element) {
  if (elementOf(x) == element)
    return x;
  return builder.create("Cast", x, builder.attr("to", onnxNumberOf(element).value()));
}

bool isGiven(NodeOp node, size_t i) {
  return i < node.getInputs().size() && !isAbsent(node.getInputs()[i]);
}

//===----------------------------------------------------------------------===//
// QuantizeLinear, DequantizeLinear
//===----------------------------------------------------------------------===//

/// The scale must fit the input: one element, a vector along `axis`, or blocks of it.
LogicalResult checkScale(InferContext &ctx) {
  Dims x = ctx.dims(0), scale = ctx.dims(1);
  int64_t block = ctx.attrs.integer("block_size", 0);
  if (elementCount(scale).isConstant(1) && block == 0)
    return success();
  FailureOr<int64_t> axis = ctx.axis(ctx.attrs.integer("axis", 1), x.size());
  if (failed(axis))
    return failure();
  if (block == 0) {
    if (scale.size() != 1)
      return ctx.fail("the scale must be a scalar or a vector");
    return ctx.require(scale[0], x[*axis], "the scale does not fit the axis");
  }
  if (scale.size() != x.size())
    return ctx.fail("a scale of blocks must have the rank of the input");
  for (size_t i = 0; i < x.size(); ++i) {
    Sym expected = int64_t(i) == *axis ? Sym::ceilDiv(x[i], block) : x[i];
    if (failed(ctx.require(scale[i], expected, "the scale does not fit the input's blocks")))
      return failure();
  }
  return success();
}

LogicalResult inferQuantize(InferContext &ctx) {
  if (failed(checkScale(ctx)))
    return failure();
  Type element = byteType(ctx.node.getContext());
  if (ctx.has(2))
    element = ctx.elementType(2);
  else if (int64_t number = ctx.attrs.integer("output_dtype", 0))
    element = elementTypeOfOnnx(number, ctx.node.getContext());
  if (!element)
    return ctx.unsupported("the output's element type is not supported");
  ctx.setResult(0, element, ctx.dims(0));
  return success();
}

LogicalResult inferDequantize(InferContext &ctx) {
  if (failed(checkScale(ctx)))
    return failure();
  Type element = ctx.elementType(1);
  if (int64_t number = ctx.attrs.integer("output_dtype", 0))
    element = elementTypeOfOnnx(number, ctx.node.getContext());
  if (!isa_and_nonnull<FloatType>(element))
    return ctx.unsupported("the output's element type is not supported");
  ctx.setResult(0, element, ctx.dims(0));
  return success();
}

/// Where the scale (or zero point) of an element is.
KernelBuilder::Index scaleIndex(KernelBuilder &k, NodeOp node, Value scale, ValueRange index) {
  NodeAttrs attrs(node);
  Dims dims = k.dims(scale);
  int64_t block = attrs.integer("block_size", 0);
  if (block == 0 && elementCount(dims).isConstant(1))
    return KernelBuilder::Index(dims.size(), k.index(0));
  int64_t axis = attrs.integer("axis", 1);
  if (axis < 0)
    axis += index.size();
  if (block == 0)
    return {index[axis]};
  KernelBuilder::Index at(index.begin(), index.end());
  at[axis] = k.b.create<arith::DivUIOp>(at[axis], k.index(block));
  return at;
}

Value quantizeElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Value x = node.getInputs()[0], scale = node.getInputs()[1];
  Type element = k.elementType(node.getResult(0)), real = k.b.getF32Type();
  KernelBuilder::Index at = scaleIndex(k, node, scale, index);
  Value value = k.cast(k.load(x, index), k.elementType(x), real);
  Value divisor = k.cast(k.load(scale, at), k.elementType(scale), real);
  Value rounded = k.b.create<math::RoundEvenOp>(k.div(value, divisor));
  // Kept within what i32 holds exactly; then the sum with a zero point cannot overflow i64.
  rounded = k.max(k.min(rounded, k.constant(real, 2147483520.0)), k.constant(real, -2147483648.0));
  Type wide = k.b.getI64Type();
  Value quantized = k.b.create<arith::FPToSIOp>(wide, rounded);
  if (isGiven(node, 2)) {
    Value zeroPoint = k.load(node.getInputs()[2], at);
    quantized = k.add(quantized, k.cast(zeroPoint, k.elementType(node.getInputs()[2]), wide));
  }
  unsigned width = element.getIntOrFloatBitWidth();
  int64_t lowest = isUnsigned(element) ? 0 : -(int64_t(1) << (width - 1));
  int64_t highest = lowest + (int64_t(1) << width) - 1;
  quantized = k.max(k.min(quantized, k.integer(wide, highest)), k.integer(wide, lowest));
  return k.cast(quantized, wide, element);
}

Value dequantizeElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Value x = node.getInputs()[0], scale = node.getInputs()[1];
  Type element = k.elementType(x), real = k.b.getF32Type(), wide = k.b.getI32Type();
  KernelBuilder::Index at = scaleIndex(k, node, scale, index);
  Value quantized = k.cast(k.load(x, index), element, wide);
  if (isGiven(node, 2)) {
    Value zeroPoint = k.load(node.getInputs()[2], at);
    quantized = k.sub(quantized, k.cast(zeroPoint, k.elementType(node.getInputs()[2]), wide));
  }
  Value value = k.b.create<arith::SIToFPOp>(real, quantized);
  Value factor = k.cast(k.load(scale, at), k.elementType(scale), real);
  return k.cast(k.mul(value, factor), real, k.elementType(node.getResult(0)));
}

std::string unsupportedQuantization(NodeOp node) {
  Type quantized =
      elementOf(node.getOpType() == "QuantizeLinear" ? node.getResult(0) : node.getInputs()[0]);
  unsigned width = quantized.getIntOrFloatBitWidth();
  if (isa<IntegerType>(quantized) && (width == 8 || width == 16 || width == 32))
    return "";
  return "quantized elements must be integers of 8, 16 or 32 bits";
}

//===----------------------------------------------------------------------===//
// DynamicQuantizeLinear
//===----------------------------------------------------------------------===//

LogicalResult inferDynamicQuantize(InferContext &ctx) {
  Type byte = byteType(ctx.node.getContext());
  ctx.setResult(0, byte, ctx.dims(0));
  if (ctx.resultCount() > 1 && !ctx.types[1])
    ctx.setResult(1, Float32Type::get(ctx.node.getContext()), {});
  if (ctx.resultCount() > 2 && !ctx.types[2])
    ctx.setResult(2, byte, {});
  return success();
}

SmallVector<Value> decomposeDynamicQuantize(NodeBuilder &builder, NodeOp node) {
  Value x = node.getInputs()[0];
  Type real = builder.builder.getF32Type();
  NamedAttribute drop = builder.attr("keepdims", int64_t(0));
  Value zero = builder.scalar(real, 0.0);
  Value highest = builder.create("Max", {builder.create("ReduceMax", x, drop), zero});
  Value lowest = builder.create("Min", {builder.create("ReduceMin", x, drop), zero});
  Value range = builder.create("Sub", {highest, lowest});
  Value step = builder.create("Div", {range, builder.scalar(real, 255.0)});
  // A tensor of zeros has no range.
  Value isEmpty = builder.create("Equal", {range, zero});
  Value scale = builder.create("Where", {isEmpty, builder.scalar(real, 1.0), step});
  Value offset = builder.create("Div", {builder.create("Sub", {zero, lowest}), scale});
  Value zeroPoint = builder.create("QuantizeLinear", {offset, builder.scalar(real, 1.0)});
  Value quantized = builder.create("QuantizeLinear", {x, scale, zeroPoint});
  SmallVector<Value> results = {quantized, scale, zeroPoint};
  results.resize(node.getNumResults());
  return results;
}

//===----------------------------------------------------------------------===//
// Integer products
//===----------------------------------------------------------------------===//

/// Infers as the operator `opType` on the operands (x, w, …) with an int32 or given result.
LogicalResult inferAs(InferContext &ctx, StringRef opType, ArrayRef<unsigned> operands,
                      Type element) {
  const OpSpec *spec = lookupOp("", opType);
  OpBuilder builder(ctx.node);
  SmallVector<Value> values;
  for (unsigned i : operands)
    values.push_back(ctx.operand(i));
  Type placeholder = UnrankedTensorType::get(element);
  auto node = builder.create<NodeOp>(ctx.node.getLoc(), placeholder, opType, values,
                                     ctx.node.getAttrs(), ctx.node.getNodeName(), 21);
  InferContext inner(node);
  LogicalResult result = spec->infer(inner);
  node.erase();
  if (failed(result))
    return ctx.fail(inner.failure_);
  llvm::append_range(ctx.requirements, inner.requirements);
  ctx.setResult(0, element, *dimsOf(inner.types[0]));
  return success();
}

LogicalResult inferMatMulInteger(InferContext &ctx) {
  return inferAs(ctx, "MatMul", {0, 1}, IntegerType::get(ctx.node.getContext(), 32));
}
LogicalResult inferConvInteger(InferContext &ctx) {
  return inferAs(ctx, "Conv", {0, 1}, IntegerType::get(ctx.node.getContext(), 32));
}
LogicalResult inferQLinearMatMul(InferContext &ctx) {
  return inferAs(ctx, "MatMul", {0, 3}, ctx.elementType(7));
}
LogicalResult inferQLinearConv(InferContext &ctx) {
  return inferAs(ctx, "Conv", {0, 3}, ctx.elementType(7));
}

Value toInt32(NodeBuilder &builder, Value x) {
  return castTo(builder, x, builder.builder.getI32Type());
}

/// A vector with `trailing` axes of size 1 behind it; scalars and others stay.
Value withTrailingAxes(NodeBuilder &builder, Value x, int64_t trailing) {
  if (rankOf(x) != 1 || trailing == 0 || (*dimsOf(x))[0].isConstant(1))
    return x;
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(1, 1 + trailing));
  return builder.create("Unsqueeze", {x, builder.integers(axes)});
}

/// x - zeroPoint in int32.
Value centred(NodeBuilder &builder, Value x, Value zeroPoint, int64_t trailing) {
  Value wide = toInt32(builder, x);
  if (!zeroPoint || isAbsent(zeroPoint))
    return wide;
  Value offset = toInt32(builder, withTrailingAxes(builder, zeroPoint, trailing));
  return builder.create("Sub", {wide, offset});
}

Value operandOr(NodeOp node, size_t i) { return isGiven(node, i) ? node.getInputs()[i] : Value(); }

/// Rows of a have their own zero points, columns of b theirs.
SmallVector<Value> decomposeMatMulInteger(NodeBuilder &builder, NodeOp node) {
  ValueRange in = node.getInputs();
  Value a = centred(builder, in[0], operandOr(node, 2), rankOf(in[0]) > 1);
  Value b = centred(builder, in[1], operandOr(node, 3), 0);
  return {builder.create("MatMul", {a, b})};
}

SmallVector<NamedAttribute> windowAttributes(NodeOp node) {
  return SmallVector<NamedAttribute>(node.getAttrs().begin(), node.getAttrs().end());
}

SmallVector<Value> decomposeConvInteger(NodeBuilder &builder, NodeOp node) {
  ValueRange in = node.getInputs();
  Value x = centred(builder, in[0], operandOr(node, 2), 0);
  Value w = centred(builder, in[1], operandOr(node, 3), rankOf(in[1]) - 1);
  return {builder.create("Conv", {x, w}, windowAttributes(node))};
}

/// saturate(round(sum * xScale * wScale / yScale) + zeroPoint)
Value requantize(NodeBuilder &builder, Value sum, Value xScale, Value wScale, Value yScale,
                 Value yZeroPoint) {
  auto toFloat = [&](Value value) { return castTo(builder, value, builder.builder.getF32Type()); };
  Value factor = builder.create("Mul", {toFloat(xScale), toFloat(wScale)});
  Value ratio = builder.create("Div", {factor, toFloat(yScale)});
  Value scaled = builder.create("Mul", {toFloat(sum), ratio});
  Value one = builder.scalar(builder.builder.getF32Type(), 1.0);
  return builder.create("QuantizeLinear", {scaled, one, yZeroPoint});
}

SmallVector<Value> decomposeQLinearMatMul(NodeBuilder &builder, NodeOp node) {
  ValueRange in = node.getInputs();
  bool rows = rankOf(in[0]) > 1;
  Value a = centred(builder, in[0], in[2], rows), b = centred(builder, in[3], in[5], 0);
  Value sum = builder.create("MatMul", {a, b});
  Value aScale = withTrailingAxes(builder, in[1], rows);
  return {requantize(builder, sum, aScale, in[4], in[6], in[7])};
}

SmallVector<Value> decomposeQLinearConv(NodeBuilder &builder, NodeOp node) {
  ValueRange in = node.getInputs();
  int64_t rank = rankOf(in[0]);
  SmallVector<Value> operands = {centred(builder, in[0], in[2], 0),
                                 centred(builder, in[3], in[5], rank - 1)};
  if (isGiven(node, 8))
    operands.push_back(in[8]);
  Value sum = builder.create("Conv", operands, windowAttributes(node));
  Value wScale = withTrailingAxes(builder, in[4], rank - 2);
  return {requantize(builder, sum, in[1], wScale, in[6], in[7])};
}

OpSpec composite(StringRef name, InferFn infer, DecomposeFn decompose) {
  OpSpec spec;
  spec.name = name;
  spec.infer = infer;
  spec.decompose = decompose;
  return spec;
}

} // namespace

ArrayRef<OpSpec> tacq::quantizationOps() {
  static const std::vector<OpSpec> table = [] {
    OpSpec quantize, dequantize;
    quantize.name = "QuantizeLinear";
    quantize.infer = inferQuantize;
    quantize.element = quantizeElement;
    quantize.unsupported = unsupportedQuantization;
    dequantize.name = "DequantizeLinear";
    dequantize.infer = inferDequantize;
    dequantize.element = dequantizeElement;
    dequantize.unsupported = unsupportedQuantization;
    return std::vector<OpSpec>{
        quantize,
        dequantize,
        composite("DynamicQuantizeLinear", inferDynamicQuantize, decomposeDynamicQuantize),
        composite("MatMulInteger", inferMatMulInteger, decomposeMatMulInteger),
        composite("ConvInteger", inferConvInteger, decomposeConvInteger),
        composite("QLinearMatMul", inferQLinearMatMul, decomposeQLinearMatMul),
        composite("QLinearConv", inferQLinearConv, decomposeQLinearConv)};
  }();
  return table;
}
