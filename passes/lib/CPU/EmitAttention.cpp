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
// values are read where they are: in the cache, or in `k` and `v`.
//
//===----------------------------------------------------------------------===//

#include "AttentionCode.h"
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
                  std::optional<Sym> capacity)
      : AttentionCode(k, target), op(op), capacity(capacity) {}
  LogicalResult emit();

private:
  LogicalResult collect();
  Rows headRows(bool values, Value batch, Value head);
  void emitTask(Value batch, Value keyHead, Value block);
  void copyQueries(Value batch, Value keyHead, Value firstRow, Value rowCount);
  Matrix widenValues(const Rows &values, Value firstKey, Value keyCount);
  void softmaxRow(Value batch, Value keyHead, Value firstRow, Value row, Value firstKey,
                  Value keyCount);
  void storeRow(Value batch, Value keyHead, Value firstRow, Value row);
  /// Position and query head of a row of a task.
  std::pair<Value, Value> positionAndHead(Value keyHead, Value row);

  AttentionOp op;
  std::optional<Sym> capacity;
  Dims q, kNew, vNew;
  Sym total, past; // keys, and those of them before the first query
  int64_t depth = 0, valueDepth = 0, paddedDepth = 0, paddedValueDepth = 0;
  Value qBuffer, keyBuffer, valueBuffer, out, keyMask, bias;
  Value queries, keysT, scores, sums, wideValues, maskRow, maxima, denominators;
};

/// Rows of the cache, `[batch, head, capacity, D]`, or of k and v, `[batch, key, head, D]`.
Rows AttentionKernel::headRows(bool values, Value batch, Value head) {
  Rows rows;
  rows.buffer = values ? valueBuffer : keyBuffer;
  rows.features = values ? valueDepth : depth;
  Value heads = k.sym(kNew[2]);
  if (op.getPresentKey()) {
    Value extent = k.sym(capacity ? *capacity : total);
    rows.stride = k.index(rows.features);
    rows.start = times(k.mul(k.add(k.mul(batch, heads), head), extent), rows.features);
  } else {
    rows.stride = times(heads, rows.features);
    rows.start = times(k.add(k.mul(k.mul(batch, k.sym(total)), heads), head), rows.features);
  }
  return rows;
}

LogicalResult AttentionKernel::collect() {
  q = k.dims(op.getQ());
  kNew = k.dims(op.getK());
  vNew = k.dims(op.getV());
  std::optional<int64_t> d = q[3].constant(), dv = vNew[3].constant();
  if (!d || !dv)
    return op.emitError("the kernel of attention needs a static number of features");
  depth = *d;
  valueDepth = *dv;
  paddedDepth = llvm::alignTo(depth, vectorLanes);
  paddedValueDepth = llvm::alignTo(valueDepth, vectorLanes);
  total = kNew[1];
  if (op.getPastKey()) {
    past = k.dims(op.getPastKey())[2];
    total = k.dims(op.getPresentKey())[2];
  }
  qBuffer = inputBuffer(op.getQ());
  out = outputBuffer(op.getOut());
  keyBuffer = op.getPresentKey() ? outputBuffer(op.getPresentKey()) : inputBuffer(op.getK());
  valueBuffer = op.getPresentValue() ? outputBuffer(op.getPresentValue()) : inputBuffer(op.getV());
  keyMask = inputBuffer(op.getKeyMask());
  bias = inputBuffer(op.getBias());
  if (!qBuffer || !out || !keyBuffer || !valueBuffer || bool(op.getKeyMask()) != bool(keyMask) ||
      bool(op.getBias()) != bool(bias))
    return op.emitError("the kernel of attention holds that operation alone");
  return success();
}

LogicalResult AttentionKernel::emit() {
  if (failed(collect()))
    return failure();
  Type f32 = b.getF32Type();
  queries = stackBuffer(blockRows * paddedDepth, f32);
  keysT = stackBuffer(paddedDepth * blockKeys, f32);
  scores = stackBuffer(blockRows * blockKeys, f32);
  sums = stackBuffer(blockRows * paddedValueDepth, f32);
  maxima = stackBuffer(blockRows, f32);
  denominators = stackBuffer(blockRows, f32);
  if (keyMask)
    maskRow = stackBuffer(blockKeys, f32);
  if (!cast<MemRefType>(valueBuffer.getType()).getElementType().isF32())
    wideValues = stackBuffer(blockKeys * paddedValueDepth, f32);

  std::optional<Sym> group = Sym::divideExactly(q[2], kNew[2]);
  Sym rowsOfHead = q[1] * (group ? *group : Sym::floorDiv(q[2], kNew[2]));
  Sym blocks = Sym::ceilDiv(rowsOfHead, blockRows);
  k.parallel(q[0] * kNew[2] * blocks, [&](Value task) {
    Value blockCount = k.sym(blocks), heads = k.sym(kNew[2]);
    Value block = b.create<arith::RemUIOp>(task, blockCount);
    Value batchAndHead = b.create<arith::DivUIOp>(task, blockCount);
    emitTask(b.create<arith::DivUIOp>(batchAndHead, heads),
             b.create<arith::RemUIOp>(batchAndHead, heads), block);
  });
  return success();
}

std::pair<Value, Value> AttentionKernel::positionAndHead(Value keyHead, Value row) {
  Value group = b.create<arith::DivUIOp>(k.sym(q[2]), k.sym(kNew[2]));
  Value position = b.create<arith::DivUIOp>(row, group);
  Value head = k.add(k.mul(keyHead, group), b.create<arith::RemUIOp>(row, group));
  return {position, head};
}

void AttentionKernel::emitTask(Value batch, Value keyHead, Value block) {
  Value group = b.create<arith::DivUIOp>(k.sym(q[2]), k.sym(kNew[2]));
  Value rowsOfHead = k.mul(k.sym(q[1]), group);
  Value firstRow = times(block, blockRows);
  Value rowCount = k.min(k.sub(rowsOfHead, firstRow), k.index(blockRows));
  copyQueries(batch, keyHead, firstRow, rowCount);

  Value keyEnd = k.sym(total);
  if (op.getCausal()) {
    // No row of the block sees more than its last one.
    Value last = b.create<arith::DivUIOp>(plus(k.add(firstRow, rowCount), -1), group);
    keyEnd = k.min(keyEnd, plus(k.add(last, k.sym(past)), 1));
  }
  Rows keys = headRows(false, batch, keyHead), values = headRows(true, batch, keyHead);
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
    if (keyMask)
      loadKeyMask(keyMask, maskRow, k.add(k.mul(batch, k.sym(total)), firstKey), keyCount);
    loop(zero, rowCount, 1,
         [&](Value row) { softmaxRow(batch, keyHead, firstRow, row, firstKey, keyCount); });
    int64_t lastLanes = valueDepth - (paddedValueDepth - vectorLanes);
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
    Value from = k.add(k.mul(k.add(k.mul(batch, k.sym(q[1])), position), k.sym(q[2])), head);
    from = times(from, depth);
    Value to = times(row, paddedDepth);
    for (int64_t at = 0; at < paddedDepth; at += vectorLanes) {
      Value active = constantMask(std::min(vectorLanes, depth - at));
      store(k.mul(load(qBuffer, plus(from, at), active), scale), queries, plus(to, at));
    }
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
      Value active = constantMask(std::min(vectorLanes, valueDepth - at));
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
    visible = k.min(visible, k.sub(plus(k.add(position, k.sym(past)), 1), firstKey));
  Value biasRow;
  if (bias) {
    Dims dims = k.dims(op.getBias());
    auto orOne = [&](const Sym &dim, Value at) {
      return k.select(k.equal(k.sym(dim), k.index(1)), k.index(0), at);
    };
    biasRow = k.add(k.mul(orOne(dims[0], batch), k.sym(dims[1])), orOne(dims[1], head));
    biasRow = k.add(k.mul(biasRow, k.sym(q[1])), position);
    biasRow = k.add(k.mul(biasRow, k.sym(total)), firstKey);
  }
  Value rowStart = times(row, blockKeys);
  Value hidden = splat(-std::numeric_limits<float>::infinity());
  SmallVector<Value> vectors;
  Value largestVector;
  for (int64_t at = 0; at < blockKeys; at += vectorLanes) {
    Value score = load(scores, plus(rowStart, at));
    Value active = mask(plus(visible, -at));
    if (bias)
      score = k.add(score, load(bias, plus(biasRow, at), active));
    if (keyMask)
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
  Value to = k.add(k.mul(k.add(k.mul(batch, k.sym(q[1])), position), k.sym(q[2])), head);
  to = times(to, valueDepth);
  Value denominator = loadScalar(denominators, row);
  Type f32 = b.getF32Type();
  Value seen =
      b.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, denominator, k.constant(f32, 0.0));
  Value factor =
      splat(k.select(seen, k.div(k.constant(f32, 1.0), denominator), k.constant(f32, 0.0)));
  for (int64_t at = 0; at < paddedValueDepth; at += vectorLanes) {
    Value sum = load(sums, plus(times(row, paddedValueDepth), at));
    store(k.mul(sum, factor), out, plus(to, at),
          constantMask(std::min(vectorLanes, valueDepth - at)));
  }
}

} // namespace

LogicalResult tacq::emitAttention(KernelBuilder &kernel, AttentionOp op, const CpuTarget &target,
                                  std::optional<Sym> capacity) {
  return AttentionKernel(kernel, op, target, capacity).emit();
}
