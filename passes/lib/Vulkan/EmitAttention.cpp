//===- EmitAttention.cpp - Attention and the cache ------------------------===//
//
// A task of attention is a row: one query of one head. It goes over the keys once, with a running
// maximum and sum; what was summed so far is rescaled when the maximum grows.
//
//===----------------------------------------------------------------------===//

#include "ShaderCode.h"
#include "ShaderKernels.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "tacq/Codegen/AttentionTensors.h"
#include "tacq/Codegen/MathExpansion.h"

using namespace mlir;
using namespace tacq;

namespace {

/// Below every score but those that are masked with -infinity.
constexpr float lowest = std::numeric_limits<float>::lowest();

class AttentionShader : ShaderCode {
public:
  AttentionShader(KernelBuilder &k, AttentionOp op, std::optional<Sym> capacity)
      : ShaderCode(k), op(op), t(op, capacity) {}
  LogicalResult emit();

private:
  void emitRow(Value batch, Value position, Value head, Value task);
  void addKey(Value batch, Value position, Value head, Value query, Value key);

  AttentionOp op;
  AttentionTensors t;
  Value sums, state; // state: maximum, denominator
  Rows keyRows, valueRows;
};

LogicalResult AttentionShader::emit() {
  if (failed(t.collect(*this)))
    return failure();
  sums = stackBuffer(t.valueDepth, b.getF32Type());
  state = stackBuffer(2, b.getF32Type());
  Dims tasks = {t.q[0], t.q[1], t.q[2]};
  k.parallel(elementCount(tasks), [&](Value task) {
    KernelBuilder::Index at = k.delinearize(task, tasks);
    emitRow(at[0], at[1], at[2], task);
  });
  return success();
}

void AttentionShader::emitRow(Value batch, Value position, Value head, Value task) {
  Value group = quotient(k.sym(t.q[2]), k.sym(t.kNew[2]));
  Value keyHead = quotient(head, group);
  keyRows = t.keyRows(*this, batch, keyHead);
  valueRows = t.valueRows(*this, batch, keyHead);
  Value zero = k.index(0);
  loop(zero, k.index(t.valueDepth), 1, [&](Value i) { store(f(0.0), sums, i); });
  store(f(lowest), state, zero);
  store(f(0.0), state, k.index(1));
  Value end = k.sym(t.total);
  if (op.getCausal())
    end = k.min(end, plus(k.add(position, k.sym(t.past)), 1));
  Value query = times(task, t.depth);
  loop(zero, end, 1, [&](Value key) {
    if (!t.keyMask)
      return addKey(batch, position, head, query, key);
    Value at = k.add(t.maskRow(*this, batch), key);
    Value mask = b.create<memref::LoadOp>(t.keyMask, ValueRange{at});
    Value hidden = k.integer(mask.getType(), 0);
    when(b.create<arith::CmpIOp>(arith::CmpIPredicate::ne, mask, hidden),
         [&] { addKey(batch, position, head, query, key); });
  });
  Value denominator = load(state, k.index(1));
  Value seen = b.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, denominator, f(0.0));
  Value factor = k.select(seen, k.div(f(1.0), denominator), f(0.0));
  Value to = times(task, t.valueDepth);
  loop(zero, k.index(t.valueDepth), 1,
       [&](Value i) { store(k.mul(load(sums, i), factor), t.out, k.add(to, i)); });
}

void AttentionShader::addKey(Value batch, Value position, Value head, Value query, Value key) {
  Value from = k.add(keyRows.start, k.mul(key, keyRows.stride));
  Value score = loop(k.index(0), k.index(t.depth), 1, f(0.0), [&](Value i, ValueRange carried) {
    Value product = k.mul(load(t.queries, k.add(query, i)), load(t.keys, k.add(from, i)));
    return SmallVector<Value>{k.add(carried[0], product)};
  })[0];
  score = k.mul(score, f(op.getScale().convertToDouble()));
  if (t.bias)
    score = k.add(score, load(t.bias, k.add(t.biasRow(*this, batch, head, position), key)));
  Value before = load(state, k.index(0));
  Value maximum = b.create<arith::MaxNumFOp>(before, score);
  Value rescale = emitExpNonPositive(b, k.sub(before, maximum));
  Value weight = emitExpNonPositive(b, k.sub(score, maximum));
  store(maximum, state, k.index(0));
  store(k.add(k.mul(load(state, k.index(1)), rescale), weight), state, k.index(1));
  Value value = k.add(valueRows.start, k.mul(key, valueRows.stride));
  loop(k.index(0), k.index(t.valueDepth), 1, [&](Value i) {
    Value product = k.mul(weight, load(t.values, k.add(value, i)));
    store(k.add(k.mul(load(sums, i), rescale), product), sums, i);
  });
}

/// A task is a row of one key of one head. With a capacity the past is in the buffer already;
/// without, the present is a new buffer and the past is copied as well.
class AppendShader : ShaderCode {
public:
  AppendShader(KernelBuilder &k, AttentionOp op, std::optional<Sym> capacity)
      : ShaderCode(k), tensors(op, capacity) {}

  LogicalResult emit() {
    if (failed(tensors.collect(*this)))
      return failure();
    Dims tasks = {tensors.added[0], tensors.added[2], tensors.total - tensors.first()};
    k.parallel(elementCount(tasks), [&](Value task) {
      KernelBuilder::Index at = k.delinearize(task, tasks);
      tensors.appendKey(
          *this, at[0], at[1], k.add(at[2], k.sym(tensors.first())),
          [&](const AppendedTensor &tensor, Value from, Value fromStart, Value toStart) {
            copyRow(from, fromStart, tensor.present, toStart, tensor.features);
          });
    });
    return success();
  }

private:
  void copyRow(Value from, Value fromStart, Value to, Value toStart, int64_t features) {
    loop(k.index(0), k.index(features), 1,
         [&](Value i) { store(load(from, k.add(fromStart, i)), to, k.add(toStart, i)); });
  }

  CacheTensors tensors;
};

} // namespace

LogicalResult tacq::emitAttentionShader(KernelBuilder &kernel, AttentionOp op,
                                        std::optional<Sym> capacity) {
  return AttentionShader(kernel, op, capacity).emit();
}

LogicalResult tacq::emitCacheAppendShader(KernelBuilder &kernel, AttentionOp op,
                                          std::optional<Sym> capacity) {
  return AppendShader(kernel, op, capacity).emit();
}
