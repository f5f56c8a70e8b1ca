//===- NormalizationOps.cpp - Normalizations ------------------------------===//
//
// All are decomposed into reductions and elementwise nodes, except LRN.
//
//===----------------------------------------------------------------------===//

#include "KernelMath.h"
#include "tacq/Dialect/TACQ/OnnxTypes.h"
#include "tacq/Ops/OpSpec.h"

using namespace mlir;
using namespace tacq;

namespace {

Type elementOf(Value tensor) { return cast<ShapedType>(tensor.getType()).getElementType(); }
int64_t rankOf(Value tensor) { return cast<ShapedType>(tensor.getType()).getRank(); }

/// The type that `stash_type` asks to compute in; f32 where it names none that can be computed in.
Type stashType(MLIRContext *context, const NodeAttrs &attrs) {
  auto type =
      dyn_cast_or_null<FloatType>(elementTypeOfOnnx(attrs.integer("stash_type", 1), context));
  return type ? Type(type) : Float32Type::get(context);
}

/// Arithmetic on nodes.
class Nodes {
public:
  explicit Nodes(NodeBuilder &builder) : builder(builder) {}

  Value add(Value x, Value y) { return builder.create("Add", {x, y}); }
  Value sub(Value x, Value y) { return builder.create("Sub", {x, y}); }
  Value mul(Value x, Value y) { return builder.create("Mul", {x, y}); }
  Value div(Value x, Value y) { return builder.create("Div", {x, y}); }
  Value sqrt(Value x) { return builder.create("Sqrt", x); }
  Value scalar(Value like, double value) { return builder.scalar(elementOf(like), value); }
  Value inverseSqrt(Value x) { return div(scalar(x, 1.0), sqrt(x)); }
  Value mean(Value x, ArrayRef<int64_t> axes, bool keepDims = true) {
    return builder.create("ReduceMean", {x, builder.integers(axes)},
                          builder.attr("keepdims", int64_t(keepDims)));
  }
  Value cast(Value x, Type element) {
    if (elementOf(x) == element)
      return x;
    return builder.create("Cast", x, builder.attr("to", onnxNumberOf(element).value()));
  }
  Value reshape(Value x, ArrayRef<Sym> dims) {
    return builder.create("Reshape", {x, builder.symbols(dims)},
                          builder.attr("allowzero", int64_t(1)));
  }
  /// A vector over the `channels` (axis 1) as a tensor that broadcasts against rank `rank`.
  Value perChannel(Value x, const Sym &channels, int64_t rank) {
    Dims dims = {channels};
    dims.append(rank - 2, Sym(1));
    return rank == 2 && (*dimsOf(x))[0] == channels ? x : reshape(x, dims);
  }
  /// A scale or bias that inference has found to fit the last axes of `x`, with their sizes: then
  /// the result's sizes are those of x, not the larger of two expressions.
  Value fitted(Value operand, Value x) {
    Dims own = *dimsOf(operand), target = *dimsOf(x);
    Dims dims;
    for (size_t i = 0; i < own.size(); ++i) {
      const Sym &size = target[target.size() - own.size() + i];
      dims.push_back(own[i].isConstant(1) ? own[i] : size);
    }
    return llvm::equal(own, dims) ? operand : reshape(operand, dims);
  }
  struct Normalized {
    Value result, mean, inverse;
  };
  /// (x - mean) / sqrt(variance + epsilon) over the axes.
  Normalized normalize(Value x, ArrayRef<int64_t> axes, double epsilon) {
    Value average = mean(x, axes);
    Value centred = sub(x, average);
    Value variance = mean(mul(centred, centred), axes);
    Value inverse = inverseSqrt(add(variance, scalar(x, epsilon)));
    return {mul(centred, inverse), average, inverse};
  }

  NodeBuilder &builder;
};

SmallVector<int64_t> range(int64_t begin, int64_t end) {
  return llvm::to_vector(llvm::seq<int64_t>(begin, end));
}

LogicalResult inferSame(InferContext &ctx) {
  ctx.setResult(0, ctx.elementType(0), ctx.dims(0));
  return success();
}

LogicalResult inferAlongAxis(InferContext &ctx) {
  if (failed(ctx.axis(ctx.attrs.integer("axis", -1), ctx.rank(0))))
    return failure();
  return inferSame(ctx);
}

bool isGiven(NodeOp node, size_t i) {
  return i < node.getInputs().size() && !isAbsent(node.getInputs()[i]);
}

//===----------------------------------------------------------------------===//
// BatchNormalization, InstanceNormalization
//===----------------------------------------------------------------------===//

/// Before opset 14, training was what asked for the running statistics.
bool isTraining(NodeOp node) {
  if (node.getOpset() >= 14)
    return NodeAttrs(node).integer("training_mode", 0) != 0;
  return node.getNumResults() > 1 && !isAbsent(node.getResult(1));
}

LogicalResult inferBatchNormalization(InferContext &ctx) {
  if (ctx.rank(0) < 1)
    return ctx.fail("its input must not be a scalar");
  Sym channels = ctx.rank(0) < 2 ? Sym(1) : ctx.dims(0)[1];
  for (unsigned i = 1; i < 5; ++i)
    if (ctx.rank(i) != 1 ||
        failed(ctx.require(ctx.dims(i)[0], channels,
                           "operand " + Twine(i) + " does not fit the channels")))
      return ctx.fail("operand " + Twine(i) + " must have a value for each channel");
  ctx.setResult(0, ctx.elementType(0), ctx.dims(0));
  for (unsigned i = 1; i < ctx.resultCount(); ++i)
    if (!ctx.types[i])
      ctx.setResult(i, ctx.elementType(i < 3 ? 2 + i : 3), ctx.dims(3));
  return success();
}

SmallVector<Value> decomposeBatchNormalization(NodeBuilder &builder, NodeOp node) {
  Nodes n(builder);
  NodeAttrs attrs(node);
  ValueRange in = node.getInputs();
  Value x = in[0], scale = in[1], bias = in[2], mean = in[3], variance = in[4];
  int64_t rank = rankOf(x);
  Sym channels = rank < 2 ? Sym(1) : (*dimsOf(x))[1];
  double epsilon = attrs.real("epsilon", 1e-5);
  SmallVector<Value> results(node.getNumResults());
  Type element = elementOf(x);
  // Parameters may have a wider type than the data.
  Type wide = elementOf(mean);
  if (isTraining(node)) {
    SmallVector<int64_t> axes = range(2, rank);
    axes.insert(axes.begin(), 0);
    Value data = n.cast(x, wide);
    Value average = n.mean(data, axes, /*keepDims=*/false);
    Value centred = n.sub(data, n.perChannel(average, channels, rank));
    Value spread = n.mean(n.mul(centred, centred), axes, /*keepDims=*/false);
    double momentum = attrs.real("momentum", 0.9);
    auto running = [&](Value old, Value current) {
      return n.add(n.mul(old, n.scalar(old, momentum)),
                   n.mul(current, n.scalar(current, 1.0 - momentum)));
    };
    if (results.size() > 1)
      results[1] = running(mean, average);
    if (results.size() > 2)
      results[2] = running(variance, n.cast(spread, elementOf(variance)));
    mean = average, variance = spread;
  }
  // One multiplication and one addition for each element.
  Value factor = n.mul(n.cast(scale, wide),
                       n.inverseSqrt(n.add(n.cast(variance, wide), n.scalar(mean, epsilon))));
  Value offset = n.sub(n.cast(bias, wide), n.mul(mean, factor));
  if (rank < 2) {
    results[0] = n.cast(n.add(n.mul(n.cast(x, wide), factor), offset), element);
    return results;
  }
  Value scaled = n.mul(n.cast(x, wide), n.perChannel(factor, channels, rank));
  results[0] = n.cast(n.add(scaled, n.perChannel(offset, channels, rank)), element);
  return results;
}

LogicalResult inferInstanceNormalization(InferContext &ctx) {
  if (ctx.rank(0) < 2)
    return ctx.fail("its input must have at least 2 dimensions");
  for (unsigned i = 1; i < 3; ++i)
    if (ctx.rank(i) != 1 ||
        failed(ctx.require(ctx.dims(i)[0], ctx.dims(0)[1], "the scale does not fit the channels")))
      return ctx.fail("operand " + Twine(i) + " must have a value for each channel");
  return inferSame(ctx);
}

SmallVector<Value> decomposeInstanceNormalization(NodeBuilder &builder, NodeOp node) {
  Nodes n(builder);
  ValueRange in = node.getInputs();
  int64_t rank = rankOf(in[0]);
  Sym channels = (*dimsOf(in[0]))[1];
  Type element = elementOf(in[0]);
  Type wide = element.isF64() ? element : Type(builder.builder.getF32Type());
  Value normal =
      n.normalize(n.cast(in[0], wide), range(2, rank), NodeAttrs(node).real("epsilon", 1e-5))
          .result;
  normal = n.mul(normal, n.perChannel(n.cast(in[1], wide), channels, rank));
  normal = n.add(normal, n.perChannel(n.cast(in[2], wide), channels, rank));
  return {n.cast(normal, element)};
}

//===----------------------------------------------------------------------===//
// LayerNormalization, RMSNormalization, GroupNormalization
//===----------------------------------------------------------------------===//

/// The scale (and bias) must broadcast to the input without changing its shape.
LogicalResult checkFits(InferContext &ctx, unsigned operand) {
  if (!ctx.has(operand))
    return success();
  Dims x = ctx.dims(0), own = ctx.dims(operand);
  if (own.size() > x.size())
    return ctx.fail("operand " + Twine(operand) + " has more dimensions than the input");
  for (size_t i = 0; i < own.size(); ++i)
    if (!own[i].isConstant(1) &&
        failed(ctx.require(own[i], x[x.size() - own.size() + i],
                           "operand " + Twine(operand) + " does not fit the input")))
      return failure();
  return success();
}

LogicalResult inferRMSNormalization(InferContext &ctx) {
  if (failed(checkFits(ctx, 1)))
    return failure();
  return inferAlongAxis(ctx);
}

LogicalResult inferLayerNormalization(InferContext &ctx) {
  if (failed(checkFits(ctx, 1)) || failed(checkFits(ctx, 2)))
    return failure();
  FailureOr<int64_t> axis = ctx.axis(ctx.attrs.integer("axis", -1), ctx.rank(0));
  if (failed(axis))
    return failure();
  Dims dims = ctx.dims(0), statistics = dims;
  ctx.setResult(0, ctx.elementType(0), dims);
  for (size_t i = *axis; i < statistics.size(); ++i)
    statistics[i] = 1;
  Type stash = stashType(ctx.node.getContext(), ctx.attrs);
  for (unsigned i = 1; i < ctx.resultCount(); ++i)
    if (!ctx.types[i])
      ctx.setResult(i, stash, statistics);
  return success();
}

int64_t normalizedAxis(NodeOp node) {
  int64_t axis = NodeAttrs(node).integer("axis", -1);
  return axis < 0 ? axis + rankOf(node.getInputs()[0]) : axis;
}

SmallVector<Value> decomposeLayerNormalization(NodeBuilder &builder, NodeOp node) {
  Nodes n(builder);
  NodeAttrs attrs(node);
  ValueRange in = node.getInputs();
  Type element = elementOf(in[0]);
  Type stash = stashType(node.getContext(), attrs);
  // A double is not narrowed.
  Type wide = element.isF64() ? element : stash;
  Nodes::Normalized normal = n.normalize(
      n.cast(in[0], wide), range(normalizedAxis(node), rankOf(in[0])), attrs.real("epsilon", 1e-5));
  Value result = n.mul(normal.result, n.fitted(n.cast(in[1], wide), in[0]));
  if (isGiven(node, 2))
    result = n.add(result, n.fitted(n.cast(in[2], wide), in[0]));
  SmallVector<Value> results = {n.cast(result, element), n.cast(normal.mean, stash),
                                n.cast(normal.inverse, stash)};
  results.resize(node.getNumResults());
  return results;
}

SmallVector<Value> decomposeRMSNormalization(NodeBuilder &builder, NodeOp node) {
  Nodes n(builder);
  NodeAttrs attrs(node);
  ValueRange in = node.getInputs();
  Type element = elementOf(in[0]);
  Type wide = element.isF64() ? element : stashType(node.getContext(), attrs);
  Value x = n.cast(in[0], wide);
  Value square = n.mean(n.mul(x, x), range(normalizedAxis(node), rankOf(x)));
  Value inverse = n.inverseSqrt(n.add(square, n.scalar(x, attrs.real("epsilon", 1e-5))));
  Value result = n.mul(n.mul(x, inverse), n.fitted(n.cast(in[1], wide), x));
  return {n.cast(result, element)};
}

LogicalResult inferGroupNormalization(InferContext &ctx) {
  if (ctx.rank(0) < 3)
    return ctx.fail("its input must have at least 3 dimensions");
  int64_t groups = ctx.attrs.integer("num_groups", 0);
  if (groups < 1)
    return ctx.fail("attribute num_groups must be positive");
  if (ctx.rank(1) != 1 || ctx.rank(2) != 1)
    return ctx.fail("its scale and bias must be vectors");
  Sym channels = ctx.dims(0)[1];
  Sym expected = ctx.opset() >= 21 ? channels : Sym(groups);
  if (failed(ctx.require(Sym::mod(channels, groups), 0,
                         "the number of channels must be a multiple of num_groups")) ||
      failed(ctx.require(ctx.dims(1)[0], expected, "the scale does not fit the input")) ||
      failed(ctx.require(ctx.dims(2)[0], expected, "the bias does not fit the input")))
    return failure();
  return inferSame(ctx);
}

SmallVector<Value> decomposeGroupNormalization(NodeBuilder &builder, NodeOp node) {
  Nodes n(builder);
  NodeAttrs attrs(node);
  ValueRange in = node.getInputs();
  Type element = elementOf(in[0]);
  // Since opset 21 it says in which type; before, the input's own was meant.
  Type wide = element.isF64() ? element : stashType(node.getContext(), attrs);
  Dims dims = *dimsOf(in[0]);
  int64_t groups = attrs.integer("num_groups", 1), rank = rankOf(in[0]);
  Sym inGroup = Sym::floorDiv(dims[1], groups);
  Dims split = {dims[0], groups, inGroup};
  split.append(dims.begin() + 2, dims.end());
  Value x = n.reshape(n.cast(in[0], wide), split);
  Value normal = n.normalize(x, range(2, rank + 1), attrs.real("epsilon", 1e-5)).result;
  if (node.getOpset() < 21) {
    normal = n.mul(normal, n.perChannel(n.cast(in[1], wide), groups, rank + 1));
    normal = n.add(normal, n.perChannel(n.cast(in[2], wide), groups, rank + 1));
    return {n.cast(n.reshape(normal, dims), element)};
  }
  normal = n.reshape(normal, dims);
  normal = n.mul(normal, n.perChannel(n.cast(in[1], wide), dims[1], rank));
  normal = n.add(normal, n.perChannel(n.cast(in[2], wide), dims[1], rank));
  return {n.cast(normal, element)};
}

//===----------------------------------------------------------------------===//
// LpNormalization, MeanVarianceNormalization, LRN
//===----------------------------------------------------------------------===//

SmallVector<Value> decomposeLpNormalization(NodeBuilder &builder, NodeOp node) {
  Nodes n(builder);
  Value x = node.getInputs()[0];
  StringRef reduction = NodeAttrs(node).integer("p", 2) == 1 ? "ReduceL1" : "ReduceL2";
  Value norm = builder.create(reduction, {x, builder.integers(normalizedAxis(node))});
  // A row of zeros stays one.
  Value isZero = builder.create("Equal", {norm, n.scalar(norm, 0.0)});
  Value divisor = builder.create("Where", {isZero, n.scalar(norm, 1.0), norm});
  return {n.div(x, divisor)};
}

LogicalResult inferMeanVariance(InferContext &ctx) {
  for (int64_t axis : ctx.attrs.integers("axes"))
    if (failed(ctx.axis(axis, ctx.rank(0))))
      return failure();
  return inferSame(ctx);
}

SmallVector<Value> decomposeMeanVariance(NodeBuilder &builder, NodeOp node) {
  Nodes n(builder);
  Value x = node.getInputs()[0];
  SmallVector<int64_t> axes = NodeAttrs(node).integers("axes");
  // By default all but the channels, of images.
  if (!NodeAttrs(node).has("axes"))
    for (int64_t axis : {0, 2, 3})
      if (axis < rankOf(x))
        axes.push_back(axis);
  Value centred = n.sub(x, n.mean(x, axes));
  Value deviation = n.sqrt(n.mean(n.mul(centred, centred), axes));
  return {n.div(centred, n.add(deviation, n.scalar(x, 1e-9)))};
}

LogicalResult inferLRN(InferContext &ctx) {
  if (ctx.rank(0) < 2 || ctx.attrs.integer("size", 0) < 1)
    return ctx.fail("it needs channels and a positive size");
  return inferSame(ctx);
}

/// x / (bias + alpha / size * Σ x²)^beta over the channels around one.
Value lrnElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  NodeAttrs attrs(node);
  Value input = node.getInputs()[0];
  int64_t size = attrs.integer("size", 1);
  Type type = computeType(k.elementType(input));
  Value lower = k.max(k.sub(index[1], k.index((size - 1) / 2)), k.index(0));
  Value upper = k.min(k.add(index[1], k.index(size / 2 + 1)), k.sym(k.dims(input)[1]));
  Value sum = reduceRange(k, lower, upper, k.constant(type, 0),
                          [&](ValueRange channel, ValueRange carried) {
                            KernelBuilder::Index at(index.begin(), index.end());
                            at[1] = channel[0];
                            Value x = k.load(input, at);
                            return SmallVector<Value>{addAnyOrder(k, carried[0], k.mul(x, x))};
                          })[0];
  Value base = k.add(k.constant(type, attrs.real("bias", 1.0)),
                     k.mul(k.constant(type, attrs.real("alpha", 1e-4) / double(size)), sum));
  Value power = k.b.create<math::PowFOp>(base, k.constant(type, attrs.real("beta", 0.75)));
  return k.div(k.load(input, index), power);
}

OpSpec composite(StringRef name, InferFn infer, DecomposeFn decompose) {
  OpSpec spec;
  spec.name = name;
  spec.infer = infer;
  spec.decompose = decompose;
  return spec;
}

} // namespace

ArrayRef<OpSpec> tacq::normalizationOps() {
  static const std::vector<OpSpec> table = [] {
    OpSpec lrn;
    lrn.name = "LRN";
    lrn.infer = inferLRN;
    lrn.element = lrnElement;
    lrn.heavy = true;
    return std::vector<OpSpec>{
        composite("BatchNormalization", inferBatchNormalization, decomposeBatchNormalization),
        composite("InstanceNormalization", inferInstanceNormalization,
                  decomposeInstanceNormalization),
        composite("LayerNormalization", inferLayerNormalization, decomposeLayerNormalization),
        composite("RMSNormalization", inferRMSNormalization, decomposeRMSNormalization),
        composite("GroupNormalization", inferGroupNormalization, decomposeGroupNormalization),
        composite("LpNormalization", inferAlongAxis, decomposeLpNormalization),
        composite("MeanVarianceNormalization", inferMeanVariance, decomposeMeanVariance),
        lrn};
  }();
  return table;
}
