//===- EmitAttention.cpp - Attention and the cache ------------------------===//
//
// A task of attention is a row: one query of one head. It goes over the keys once, with a running
// maximum and sum; what was summed so far is rescaled when the maximum grows. Where subgroups are
// known, a workgroup does a task: its subgroups share the keys, and their invocations the features.
//
// Few rows with many keys are split: a task is a chunk of the keys of a row then, and leaves what
// it comes to in the workspace.
//
//===----------------------------------------------------------------------===//

#include "RowShaders.h"
#include "ShaderKernels.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "tacq/Codegen/AttentionTensors.h"
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
/// Keys of a chunk of a row, and how many there have to be: with fewer, one dispatch takes less
/// time than two. Invocations that have a chunk each are slower with it than workgroups are.
constexpr int64_t chunkKeys = 256, fewestKeys = 1024, ownChunkKeys = 64, fewestOwnKeys = 192;
/// With more rows than that, each of them keeps a part of the device busy.
constexpr int64_t mostSplitRows = 1024;
/// The first page of the workspace is not a kernel's to leave changed.
constexpr int64_t pageNumbers = workspacePageBytes / 4;

/// Whether a row is done by a workgroup, the sums of whose subgroups are in shared memory.
bool isOfWorkgroup(VulkanProfileAttr profile, int64_t depth, int64_t valueDepth) {
  int64_t width = std::max(1u, profile.getSubgroup());
  return width > 1 && depth % width == 0 && valueDepth % width == 0 &&
         valueDepth + 2 <= sharedNumbers;
}

/// Whether there are several new keys, or a cache that is not in place: then another kernel
/// appends.
Sym isAppendedBefore(const Sym &added, std::optional<Sym> capacity, VulkanProfileAttr profile,
                     int64_t depth, int64_t valueDepth) {
  bool mayAttendAppend = capacity && isOfWorkgroup(profile, depth, valueDepth);
  return mayAttendAppend ? Sym::min(added - Sym(1), Sym(1)) : Sym(1);
}

class AttentionShader : WorkgroupCode {
public:
  AttentionShader(KernelBuilder &k, AttentionOp op, VulkanProfileAttr profile,
                  std::optional<Sym> capacity)
      : WorkgroupCode(k, profile), op(op), t(op, capacity), capacity(capacity) {}
  LogicalResult emit();
  /// The tasks that are chunks, and those that put them together.
  bool emitChunks();
  bool emitSums();

private:
  void emitRow(Value batch, Value position, Value head, Value task);
  void emitRowOfWorkgroup(Value batch, Value position, Value head, Value task);
  bool hasWorkgroups() { return isOfWorkgroup(profile, t.depth, t.valueDepth); }
  void useWorkgroups();
  Dims rows() const { return {t.q[0], t.q[1], t.q[2]}; }
  int64_t keysOfChunk() { return hasWorkgroups() ? chunkKeys : ownChunkKeys; }
  Sym chunks() { return Sym::ceilDiv(t.total, keysOfChunk()); }
  Sym isSplit();
  bool useWorkspace();
  Value partAt(Value row, Value chunk);
  LogicalResult collectAdded();
  Value endOfKeys(Value position);
  Value addBias(Value score, Value batch, Value position, Value head, Value key);
  Value rescaling(Value from, Value to) { return emitExpNonPositive(b, k.sub(from, to)); }
  void addKey(Value batch, Value position, Value head, Value query, Value key);
  SmallVector<Value> addScores(ValueRange now, ArrayRef<Value> scores, ArrayRef<Value> visibles,
                               ArrayRef<SmallVector<Value>> rows);
  Value isVisible(Value batch, Value key);

  AttentionOp op;
  AttentionTensors t;
  std::optional<Sym> capacity;
  Value sums, state; // state: maximum, denominator
  Value subgroupWeights;
  Rows keyRows, valueRows;
  /// Of a task that is a chunk: which, and where it leaves its maximum, denominator and sums.
  Value chunk, parts;
  /// A single new key and its value, if this kernel may append them.
  Value addedKeys, addedValues;
  std::optional<RopeRow> queryRope, keyRope;
};

/// Finds what the kernel reads instead of the cache, where it appends.
LogicalResult AttentionShader::collectAdded() {
  CacheTensors tensors(op, capacity);
  if (!op.getPresentKey() ||
      isAppendedBefore(t.kNew[1], capacity, profile, t.depth, t.valueDepth).isConstant(1))
    return success();
  if (failed(tensors.collect(*this)))
    return failure();
  RopeOp rope = tensors.keyRope();
  addedKeys = inputBuffer(rope ? rope.getX() : op.getK());
  addedValues = inputBuffer(op.getV());
  if (rope && failed(keyRope.emplace(k, rope).collect()))
    return failure();
  if (RopeOp own = t.queryRope())
    return queryRope.emplace(k, own).collect();
  return success();
}

LogicalResult AttentionShader::emit() {
  if (failed(t.collect(*this)))
    return failure();
  if (failed(collectAdded()))
    return failure();
  useWorkgroups();
  Dims tasks = rows();
  k.parallel(elementCount(tasks), [&](Value task) {
    KernelBuilder::Index at = k.delinearize(task, tasks);
    if (hasWorkgroups())
      emitRowOfWorkgroup(at[0], at[1], at[2], task);
    else
      emitRow(at[0], at[1], at[2], task);
  });
  return success();
}

void AttentionShader::useWorkgroups() {
  if (!hasWorkgroups()) {
    sums = stackBuffer(t.valueDepth, b.getF32Type());
    state = stackBuffer(2, b.getF32Type());
    return;
  }
  int64_t most = std::min(std::min(largestWorkgroup, mostInvocations()) / subgroup(),
                          sharedNumbers / (t.valueDepth + 2));
  setWorkgroup(llvm::bit_floor(uint64_t(most)) * subgroup());
  sums = shared(subgroups() * t.valueDepth, b.getF32Type());
  state = shared(subgroups() * 2, b.getF32Type());
  subgroupWeights = shared(subgroups(), b.getF32Type());
}

/// 1 if there are few rows and many keys, else 0.
Sym AttentionShader::isSplit() {
  Sym many = Sym::floorDiv(t.total, hasWorkgroups() ? fewestKeys : fewestOwnKeys);
  Sym few = Sym::max(0, Sym(mostSplitRows + 1) - elementCount(rows()));
  return Sym::min(1, many) * Sym::min(1, few);
}

bool AttentionShader::useWorkspace() {
  if (failed(t.collect(*this)) || isSplit().isConstant(0))
    return false;
  Sym numbers = elementCount(rows()) * chunks() * (t.valueDepth + 2);
  parts = k.workspace(isSplit() * (numbers + pageNumbers) * 4, b.getF32Type());
  return true;
}

/// Where the maximum of a chunk of a row is; behind it come the denominator and the sums.
Value AttentionShader::partAt(Value row, Value chunk) {
  Value number = k.add(k.mul(row, k.sym(chunks())), chunk);
  return plus(times(number, t.valueDepth + 2), pageNumbers);
}

bool AttentionShader::emitChunks() {
  if (!useWorkspace() || failed(collectAdded()))
    return false;
  useWorkgroups();
  Dims tasks = rows();
  tasks.push_back(chunks());
  k.parallel(isSplit() * elementCount(tasks), [&](Value task) {
    KernelBuilder::Index at = k.delinearize(task, tasks);
    chunk = at[3];
    Value row = quotient(task, k.sym(chunks()));
    if (hasWorkgroups())
      emitRowOfWorkgroup(at[0], at[1], at[2], row);
    else
      emitRow(at[0], at[1], at[2], row);
  });
  return true;
}

/// A task is a feature of a row.
bool AttentionShader::emitSums() {
  if (!useWorkspace())
    return false;
  k.parallel(isSplit() * elementCount(rows()) * t.valueDepth, [&](Value task) {
    Value row = quotient(task, k.index(t.valueDepth)),
          feature = remainder(task, k.index(t.valueDepth));
    Value zero = k.index(0), count = k.sym(chunks());
    Value maximum = loop(zero, count, 1, f(lowest), [&](Value each, ValueRange carried) {
      Value own = element(parts, partAt(row, each));
      return SmallVector<Value>{b.create<arith::MaxNumFOp>(carried[0], own)};
    })[0];
    SmallVector<Value> sums =
        loop(zero, count, 1, {f(0.0), f(0.0)}, [&](Value each, ValueRange carried) {
          Value at = partAt(row, each), weight = rescaling(element(parts, at), maximum);
          Value sum = element(parts, k.add(plus(at, 2), feature));
          return SmallVector<Value>{k.add(carried[0], k.mul(weight, element(parts, plus(at, 1)))),
                                    k.add(carried[1], k.mul(weight, sum))};
        });
    Value seen = b.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, sums[0], f(0.0));
    store(k.select(seen, k.div(sums[1], sums[0]), f(0.0)), t.out, task);
  });
  return true;
}

/// The number of keys that a query may see.
Value AttentionShader::endOfKeys(Value position) {
  Value end = k.sym(t.total);
  return op.getCausal() ? k.min(end, plus(k.add(position, k.sym(t.past)), 1)) : end;
}

Value AttentionShader::addBias(Value score, Value batch, Value position, Value head, Value key) {
  return k.add(score, load(t.bias, k.add(t.biasRow(*this, batch, head, position), key)));
}

Value AttentionShader::isVisible(Value batch, Value key) {
  Value mask = element(t.keyMask, k.add(t.maskRow(*this, batch), key));
  return b.create<arith::CmpIOp>(arith::CmpIPredicate::ne, mask, k.integer(mask.getType(), 0));
}

/// Adds keys with these scores and rows of values to a maximum, a denominator and sums.
SmallVector<Value> AttentionShader::addScores(ValueRange now, ArrayRef<Value> scores,
                                              ArrayRef<Value> visibles,
                                              ArrayRef<SmallVector<Value>> rows) {
  Value maximum = now[0];
  for (Value score : scores)
    maximum = b.create<arith::MaxNumFOp>(maximum, score);
  Value rescale = rescaling(now[0], maximum);
  SmallVector<Value> next = {maximum};
  for (Value value : now.drop_front())
    next.push_back(k.mul(value, rescale));
  for (auto [score, visible, row] : llvm::zip(scores, visibles, rows)) {
    Value weight = k.select(visible, rescaling(score, maximum), f(0.0));
    next[1] = k.add(next[1], weight);
    for (auto [i, value] : llvm::enumerate(row))
      next[2 + i] = k.add(next[2 + i], k.mul(weight, value));
  }
  return next;
}

void AttentionShader::emitRowOfWorkgroup(Value batch, Value position, Value head, Value task) {
  Value keyHead = quotient(head, quotient(k.sym(t.q[2]), k.sym(t.kNew[2])));
  keyRows = t.keyRows(*this, batch, keyHead);
  valueRows = t.valueRows(*this, batch, keyHead);
  Value own = thread(), width = k.index(subgroup());
  Value lane = remainder(own, width), number = quotient(own, width);
  int64_t features = t.depth / subgroup(), valueFeatures = t.valueDepth / subgroup();
  // Neighbouring invocations have neighbouring features.
  auto feature = [&](int64_t i) { return plus(lane, i * subgroup()); };
  Value scale = f(op.getScale().convertToDouble()), end = endOfKeys(position);
  // A single new key is not in the cache yet.
  Value isSingle = addedKeys ? k.lessEqual(k.sym(t.kNew[1]), k.index(1)) : Value();
  Value start = times(task, t.depth);
  auto ifSingle = [&](function_ref<SmallVector<Value>()> then,
                      function_ref<SmallVector<Value>()> otherwise) {
    return isSingle ? k.branch(isSingle, then, otherwise) : otherwise();
  };
  auto loadQuery = [&] {
    SmallVector<Value> query;
    for (int64_t i = 0; i < features; ++i)
      query.push_back(load(t.queries, k.add(start, feature(i))));
    return query;
  };
  SmallVector<Value> query =
      !queryRope ? loadQuery()
                 : ifSingle(
                       [&] {
                         SmallVector<Value> query;
                         Type element = k.elementType(op.getQ());
                         for (int64_t i = 0; i < features; ++i)
                           query.push_back(k.roundTo(
                               element, queryRope->element(batch, position, start, feature(i))));
                         return query;
                       },
                       loadQuery);
  // Maximum, denominator, sums.
  SmallVector<Value> carried(2 + valueFeatures, f(0.0));
  carried[0] = f(lowest);
  auto scoreOf = [&](ArrayRef<Value> key) {
    Value score = f(0.0);
    for (int64_t i = 0; i < features; ++i)
      score = k.add(score, k.mul(query[i], key[i]));
    return k.mul(sumSubgroup(score, 1), scale);
  };
  Value inCache = isSingle ? k.select(isSingle, k.sub(end, k.index(1)), end) : end;
  Value from = number, isLast;
  if (chunk) {
    Value begin = times(chunk, chunkKeys);
    from = k.add(begin, number);
    inCache = k.min(inCache, plus(begin, chunkKeys));
    isLast = k.equal(plus(chunk, 1), k.sym(chunks()));
  }
  Value last = k.sub(inCache, k.index(1));
  carried =
      loop(from, inCache, subgroups() * keysAtOnce, carried, [&](Value first, ValueRange now) {
        SmallVector<Value> scores, visibles;
        SmallVector<SmallVector<Value>> rows(keysAtOnce);
        for (int64_t each = 0; each < keysAtOnce; ++each) {
          Value place = plus(first, each * subgroups()), key = k.min(place, last);
          Value visible = k.lessEqual(place, last);
          if (t.keyMask)
            visible = k.logicalAnd(visible, isVisible(batch, key));
          Value from = k.add(keyRows.start, k.mul(key, keyRows.stride));
          Value value = k.add(valueRows.start, k.mul(key, valueRows.stride));
          SmallVector<Value> keyFeatures;
          for (int64_t i = 0; i < features; ++i)
            keyFeatures.push_back(load(t.keys, k.add(from, feature(i))));
          for (int64_t i = 0; i < valueFeatures; ++i)
            rows[each].push_back(load(t.values, k.add(value, feature(i))));
          Value score = scoreOf(keyFeatures);
          if (t.bias)
            score = addBias(score, batch, position, head, key);
          scores.push_back(k.select(visible, score, f(lowest)));
          visibles.push_back(visible);
        }
        return addScores(now, scores, visibles, rows);
      });
  if (isSingle) {
    // The first subgroup attends to the new key, and of the first head that shares it, appends it.
    Value isFirst = k.logicalAnd(isSingle, k.equal(number, k.index(0)));
    if (isLast)
      isFirst = k.logicalAnd(isFirst, isLast);
    carried = k.branch(
        isFirst,
        [&] {
          Value key = k.sub(end, k.index(1)), heads = k.sym(t.kNew[2]);
          Value row = k.add(k.mul(batch, heads), keyHead);
          Value keyStart = times(row, t.depth), valueStart = times(row, t.valueDepth);
          SmallVector<Value> keyFeatures, valueRow;
          Type keyElement = k.elementType(op.getPresentKey());
          Type valueElement = k.elementType(op.getPresentValue());
          for (int64_t i = 0; i < features; ++i)
            keyFeatures.push_back(k.roundTo(
                keyElement, keyRope ? keyRope->element(batch, position, keyStart, feature(i))
                                    : load(addedKeys, k.add(keyStart, feature(i)))));
          for (int64_t i = 0; i < valueFeatures; ++i)
            valueRow.push_back(
                k.roundTo(valueElement, load(addedValues, k.add(valueStart, feature(i)))));
          Value group = quotient(k.sym(t.q[2]), heads);
          when(k.equal(remainder(head, group), k.index(0)), [&] {
            Value to = k.add(keyRows.start, k.mul(key, keyRows.stride));
            Value valueTo = k.add(valueRows.start, k.mul(key, valueRows.stride));
            for (int64_t i = 0; i < features; ++i)
              store(keyFeatures[i], t.keys, k.add(to, feature(i)));
            for (int64_t i = 0; i < valueFeatures; ++i)
              store(valueRow[i], t.values, k.add(valueTo, feature(i)));
          });
          Value score = scoreOf(keyFeatures);
          if (t.bias)
            score = addBias(score, batch, position, head, key);
          Value visible = t.keyMask ? isVisible(batch, key) : k.equal(key, key);
          score = k.select(visible, score, f(lowest));
          return addScores(carried, {score}, {visible}, {valueRow});
        },
        [&] { return carried; });
  }
  when(k.equal(lane, k.index(0)), [&] {
    storeShared(carried[0], state, times(number, 2));
    storeShared(carried[1], state, plus(times(number, 2), 1));
  });
  for (int64_t i = 0; i < valueFeatures; ++i)
    storeShared(carried[2 + i], sums, k.add(times(number, t.valueDepth), feature(i)));
  barrier();
  Value maximum = loadShared(state, k.index(0));
  for (int64_t i = 1; i < subgroups(); ++i)
    maximum = b.create<arith::MaxNumFOp>(maximum, loadShared(state, k.index(2 * i)));
  // Each invocation makes the weight of one subgroup.
  Value each = remainder(own, k.index(subgroups()));
  Value weight = rescaling(loadShared(state, times(each, 2)), maximum);
  storeShared(weight, subgroupWeights, each);
  barrier();
  SmallVector<Value> weights;
  Value denominator = f(0.0);
  for (int64_t i = 0; i < subgroups(); ++i) {
    weights.push_back(loadShared(subgroupWeights, k.index(i)));
    denominator = k.add(denominator, k.mul(weights.back(), loadShared(state, k.index(2 * i + 1))));
  }
  Value factor, to = times(task, t.valueDepth);
  if (chunk) {
    to = partAt(task, chunk);
    when(k.equal(own, k.index(0)), [&] {
      store(maximum, parts, to);
      store(denominator, parts, plus(to, 1));
    });
    to = plus(to, 2);
  } else {
    Value seen = b.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, denominator, f(0.0));
    factor = k.select(seen, k.div(f(1.0), denominator), f(0.0));
  }
  loop(own, k.index(t.valueDepth), workgroup(), [&](Value i) {
    Value sum = f(0.0);
    for (int64_t each = 0; each < subgroups(); ++each)
      sum = k.add(sum, k.mul(weights[each], loadShared(sums, plus(i, each * t.valueDepth))));
    store(factor ? k.mul(sum, factor) : sum, factor ? t.out : parts, k.add(to, i));
  });
  barrier();
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
  Value query = times(task, t.depth), from = zero, end = endOfKeys(position);
  if (chunk) {
    from = times(chunk, ownChunkKeys);
    end = k.min(end, plus(from, ownChunkKeys));
  }
  loop(from, end, 1, [&](Value key) {
    if (!t.keyMask)
      return addKey(batch, position, head, query, key);
    Value at = k.add(t.maskRow(*this, batch), key);
    Value mask = b.create<memref::LoadOp>(t.keyMask, ValueRange{at});
    Value hidden = k.integer(mask.getType(), 0);
    when(b.create<arith::CmpIOp>(arith::CmpIPredicate::ne, mask, hidden),
         [&] { addKey(batch, position, head, query, key); });
  });
  Value denominator = load(state, k.index(1));
  if (chunk) {
    Value to = partAt(task, chunk);
    store(load(state, zero), parts, to);
    store(denominator, parts, plus(to, 1));
    loop(zero, k.index(t.valueDepth), 1,
         [&](Value i) { store(load(sums, i), parts, k.add(plus(to, 2), i)); });
    return;
  }
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
    score = addBias(score, batch, position, head, key);
  Value before = load(state, k.index(0));
  Value maximum = b.create<arith::MaxNumFOp>(before, score);
  Value rescale = rescaling(before, maximum), weight = rescaling(score, maximum);
  store(maximum, state, k.index(0));
  store(k.add(k.mul(load(state, k.index(1)), rescale), weight), state, k.index(1));
  Value value = k.add(valueRows.start, k.mul(key, valueRows.stride));
  loop(k.index(0), k.index(t.valueDepth), 1, [&](Value i) {
    Value product = k.mul(weight, load(t.values, k.add(value, i)));
    store(k.add(k.mul(load(sums, i), rescale), product), sums, i);
  });
}

/// A task is a feature of one key of one head. With a capacity the past is in the buffer already;
/// without, the present is a new buffer and the past is copied as well. Rotary embeddings that are
/// part of the kernel are applied on the way: to the keys, and to the queries of the heads that
/// share the key head.
class AppendShader : ShaderCode {
public:
  AppendShader(KernelBuilder &k, AttentionOp op, VulkanProfileAttr profile,
               std::optional<Sym> capacity)
      : ShaderCode(k), op(op), tensors(op, capacity), attention(op, capacity), profile(profile),
        capacity(capacity) {}

  LogicalResult emit() {
    if (failed(tensors.collect(*this)) || failed(attention.collect(*this)))
      return failure();
    std::optional<RopeRow> keyRope, queryRope;
    if (RopeOp rope = tensors.keyRope())
      if (failed(keyRope.emplace(k, rope).collect()))
        return failure();
    if (RopeOp rope = attention.queryRope())
      if (failed(queryRope.emplace(k, rope).collect()))
        return failure();
    // One element of a row a task, of keys and of values.
    int64_t features = std::max(*k.dims(op.getK())[3].constant(), *k.dims(op.getV())[3].constant());
    Dims tasks = {tensors.added[0], tensors.added[2], tensors.total - tensors.first(), features};
    Sym isOwn = isAppendedBefore(tensors.added[1], capacity, profile, attention.depth,
                                 attention.valueDepth);
    k.parallel(elementCount(tasks) * isOwn, [&](Value task) {
      KernelBuilder::Index at = k.delinearize(task, tasks);
      Value feature = at[3],
            position = k.sub(k.add(at[2], k.sym(tensors.first())), k.sym(tensors.past));
      auto ifFeature = [&](int64_t count, function_ref<void()> emit) {
        if (count == features)
          emit();
        else
          when(k.less(feature, k.index(count)), emit);
      };
      tensors.appendKey(
          *this, at[0], at[1], k.add(at[2], k.sym(tensors.first())),
          [&](const AppendedTensor &tensor, Value from, Value fromStart, Value toStart) {
            ifFeature(tensor.features, [&] {
              Value value = tensor.isKey && keyRope
                                ? keyRope->element(at[0], position, fromStart, feature)
                                : load(from, k.add(fromStart, feature));
              store(value, tensor.present, k.add(toStart, feature));
            });
          });
      if (!queryRope)
        return;
      Value heads = k.sym(attention.q[2]), group = quotient(heads, k.sym(tensors.added[2]));
      Value row = k.add(k.mul(at[0], k.sym(attention.q[1])), position);
      Value first = k.add(k.mul(row, heads), k.mul(at[1], group));
      ifFeature(attention.depth, [&] {
        loop(k.index(0), group, 1, [&](Value i) {
          Value start = times(k.add(first, i), attention.depth);
          store(queryRope->element(at[0], position, start, feature), attention.queries,
                k.add(start, feature));
        });
      });
    });
    return success();
  }

private:
  AttentionOp op;
  CacheTensors tensors;
  AttentionTensors attention;
  VulkanProfileAttr profile;
  std::optional<Sym> capacity;
};

} // namespace

LogicalResult tacq::emitAttentionShader(KernelBuilder &kernel, AttentionOp op,
                                        VulkanProfileAttr profile, std::optional<Sym> capacity) {
  return AttentionShader(kernel, op, profile, capacity).emit();
}

bool tacq::emitSplitAttentionShader(KernelBuilder &kernel, AttentionOp op,
                                    VulkanProfileAttr profile, bool first,
                                    std::optional<Sym> capacity) {
  AttentionShader shader(kernel, op, profile, capacity);
  return first ? shader.emitChunks() : shader.emitSums();
}

LogicalResult tacq::emitCacheAppendShader(KernelBuilder &kernel, AttentionOp op,
                                          VulkanProfileAttr profile, std::optional<Sym> capacity) {
  return AppendShader(kernel, op, profile, capacity).emit();
}
