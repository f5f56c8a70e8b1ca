//===- EmitAttention.cpp - Attention and the cache ------------------------===//
//
// A task of attention is a row: one query of one head. It goes over the keys once, with a running
// maximum and sum; what was summed so far is rescaled when the maximum grows. Where subgroups are
// known, a workgroup does a task: its subgroups share the keys, and their invocations the features.
//
//===----------------------------------------------------------------------===//

#include "ShaderKernels.h"
#include "WorkgroupCode.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "tacq/Codegen/MathExpansion.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;

namespace {

/// Below every score but those that are masked with -infinity.
constexpr float lowest = std::numeric_limits<float>::lowest();
constexpr int64_t largestWorkgroup = 512;
/// What any device gives a workgroup, in numbers of f32.
constexpr int64_t sharedNumbers = 4096;
/// Keys that a subgroup has under way at once.
constexpr int64_t keysAtOnce = 2;

class AttentionShader : WorkgroupCode {
public:
  AttentionShader(KernelBuilder &k, AttentionOp op, VulkanProfileAttr profile,
                  std::optional<Sym> capacity)
      : WorkgroupCode(k, profile), op(op), capacity(capacity) {}
  LogicalResult emit();

private:
  /// Where a key head's rows begin, and how far they are apart.
  std::pair<Value, Value> rowsOf(const Dims &added, int64_t features, Value batch, Value head);
  void emitRow(Value batch, Value position, Value head, Value task);
  void emitRowOfWorkgroup(Value batch, Value position, Value head, Value task);
  Value endOfKeys(Value position);
  Value addBias(Value score, Value batch, Value position, Value head, Value key);
  Value rescaling(Value from, Value to) { return emitExpNonPositive(b, k.sub(from, to)); }
  void addKey(Value batch, Value position, Value head, Value query, Value key);

  AttentionOp op;
  std::optional<Sym> capacity;
  Dims q, kNew, vNew;
  Sym total, past;
  int64_t depth = 0, valueDepth = 0;
  Value queries, keys, values, out, keyMask, bias;
  Value sums, state; // state: maximum, denominator
  std::pair<Value, Value> keyRows, valueRows;
};

LogicalResult AttentionShader::emit() {
  q = k.dims(op.getQ());
  kNew = k.dims(op.getK());
  vNew = k.dims(op.getV());
  std::optional<int64_t> d = q[3].constant(), dv = vNew[3].constant();
  if (!d || !dv)
    return op.emitError("the kernel of attention needs a static number of features");
  depth = *d;
  valueDepth = *dv;
  total = kNew[1];
  if (op.getPastKey()) {
    past = k.dims(op.getPastKey())[2];
    total = k.dims(op.getPresentKey())[2];
  }
  queries = inputBuffer(op.getQ());
  out = outputBuffer(op.getOut());
  keys = op.getPresentKey() ? outputBuffer(op.getPresentKey()) : inputBuffer(op.getK());
  values = op.getPresentValue() ? outputBuffer(op.getPresentValue()) : inputBuffer(op.getV());
  keyMask = inputBuffer(op.getKeyMask());
  bias = inputBuffer(op.getBias());
  if (!queries || !out || !keys || !values || bool(op.getKeyMask()) != bool(keyMask) ||
      bool(op.getBias()) != bool(bias))
    return op.emitError("the kernel of attention holds that operation alone");
  Dims tasks = {q[0], q[1], q[2]};
  if (subgroup() > 1 && depth % subgroup() == 0 && valueDepth % subgroup() == 0) {
    int64_t most = std::min(largestWorkgroup / subgroup(), sharedNumbers / (valueDepth + 2));
    setWorkgroup(llvm::bit_floor(uint64_t(most)) * subgroup());
    sums = shared(subgroups() * valueDepth, b.getF32Type());
    state = shared(subgroups() * 2, b.getF32Type());
    k.parallel(elementCount(tasks), [&](Value task) {
      KernelBuilder::Index at = k.delinearize(task, tasks);
      emitRowOfWorkgroup(at[0], at[1], at[2], task);
    });
    return success();
  }
  sums = stackBuffer(valueDepth, b.getF32Type());
  state = stackBuffer(2, b.getF32Type());
  k.parallel(elementCount(tasks), [&](Value task) {
    KernelBuilder::Index at = k.delinearize(task, tasks);
    emitRow(at[0], at[1], at[2], task);
  });
  return success();
}

std::pair<Value, Value> AttentionShader::rowsOf(const Dims &added, int64_t features, Value batch,
                                                Value head) {
  Value heads = k.sym(added[2]);
  if (op.getPresentKey()) {
    Value extent = k.sym(capacity ? *capacity : total);
    return {times(k.mul(k.add(k.mul(batch, heads), head), extent), features), k.index(features)};
  }
  Value first = k.add(k.mul(k.mul(batch, k.sym(total)), heads), head);
  return {times(first, features), times(heads, features)};
}

/// The number of keys that a query may see.
Value AttentionShader::endOfKeys(Value position) {
  Value end = k.sym(total);
  return op.getCausal() ? k.min(end, plus(k.add(position, k.sym(past)), 1)) : end;
}

Value AttentionShader::addBias(Value score, Value batch, Value position, Value head, Value key) {
  Dims dims = k.dims(op.getBias());
  auto orOne = [&](const Sym &dim, Value at) {
    return k.select(k.equal(k.sym(dim), k.index(1)), k.index(0), at);
  };
  Value row = k.add(k.mul(orOne(dims[0], batch), k.sym(dims[1])), orOne(dims[1], head));
  row = k.add(k.mul(row, k.sym(q[1])), position);
  return k.add(score, load(bias, k.add(k.mul(row, k.sym(total)), key)));
}

void AttentionShader::emitRowOfWorkgroup(Value batch, Value position, Value head, Value task) {
  Value keyHead = quotient(head, quotient(k.sym(q[2]), k.sym(kNew[2])));
  keyRows = rowsOf(kNew, depth, batch, keyHead);
  valueRows = rowsOf(vNew, valueDepth, batch, keyHead);
  Value own = thread(), width = k.index(subgroup());
  Value lane = remainder(own, width), number = quotient(own, width);
  int64_t features = depth / subgroup(), valueFeatures = valueDepth / subgroup();
  // Neighbouring invocations have neighbouring features.
  auto feature = [&](int64_t i) { return plus(lane, i * subgroup()); };
  Value scale = f(op.getScale().convertToDouble()), end = endOfKeys(position);
  SmallVector<Value> query;
  for (int64_t i = 0; i < features; ++i)
    query.push_back(load(queries, k.add(times(task, depth), feature(i))));
  // Maximum, denominator, sums.
  SmallVector<Value> carried(2 + valueFeatures, f(0.0));
  carried[0] = f(lowest);
  Value last = k.sub(end, k.index(1));
  carried = loop(number, end, subgroups() * keysAtOnce, carried, [&](Value first, ValueRange now) {
    SmallVector<Value> scores, visibles;
    SmallVector<SmallVector<Value>> rows(keysAtOnce);
    for (int64_t each = 0; each < keysAtOnce; ++each) {
      Value place = plus(first, each * subgroups()), key = k.min(place, last);
      Value visible = k.lessEqual(place, last);
      if (keyMask) {
        Value mask = element(keyMask, k.add(k.mul(batch, k.sym(total)), key));
        Value hidden = k.integer(mask.getType(), 0);
        Value shown = b.create<arith::CmpIOp>(arith::CmpIPredicate::ne, mask, hidden);
        visible = k.logicalAnd(visible, shown);
      }
      Value from = k.add(keyRows.first, k.mul(key, keyRows.second));
      Value value = k.add(valueRows.first, k.mul(key, valueRows.second));
      Value score = f(0.0);
      for (int64_t i = 0; i < features; ++i)
        score = k.add(score, k.mul(query[i], load(keys, k.add(from, feature(i)))));
      for (int64_t i = 0; i < valueFeatures; ++i)
        rows[each].push_back(load(values, k.add(value, feature(i))));
      score = k.mul(sumSubgroup(score, 1), scale);
      if (bias)
        score = addBias(score, batch, position, head, key);
      scores.push_back(k.select(visible, score, f(lowest)));
      visibles.push_back(visible);
    }
    Value maximum = now[0];
    for (Value score : scores)
      maximum = b.create<arith::MaxNumFOp>(maximum, score);
    Value rescale = rescaling(now[0], maximum);
    SmallVector<Value> next = {maximum};
    for (Value value : now.drop_front())
      next.push_back(k.mul(value, rescale));
    for (int64_t each = 0; each < keysAtOnce; ++each) {
      Value weight = k.select(visibles[each], rescaling(scores[each], maximum), f(0.0));
      next[1] = k.add(next[1], weight);
      for (int64_t i = 0; i < valueFeatures; ++i)
        next[2 + i] = k.add(next[2 + i], k.mul(weight, rows[each][i]));
    }
    return next;
  });
  when(k.equal(lane, k.index(0)), [&] {
    storeShared(carried[0], state, times(number, 2));
    storeShared(carried[1], state, plus(times(number, 2), 1));
  });
  for (int64_t i = 0; i < valueFeatures; ++i)
    storeShared(carried[2 + i], sums, k.add(times(number, valueDepth), feature(i)));
  barrier();
  Value maximum = loadShared(state, k.index(0));
  for (int64_t i = 1; i < subgroups(); ++i)
    maximum = b.create<arith::MaxNumFOp>(maximum, loadShared(state, k.index(2 * i)));
  SmallVector<Value> weights;
  Value denominator = f(0.0);
  for (int64_t i = 0; i < subgroups(); ++i) {
    weights.push_back(rescaling(loadShared(state, k.index(2 * i)), maximum));
    denominator = k.add(denominator, k.mul(weights.back(), loadShared(state, k.index(2 * i + 1))));
  }
  Value seen = b.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, denominator, f(0.0));
  Value factor = k.select(seen, k.div(f(1.0), denominator), f(0.0));
  loop(own, k.index(valueDepth), workgroup(), [&](Value i) {
    Value sum = f(0.0);
    for (int64_t each = 0; each < subgroups(); ++each)
      sum = k.add(sum, k.mul(weights[each], loadShared(sums, plus(i, each * valueDepth))));
    store(k.mul(sum, factor), out, k.add(times(task, valueDepth), i));
  });
  barrier();
}

void AttentionShader::emitRow(Value batch, Value position, Value head, Value task) {
  Value group = quotient(k.sym(q[2]), k.sym(kNew[2]));
  Value keyHead = quotient(head, group);
  keyRows = rowsOf(kNew, depth, batch, keyHead);
  valueRows = rowsOf(vNew, valueDepth, batch, keyHead);
  Value zero = k.index(0);
  loop(zero, k.index(valueDepth), 1, [&](Value i) { store(f(0.0), sums, i); });
  store(f(lowest), state, zero);
  store(f(0.0), state, k.index(1));
  Value query = times(task, depth);
  loop(zero, endOfKeys(position), 1, [&](Value key) {
    if (!keyMask)
      return addKey(batch, position, head, query, key);
    Value at = k.add(k.mul(batch, k.sym(total)), key);
    Value mask = b.create<memref::LoadOp>(keyMask, ValueRange{at});
    Value hidden = k.integer(mask.getType(), 0);
    when(b.create<arith::CmpIOp>(arith::CmpIPredicate::ne, mask, hidden),
         [&] { addKey(batch, position, head, query, key); });
  });
  Value denominator = load(state, k.index(1));
  Value seen = b.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, denominator, f(0.0));
  Value factor = k.select(seen, k.div(f(1.0), denominator), f(0.0));
  Value to = times(task, valueDepth);
  loop(zero, k.index(valueDepth), 1,
       [&](Value i) { store(k.mul(load(sums, i), factor), out, k.add(to, i)); });
}

void AttentionShader::addKey(Value batch, Value position, Value head, Value query, Value key) {
  Value from = k.add(keyRows.first, k.mul(key, keyRows.second));
  Value score = loop(k.index(0), k.index(depth), 1, f(0.0), [&](Value i, ValueRange carried) {
    Value product = k.mul(load(queries, k.add(query, i)), load(keys, k.add(from, i)));
    return SmallVector<Value>{k.add(carried[0], product)};
  })[0];
  score = k.mul(score, f(op.getScale().convertToDouble()));
  if (bias)
    score = addBias(score, batch, position, head, key);
  Value before = load(state, k.index(0));
  Value maximum = b.create<arith::MaxNumFOp>(before, score);
  Value rescale = rescaling(before, maximum), weight = rescaling(score, maximum);
  store(maximum, state, k.index(0));
  store(k.add(k.mul(load(state, k.index(1)), rescale), weight), state, k.index(1));
  Value value = k.add(valueRows.first, k.mul(key, valueRows.second));
  loop(k.index(0), k.index(valueDepth), 1, [&](Value i) {
    Value product = k.mul(weight, load(values, k.add(value, i)));
    store(k.add(k.mul(load(sums, i), rescale), product), sums, i);
  });
}

/// A task is a feature of one key of one head. With a capacity the past is in the buffer already;
/// without, the present is a new buffer and the past is copied as well.
class AppendShader : ShaderCode {
public:
  AppendShader(KernelBuilder &k, AttentionOp op, std::optional<Sym> capacity)
      : ShaderCode(k), op(op), capacity(capacity) {}

  LogicalResult emit() {
    if (!op.getPresentKey())
      return op.emitError("attention without a cache appends nothing");
    if (failed(addPart(op.getK(), op.getPastKey(), op.getPresentKey())) ||
        failed(addPart(op.getV(), op.getPastValue(), op.getPresentValue())))
      return failure();
    Dims dims = k.dims(op.getK());
    Sym past = k.dims(op.getPastKey())[2], total = k.dims(op.getPresentKey())[2];
    Sym first = capacity ? past : Sym(0);
    int64_t features = std::max(parts[0].features, parts[1].features);
    Dims tasks = {dims[0], dims[2], total - first, features};
    k.parallel(elementCount(tasks), [&](Value task) {
      KernelBuilder::Index at = k.delinearize(task, tasks);
      Value key = k.add(at[2], k.sym(first)), heads = k.sym(dims[2]), pastCount = k.sym(past);
      Value batchAndHead = k.add(k.mul(at[0], heads), at[1]);
      Value to = k.add(k.mul(batchAndHead, k.sym(capacity ? *capacity : total)), key);
      Value position = k.sub(key, pastCount);
      Value from = k.add(k.mul(k.add(k.mul(at[0], k.sym(dims[1])), position), heads), at[1]);
      for (const Part &part : parts) {
        auto append = [&] { copyFeature(part, part.added, from, to, at[3]); };
        if (capacity) {
          append();
          continue;
        }
        Value isNew = k.lessEqual(pastCount, key);
        when(isNew, append);
        when(k.logicalNot(isNew), [&] {
          copyFeature(part, part.before, k.add(k.mul(batchAndHead, pastCount), key), to, at[3]);
        });
      }
    });
    return success();
  }

private:
  struct Part {
    Value added, before, present;
    int64_t features;
  };

  LogicalResult addPart(Value added, Value before, Value present) {
    Part part{inputBuffer(added), capacity ? Value() : inputBuffer(before), outputBuffer(present),
              0};
    std::optional<int64_t> features = k.dims(added)[3].constant();
    if (!part.added || !part.present || !features || (!capacity && !part.before))
      return op.emitError("the kernel of a cache holds the attention operation alone");
    part.features = *features;
    parts.push_back(part);
    return success();
  }

  void copyFeature(const Part &part, Value from, Value fromRow, Value toRow, Value feature) {
    auto copy = [&] {
      store(load(from, k.add(times(fromRow, part.features), feature)), part.present,
            k.add(times(toRow, part.features), feature));
    };
    if (part.features == std::max(parts[0].features, parts[1].features))
      copy();
    else
      when(k.less(feature, k.index(part.features)), copy);
  }

  AttentionOp op;
  std::optional<Sym> capacity;
  SmallVector<Part, 2> parts;
};

} // namespace

LogicalResult tacq::emitAttentionShader(KernelBuilder &kernel, AttentionOp op,
                                        VulkanProfileAttr profile, std::optional<Sym> capacity) {
  return AttentionShader(kernel, op, profile, capacity).emit();
}

LogicalResult tacq::emitCacheAppendShader(KernelBuilder &kernel, AttentionOp op,
                                          std::optional<Sym> capacity) {
  return AppendShader(kernel, op, capacity).emit();
}
