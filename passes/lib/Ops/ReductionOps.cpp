//===- ReductionOps.cpp - Reduce* and CumSum ------------------------------===//

#include "KernelMath.h"
#include "RowOps.h"
#include <cmath>

using namespace mlir;
using namespace tacq;

namespace {

enum class Reduction { Sum, Mean, Max, Min, Prod, L1, L2, LogSum, LogSumExp, SumSquare };

/// The attribute in which inference leaves the reduced axes, sorted; absent if they are data.
constexpr StringLiteral reducedAxes = "reduced_axes";

bool takesAxesAsInput(Reduction kind, int64_t opset) {
  return opset >= (kind == Reduction::Sum ? 13 : 18);
}

//===----------------------------------------------------------------------===//
// Inference
//===----------------------------------------------------------------------===//

/// [x == value] as an expression: 1 or 0.
Sym equals(const Sym &x, int64_t value) {
  Sym difference = x - Sym(value);
  return Sym::max(Sym(1) - Sym::max(difference, Sym() - difference), Sym());
}

/// The result's dimensions where the axes are read at run time: every size becomes an expression
/// that picks it.
Dims dimsForRuntimeAxes(ArrayRef<Sym> dims, ArrayRef<Sym> axes, bool keepDims) {
  int64_t rank = dims.size();
  SmallVector<Sym> kept;
  for (int64_t i = 0; i < rank; ++i) {
    Sym reduced;
    for (const Sym &axis : axes)
      reduced = reduced + equals(Sym::mod(axis, Sym(rank)), i);
    kept.push_back(Sym(1) - reduced);
  }
  Dims result;
  if (keepDims) {
    for (int64_t i = 0; i < rank; ++i)
      result.push_back(Sym(1) + kept[i] * (dims[i] - Sym(1)));
    return result;
  }
  for (int64_t p = 0; p + int64_t(axes.size()) < rank; ++p) {
    Sym size, before;
    for (int64_t i = 0; i < rank; ++i) {
      size = size + dims[i] * kept[i] * equals(before, p);
      before = before + kept[i];
    }
    result.push_back(size);
  }
  return result;
}

/// Reductions of shape arithmetic, folded.
void foldReduction(InferContext &ctx, Reduction kind, ArrayRef<int64_t> axes) {
  if (kind != Reduction::Sum && kind != Reduction::Prod && kind != Reduction::Max &&
      kind != Reduction::Min)
    return;
  if (!ctx.elementType(0).isInteger(64) && !ctx.elementType(0).isInteger(32))
    return;
  std::optional<Dims> values = ctx.knownValues(0);
  if (!values || values->empty())
    return;
  SmallVector<int64_t> shape;
  for (const Sym &dim : ctx.dims(0)) {
    if (!dim.constant())
      return;
    shape.push_back(*dim.constant());
  }
  SmallVector<std::optional<Sym>> folded;
  for (size_t i = 0; i < values->size(); ++i) {
    int64_t rest = i, position = 0, stride = 1;
    for (size_t axis = shape.size(); axis-- > 0;) {
      if (!llvm::is_contained(axes, int64_t(axis))) {
        position += rest % shape[axis] * stride;
        stride *= shape[axis];
      }
      rest /= shape[axis];
    }
    folded.resize(std::max<size_t>(folded.size(), position + 1));
    const Sym &value = (*values)[i];
    std::optional<Sym> &into = folded[position];
    if (!into)
      into = value;
    else if (kind == Reduction::Sum)
      into = *into + value;
    else if (kind == Reduction::Prod)
      into = *into * value;
    else
      into = kind == Reduction::Max ? Sym::max(*into, value) : Sym::min(*into, value);
  }
  Dims result;
  for (const std::optional<Sym> &value : folded)
    result.push_back(*value);
  ctx.setValues(0, result);
}

template <Reduction kind> LogicalResult inferReduction(InferContext &ctx) {
  Dims dims = ctx.dims(0);
  int64_t rank = dims.size();
  bool keepDims = ctx.attrs.integer("keepdims", 1) != 0;
  bool fromInput = takesAxesAsInput(kind, ctx.opset());
  SmallVector<int64_t> axes;
  bool all = true;
  if (fromInput && ctx.has(1)) {
    std::optional<int64_t> count = elementCount(ctx.dims(1)).constant();
    if (!count)
      return ctx.unsupported("the number of axes is not known at compile time");
    std::optional<SmallVector<int64_t>> known = ctx.constants(1);
    if (*count > 0 && !known) {
      std::optional<Dims> read = ctx.values(1);
      if (!read)
        return ctx.unsupported("the axes cannot be read");
      ctx.setResult(0, ctx.elementType(0), dimsForRuntimeAxes(dims, *read, keepDims));
      return success();
    }
    if (*count > 0)
      axes = *known;
    all = axes.empty();
  } else if (!fromInput && ctx.attrs.has("axes")) {
    axes = ctx.attrs.integers("axes");
    all = axes.empty();
  }
  for (int64_t &axis : axes) {
    FailureOr<int64_t> normal = ctx.axis(axis, rank);
    if (failed(normal))
      return failure();
    axis = *normal;
  }
  if (all && !(fromInput && ctx.attrs.integer("noop_with_empty_axes", 0)))
    axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  llvm::sort(axes);
  axes.erase(std::unique(axes.begin(), axes.end()), axes.end());
  recordIntegers(ctx.node, reducedAxes, axes);
  Dims result;
  for (int64_t i = 0; i < rank; ++i) {
    if (!llvm::is_contained(axes, i))
      result.push_back(dims[i]);
    else if (keepDims)
      result.push_back(1);
  }
  ctx.setResult(0, ctx.elementType(0), result);
  foldReduction(ctx, kind, axes);
  return success();
}

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

Value absolute(KernelBuilder &k, Value x) {
  if (isa<FloatType>(x.getType()))
    return k.b.create<math::AbsFOp>(x);
  return k.b.create<math::AbsIOp>(x);
}

/// How elements of one node are accumulated.
struct Accumulation {
  Reduction kind;
  Type element;
  /// In which the sum is kept: the compute type, or f64 for roots and logarithms of integers.
  Type type;

  Accumulation(KernelBuilder &k, Reduction kind, Type element) : kind(kind), element(element) {
    bool needsReal =
        kind == Reduction::L2 || kind == Reduction::LogSum || kind == Reduction::LogSumExp;
    type = isFloat(element) || !needsReal ? computeType(element) : k.b.getF64Type();
  }

  Value initial(KernelBuilder &k) const {
    switch (kind) {
    case Reduction::Max:
      return lowestOf(k, element);
    case Reduction::Min:
      return highestOf(k, element);
    case Reduction::Prod:
      return k.constant(type, 1);
    default:
      return k.constant(type, 0);
    }
  }

  Value widen(KernelBuilder &k, Value x) const {
    return x.getType() == type ? x : k.cast(x, element, type);
  }

  Value step(KernelBuilder &k, Value sum, Value x) const {
    x = widen(k, x);
    switch (kind) {
    case Reduction::Max:
      return k.max(sum, x, isUnsigned(element));
    case Reduction::Min:
      return k.min(sum, x, isUnsigned(element));
    case Reduction::Prod:
      return isFloat(element) ? k.b.create<arith::MulFOp>(sum, x, arith::FastMathFlags::reassoc)
                              : k.mul(sum, x);
    case Reduction::L1:
      return addAnyOrder(k, sum, isUnsigned(element) ? x : absolute(k, x));
    case Reduction::L2:
    case Reduction::SumSquare:
      return addAnyOrder(k, sum, mulFast(k, x, x));
    default:
      return addAnyOrder(k, sum, x);
    }
  }

  Value finish(KernelBuilder &k, Value sum, llvm::function_ref<Value()> count) const {
    if (kind == Reduction::L2)
      sum = k.b.create<math::SqrtOp>(sum);
    else if (kind == Reduction::LogSum)
      sum = k.b.create<math::LogOp>(sum);
    else if (kind == Reduction::Mean && isFloat(element))
      return k.div(sum, indexToReal(k, count(), type));
    else if (kind == Reduction::Mean)
      return k.div(sum, k.fromIndex(count(), element), isUnsigned(element));
    return type == computeType(element) ? sum : k.cast(sum, type, element);
  }
};

using ReduceLoops = llvm::function_ref<Value(
    Value init, llvm::function_ref<Value(Value element, Value carried)> step)>;

Value emitReduction(KernelBuilder &k, Reduction kind, Type element, ReduceLoops overElements,
                    llvm::function_ref<Value()> count) {
  Accumulation sum(k, kind, element);
  if (kind != Reduction::LogSumExp) {
    Value total = overElements(sum.initial(k),
                               [&](Value x, Value carried) { return sum.step(k, carried, x); });
    return sum.finish(k, total, count);
  }
  // The largest element is taken out of the sum, so that no exponential overflows; an infinite one
  // is not, as it would leave inf - inf.
  Type type = sum.type;
  Value largest = overElements(k.constant(type, -INFINITY), [&](Value x, Value carried) {
    return k.max(carried, sum.widen(k, x));
  });
  Value finite = k.less(absolute(k, largest), k.constant(type, INFINITY));
  Value shift = k.select(finite, largest, k.constant(type, 0));
  Value total = overElements(k.constant(type, 0), [&](Value x, Value carried) {
    Value e = k.b.create<math::ExpOp>(k.sub(sum.widen(k, x), shift));
    return addAnyOrder(k, carried, e);
  });
  Value result = k.add(k.b.create<math::LogOp>(total), shift);
  return type == computeType(element) ? result : k.cast(result, type, element);
}

/// Where the axes are data: loops over all axes, each as long as its size if reduced, else 1.
Value emitRuntimeReduction(KernelBuilder &k, Reduction kind, NodeOp node, ValueRange index) {
  Value input = node.getInputs()[0], axes = node.getInputs()[1];
  Dims dims = k.dims(input);
  int64_t rank = dims.size(), count = *elementCount(k.dims(axes)).constant();
  bool keepDims = NodeAttrs(node).integer("keepdims", 1) != 0;
  Value zero = k.index(0), one = k.index(1);
  KernelBuilder::Index chosen, base, extents;
  for (int64_t j = 0; j < count; ++j) {
    Value axis = k.toIndex(k.load(axes, k.index(j)), k.elementType(axes));
    chosen.push_back(k.checkedIndex(axis, k.index(rank), node));
  }
  Value before = zero;
  for (int64_t i = 0; i < rank; ++i) {
    Value reduced = k.integer(k.b.getI1Type(), 0);
    for (Value axis : chosen)
      reduced = k.logicalOr(reduced, k.equal(axis, k.index(i)));
    Value own = zero;
    if (keepDims)
      own = index[i];
    else
      for (auto [p, at] : llvm::enumerate(index))
        own = k.select(k.equal(before, k.index(p)), at, own);
    base.push_back(k.select(reduced, zero, own));
    extents.push_back(k.select(reduced, k.sym(dims[i]), one));
    before = k.select(reduced, before, k.add(before, one));
  }
  auto overElements = [&](Value init, llvm::function_ref<Value(Value, Value)> step) {
    KernelBuilder::Index lower(rank, zero);
    return reduceRange(k, lower, extents, init, [&](ValueRange at, ValueRange carried) {
      KernelBuilder::Index own;
      for (auto [offset, i] : llvm::zip(base, at))
        own.push_back(k.add(offset, i));
      return SmallVector<Value>{step(k.load(input, own), carried[0])};
    })[0];
  };
  return emitReduction(k, kind, k.elementType(input), overElements, [&] {
    Value product = one;
    for (Value extent : extents)
      product = k.mul(product, extent);
    return product;
  });
}

template <Reduction kind>
Value reductionElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Value input = node.getInputs()[0];
  NodeAttrs attrs(node);
  if (!attrs.has(reducedAxes))
    return emitRuntimeReduction(k, kind, node, index);
  Dims dims = k.dims(input);
  SmallVector<int64_t> axes = attrs.integers(reducedAxes);
  bool keepDims = attrs.integer("keepdims", 1) != 0;
  Dims extents;
  for (int64_t axis : axes)
    extents.push_back(dims[axis]);
  auto overElements = [&](Value init, llvm::function_ref<Value(Value, Value)> step) {
    return k.reduce(extents, init, [&](ValueRange at, ValueRange carried) {
      KernelBuilder::Index own;
      size_t reduced = 0, next = 0;
      for (size_t i = 0; i < dims.size(); ++i) {
        bool isReduced = reduced < axes.size() && axes[reduced] == int64_t(i);
        own.push_back(isReduced ? at[reduced++] : index[next]);
        next += !isReduced || keepDims;
      }
      return SmallVector<Value>{step(k.load(input, own), carried[0])};
    })[0];
  };
  return emitReduction(k, kind, k.elementType(input), overElements,
                       [&] { return k.sym(elementCount(extents)); });
}

/// Columns that are reduced together, where the last axis stays.
constexpr int64_t columnsPerTask = 64;

/// Where the last axis stays, elements of a row are read one behind the other, and each is added to
/// the sum of its column.
template <Reduction kind> LogicalResult reductionLoops(KernelBuilder &k, NodeOp node) {
  Value input = node.getInputs()[0];
  NodeAttrs attrs(node);
  Dims dims = k.dims(input), outDims = k.dims(node.getResult(0));
  SmallVector<int64_t> axes = attrs.integers(reducedAxes);
  if (kind == Reduction::LogSumExp || axes.empty() || axes.back() == int64_t(dims.size()) - 1 ||
      dims.back().constant().value_or(columnsPerTask) < 8)
    return failure();
  bool keepDims = attrs.integer("keepdims", 1) != 0;
  Dims extents, tasks(outDims.begin(), outDims.end() - 1);
  for (int64_t axis : axes)
    extents.push_back(dims[axis]);
  tasks.push_back(Sym::ceilDiv(dims.back(), columnsPerTask));
  Accumulation sum(k, kind, k.elementType(input));
  Value sums = stackBuffer(k, columnsPerTask, sum.type);
  auto get = [&](Value i) -> Value { return k.b.create<memref::LoadOp>(sums, i); };
  auto put = [&](Value i, Value x) { k.b.create<memref::StoreOp>(x, sums, i); };
  k.parallel(elementCount(tasks), [&](Value task) {
    KernelBuilder::Index outer = k.delinearize(task, tasks);
    Value first = k.mul(outer.pop_back_val(), k.index(columnsPerTask));
    Value count = k.min(k.sub(k.sym(dims.back()), first), k.index(columnsPerTask));
    k.loop(count, [&](Value i) { put(i, sum.initial(k)); });
    k.reduce(extents, {}, [&](ValueRange at, ValueRange) {
      k.loop(count, [&](Value i) {
        KernelBuilder::Index own;
        size_t reduced = 0, next = 0;
        for (size_t axis = 0; axis + 1 < dims.size(); ++axis) {
          bool isReduced = reduced < axes.size() && axes[reduced] == int64_t(axis);
          own.push_back(isReduced ? at[reduced++] : outer[next]);
          next += !isReduced || keepDims;
        }
        own.push_back(k.add(first, i));
        put(i, sum.step(k, get(i), k.load(input, own)));
      });
      return SmallVector<Value>();
    });
    k.loop(count, [&](Value i) {
      KernelBuilder::Index to = outer;
      to.push_back(k.add(first, i));
      k.store(0, to, sum.finish(k, get(i), [&] { return k.sym(elementCount(extents)); }));
    });
  });
  return success();
}

//===----------------------------------------------------------------------===//
// CumSum
//===----------------------------------------------------------------------===//

/// The attribute in which inference leaves the axis, if it is known.
constexpr StringLiteral scanAxis = "scan_axis";

LogicalResult inferCumSum(InferContext &ctx) {
  ctx.setResult(0, ctx.elementType(0), ctx.dims(0));
  if (std::optional<SmallVector<int64_t>> known = ctx.constants(1); known && known->size() == 1) {
    FailureOr<int64_t> axis = ctx.axis((*known)[0], ctx.rank(0));
    if (failed(axis))
      return failure();
    recordIntegers(ctx.node, scanAxis, *axis);
  }
  return success();
}

/// Where the axis is data: each element adds up its own prefix.
LogicalResult emitRuntimeCumSum(KernelBuilder &k, NodeOp node, bool exclusive, bool reverse) {
  Value input = node.getInputs()[0], axisInput = node.getInputs()[1];
  Dims dims = k.dims(input);
  Type element = k.elementType(input);
  k.parallel(elementCount(dims), [&](Value task) {
    KernelBuilder::Index at = k.delinearize(task, dims),
                         zeros(k.dims(axisInput).size(), k.index(0));
    Value axis = k.toIndex(k.load(axisInput, zeros), k.elementType(axisInput));
    axis = k.checkedIndex(axis, k.index(dims.size()), node);
    Value own = k.index(0), extent = k.index(1);
    for (size_t i = 0; i < dims.size(); ++i) {
      Value here = k.equal(axis, k.index(i));
      own = k.select(here, at[i], own);
      extent = k.select(here, k.sym(dims[i]), extent);
    }
    Value next = k.add(own, k.index(1));
    Value lower = reverse ? (exclusive ? next : own) : k.index(0);
    Value upper = reverse ? extent : (exclusive ? own : next);
    Value sum = reduceRange(k, lower, upper, k.constant(computeType(element), 0),
                            [&](ValueRange j, ValueRange carried) {
                              KernelBuilder::Index from;
                              for (size_t i = 0; i < dims.size(); ++i)
                                from.push_back(k.select(k.equal(axis, k.index(i)), j[0], at[i]));
                              return SmallVector<Value>{k.add(carried[0], k.load(input, from))};
                            })[0];
    k.store(0, at, sum);
  });
  return success();
}

LogicalResult emitCumSum(KernelBuilder &k, NodeOp node) {
  NodeAttrs attrs(node);
  bool exclusive = attrs.integer("exclusive", 0) != 0, reverse = attrs.integer("reverse", 0) != 0;
  if (!attrs.has(scanAxis))
    return emitRuntimeCumSum(k, node, exclusive, reverse);
  int64_t axis = attrs.integers(scanAxis)[0];
  Value input = node.getInputs()[0];
  Dims dims = k.dims(input), others = dims;
  others.erase(others.begin() + axis);
  Type type = computeType(k.elementType(input));
  k.parallel(elementCount(others), [&](Value task) {
    KernelBuilder::Index at = k.delinearize(task, others);
    at.insert(at.begin() + axis, Value());
    Value last = k.sub(k.sym(dims[axis]), k.index(1));
    k.reduce(dims[axis], k.constant(type, 0), [&](ValueRange i, ValueRange carried) {
      at[axis] = reverse ? k.sub(last, i[0]) : i[0];
      Value sum = k.add(carried[0], k.load(input, at));
      k.store(0, at, exclusive ? carried[0] : sum);
      return SmallVector<Value>{sum};
    });
  });
  return success();
}

template <Reduction kind> OpSpec reduction(StringRef name) {
  OpSpec spec;
  spec.name = name;
  spec.infer = inferReduction<kind>;
  spec.element = reductionElement<kind>;
  spec.loops = reductionLoops<kind>;
  spec.heavy = true;
  return spec;
}

std::vector<OpSpec> makeTable() {
  std::vector<OpSpec> table = {
      reduction<Reduction::Sum>("ReduceSum"),
      reduction<Reduction::Mean>("ReduceMean"),
      reduction<Reduction::Max>("ReduceMax"),
      reduction<Reduction::Min>("ReduceMin"),
      reduction<Reduction::Prod>("ReduceProd"),
      reduction<Reduction::L1>("ReduceL1"),
      reduction<Reduction::L2>("ReduceL2"),
      reduction<Reduction::LogSum>("ReduceLogSum"),
      reduction<Reduction::LogSumExp>("ReduceLogSumExp"),
      reduction<Reduction::SumSquare>("ReduceSumSquare"),
  };
  OpSpec cumSum;
  cumSum.name = "CumSum";
  cumSum.infer = inferCumSum;
  cumSum.loops = emitCumSum;
  table.push_back(cumSum);
  llvm::append_range(table, rowOps());
  return table;
}

} // namespace

ArrayRef<OpSpec> tacq::reductionOps() {
  static const std::vector<OpSpec> table = makeTable();
  return table;
}
