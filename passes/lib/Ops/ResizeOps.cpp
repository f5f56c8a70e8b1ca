//===- ResizeOps.cpp - Resize and Upsample --------------------------------===//

#include "KernelMath.h"
#include "PoolingTables.h"
#include <cmath>

using namespace mlir;
using namespace tacq;

namespace {

/// What inference leaves of the scales, one for each resized axis, if they are known.
constexpr StringLiteral knownScales = "known_scales";

/// The operands and attributes of a version of the operator.
struct ResizeForm {
  std::string mode, coordinates, nearest, policy;
  double cubicA;
  bool excludeOutside, antialias;
  SmallVector<int64_t> axes;
  /// Null if absent.
  Value input, roi, scales, sizes;

  explicit ResizeForm(NodeOp node) {
    NodeAttrs attrs(node);
    ValueRange inputs = node.getInputs();
    // Before opset 11: (X, scales), asymmetric.
    bool old = node.getOpset() < 11 || node.getOpType() == "Upsample";
    auto operand = [&](size_t i) {
      return i < inputs.size() && !isAbsent(inputs[i]) && !isEmpty(inputs[i]) ? inputs[i] : Value();
    };
    input = inputs[0];
    roi = old ? Value() : operand(1);
    scales = operand(old ? 1 : 2);
    sizes = old ? Value() : operand(3);
    mode = attrs.string("mode", "nearest");
    coordinates = attrs.string("coordinate_transformation_mode", old ? "asymmetric" : "half_pixel");
    nearest = attrs.string("nearest_mode", old ? "floor" : "round_prefer_floor");
    policy = attrs.string("keep_aspect_ratio_policy", "stretch");
    cubicA = attrs.real("cubic_coeff_a", -0.75);
    excludeOutside = attrs.integer("exclude_outside", 0) != 0;
    antialias = attrs.integer("antialias", 0) != 0 && mode != "nearest";
    axes = attrs.integers("axes");
    int64_t rank = cast<ShapedType>(input.getType()).getRank();
    for (int64_t &axis : axes)
      axis += axis < 0 ? rank : 0;
    if (axes.empty())
      axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  }

  static bool isEmpty(Value value) {
    std::optional<Dims> dims = dimsOf(value);
    return dims && elementCount(*dims).isConstant(0);
  }
};

//===----------------------------------------------------------------------===//
// Inference
//===----------------------------------------------------------------------===//

/// floor(size * scale); a scale of a symbolic size is taken as the simplest fraction that it is the
/// float32 of.
std::optional<Sym> scaledSize(const Sym &size, float scale) {
  if (std::optional<int64_t> known = size.constant())
    return Sym(int64_t(std::floor(float(*known) * scale)));
  for (int64_t denominator = 1; denominator <= 65536; ++denominator) {
    int64_t numerator = std::llround(double(scale) * double(denominator));
    if (float(double(numerator) / double(denominator)) == scale)
      return Sym::floorDiv(size * Sym(numerator), denominator);
  }
  return std::nullopt;
}

LogicalResult inferResize(InferContext &ctx) {
  Dims dims = ctx.dims(0), result = dims;
  for (int64_t axis : ctx.attrs.integers("axes"))
    if (failed(ctx.axis(axis, dims.size())))
      return failure();
  ResizeForm form(ctx.node);
  auto operandIndex = [&](Value value) {
    return unsigned(llvm::find(ctx.node.getInputs(), value) - ctx.node.getInputs().begin());
  };
  if (form.sizes) {
    std::optional<Dims> sizes = ctx.values(operandIndex(form.sizes));
    if (!sizes || sizes->size() != form.axes.size())
      return ctx.fail("sizes must have an element for each resized axis");
    for (auto [axis, size] : llvm::zip(form.axes, *sizes))
      result[axis] = size;
    if (form.policy != "stretch")
      // The smallest (or largest) of the ratios scales all axes: round(in_j * size_i / in_i).
      for (int64_t j : form.axes) {
        std::optional<Sym> best;
        for (auto [i, size] : llvm::zip(form.axes, *sizes)) {
          Sym scaled = Sym::floorDiv(Sym(2) * dims[j] * size + dims[i], Sym(2) * dims[i]);
          if (!best)
            best = scaled;
          else
            best = form.policy == "not_larger" ? Sym::min(*best, scaled) : Sym::max(*best, scaled);
        }
        result[j] = *best;
      }
  } else {
    SmallVector<double> scales = ctx.attrs.reals("scales");
    std::optional<SmallVector<double>> known;
    if (form.scales)
      known = ctx.constantReals(operandIndex(form.scales));
    else if (!scales.empty())
      known = scales;
    if (known && known->size() != form.axes.size())
      return ctx.fail("scales must have an element for each resized axis");
    if (known) {
      recordReals(ctx.node, knownScales, *known);
      for (auto [axis, scale] : llvm::zip(form.axes, *known)) {
        std::optional<Sym> size = scaledSize(dims[axis], float(scale));
        if (!size)
          return ctx.unsupported("scale " + std::to_string(scale) +
                                 " of an axis of symbolic size is not a "
                                 "simple fraction");
        result[axis] = *size;
      }
    } else {
      // The scales are data: the model has to declare the result's sizes.
      std::optional<Dims> declared = dimsOf(ctx.node.getResult(0));
      if (!form.scales || !declared || declared->size() != dims.size())
        return ctx.unsupported(
            "its scales are not known at compile time, and the model does not declare "
            "the shape of its result");
      result = *declared;
    }
  }
  ctx.setResult(0, ctx.elementType(0), result);
  return success();
}

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

class Resizer {
public:
  Resizer(KernelBuilder &k, NodeOp node, ValueRange index)
      : k(k), form(node), real(k.b.getF32Type()), dims(k.dims(form.input)),
        outDims(k.dims(node.getResult(0))), index(index),
        scales(NodeAttrs(node).reals(knownScales)),
        extrapolation(NodeAttrs(node).real("extrapolation_value", 0.0)) {
    element = k.elementType(form.input);
    // Everything but copies is computed in floating point.
    sumType = isFloat(element) ? computeType(element) : Type(real);
  }

  Value emit() {
    for (auto [i, axis] : llvm::enumerate(form.axes))
      if (!isUntouched(i, axis))
        makeAxis(i, axis);
    KernelBuilder::Index from(index.begin(), index.end());
    Value result;
    if (form.mode == "nearest") {
      for (Axis &axis : resized)
        from[axis.axis] = nearestOf(axis);
      result = k.load(form.input, from);
    } else {
      Value sum = form.antialias ? antialiased(from) : interpolate(0, from);
      result = isFloat(element) ? sum : k.cast(sum, sumType, element);
    }
    if (outside)
      result = k.select(outside, k.constant(computeType(element), extrapolation), result);
    return result;
  }

private:
  struct Axis {
    int64_t axis;
    /// The position in the input, and the scale.
    Value x, scale;
    // Since the last use of x: its integer part (an index) and the rest, in [0, 1).
    Value whole, fraction;
  };

  Value constant(double value) { return k.constant(real, value); }
  Value clamped(Value position, int64_t axis) {
    Value last = k.sub(k.sym(dims[axis]), k.index(1));
    return k.max(k.min(position, last), k.index(0));
  }
  Value floorOf(Value x) { return k.b.create<math::FloorOp>(x); }
  Value ceilOf(Value x) { return k.b.create<math::CeilOp>(x); }

  bool isUntouched(size_t i, int64_t axis) {
    if (form.coordinates == "tf_crop_and_resize" || dims[axis] != outDims[axis])
      return false;
    if (form.sizes)
      return form.policy == "stretch";
    return !scales.empty() && scales[i] == 1.0;
  }

  void makeAxis(size_t i, int64_t axis) {
    Value in = indexToReal(k, k.sym(dims[axis]), real);
    Value out = indexToReal(k, k.sym(outDims[axis]), real), outExact = out;
    Value scale;
    if (form.sizes && form.policy == "stretch") {
      scale = k.div(out, in);
    } else if (form.sizes) {
      for (auto [j, other] : llvm::enumerate(form.axes)) {
        Value size = k.toIndex(k.load(form.sizes, k.index(j)), k.elementType(form.sizes));
        Value ratio = k.div(indexToReal(k, size, real), indexToReal(k, k.sym(dims[other]), real));
        if (!scale)
          scale = ratio;
        else
          scale = form.policy == "not_larger" ? k.min(scale, ratio) : k.max(scale, ratio);
      }
      outExact = k.mul(scale, in);
    } else {
      scale = scales.empty() ? k.load(form.scales, k.index(i)) : constant(scales[i]);
      outExact = k.mul(scale, in);
    }
    Value y = indexToReal(k, index[axis], real);
    Value half = constant(0.5), one = constant(1);
    Value single = k.equal(outExact, one);
    auto halfPixel = [&] { return k.sub(k.div(k.add(y, half), scale), half); };
    // The size is replaced where it would be divided by zero.
    auto spread = [&](Value length) {
      return k.div(k.mul(y, length), k.select(single, one, k.sub(outExact, one)));
    };
    Value x;
    if (form.coordinates == "align_corners") {
      x = k.select(single, constant(0), spread(k.sub(in, one)));
    } else if (form.coordinates == "asymmetric") {
      x = k.div(y, scale);
    } else if (form.coordinates == "pytorch_half_pixel") {
      x = k.select(k.equal(out, one), constant(-0.5), halfPixel());
    } else if (form.coordinates == "half_pixel_symmetric") {
      Value adjustment = k.div(out, outExact);
      Value offset = k.mul(k.mul(in, half), k.sub(one, adjustment));
      x = k.add(offset, halfPixel());
    } else if (form.coordinates == "tf_crop_and_resize") {
      Type roiType = k.elementType(form.roi);
      Value start = k.cast(k.load(form.roi, k.index(i)), roiType, real);
      Value end = k.cast(k.load(form.roi, k.index(i + form.axes.size())), roiType, real);
      Value last = k.sub(in, one);
      Value length = k.mul(k.sub(end, start), last);
      x = k.select(single, k.mul(length, half), spread(length));
      x = k.add(x, k.mul(start, last));
      Value isOutside = k.logicalOr(k.less(x, constant(0)), k.less(last, x));
      outside = outside ? k.logicalOr(outside, isOutside) : isOutside;
    } else {
      x = halfPixel();
    }
    Value whole = floorOf(x);
    resized.push_back({axis, x, scale, realToIndex(k, whole), k.sub(x, whole)});
  }

  Value nearestOf(const Axis &axis) {
    Value rounded;
    if (form.nearest == "floor")
      rounded = floorOf(axis.x);
    else if (form.nearest == "ceil")
      rounded = ceilOf(axis.x);
    else if (form.nearest == "round_prefer_ceil")
      rounded = floorOf(k.add(axis.x, constant(0.5)));
    else
      rounded = ceilOf(k.sub(axis.x, constant(0.5)));
    return clamped(realToIndex(k, rounded), axis.axis);
  }

  /// The kernel of linear or cubic interpolation at distance x >= 0.
  Value kernelAt(Value x) {
    Value one = constant(1), zero = constant(0);
    if (form.mode == "linear")
      return k.max(k.sub(one, x), zero);
    double a = form.cubicA;
    auto times = [&](Value u, Value v) { return k.mul(u, v); };
    // ((a + 2) x - (a + 3)) x² + 1 up to 1, ((a x - 5 a) x + 8 a) x - 4 a up to 2.
    Value near = k.sub(times(constant(a + 2), x), constant(a + 3));
    near = k.add(times(times(near, x), x), one);
    Value far = k.sub(times(constant(a), x), constant(5 * a));
    far = k.add(times(far, x), constant(8 * a));
    far = k.sub(times(far, x), constant(4 * a));
    Value result = k.select(k.less(x, constant(2)), far, zero);
    return k.select(k.lessEqual(x, one), near, result);
  }

  Value distance(Value x) { return k.b.create<math::AbsFOp>(x); }
  Value toSum(Value weight) { return k.cast(weight, real, sumType); }
  Value loadInput(ValueRange at) {
    Value x = k.load(form.input, at);
    return isFloat(element) ? x : k.cast(x, element, sumType);
  }

  /// Interpolates along resized[level] and those behind it.
  Value interpolate(size_t level, KernelBuilder::Index &from) {
    if (level == resized.size())
      return loadInput(from);
    const Axis &axis = resized[level];
    int64_t first = form.mode == "linear" ? 0 : -1, last = form.mode == "linear" ? 1 : 2;
    Value sum, total;
    for (int64_t tap = first; tap <= last; ++tap) {
      Value position = k.add(axis.whole, k.index(tap));
      Value weight = kernelAt(distance(k.sub(constant(double(tap)), axis.fraction)));
      if (form.excludeOutside) {
        weight = k.select(inBounds(k, position, k.sym(dims[axis.axis])), weight, constant(0));
        total = total ? k.add(total, weight) : weight;
      }
      from[axis.axis] = clamped(position, axis.axis);
      Value term = k.mul(toSum(weight), interpolate(level + 1, from));
      sum = sum ? k.add(sum, term) : term;
    }
    return form.excludeOutside ? k.div(sum, toSum(total)) : sum;
  }

  /// The kernel is as much wider as the axis is made smaller.
  Value antialiased(KernelBuilder::Index &from) {
    KernelBuilder::Index lower, upper;
    SmallVector<Value> shrinks;
    Value radius = constant(form.mode == "linear" ? 1 : 2);
    for (const Axis &axis : resized) {
      Value shrink = k.min(axis.scale, constant(1));
      Value start =
          k.add(realToIndex(k, floorOf(k.div(k.sub(constant(0), radius), shrink))), k.index(1));
      lower.push_back(start);
      upper.push_back(k.sub(k.index(2), start));
      shrinks.push_back(shrink);
    }
    Value zero = k.constant(sumType, 0);
    SmallVector<Value> sums =
        reduceRange(k, lower, upper, {zero, zero}, [&](ValueRange at, ValueRange carried) {
          Value weight;
          for (auto [axis, shrink, tap] : llvm::zip(resized, shrinks, at)) {
            Value position = k.add(axis.whole, tap);
            Value away = k.sub(indexToReal(k, tap, real), axis.fraction);
            Value own = kernelAt(distance(k.mul(away, shrink)));
            if (form.excludeOutside)
              own = k.select(inBounds(k, position, k.sym(dims[axis.axis])), own, constant(0));
            weight = weight ? k.mul(weight, own) : own;
            from[axis.axis] = clamped(position, axis.axis);
          }
          weight = toSum(weight);
          Value term = k.mul(weight, loadInput(from));
          return SmallVector<Value>{k.add(carried[0], term), k.add(carried[1], weight)};
        });
    return k.div(sums[0], sums[1]);
  }

  KernelBuilder &k;
  ResizeForm form;
  Type real, element, sumType;
  Dims dims, outDims;
  ValueRange index;
  SmallVector<double> scales;
  double extrapolation;
  SmallVector<Axis> resized;
  /// True where tf_crop_and_resize leaves the input; null for the other modes.
  Value outside;
};

Value resizeElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  return Resizer(k, node, index).emit();
}

std::string unsupportedResize(NodeOp node) {
  ResizeForm form(node);
  static const StringRef modes[] = {"nearest", "linear", "cubic"};
  static const StringRef coordinates[] = {"half_pixel",           "align_corners",
                                          "asymmetric",           "pytorch_half_pixel",
                                          "half_pixel_symmetric", "tf_crop_and_resize"};
  if (!llvm::is_contained(modes, form.mode))
    return "mode '" + form.mode + "' is not known";
  if (!llvm::is_contained(coordinates, form.coordinates))
    return "coordinate_transformation_mode '" + form.coordinates + "' is not known";
  if (form.coordinates == "tf_crop_and_resize" && !form.roi)
    return "tf_crop_and_resize needs roi";
  return "";
}

} // namespace

ArrayRef<OpSpec> tacq::resizeOps() {
  static const std::vector<OpSpec> table = [] {
    OpSpec resize;
    resize.name = "Resize";
    resize.infer = inferResize;
    resize.element = resizeElement;
    resize.heavy = true;
    resize.unsupported = unsupportedResize;
    OpSpec upsample = resize;
    upsample.name = "Upsample";
    return std::vector<OpSpec>{resize, upsample};
  }();
  return table;
}
