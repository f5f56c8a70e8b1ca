//===- EmitAttentionGrad.cpp - Gradients of attention ---------------------===//
//
// A task is one query head of one batch. It goes over blocks of query rows, and twice over the keys
// that a block sees, in blocks of 64:
//
//   1. scores = q · kᵀ; the maximum of each row and the sum of its weights, as in the forward
//   kernel
//   2. scores again; P = softmax(scores), dP = dO · vᵀ, dS = P (dP - δ) with δ = Σ dO · O
//      dV += Pᵀ · dO,  dQ += dS · k,  dK += dSᵀ · q
//
// The gradients of keys and values are added up in the results themselves: no other task writes
// there, since every query head has its own. All products are small ones over f32 on the stack.
//
//===----------------------------------------------------------------------===//

#include "AttentionCode.h"
#include "tacq/CPU/HotKernels.h"
#include "tacq/Codegen/MathExpansion.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;

namespace {

constexpr int64_t blockRows = 48;
constexpr int64_t blockKeys = 64;
/// The smallest tile has one row: what lies behind the last row belongs to another task.
constexpr int64_t tileRows[] = {6, 4, 1};
constexpr float lowest = std::numeric_limits<float>::lowest();

class AttentionGradKernel : AttentionCode {
public:
  AttentionGradKernel(KernelBuilder &k, AttentionGradOp op, const CpuTarget &target)
      : AttentionCode(k, target), op(op) {}
  LogicalResult emit();

private:
  LogicalResult collect();
  void emitTask(Value batch, Value head);
  void emitBlock(Value batch, Value head, Value firstRow);
  void clearRows(const Rows &rows, Value count);
  /// Copies rows to the stack as f32, times a factor, padded with zeros.
  void copyRows(const Rows &rows, Value firstRow, Value rowCount, Value to, double factor);
  void startRows(const Rows &gradients, const Rows &results, Value firstRow, Value rowCount);
  void computeScores(Value firstKey, Value keyCount, Value rowCount);
  /// The scores of a row, -infinity where the query does not see the key, and where it does.
  void loadScores(Value batch, Value head, Value position, Value row, Value firstKey,
                  Value keyCount, SmallVectorImpl<Value> &vectors, SmallVectorImpl<Value> &active);
  void addToMoments(Value batch, Value head, Value firstRow, Value row, Value firstKey,
                    Value keyCount);
  void differentiateRow(Value batch, Value head, Value firstRow, Value row, Value firstKey,
                        Value keyCount);
  void forKeys(Value keyEnd, function_ref<void(Value firstKey, Value keyCount)> body);
  void clear(Value buffer, Value count);

  Matrix onStack(Value buffer, int64_t stride) {
    return {buffer, k.index(0), k.index(stride), Value()};
  }
  /// A matrix of the stack with rows and columns exchanged.
  Matrix turned(Value buffer, int64_t stride) {
    return {buffer, k.index(0), k.index(1), k.index(stride)};
  }
  Matrix rowsFrom(const Rows &rows, Value first) {
    return {rows.buffer, k.add(rows.start, k.mul(first, rows.stride)), rows.stride, Value()};
  }

  AttentionGradOp op;
  Dims q, keys;
  int64_t depth = 0, valueDepth = 0, paddedDepth = 0, paddedValueDepth = 0;
  Value gradientBuffer, qBuffer, keyBuffer, valueBuffer, outBuffer, keyMask, bias;
  Value qGradient, keyGradient, valueGradient;
  // On the stack: of a block of rows, and of a block of keys.
  Value queries, gradients, querySums, maxima, denominators, deltas;
  Value keysT, valuesT, scores, slopes, maskRow;
  // Of the current task.
  Rows keyRows, valueRows, keyGradients, valueGradients;
};

LogicalResult AttentionGradKernel::collect() {
  q = k.dims(op.getQ());
  keys = k.dims(op.getK());
  std::optional<int64_t> d = q[3].constant(), dv = k.dims(op.getV())[3].constant();
  if (!d || !dv)
    return op.emitError("the kernel of attention's gradients needs a static number of features");
  depth = *d;
  valueDepth = *dv;
  paddedDepth = llvm::alignTo(depth, vectorLanes);
  paddedValueDepth = llvm::alignTo(valueDepth, vectorLanes);
  gradientBuffer = inputBuffer(op.getGradient());
  qBuffer = inputBuffer(op.getQ());
  keyBuffer = inputBuffer(op.getK());
  valueBuffer = inputBuffer(op.getV());
  outBuffer = inputBuffer(op.getOut());
  keyMask = inputBuffer(op.getKeyMask());
  bias = inputBuffer(op.getBias());
  qGradient = outputBuffer(op.getQGradient());
  keyGradient = outputBuffer(op.getKGradient());
  valueGradient = outputBuffer(op.getVGradient());
  for (Value buffer : {gradientBuffer, qBuffer, keyBuffer, valueBuffer, outBuffer, qGradient,
                       keyGradient, valueGradient})
    if (!buffer)
      return op.emitError("the kernel of attention's gradients holds that operation alone");
  if (bool(op.getKeyMask()) != bool(keyMask) || bool(op.getBias()) != bool(bias))
    return op.emitError("the kernel of attention's gradients holds that operation alone");
  return success();
}

LogicalResult AttentionGradKernel::emit() {
  if (failed(collect()))
    return failure();
  Type f32 = b.getF32Type();
  queries = stackBuffer(blockRows * paddedDepth, f32);
  querySums = stackBuffer(blockRows * paddedDepth, f32);
  gradients = stackBuffer(blockRows * paddedValueDepth, f32);
  maxima = stackBuffer(blockRows, f32);
  denominators = stackBuffer(blockRows, f32);
  deltas = stackBuffer(blockRows, f32);
  keysT = stackBuffer(paddedDepth * blockKeys, f32);
  valuesT = stackBuffer(paddedValueDepth * blockKeys, f32);
  scores = stackBuffer(blockRows * blockKeys, f32);
  slopes = stackBuffer(blockRows * blockKeys, f32);
  if (keyMask)
    maskRow = stackBuffer(blockKeys, f32);
  k.parallel(q[0] * q[2], [&](Value task) {
    Value heads = k.sym(q[2]);
    emitTask(b.create<arith::DivUIOp>(task, heads), b.create<arith::RemUIOp>(task, heads));
  });
  return success();
}

void AttentionGradKernel::emitTask(Value batch, Value head) {
  Value group = b.create<arith::DivUIOp>(k.sym(q[2]), k.sym(keys[2]));
  Value keyHead = b.create<arith::DivUIOp>(head, group);
  keyRows = headRows(*this, keyBuffer, keys[1], keys[2], batch, keyHead, depth);
  valueRows = headRows(*this, valueBuffer, keys[1], keys[2], batch, keyHead, valueDepth);
  keyGradients = headRows(*this, keyGradient, keys[1], q[2], batch, head, depth);
  valueGradients = headRows(*this, valueGradient, keys[1], q[2], batch, head, valueDepth);
  clearRows(keyGradients, k.sym(keys[1]));
  clearRows(valueGradients, k.sym(keys[1]));
  loop(k.index(0), k.sym(q[1]), blockRows,
       [&](Value firstRow) { emitBlock(batch, head, firstRow); });
}

void AttentionGradKernel::clearRows(const Rows &rows, Value count) {
  loop(k.index(0), count, 1, [&](Value row) {
    Value start = k.add(rows.start, k.mul(row, rows.stride));
    for (int64_t at = 0; at < rows.features; at += vectorLanes)
      store(splat(0.0f), rows.buffer, plus(start, at),
            constantMask(std::min(vectorLanes, rows.features - at)));
  });
}

void AttentionGradKernel::clear(Value buffer, Value count) {
  loop(k.index(0), count, vectorLanes, [&](Value at) { store(splat(0.0f), buffer, at); });
}

void AttentionGradKernel::copyRows(const Rows &rows, Value firstRow, Value rowCount, Value to,
                                   double factor) {
  int64_t padded = llvm::alignTo(rows.features, vectorLanes);
  Value scale = splat(float(factor));
  loop(k.index(0), rowCount, 1, [&](Value row) {
    Value from = k.add(rows.start, k.mul(k.add(firstRow, row), rows.stride));
    copyScaled(rows.buffer, from, scale, to, times(row, padded), rows.features);
  });
}

/// δ of each row, and where the moments of its softmax start.
void AttentionGradKernel::startRows(const Rows &gradientRows, const Rows &results, Value firstRow,
                                    Value rowCount) {
  loop(k.index(0), rowCount, 1, [&](Value row) {
    Value at = k.add(firstRow, row);
    Value left = k.add(gradientRows.start, k.mul(at, gradientRows.stride));
    Value right = k.add(results.start, k.mul(at, results.stride));
    Value total = splat(0.0f);
    for (int64_t feature = 0; feature < valueDepth; feature += vectorLanes) {
      Value active = constantMask(std::min(vectorLanes, valueDepth - feature));
      total = fma(load(gradientRows.buffer, plus(left, feature), active),
                  load(results.buffer, plus(right, feature), active), total);
    }
    storeScalar(sum(total), deltas, row);
    storeScalar(k.constant(b.getF32Type(), lowest), maxima, row);
    storeScalar(k.constant(b.getF32Type(), 0.0), denominators, row);
  });
}

void AttentionGradKernel::forKeys(Value keyEnd, function_ref<void(Value, Value)> body) {
  loop(k.index(0), keyEnd, blockKeys,
       [&](Value firstKey) { body(firstKey, k.min(k.sub(keyEnd, firstKey), k.index(blockKeys))); });
}

void AttentionGradKernel::computeScores(Value firstKey, Value keyCount, Value rowCount) {
  transposeRows(keyRows, firstKey, keyCount, keysT, blockKeys);
  clear(scores, times(rowCount, blockKeys));
  multiply(onStack(queries, paddedDepth), onStack(keysT, blockKeys), onStack(scores, blockKeys),
           rowCount, k.index(paddedDepth), blockKeys / vectorLanes, vectorLanes, tileRows);
}

void AttentionGradKernel::emitBlock(Value batch, Value head, Value firstRow) {
  Value rowCount = k.min(k.sub(k.sym(q[1]), firstRow), k.index(blockRows));
  Rows queryRows = headRows(*this, qBuffer, q[1], q[2], batch, head, depth);
  Rows gradientRows = headRows(*this, gradientBuffer, q[1], q[2], batch, head, valueDepth);
  Rows results = headRows(*this, outBuffer, q[1], q[2], batch, head, valueDepth);
  double scale = op.getScale().convertToDouble();
  copyRows(queryRows, firstRow, rowCount, queries, scale);
  copyRows(gradientRows, firstRow, rowCount, gradients, 1.0);
  startRows(gradientRows, results, firstRow, rowCount);
  clear(querySums, times(rowCount, paddedDepth));

  Value keyEnd = k.sym(keys[1]);
  if (op.getCausal())
    keyEnd = k.min(keyEnd, k.add(firstRow, rowCount));
  auto loadMask = [&](Value firstKey, Value keyCount) {
    if (keyMask)
      loadKeyMask(keyMask, maskRow, k.add(k.mul(batch, k.sym(keys[1])), firstKey), keyCount);
  };
  forKeys(keyEnd, [&](Value firstKey, Value keyCount) {
    computeScores(firstKey, keyCount, rowCount);
    loadMask(firstKey, keyCount);
    loop(k.index(0), rowCount, 1,
         [&](Value row) { addToMoments(batch, head, firstRow, row, firstKey, keyCount); });
  });
  auto lanesOfLast = [](int64_t features) {
    return features - (int64_t(llvm::alignTo(features, vectorLanes)) - vectorLanes);
  };
  forKeys(keyEnd, [&](Value firstKey, Value keyCount) {
    computeScores(firstKey, keyCount, rowCount);
    loadMask(firstKey, keyCount);
    transposeRows(valueRows, firstKey, keyCount, valuesT, blockKeys);
    clear(slopes, times(rowCount, blockKeys));
    multiply(onStack(gradients, paddedValueDepth), onStack(valuesT, blockKeys),
             onStack(slopes, blockKeys), rowCount, k.index(paddedValueDepth),
             blockKeys / vectorLanes, vectorLanes, tileRows);
    loop(k.index(0), rowCount, 1,
         [&](Value row) { differentiateRow(batch, head, firstRow, row, firstKey, keyCount); });
    multiply(onStack(slopes, blockKeys), rowsFrom(keyRows, firstKey),
             onStack(querySums, paddedDepth), rowCount, keyCount, paddedDepth / vectorLanes,
             lanesOfLast(depth), tileRows);
    multiply(turned(slopes, blockKeys), onStack(queries, paddedDepth),
             rowsFrom(keyGradients, firstKey), keyCount, rowCount, paddedDepth / vectorLanes,
             lanesOfLast(depth), tileRows);
    multiply(turned(scores, blockKeys), onStack(gradients, paddedValueDepth),
             rowsFrom(valueGradients, firstKey), keyCount, rowCount, paddedValueDepth / vectorLanes,
             lanesOfLast(valueDepth), tileRows);
  });

  Rows to = headRows(*this, qGradient, q[1], q[2], batch, head, depth);
  Value factor = splat(float(scale));
  loop(k.index(0), rowCount, 1, [&](Value row) {
    Value start = k.add(to.start, k.mul(k.add(firstRow, row), to.stride));
    for (int64_t at = 0; at < depth; at += vectorLanes)
      store(k.mul(load(querySums, plus(times(row, paddedDepth), at)), factor), to.buffer,
            plus(start, at), constantMask(std::min(vectorLanes, depth - at)));
  });
}

void AttentionGradKernel::loadScores(Value batch, Value head, Value position, Value row,
                                     Value firstKey, Value keyCount,
                                     SmallVectorImpl<Value> &vectors,
                                     SmallVectorImpl<Value> &active) {
  Value visible = keyCount;
  if (op.getCausal())
    visible = k.min(visible, k.sub(plus(position, 1), firstKey));
  Value biasRow;
  if (bias)
    biasRow = k.add(biasStart(*this, op.getBias(), q[1], keys[1], batch, head, position), firstKey);
  Value hidden = splat(-std::numeric_limits<float>::infinity());
  for (int64_t at = 0; at < blockKeys; at += vectorLanes) {
    Value score = load(scores, plus(times(row, blockKeys), at));
    active.push_back(mask(plus(visible, -at)));
    if (bias)
      score = k.add(score, load(bias, plus(biasRow, at), active.back()));
    if (keyMask)
      score = k.add(score, load(maskRow, k.index(at)));
    vectors.push_back(k.select(active.back(), score, hidden));
  }
}

/// The running maximum of a row, and the sum of its weights relative to it.
void AttentionGradKernel::addToMoments(Value batch, Value head, Value firstRow, Value row,
                                       Value firstKey, Value keyCount) {
  SmallVector<Value> vectors, active;
  loadScores(batch, head, k.add(firstRow, row), row, firstKey, keyCount, vectors, active);
  Value largestVector = vectors.front();
  for (Value vector : ArrayRef(vectors).drop_front())
    largestVector = b.create<arith::MaxNumFOp>(largestVector, vector);
  Value before = loadScalar(maxima, row);
  Value maximum = b.create<arith::MaxNumFOp>(before, largest(largestVector));
  Value total = splat(0.0f), shift = splat(maximum);
  for (Value vector : vectors)
    total = k.add(total, emitExpNonPositive(b, k.sub(vector, shift)));
  Value rescale = emitExpNonPositive(b, k.sub(before, maximum));
  storeScalar(maximum, maxima, row);
  storeScalar(k.add(k.mul(loadScalar(denominators, row), rescale), sum(total)), denominators, row);
}

/// Turns the scores of a row into P, and dP into dS. A query that sees no key has zeros.
void AttentionGradKernel::differentiateRow(Value batch, Value head, Value firstRow, Value row,
                                           Value firstKey, Value keyCount) {
  SmallVector<Value> vectors, active;
  loadScores(batch, head, k.add(firstRow, row), row, firstKey, keyCount, vectors, active);
  Type f32 = b.getF32Type();
  Value denominator = loadScalar(denominators, row);
  Value seen =
      b.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, denominator, k.constant(f32, 0.0));
  Value factor =
      splat(k.select(seen, k.div(k.constant(f32, 1.0), denominator), k.constant(f32, 0.0)));
  Value shift = splat(loadScalar(maxima, row)), delta = splat(loadScalar(deltas, row));
  for (auto [i, vector] : llvm::enumerate(vectors)) {
    Value at = plus(times(row, blockKeys), i * vectorLanes);
    Value p = k.mul(emitExpNonPositive(b, k.sub(vector, shift)), factor);
    Value slope = k.mul(p, k.sub(load(slopes, at), delta));
    // Lanes beyond the keys hold what was there before.
    store(k.select(active[i], p, splat(0.0f)), scores, at);
    store(k.select(active[i], slope, splat(0.0f)), slopes, at);
  }
}

} // namespace

LogicalResult tacq::emitAttentionGrad(KernelBuilder &kernel, AttentionGradOp op,
                                      const CpuTarget &target) {
  return AttentionGradKernel(kernel, op, target).emit();
}
