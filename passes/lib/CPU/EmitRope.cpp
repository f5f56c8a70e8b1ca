//===- EmitRope.cpp - Rotary position embedding ---------------------------===//
//
// A task is a few positions of one sequence, all heads of them: the rotation of a position is the
// same for every head.
//
//===----------------------------------------------------------------------===//

#include "RowCode.h"
#include "tacq/CPU/HotKernels.h"

using namespace mlir;
using namespace tacq;

namespace {

constexpr int64_t positionsPerTask = 4;

} // namespace

/// Pairs are half of the rotated features apart: vectors of both halves.
void RopeCode::rotateVector(Value from, Value y, Value to, Value angle, Value at, Value active) {
  Value low = k.add(from, at), table = k.add(angle, at);
  Value c = load(cosines, table, active), s = load(sines, table, active);
  Value first = load(x, low, active), second = load(x, plus(low, pairs), active);
  Value lowTo = k.add(to, at);
  store(k.sub(k.mul(first, c), k.mul(second, s)), y, lowTo, active);
  store(fma(second, c, k.mul(first, s)), y, plus(lowTo, pairs), active);
}

/// Neighbouring features are a pair.
void RopeCode::rotatePair(Value from, Value y, Value to, Value angle, Value at) {
  Value low = k.add(from, times(at, 2)), table = k.add(angle, at);
  Value c = loadScalar(cosines, table), s = loadScalar(sines, table);
  Value first = loadScalar(x, low), second = loadScalar(x, plus(low, 1));
  Value lowTo = k.add(to, times(at, 2));
  storeScalar(k.sub(k.mul(first, c), k.mul(second, s)), y, lowTo);
  storeScalar(k.add(k.mul(second, c), k.mul(first, s)), y, plus(lowTo, 1));
}

void RopeCode::emitHead(Value from, Value y, Value to, Value angle) {
  if (op.getInterleaved()) {
    loop(k.index(0), k.index(pairs), 1, [&](Value at) { rotatePair(from, y, to, angle, at); });
  } else {
    int64_t rest = pairs % vectorLanes, whole = pairs - rest;
    loop(k.index(0), k.index(whole), vectorLanes,
         [&](Value at) { rotateVector(from, y, to, angle, at, Value()); });
    if (rest > 0)
      rotateVector(from, y, to, angle, k.index(whole), mask(k.index(rest)));
  }
  loop(k.index(2 * pairs), k.index(features), vectorLanes, [&](Value at) {
    Value active = mask(k.sub(k.index(features), at));
    store(load(x, k.add(from, at), active), y, k.add(to, at), active);
  });
}

Value RopeCode::angleOf(Value batch, Value position) {
  Value oneTable = k.equal(k.sym(table[0]), k.index(1));
  Value tableBatch = k.select(oneTable, k.index(0), batch);
  return times(k.add(k.mul(tableBatch, k.sym(dims[1])), position), pairs);
}

LogicalResult RopeCode::collect() {
  dims = k.dims(op.getX());
  table = k.dims(op.getCos());
  x = inputBuffer(op.getX());
  cosines = inputBuffer(op.getCos());
  sines = inputBuffer(op.getSin());
  std::optional<int64_t> d = dims.back().constant(), half = table.back().constant();
  if (!x || !cosines || !sines || !d || !half)
    return op.emitError("the kernel of a rotary embedding holds what reads its result besides that "
                        "operation, with a static number of features");
  features = *d;
  pairs = *half;
  return success();
}

LogicalResult tacq::emitRope(KernelBuilder &kernel, RopeOp op, const CpuTarget &) {
  RopeCode code(kernel, op);
  if (failed(code.collect()))
    return failure();
  KernelBuilder &k = kernel;
  Value y = k.outputBuffer(0);
  const Dims &dims = code.dims;
  Sym blocks = Sym::ceilDiv(dims[1], positionsPerTask);
  k.parallel(dims[0] * blocks, [&](Value task) {
    Value blockCount = k.sym(blocks), length = k.sym(dims[1]), heads = k.sym(dims[2]);
    Value batch = k.b.create<arith::DivUIOp>(task, blockCount);
    Value first = code.times(k.b.create<arith::RemUIOp>(task, blockCount), positionsPerTask);
    Value last = k.min(code.plus(first, positionsPerTask), length);
    code.loop(first, last, 1, [&](Value position) {
      Value angle = code.angleOf(batch, position);
      Value start = k.mul(k.add(k.mul(batch, length), position), heads);
      code.loop(k.index(0), heads, 1, [&](Value head) {
        Value at = code.times(k.add(start, head), code.features);
        code.emitHead(at, y, at, angle);
      });
    });
  });
  return success();
}
