//===- RowOps.cpp - Softmax, LogSoftmax and Hardmax -----------------------===//
//
// One kernel, one row a task: the row is read two or three times, from a cache that holds it.
//
//===----------------------------------------------------------------------===//

#include "RowOps.h"
#include "KernelMath.h"
#include <cmath>

using namespace mlir;
using namespace tacq;

namespace {

/// The axes of a row: one since opset 13; before, all from `axis` on.
struct Rows {
  Dims dims;
  size_t begin, end;

  Rows(NodeOp node, ArrayRef<Sym> tensorDims) : dims(tensorDims) {
    bool flattens = node.getOpset() < 13;
    int64_t axis = NodeAttrs(node).integer("axis", flattens ? 1 : -1), rank = dims.size();
    if (axis < 0)
      axis += rank;
    begin = axis;
    end = flattens ? rank : axis + 1;
  }

  Dims rowDims() const { return Dims(dims.begin() + begin, dims.begin() + end); }
  Dims otherDims() const {
    Dims others(dims.begin(), dims.begin() + begin);
    others.append(dims.begin() + end, dims.end());
    return others;
  }
  /// The tensor's index of an element of a row.
  KernelBuilder::Index at(ArrayRef<Value> row, ValueRange within) const {
    KernelBuilder::Index result(row.take_front(begin));
    result.append(within.begin(), within.end());
    llvm::append_range(result, row.drop_front(begin));
    return result;
  }
};

LogicalResult inferRows(InferContext &ctx) {
  bool flattens = ctx.opset() < 13;
  int64_t axis = ctx.attrs.integer("axis", flattens ? 1 : -1), rank = ctx.rank(0);
  // Flattening may leave rows of one element.
  if (!(flattens && axis == rank) && failed(ctx.axis(axis, rank)))
    return failure();
  ctx.setResult(0, ctx.elementType(0), ctx.dims(0));
  return success();
}

/// Neighbouring rows that are computed together, where the axis is not the last.
constexpr int64_t rowsPerTask = 64;

/// Softmax along an axis in front of the last: neighbours along the last axis are different rows.
template <bool log> void emitColumnSoftmax(KernelBuilder &k, NodeOp node, const Rows &rows) {
  Value input = node.getInputs()[0];
  Sym length = rows.dims.back();
  Dims within = rows.rowDims(), tasks = rows.otherDims();
  tasks.back() = Sym::ceilDiv(length, rowsPerTask);
  Type type = computeType(k.elementType(input));
  Value largest = stackBuffer(k, rowsPerTask, type), sums = stackBuffer(k, rowsPerTask, type);
  auto get = [&](Value buffer, Value i) -> Value { return k.b.create<memref::LoadOp>(buffer, i); };
  auto put = [&](Value buffer, Value i, Value x) { k.b.create<memref::StoreOp>(x, buffer, i); };
  k.parallel(elementCount(tasks), [&](Value task) {
    KernelBuilder::Index row = k.delinearize(task, tasks);
    Value first = k.mul(row.pop_back_val(), k.index(rowsPerTask));
    Value count = k.min(k.sub(k.sym(length), first), k.index(rowsPerTask));
    auto overElements = [&](function_ref<void(Value, ValueRange)> body) {
      k.reduce(within, {}, [&](ValueRange at, ValueRange) {
        k.loop(count, [&](Value i) {
          KernelBuilder::Index own = row;
          own.push_back(k.add(first, i));
          body(i, rows.at(own, at));
        });
        return SmallVector<Value>();
      });
    };
    k.loop(count, [&](Value i) {
      put(largest, i, k.constant(type, -INFINITY));
      put(sums, i, k.constant(type, 0));
    });
    overElements([&](Value i, ValueRange at) {
      put(largest, i, k.max(get(largest, i), k.load(input, at)));
    });
    auto shifted = [&](Value i, ValueRange at) {
      return k.sub(k.load(input, at), get(largest, i));
    };
    overElements([&](Value i, ValueRange at) {
      put(sums, i, k.add(get(sums, i), k.b.create<math::ExpOp>(shifted(i, at))));
    });
    k.loop(count, [&](Value i) {
      Value sum = get(sums, i);
      put(sums, i, log ? Value(k.b.create<math::LogOp>(sum)) : k.div(k.constant(type, 1), sum));
    });
    overElements([&](Value i, ValueRange at) {
      Value x = shifted(i, at);
      k.store(0, at,
              log ? k.sub(x, get(sums, i)) : k.mul(k.b.create<math::ExpOp>(x), get(sums, i)));
    });
  });
}

template <bool log> LogicalResult emitSoftmax(KernelBuilder &k, NodeOp node) {
  Value input = node.getInputs()[0];
  Rows rows(node, k.dims(input));
  if (rows.end < rows.dims.size()) {
    emitColumnSoftmax<log>(k, node, rows);
    return success();
  }
  Dims within = rows.rowDims();
  Type element = k.elementType(input), type = computeType(element);
  // An exponential that the output holds exactly is not computed again.
  bool reread = !log && type == element;
  k.parallel(elementCount(rows.otherDims()), [&](Value task) {
    KernelBuilder::Index row = k.delinearize(task, rows.otherDims());
    Value largest =
        k.reduce(within, k.constant(type, -INFINITY), [&](ValueRange i, ValueRange carried) {
          Value x = k.load(input, rows.at(row, i));
          return SmallVector<Value>{k.max(carried[0], x)};
        })[0];
    auto exponential = [&](ValueRange at) {
      Value shifted = k.sub(k.load(input, at), largest);
      return k.b.create<math::ExpOp>(shifted);
    };
    Value sum = k.reduce(within, k.constant(type, 0), [&](ValueRange i, ValueRange carried) {
      KernelBuilder::Index at = rows.at(row, i);
      Value e = exponential(at);
      if (reread)
        k.store(0, at, e);
      return SmallVector<Value>{addAnyOrder(k, carried[0], e)};
    })[0];
    Value scale = log ? Value(k.b.create<math::LogOp>(sum)) : k.div(k.constant(type, 1), sum);
    k.reduce(within, {}, [&](ValueRange i, ValueRange) {
      KernelBuilder::Index at = rows.at(row, i);
      Value result;
      if (log)
        result = k.sub(k.sub(k.load(input, at), largest), scale);
      else
        result = k.mul(reread ? k.loadOutput(0, at) : Value(exponential(at)), scale);
      k.store(0, at, result);
      return SmallVector<Value>();
    });
  });
  return success();
}

/// One at the first of the largest elements of a row, zero elsewhere.
LogicalResult emitHardmax(KernelBuilder &k, NodeOp node) {
  Value input = node.getInputs()[0];
  Rows rows(node, k.dims(input));
  Dims within = rows.rowDims();
  Type type = computeType(k.elementType(input));
  k.parallel(elementCount(rows.otherDims()), [&](Value task) {
    KernelBuilder::Index row = k.delinearize(task, rows.otherDims());
    SmallVector<Value> largest = k.reduce(
        within, {k.constant(type, -INFINITY), k.index(0)}, [&](ValueRange i, ValueRange carried) {
          Value x = k.load(input, rows.at(row, i));
          Value position = k.linearize(i, within);
          Value above = k.less(carried[0], x);
          return SmallVector<Value>{k.select(above, x, carried[0]),
                                    k.select(above, position, carried[1])};
        });
    k.reduce(within, {}, [&](ValueRange i, ValueRange) {
      Value isIt = k.equal(k.linearize(i, within), largest[1]);
      Value result = k.select(isIt, k.constant(type, 1), k.constant(type, 0));
      k.store(0, rows.at(row, i), result);
      return SmallVector<Value>();
    });
  });
  return success();
}

OpSpec row(StringRef name, LoopsFn loops) {
  OpSpec spec;
  spec.name = name;
  spec.infer = inferRows;
  spec.loops = loops;
  spec.unsupported = unsupportedUnlessFloat;
  return spec;
}

} // namespace

ArrayRef<OpSpec> tacq::rowOps() {
  static const OpSpec table[] = {row("Softmax", emitSoftmax<false>),
                                 row("LogSoftmax", emitSoftmax<true>), row("Hardmax", emitHardmax)};
  return table;
}
