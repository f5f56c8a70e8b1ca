//===- PoolingOps.cpp - Pools over windows or whole images, Col2Im --------===//

#include "KernelMath.h"
#include "PoolingTables.h"
#include "Windows.h"
#include <cmath>

using namespace mlir;
using namespace tacq;

namespace {

Dims spatialDims(ArrayRef<Sym> dims) { return Dims(dims.begin() + 2, dims.end()); }

Windows poolWindows(NodeOp node, ArrayRef<Sym> dims) {
  NodeAttrs attrs(node);
  Dims kernel;
  for (int64_t size : attrs.integers("kernel_shape"))
    kernel.push_back(size);
  return windowsOf(attrs, spatialDims(dims), kernel);
}

LogicalResult inferPool(InferContext &ctx) {
  Dims dims = ctx.dims(0);
  if (dims.size() < 3)
    return ctx.fail("its input must have at least 3 dimensions");
  if (ctx.attrs.integers("kernel_shape").empty())
    return ctx.fail("attribute kernel_shape is missing");
  if (failed(checkWindowAttributes(ctx, dims.size() - 2)))
    return failure();
  Dims result = {dims[0], dims[1]};
  for (const Sym &out : poolWindows(ctx.node, dims).out) {
    if (out.constant() && *out.constant() < 0)
      return ctx.fail("the window is larger than the padded input");
    result.push_back(out);
  }
  ctx.setResult(0, ctx.elementType(0), result);
  if (ctx.resultCount() > 1 && !ctx.types[1])
    ctx.setResult(1, IntegerType::get(ctx.node.getContext(), 64), result);
  return success();
}

/// The part of a window that is inside of the input: offsets [lower, upper) along each axis.
struct WindowRange {
  KernelBuilder::Index start, lower, upper;

  WindowRange(KernelBuilder &k, const Windows &w, ValueRange index) : w(w) {
    Value zero = k.index(0);
    for (size_t i = 0; i < w.rank(); ++i) {
      Value first = k.sub(k.mul(index[2 + i], k.index(w.strides[i])), k.sym(w.padBegin[i]));
      start.push_back(first);
      lower.push_back(k.max(stepsTo(k, i, k.sub(zero, first)), zero));
      Value behind = stepsTo(k, i, k.sub(k.sym(w.in[i]), first));
      upper.push_back(k.min(k.sym(w.kernel[i]), behind));
    }
  }

  /// ceil(distance / dilation), at least 0.
  Value stepsTo(KernelBuilder &k, size_t i, Value distance) const {
    if (w.dilations[i] == 1)
      return distance;
    Value rounded = k.add(k.max(distance, k.index(0)), k.index(w.dilations[i] - 1));
    return k.b.create<arith::DivUIOp>(rounded, k.index(w.dilations[i]));
  }

  /// The input's index of an offset.
  KernelBuilder::Index at(KernelBuilder &k, ValueRange index, ValueRange offset) const {
    KernelBuilder::Index from = {index[0], index[1]};
    for (size_t i = 0; i < w.rank(); ++i)
      from.push_back(k.add(start[i], k.mul(offset[i], k.index(w.dilations[i]))));
    return from;
  }

private:
  const Windows &w;
};

//===----------------------------------------------------------------------===//
// MaxPool
//===----------------------------------------------------------------------===//

Value maxPoolElement(KernelBuilder &k, NodeOp node, unsigned result, ValueRange index) {
  Value input = node.getInputs()[0];
  Dims dims = k.dims(input);
  Type element = k.elementType(input);
  Windows w = poolWindows(node, dims);
  WindowRange range(k, w, index);
  if (result == 0)
    return reduceRange(k, range.lower, range.upper, lowestOf(k, element),
                       [&](ValueRange at, ValueRange carried) {
                         Value x = k.load(input, range.at(k, index, at));
                         return SmallVector<Value>{k.max(carried[0], x, isUnsigned(element))};
                       })[0];
  // The position of the first of the largest elements in the whole tensor; -1 marks none yet.
  bool columnMajor = NodeAttrs(node).integer("storage_order", 0) != 0;
  Value position = reduceRange(k, range.lower, range.upper, {lowestOf(k, element), k.index(-1)},
                               [&](ValueRange at, ValueRange carried) {
                                 KernelBuilder::Index from = range.at(k, index, at);
                                 Value x = k.load(input, from);
                                 Value above =
                                     k.logicalOr(k.less(carried[0], x, isUnsigned(element)),
                                                 k.equal(carried[1], k.index(-1)));
                                 Value position;
                                 if (columnMajor) {
                                   KernelBuilder::Index reversed = {from[0], from[1]};
                                   Dims reversedDims = {dims[0], dims[1]};
                                   for (size_t i = dims.size(); i-- > 2;) {
                                     reversed.push_back(from[i]);
                                     reversedDims.push_back(dims[i]);
                                   }
                                   position = k.linearize(reversed, reversedDims);
                                 } else {
                                   position = k.linearize(from, dims);
                                 }
                                 return SmallVector<Value>{k.select(above, x, carried[0]),
                                                           k.select(above, position, carried[1])};
                               })[1];
  return k.fromIndex(position, k.elementType(node.getResult(1)));
}

//===----------------------------------------------------------------------===//
// AveragePool, LpPool
//===----------------------------------------------------------------------===//

/// How many elements an average is over. Padding counts if asked for, but not what a window of
/// ceil_mode has behind it.
Value elementsOfWindow(KernelBuilder &k, const Windows &w, ValueRange index, bool withPadding) {
  WindowRange range(k, w, index);
  Value count = k.index(1);
  for (size_t i = 0; i < w.rank(); ++i) {
    Value own = k.sub(range.upper[i], range.lower[i]);
    if (withPadding) {
      Value end = k.sub(k.sym(w.in[i] + w.padEnd[i]), range.start[i]);
      own = k.min(k.sym(w.kernel[i]), range.stepsTo(k, i, end));
    }
    count = k.mul(count, own);
  }
  return k.max(count, k.index(1));
}

Value averagePoolElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Value input = node.getInputs()[0];
  Windows w = poolWindows(node, k.dims(input));
  WindowRange range(k, w, index);
  Type type = computeType(k.elementType(input));
  Value sum = reduceRange(k, range.lower, range.upper, k.constant(type, 0),
                          [&](ValueRange at, ValueRange carried) {
                            Value x = k.load(input, range.at(k, index, at));
                            return SmallVector<Value>{addAnyOrder(k, carried[0], x)};
                          })[0];
  bool withPadding = NodeAttrs(node).integer("count_include_pad", 0) != 0;
  return k.div(sum, indexToReal(k, elementsOfWindow(k, w, index, withPadding), type));
}

Value lpPoolElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Value input = node.getInputs()[0];
  Windows w = poolWindows(node, k.dims(input));
  WindowRange range(k, w, index);
  Type type = computeType(k.elementType(input));
  int64_t p = NodeAttrs(node).integer("p", 2);
  Value sum = reduceRange(k, range.lower, range.upper, k.constant(type, 0),
                          [&](ValueRange at, ValueRange carried) {
                            Value x = k.load(input, range.at(k, index, at));
                            x = k.b.create<math::AbsFOp>(x);
                            Value power = x;
                            for (int64_t i = 1; i < p; ++i)
                              power = k.mul(power, x);
                            return SmallVector<Value>{addAnyOrder(k, carried[0], power)};
                          })[0];
  if (p == 1)
    return sum;
  if (p == 2)
    return k.b.create<math::SqrtOp>(sum);
  return k.b.create<math::PowFOp>(sum, k.constant(type, 1.0 / double(p)));
}

//===----------------------------------------------------------------------===//
// Global pools
//===----------------------------------------------------------------------===//

LogicalResult inferGlobalPool(InferContext &ctx) {
  Dims dims = ctx.dims(0);
  if (dims.size() < 2)
    return ctx.fail("its input must have at least 2 dimensions");
  for (size_t i = 2; i < dims.size(); ++i)
    dims[i] = 1;
  ctx.setResult(0, ctx.elementType(0), dims);
  return success();
}

Value reduceSpatial(NodeBuilder &builder, StringRef opType, Value input) {
  int64_t rank = cast<ShapedType>(input.getType()).getRank();
  if (rank == 2)
    return builder.create("Identity", input);
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(2, rank));
  return builder.create(opType, {input, builder.integers(axes)});
}

SmallVector<Value> decomposeGlobalAverage(NodeBuilder &builder, NodeOp node) {
  return {reduceSpatial(builder, "ReduceMean", node.getInputs()[0])};
}

SmallVector<Value> decomposeGlobalMax(NodeBuilder &builder, NodeOp node) {
  return {reduceSpatial(builder, "ReduceMax", node.getInputs()[0])};
}

SmallVector<Value> decomposeGlobalLp(NodeBuilder &builder, NodeOp node) {
  Value input = node.getInputs()[0];
  int64_t p = NodeAttrs(node).integer("p", 2);
  if (p == 1 || p == 2)
    return {reduceSpatial(builder, p == 1 ? "ReduceL1" : "ReduceL2", input)};
  Type element = cast<ShapedType>(input.getType()).getElementType();
  Value powers =
      builder.create("Pow", {builder.create("Abs", input), builder.scalar(element, double(p))});
  return {builder.create("Pow", {reduceSpatial(builder, "ReduceSum", powers),
                                 builder.scalar(element, 1.0 / double(p))})};
}

//===----------------------------------------------------------------------===//
// MaxUnpool
//===----------------------------------------------------------------------===//

LogicalResult inferMaxUnpool(InferContext &ctx) {
  Dims dims = ctx.dims(0);
  if (dims.size() < 3 || ctx.attrs.integers("kernel_shape").size() != dims.size() - 2)
    return ctx.fail("kernel_shape must have an element for each spatial axis");
  if (failed(checkWindowAttributes(ctx, dims.size() - 2)))
    return failure();
  Dims kernel;
  for (int64_t size : ctx.attrs.integers("kernel_shape"))
    kernel.push_back(size);
  Dims result = {dims[0], dims[1]};
  if (ctx.has(2)) {
    std::optional<Dims> shape = ctx.values(2);
    if (!shape || shape->size() != dims.size())
      return ctx.fail("output_shape must have an element for each axis");
    result = *shape;
  } else {
    llvm::append_range(result, transposedWindowsOf(ctx.attrs, spatialDims(dims), kernel).out);
  }
  ctx.setResult(0, ctx.elementType(0), result);
  return success();
}

/// Indices are positions in the tensor without output_shape's enlargement.
LogicalResult emitMaxUnpool(KernelBuilder &k, NodeOp node) {
  NodeAttrs attrs(node);
  Value input = node.getInputs()[0], indices = node.getInputs()[1];
  Dims dims = k.dims(input), outDims = k.dims(node.getResult(0)), kernel;
  for (int64_t size : attrs.integers("kernel_shape"))
    kernel.push_back(size);
  Dims sourceDims = {dims[0], dims[1]};
  llvm::append_range(sourceDims, transposedWindowsOf(attrs, spatialDims(dims), kernel).out);
  Type type = computeType(k.elementType(input));
  k.parallel(1, [&](Value) {
    k.reduce(outDims, {}, [&](ValueRange at, ValueRange) {
      k.store(0, at, k.constant(type, 0));
      return SmallVector<Value>();
    });
    k.reduce(dims, {}, [&](ValueRange at, ValueRange) {
      Value position = k.toIndex(k.load(indices, at), k.elementType(indices));
      position = k.checkedIndex(position, k.sym(elementCount(sourceDims)), node);
      KernelBuilder::Index to = k.delinearize(position, sourceDims);
      k.store(0, to, k.load(input, at));
      return SmallVector<Value>();
    });
  });
  return success();
}

//===----------------------------------------------------------------------===//
// Col2Im
//===----------------------------------------------------------------------===//

LogicalResult inferCol2Im(InferContext &ctx) {
  Dims dims = ctx.dims(0);
  std::optional<Dims> image = ctx.values(1), block = ctx.values(2);
  if (dims.size() != 3 || !image || !block || image->size() != block->size())
    return ctx.fail("it needs a 3-dimensional input and shapes of equal, known length");
  Dims result = {dims[0], Sym::floorDiv(dims[1], elementCount(*block))};
  result.append(image->begin(), image->end());
  ctx.setResult(0, ctx.elementType(0), result);
  return success();
}

/// An element sums up the columns that were copied from it.
Value col2ImElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  NodeAttrs attrs(node);
  Value input = node.getInputs()[0], block = node.getInputs()[2];
  Dims image = spatialDims(k.dims(node.getResult(0)));
  size_t rank = image.size();
  auto entry = [&](StringRef name, size_t i, int64_t fallback) {
    SmallVector<int64_t> list = attrs.integers(name);
    return list.empty() ? fallback : list[i];
  };
  Value zero = k.index(0), one = k.index(1), blockCount = one;
  KernelBuilder::Index lower(rank, zero), kernel, steps;
  for (size_t i = 0; i < rank; ++i) {
    Value size = k.toIndex(k.load(block, k.index(i)), k.elementType(block));
    kernel.push_back(size);
    blockCount = k.mul(blockCount, size);
    Value covered = k.mul(k.sub(size, one), k.index(entry("dilations", i, 1)));
    int64_t pads = entry("pads", i, 0) + entry("pads", rank + i, 0);
    Value room = k.sub(k.add(k.sym(image[i]), k.index(pads - 1)), covered);
    steps.push_back(k.add(floorDivIndex(k, room, k.index(entry("strides", i, 1))), one));
  }
  Type type = computeType(k.elementType(input));
  return reduceRange(k, lower, kernel, k.constant(type, 0), [&](ValueRange at, ValueRange carried) {
    Value inside = k.integer(k.b.getI1Type(), 1), column = zero, row = k.mul(index[1], blockCount);
    Value offset = zero;
    for (size_t i = 0; i < rank; ++i) {
      Value stride = k.index(entry("strides", i, 1));
      Value position = k.sub(k.add(index[2 + i], k.index(entry("pads", i, 0))),
                             k.mul(at[i], k.index(entry("dilations", i, 1))));
      Value step = floorDivIndex(k, position, stride);
      Value exact = k.equal(k.mul(step, stride), position);
      inside = k.logicalAnd(inside, k.logicalAnd(exact, inBounds(k, step, steps[i])));
      column = k.add(k.mul(column, steps[i]), step);
      offset = k.add(k.mul(offset, kernel[i]), at[i]);
    }
    return k.branch(
        inside,
        [&] {
          Value x = k.load(input, {index[0], k.add(row, offset), column});
          return SmallVector<Value>{k.add(carried[0], x)};
        },
        [&] { return SmallVector<Value>{carried[0]}; });
  })[0];
}

//===----------------------------------------------------------------------===//
// Pools by rows
//===----------------------------------------------------------------------===//

/// Outputs of a row that are computed together.
constexpr int64_t columnsPerTask = 128;

/// Maximum and average of a piece of a row at a time: for each offset of the window, the elements
/// that it has for all outputs of the piece lie a stride apart.
template <bool average> LogicalResult poolLoops(KernelBuilder &k, NodeOp node) {
  Value input = node.getInputs()[0], result = k.region().front().getTerminator()->getOperand(0);
  if (result != node.getResult(0))
    return failure();
  Dims dims = k.dims(input), outDims = k.dims(result);
  Type element = k.elementType(input), type = computeType(element);
  Windows w = poolWindows(node, dims);
  size_t last = w.rank() - 1;
  bool withPadding = NodeAttrs(node).integer("count_include_pad", 0) != 0;
  Value values = stackBuffer(k, columnsPerTask, type);
  auto get = [&](Value i) -> Value { return k.b.create<memref::LoadOp>(values, i); };
  auto put = [&](Value i, Value x) { k.b.create<memref::StoreOp>(x, values, i); };
  Dims tasks(outDims.begin(), outDims.end() - 1);
  tasks.push_back(Sym::ceilDiv(outDims.back(), columnsPerTask));
  k.parallel(elementCount(tasks), [&](Value task) {
    KernelBuilder::Index index = k.delinearize(task, tasks);
    Value first = k.mul(index.back(), k.index(columnsPerTask)), zero = k.index(0);
    Value count = k.min(k.sub(k.sym(outDims.back()), first), k.index(columnsPerTask));
    index.back() = first;
    WindowRange range(k, w, index);
    k.loop(count, [&](Value i) { put(i, average ? k.constant(type, 0) : lowestOf(k, element)); });
    // Along the last axis every offset has outputs of its own that it is inside of the input for.
    range.lower[last] = zero;
    range.upper[last] = k.sym(w.kernel[last]);
    Value stride = k.index(w.strides[last]);
    reduceRange(k, range.lower, range.upper, {}, [&](ValueRange at, ValueRange) {
      KernelBuilder::Index from = range.at(k, index, at);
      Value start = from.back();
      auto outputsBefore = [&](Value column) {
        Value distance = k.max(k.sub(column, start), zero);
        Value rounded = k.add(distance, k.index(w.strides[last] - 1));
        return k.min(k.b.create<arith::DivUIOp>(rounded, stride), count);
      };
      reduceRange(k, outputsBefore(zero), outputsBefore(k.sym(w.in[last])), {},
                  [&](ValueRange i, ValueRange) {
                    from.back() = k.add(start, k.mul(i[0], stride));
                    Value x = k.load(input, from), old = get(i[0]);
                    put(i[0], average ? k.add(old, x) : k.max(old, x, isUnsigned(element)));
                    return SmallVector<Value>();
                  });
      return SmallVector<Value>();
    });
    k.loop(count, [&](Value i) {
      KernelBuilder::Index to = index;
      to.back() = k.add(first, i);
      Value value = get(i);
      if (average)
        value = k.div(value, indexToReal(k, elementsOfWindow(k, w, to, withPadding), type));
      k.store(0, to, value);
    });
  });
  return success();
}

OpSpec elementOp(StringRef name, InferFn infer, ElementFn element) {
  OpSpec spec;
  spec.name = name;
  spec.infer = infer;
  spec.element = element;
  spec.heavy = true;
  return spec;
}

OpSpec globalPool(StringRef name, DecomposeFn decompose) {
  OpSpec spec;
  spec.name = name;
  spec.infer = inferGlobalPool;
  spec.decompose = decompose;
  return spec;
}

std::vector<OpSpec> makeTable() {
  OpSpec maxPool = elementOp("MaxPool", inferPool, maxPoolElement);
  maxPool.loops = poolLoops</*average=*/false>;
  OpSpec averagePool = elementOp("AveragePool", inferPool, averagePoolElement);
  averagePool.loops = poolLoops</*average=*/true>;
  OpSpec maxUnpool;
  maxUnpool.name = "MaxUnpool";
  maxUnpool.infer = inferMaxUnpool;
  maxUnpool.loops = emitMaxUnpool;
  std::vector<OpSpec> table = {
      maxPool,
      averagePool,
      elementOp("LpPool", inferPool, lpPoolElement),
      globalPool("GlobalAveragePool", decomposeGlobalAverage),
      globalPool("GlobalMaxPool", decomposeGlobalMax),
      globalPool("GlobalLpPool", decomposeGlobalLp),
      maxUnpool,
      elementOp("Col2Im", inferCol2Im, col2ImElement),
  };
  llvm::append_range(table, resizeOps());
  llvm::append_range(table, samplingOps());
  return table;
}

} // namespace

ArrayRef<OpSpec> tacq::poolingOps() {
  static const std::vector<OpSpec> table = makeTable();
  return table;
}
