//===- EmitRope.cpp - Rotary position embedding ---------------------------===//
//
// A task is a few positions of one sequence, all heads of them: the rotation of a position is the
// same for every head.
//
//===----------------------------------------------------------------------===//

#include "VectorCode.h"
#include "tacq/CPU/HotKernels.h"

using namespace mlir;
using namespace tacq;

namespace {

constexpr int64_t positionsPerTask = 4;

class RopeKernel : VectorCode {
public:
  RopeKernel(KernelBuilder &k, RopeOp op) : VectorCode(k), op(op) {}
  LogicalResult emit();

private:
  void rotateVector(Value head, Value angle, Value at, Value active);
  void rotatePair(Value head, Value angle, Value at);
  void emitHead(Value head, Value angle);

  RopeOp op;
  Value x, y, cosines, sines;
  int64_t features = 0, pairs = 0;
};

/// Pairs are half of the rotated features apart: vectors of both halves.
void RopeKernel::rotateVector(Value head, Value angle, Value at, Value active) {
  Value low = k.add(head, at), high = plus(low, pairs), table = k.add(angle, at);
  Value c = load(cosines, table, active), s = load(sines, table, active);
  Value first = load(x, low, active), second = load(x, high, active);
  store(k.sub(k.mul(first, c), k.mul(second, s)), y, low, active);
  store(fma(second, c, k.mul(first, s)), y, high, active);
}

/// Neighbouring features are a pair.
void RopeKernel::rotatePair(Value head, Value angle, Value at) {
  Value low = k.add(head, times(at, 2)), high = plus(low, 1), table = k.add(angle, at);
  Value c = loadScalar(cosines, table), s = loadScalar(sines, table);
  Value first = loadScalar(x, low), second = loadScalar(x, high);
  storeScalar(k.sub(k.mul(first, c), k.mul(second, s)), y, low);
  storeScalar(k.add(k.mul(second, c), k.mul(first, s)), y, high);
}

void RopeKernel::emitHead(Value head, Value angle) {
  if (op.getInterleaved()) {
    loop(k.index(0), k.index(pairs), 1, [&](Value at) { rotatePair(head, angle, at); });
  } else {
    int64_t rest = pairs % vectorLanes, whole = pairs - rest;
    loop(k.index(0), k.index(whole), vectorLanes,
         [&](Value at) { rotateVector(head, angle, at, Value()); });
    if (rest > 0)
      rotateVector(head, angle, k.index(whole), mask(k.index(rest)));
  }
  loop(k.index(2 * pairs), k.index(features), vectorLanes, [&](Value at) {
    Value active = mask(k.sub(k.index(features), at));
    store(load(x, k.add(head, at), active), y, k.add(head, at), active);
  });
}

LogicalResult RopeKernel::emit() {
  std::optional<unsigned> inputs[] = {k.inputOf(op.getX()), k.inputOf(op.getCos()),
                                      k.inputOf(op.getSin())};
  Dims dims = k.dims(op.getX()), table = k.dims(op.getCos());
  std::optional<int64_t> d = dims.back().constant(), half = table.back().constant();
  if (!llvm::all_of(inputs, [](auto &input) { return input.has_value(); }) || !d || !half)
    return op.emitError("the kernel of a rotary embedding holds that operation alone, with a "
                        "static number of features");
  x = k.inputBuffer(*inputs[0]);
  cosines = k.inputBuffer(*inputs[1]);
  sines = k.inputBuffer(*inputs[2]);
  y = k.outputBuffer(0);
  features = *d;
  pairs = *half;
  Sym blocks = Sym::ceilDiv(dims[1], positionsPerTask);
  k.parallel(dims[0] * blocks, [&](Value task) {
    Value blockCount = k.sym(blocks), length = k.sym(dims[1]), heads = k.sym(dims[2]);
    Value batch = b.create<arith::DivUIOp>(task, blockCount);
    Value first = times(b.create<arith::RemUIOp>(task, blockCount), positionsPerTask);
    Value last = k.min(plus(first, positionsPerTask), length);
    Value oneTable = k.equal(k.sym(table[0]), k.index(1));
    Value tableBatch = k.select(oneTable, k.index(0), batch);
    loop(first, last, 1, [&](Value position) {
      Value angle = times(k.add(k.mul(tableBatch, length), position), pairs);
      Value start = k.mul(k.add(k.mul(batch, length), position), heads);
      loop(k.index(0), heads, 1,
           [&](Value head) { emitHead(times(k.add(start, head), features), angle); });
    });
  });
  return success();
}

} // namespace

LogicalResult tacq::emitRope(KernelBuilder &kernel, RopeOp op, const CpuTarget &) {
  return RopeKernel(kernel, op).emit();
}
