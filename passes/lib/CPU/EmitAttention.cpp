//===- EmitAttention.cpp - Attention with an online softmax ---------------===//
//
// The query rows of a key head are all (position, head) pairs that read it. A task is a block of
// such rows; it goes over the keys in blocks of 64:
//
//   scores  = q · kᵀ            rows by 64, from a transposed copy of the keys
//   softmax   running maximum and sum of each row; what was summed so far is rescaled
//   sums   += scores · v        rows by Dv
//
// Both products are the same small matrix product over buffers on the stack, in f32. Keys and
// values are read where they are: in the cache, or in `k` and `v`. For the few rows of a step of
// decoding there is other code, which a launch chooses by its sizes (DecodeAttention.h).
//
//===----------------------------------------------------------------------===//

#include "DecodeAttention.h"
#include "tacq/CPU/HotKernels.h"
#include "tacq/Codegen/MathExpansion.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;

namespace {

/// Query rows of a task; a multiple of the rows of every tile.
constexpr int64_t blockRows = 48;
constexpr int64_t blockKeys = 64;
constexpr int64_t smallTileRows = 2;
constexpr int64_t tileRows[] = {6, smallTileRows};
/// Where the rows' maxima start: below every score but those that are masked with -infinity.
constexpr float lowest = std::numeric_limits<float>::lowest();

class AttentionKernel : AttentionCode {
public:
  AttentionKernel(KernelBuilder &k, AttentionOp op, const CpuTarget &target,
                  const KernelOptions &options)
      : AttentionCode(k, target), target(target), options(options), op(op),
        t(op, options.capacity) {}
  LogicalResult emit();

private:
  void prepare();
  void emitTask(Value batch, Value keyHead, Value block);
  void copyQueries(Value batch, Value keyHead, Value firstRow, Value rowCount);
  Matrix widenValues(const Rows &values, Value firstKey, Value keyCount);
  void softmaxRow(Value batch, Value keyHead, Value firstRow, Value row, Value firstKey,
                  Value keyCount);
  void storeRow(Value batch, Value keyHead, Value firstRow, Value row);
  /// Position and query head of a row of a task.
  std::pair<Value, Value> positionAndHead(Value keyHead, Value row);

  const CpuTarget &target;
  const KernelOptions &options;
  AttentionOp op;
  AttentionTensors t;
  int64_t paddedDepth = 0, paddedValueDepth = 0;
  Value queries, keysT, scores, sums, wideValues, maskRow, maxima, denominators;
};

void AttentionKernel::prepare() {
  paddedDepth = llvm::alignTo(t.depth, vectorLanes);
  paddedValueDepth = llvm::alignTo(t.valueDepth, vectorLanes);
  Type f32 = b.getF32Type();
  queries = stackBuffer(blockRows * paddedDepth, f32);
  keysT = stackBuffer(paddedDepth * blockKeys, f32);
  scores = stackBuffer(blockRows * blockKeys, f32);
  sums = stackBuffer(blockRows * paddedValueDepth, f32);
  maxima = stackBuffer(blockRows, f32);
  denominators = stackBuffer(blockRows, f32);
  if (t.keyMask)
    maskRow = stackBuffer(blockKeys, f32);
  if (!cast<MemRefType>(t.values.getType()).getElementType().isF32())
    wideValues = stackBuffer(blockKeys * paddedValueDepth, f32);
}

LogicalResult AttentionKernel::emit() {
  if (failed(t.collect(*this)))
    return failure();
  DecodeAttention decode(k, target, t);
  Sym few = decode.isChosen();
  bool always = few.isConstant(1), never = few.isConstant(0);
  if (!always)
    prepare();
  AppendCode append(k, op, options.capacity);
  bool appends = options.attendAppends && options.capacity && op.getPresentKey();
  if (appends && !never && failed(append.collect()))
    return failure();
  if (!never && failed(decode.prepare(appends ? &append : nullptr)))
    return failure();
  std::optional<Sym> group = Sym::divideExactly(t.q[2], t.kNew[2]);
  Sym rowsOfHead = t.q[1] * (group ? *group : Sym::floorDiv(t.q[2], t.kNew[2]));
  // Few rows are one block.
  Sym blocks = Sym::ceilDiv(rowsOfHead, blockRows);
  Sym tasks = never ? blocks : always ? decode.chunks() : Sym::max(blocks, few * decode.chunks());
  k.parallel(t.q[0] * t.kNew[2] * tasks, [&](Value task) {
    Value count = k.sym(tasks), heads = k.sym(t.kNew[2]);
    Value part = b.create<arith::RemUIOp>(task, count);
    Value batchAndHead = b.create<arith::DivUIOp>(task, count);
    Value batch = b.create<arith::DivUIOp>(batchAndHead, heads);
    Value head = b.create<arith::RemUIOp>(batchAndHead, heads);
    // Causal rows see the more keys the later they are: the blocks of a head come from both ends,
    // so that equal numbers of tasks are equal work.
    auto blockOf = [&](Value part) {
      if (!op.getCausal())
        return part;
      Value half = b.create<arith::DivUIOp>(part, k.index(2));
      Value isOdd = k.equal(b.create<arith::RemUIOp>(part, k.index(2)), k.index(1));
      return k.select(isOdd, k.sub(plus(count, -1), half), half);
    };
    if (always)
      return decode.emitTask(batch, head, part);
    if (never)
      return emitTask(batch, head, blockOf(part));
    Value isFew = k.equal(k.sym(few), k.index(1));
    when(isFew, [&] { decode.emitTask(batch, head, part); });
    when(k.logicalNot(isFew), [&] { emitTask(batch, head, blockOf(part)); });
  });
  return success();
}

std::pair<Value, Value> AttentionKernel::positionAndHead(Value keyHead, Value row) {
  Value group = b.create<arith::DivUIOp>(k.sym(t.q[2]), k.sym(t.kNew[2]));
  Value position = b.create<arith::DivUIOp>(row, group);
  Value head = k.add(k.mul(keyHead, group), b.create<arith::RemUIOp>(row, group));
  return {position, head};
}

void AttentionKernel::emitTask(Value batch, Value keyHead, Value block) {
  Value group = b.create<arith::DivUIOp>(k.sym(t.q[2]), k.sym(t.kNew[2]));
  Value rowsOfHead = k.mul(k.sym(t.q[1]), group);
  Value firstRow = times(block, blockRows);
  Value rowCount = k.min(k.sub(rowsOfHead, firstRow), k.index(blockRows));
  copyQueries(batch, keyHead, firstRow, rowCount);

  Value keyEnd = k.sym(t.total);
  if (op.getCausal()) {
    // No row of the block sees more than its last one.
    Value last = b.create<arith::DivUIOp>(plus(k.add(firstRow, rowCount), -1), group);
    keyEnd = k.min(keyEnd, plus(k.add(last, k.sym(t.past)), 1));
  }
  Rows keys = t.keyRows(*this, batch, keyHead), values = t.valueRows(*this, batch, keyHead);
  Value zero = k.index(0);
  loop(zero, keyEnd, blockKeys, [&](Value firstKey) {
    Value keyCount = k.min(k.sub(keyEnd, firstKey), k.index(blockKeys));
    transposeRows(keys, firstKey, keyCount, keysT, blockKeys);
    Matrix scoreMatrix{scores, zero, k.index(blockKeys), Value()};
    // Small tiles may go one row beyond the last.
    Value tiledRows = k.min(plus(rowCount, smallTileRows - 1), k.index(blockRows));
    loop(zero, times(tiledRows, blockKeys), vectorLanes,
         [&](Value at) { store(splat(0.0f), scores, at); });
    multiply({queries, zero, k.index(paddedDepth), Value()},
             {keysT, zero, k.index(blockKeys), Value()}, scoreMatrix, rowCount,
             k.index(paddedDepth), blockKeys / vectorLanes, vectorLanes, tileRows);
    if (t.keyMask)
      loadKeyMask(t.keyMask, maskRow, k.add(t.maskRow(*this, batch), firstKey), keyCount);
    loop(zero, rowCount, 1,
         [&](Value row) { softmaxRow(batch, keyHead, firstRow, row, firstKey, keyCount); });
    int64_t lastLanes = t.valueDepth - (paddedValueDepth - vectorLanes);
    Matrix valueMatrix{values.buffer, k.add(values.start, k.mul(firstKey, values.stride)),
                       values.stride, Value()};
    if (wideValues) {
      valueMatrix = widenValues(values, firstKey, keyCount);
      lastLanes = vectorLanes;
    }
    multiply(scoreMatrix, valueMatrix, {sums, zero, k.index(paddedValueDepth), Value()}, rowCount,
             keyCount, paddedValueDepth / vectorLanes, lastLanes, tileRows);
  });
  loop(zero, rowCount, 1, [&](Value row) { storeRow(batch, keyHead, firstRow, row); });
}

/// Queries times the scale, as f32, padded with zeros; and where the rows start.
void AttentionKernel::copyQueries(Value batch, Value keyHead, Value firstRow, Value rowCount) {
  Value scale = splat(float(op.getScale().convertToDouble()));
  loop(k.index(0), rowCount, 1, [&](Value row) {
    auto [position, head] = positionAndHead(keyHead, k.add(firstRow, row));
    Value from = k.add(k.mul(k.add(k.mul(batch, k.sym(t.q[1])), position), k.sym(t.q[2])), head);
    from = times(from, t.depth);
    Value to = times(row, paddedDepth);
    copyScaled(t.queries, from, scale, queries, to, t.depth);
    for (int64_t at = 0; at < paddedValueDepth; at += vectorLanes)
      store(splat(0.0f), sums, plus(times(row, paddedValueDepth), at));
    storeScalar(k.constant(b.getF32Type(), lowest), maxima, row);
    storeScalar(k.constant(b.getF32Type(), 0.0), denominators, row);
  });
}

Matrix AttentionKernel::widenValues(const Rows &values, Value firstKey, Value keyCount) {
  loop(k.index(0), keyCount, 1, [&](Value key) {
    Value from = k.add(values.start, k.mul(k.add(firstKey, key), values.stride));
    for (int64_t at = 0; at < paddedValueDepth; at += vectorLanes) {
      Value active = constantMask(std::min(vectorLanes, t.valueDepth - at));
      store(load(values.buffer, plus(from, at), active), wideValues,
            plus(times(key, paddedValueDepth), at));
    }
  });
  return {wideValues, k.index(0), k.index(paddedValueDepth), Value()};
}

/// Turns the scores of a row into weights relative to its running maximum.
void AttentionKernel::softmaxRow(Value batch, Value keyHead, Value firstRow, Value row,
                                 Value firstKey, Value keyCount) {
  auto [position, head] = positionAndHead(keyHead, k.add(firstRow, row));
  Value visible = keyCount;
  if (op.getCausal())
    visible = k.min(visible, k.sub(plus(k.add(position, k.sym(t.past)), 1), firstKey));
  Value biasRow;
  if (t.bias)
    biasRow = k.add(t.biasRow(*this, batch, head, position), firstKey);
  Value rowStart = times(row, blockKeys);
  Value hidden = splat(-std::numeric_limits<float>::infinity());
  SmallVector<Value> vectors;
  Value largestVector;
  for (int64_t at = 0; at < blockKeys; at += vectorLanes) {
    Value score = load(scores, plus(rowStart, at));
    Value active = mask(plus(visible, -at));
    if (t.bias)
      score = k.add(score, load(t.bias, plus(biasRow, at), active));
    if (t.keyMask)
      score = k.add(score, load(maskRow, k.index(at)));
    score = k.select(active, score, hidden);
    largestVector =
        largestVector ? b.create<arith::MaxNumFOp>(largestVector, score).getResult() : score;
    vectors.push_back(score);
  }
  Value before = loadScalar(maxima, row);
  Value maximum = b.create<arith::MaxNumFOp>(before, largest(largestVector));
  Value total = splat(0.0f), shift = splat(maximum);
  for (auto [i, score] : llvm::enumerate(vectors)) {
    Value weight = emitExpNonPositive(b, k.sub(score, shift));
    store(weight, scores, plus(rowStart, i * vectorLanes));
    total = k.add(total, weight);
  }
  Value rescale = emitExpNonPositive(b, k.sub(before, maximum));
  Value denominator = k.add(k.mul(loadScalar(denominators, row), rescale), sum(total));
  storeScalar(maximum, maxima, row);
  storeScalar(denominator, denominators, row);
  Value factor = splat(rescale);
  for (int64_t at = 0; at < paddedValueDepth; at += vectorLanes) {
    Value from = plus(times(row, paddedValueDepth), at);
    store(k.mul(load(sums, from), factor), sums, from);
  }
}

void AttentionKernel::storeRow(Value batch, Value keyHead, Value firstRow, Value row) {
  auto [position, head] = positionAndHead(keyHead, k.add(firstRow, row));
  Value to = k.add(k.mul(k.add(k.mul(batch, k.sym(t.q[1])), position), k.sym(t.q[2])), head);
  to = times(to, t.valueDepth);
  Value denominator = loadScalar(denominators, row);
  Type f32 = b.getF32Type();
  Value seen =
      b.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, denominator, k.constant(f32, 0.0));
  Value factor =
      splat(k.select(seen, k.div(k.constant(f32, 1.0), denominator), k.constant(f32, 0.0)));
  for (int64_t at = 0; at < paddedValueDepth; at += vectorLanes) {
    Value sum = load(sums, plus(times(row, paddedValueDepth), at));
    store(k.mul(sum, factor), t.out, plus(to, at),
          constantMask(std::min(vectorLanes, t.valueDepth - at)));
  }
}

} // namespace

LogicalResult tacq::emitAttention(KernelBuilder &kernel, AttentionOp op, const CpuTarget &target,
                                  const KernelOptions &options) {
  return AttentionKernel(kernel, op, target, options).emit();
}
