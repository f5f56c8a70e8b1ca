//===- SamplingOps.cpp - GridSample and AffineGrid ------------------------===//

#include "KernelMath.h"
#include "PoolingTables.h"

using namespace mlir;
using namespace tacq;

namespace {

//===----------------------------------------------------------------------===//
// GridSample
//===----------------------------------------------------------------------===//

LogicalResult inferGridSample(InferContext &ctx) {
  Dims input = ctx.dims(0), grid = ctx.dims(1);
  size_t rank = input.size();
  if (rank < 3 || grid.size() != rank)
    return ctx.fail("input and grid must have the same rank, at least 3");
  if (failed(ctx.require(input[0], grid[0], "batches of input and grid differ")) ||
      failed(ctx.require(grid.back(), Sym(int64_t(rank) - 2),
                         "the grid's last axis must have a coordinate for each spatial axis")))
    return failure();
  Dims result = {input[0], input[1]};
  result.append(grid.begin() + 1, grid.end() - 1);
  ctx.setResult(0, ctx.elementType(0), result);
  return success();
}

class GridSampler {
public:
  GridSampler(KernelBuilder &k, NodeOp node, ValueRange index)
      : k(k), input(node.getInputs()[0]), grid(node.getInputs()[1]), dims(k.dims(input)),
        type(computeType(k.elementType(input))), real(k.b.getF32Type()), index(index) {
    NodeAttrs attrs(node);
    mode = attrs.string("mode", node.getOpset() < 20 ? "bilinear" : "linear");
    padding = attrs.string("padding_mode", "zeros");
    alignCorners = attrs.integer("align_corners", 0) != 0;
    if (mode == "bilinear")
      mode = "linear";
    else if (mode == "bicubic")
      mode = "cubic";
  }

  Value emit() {
    size_t rank = dims.size() - 2;
    for (size_t i = 0; i < rank; ++i)
      positions.push_back(positionOf(i));
    KernelBuilder::Index from = {index[0], index[1]};
    from.resize(dims.size());
    return interpolate(0, from, Value());
  }

private:
  Value constant(double value) { return k.constant(real, value); }
  Value size(size_t i) { return indexToReal(k, k.sym(dims[2 + i]), real); }
  Value between(Value x, Value low, Value high) {
    // A coordinate that is no number is taken as the lower bound.
    Value bounded = k.b.create<arith::MaxNumFOp>(x, low);
    return k.b.create<arith::MinNumFOp>(bounded, high);
  }

  Value reflect(size_t i, Value x) {
    Value low = constant(alignCorners ? 0.0 : -0.5);
    Value high = k.sub(size(i), constant(alignCorners ? 1.0 : 0.5));
    Value range = k.sub(high, low), one = constant(1);
    Value divisor = k.select(k.less(constant(0), range), range, one);
    // How often x is folded, and what remains of it.
    auto fold = [&](Value distance, Value even, Value odd, bool evenAdds) {
      Value count = k.b.create<math::FloorOp>(k.div(distance, divisor));
      Value rest = k.sub(distance, k.mul(count, range));
      Value halved = k.b.create<math::FloorOp>(k.mul(count, constant(0.5)));
      Value isEven = k.equal(count, k.add(halved, halved));
      Value atEven = evenAdds ? k.add(even, rest) : k.sub(even, rest);
      Value atOdd = evenAdds ? k.sub(odd, rest) : k.add(odd, rest);
      return k.select(isEven, atEven, atOdd);
    };
    Value below = fold(k.sub(low, x), low, high, true);
    Value above = fold(k.sub(x, high), high, low, false);
    Value result = k.select(k.less(x, low), below, k.select(k.less(high, x), above, x));
    return between(result, low, high);
  }

  /// The position along spatial axis i, in elements of the input.
  Value positionOf(size_t i) {
    size_t rank = dims.size() - 2;
    KernelBuilder::Index at = {index[0]};
    at.append(index.begin() + 2, index.end());
    at.push_back(k.index(rank - 1 - i));
    Value n = k.cast(k.load(grid, at), computeType(k.elementType(grid)), real);
    Value one = constant(1), half = constant(0.5), x;
    if (alignCorners)
      x = k.mul(k.mul(k.add(n, one), half), k.sub(size(i), one));
    else
      x = k.mul(k.sub(k.mul(k.add(n, one), size(i)), one), half);
    if (mode == "nearest")
      x = k.b.create<math::RoundEvenOp>(x);
    // Cubic interpolation pads the elements that it reads, not the position.
    if (padding == "reflection")
      return mode == "cubic" ? between(x, constant(-1e6), constant(1e6)) : reflect(i, x);
    if (padding == "border" && mode != "cubic") {
      Value low = constant(alignCorners ? 0.0 : -0.5);
      Value high = k.sub(size(i), constant(alignCorners ? 1.0 : 0.5));
      Value inside = k.logicalAnd(k.lessEqual(low, x), k.lessEqual(x, high));
      return k.select(inside, x, between(x, constant(0), k.sub(size(i), one)));
    }
    // Far outside is as good as outside, and fits an integer.
    return between(x, constant(-8), k.add(size(i), constant(8)));
  }

  /// The input's element of an integer position under the padding, and whether it is one.
  Value bounded(size_t i, Value position, Value &valid) {
    Value extent = k.sym(dims[2 + i]), zero = k.index(0);
    if (padding == "zeros") {
      Value inside = inBounds(k, position, extent);
      valid = valid ? k.logicalAnd(valid, inside) : inside;
    } else if (padding == "reflection") {
      position = realToIndex(k, reflect(i, indexToReal(k, position, real)));
    }
    return k.max(k.min(position, k.sub(extent, k.index(1))), zero);
  }

  Value interpolate(size_t level, KernelBuilder::Index &from, Value valid) {
    if (level == positions.size()) {
      Value x = k.load(input, from);
      return valid ? k.select(valid, x, k.constant(type, 0)) : x;
    }
    Value whole = k.b.create<math::FloorOp>(positions[level]);
    Value base = realToIndex(k, whole);
    if (mode == "nearest") {
      from[2 + level] = bounded(level, base, valid);
      return interpolate(level + 1, from, valid);
    }
    Value fraction = k.sub(positions[level], whole);
    int64_t first = mode == "linear" ? 0 : -1, last = mode == "linear" ? 1 : 2;
    Value sum;
    for (int64_t tap = first; tap <= last; ++tap) {
      Value ownValid = valid;
      from[2 + level] = bounded(level, k.add(base, k.index(tap)), ownValid);
      Value weight = k.cast(weightOf(tap, fraction), real, type);
      Value term = k.mul(weight, interpolate(level + 1, from, ownValid));
      sum = sum ? k.add(sum, term) : term;
    }
    return sum;
  }

  Value weightOf(int64_t tap, Value fraction) {
    Value one = constant(1);
    if (mode == "linear")
      return tap == 0 ? k.sub(one, fraction) : fraction;
    constexpr double a = -0.75;
    Value x =
        tap <= 0 ? k.add(fraction, constant(double(-tap))) : k.sub(constant(double(tap)), fraction);
    if (tap == 0 || tap == 1) {
      Value near = k.sub(k.mul(constant(a + 2), x), constant(a + 3));
      return k.add(k.mul(k.mul(near, x), x), one);
    }
    Value far = k.sub(k.mul(constant(a), x), constant(5 * a));
    far = k.add(k.mul(far, x), constant(8 * a));
    return k.sub(k.mul(far, x), constant(4 * a));
  }

  KernelBuilder &k;
  Value input, grid;
  Dims dims;
  Type type, real;
  ValueRange index;
  std::string mode, padding;
  bool alignCorners;
  SmallVector<Value> positions;
};

Value gridSampleElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  return GridSampler(k, node, index).emit();
}

//===----------------------------------------------------------------------===//
// AffineGrid
//===----------------------------------------------------------------------===//

LogicalResult inferAffineGrid(InferContext &ctx) {
  std::optional<Dims> size = ctx.values(1);
  if (!size || size->size() < 4)
    return ctx.fail("its size must be [N, C, H, W] or [N, C, D, H, W]");
  Dims result = {(*size)[0]};
  result.append(size->begin() + 2, size->end());
  result.push_back(int64_t(size->size()) - 2);
  ctx.setResult(0, ctx.elementType(0), result);
  return success();
}

/// theta · (…, y, x, 1) with coordinates from -1 to 1.
Value affineGridElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Value theta = node.getInputs()[0];
  Dims dims = k.dims(node.getResult(0));
  bool alignCorners = NodeAttrs(node).integer("align_corners", 0) != 0;
  Type type = computeType(k.elementType(theta));
  size_t rank = dims.size() - 2;
  Value one = k.constant(type, 1), two = k.constant(type, 2), sum;
  auto entry = [&](size_t j) { return k.load(theta, {index[0], index.back(), k.index(j)}); };
  for (size_t i = 0; i < rank; ++i) {
    size_t axis = rank - i;
    Value at = indexToReal(k, index[axis], type), size = indexToReal(k, k.sym(dims[axis]), type);
    Value coordinate;
    if (alignCorners)
      coordinate = k.div(k.mul(two, at), k.sub(size, one));
    else
      coordinate = k.div(k.add(k.mul(two, at), one), size);
    Value term = k.mul(entry(i), k.sub(coordinate, one));
    sum = sum ? k.add(sum, term) : term;
  }
  return k.add(sum, entry(rank));
}

} // namespace

ArrayRef<OpSpec> tacq::samplingOps() {
  static const std::vector<OpSpec> table = [] {
    OpSpec gridSample;
    gridSample.name = "GridSample";
    gridSample.infer = inferGridSample;
    gridSample.element = gridSampleElement;
    gridSample.heavy = true;
    OpSpec affineGrid;
    affineGrid.name = "AffineGrid";
    affineGrid.infer = inferAffineGrid;
    affineGrid.element = affineGridElement;
    return std::vector<OpSpec>{gridSample, affineGrid};
  }();
  return table;
}
