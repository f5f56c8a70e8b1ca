//===- EmitCacheAppend.cpp - Appends keys and values to the cache ---------===//
//
// A task is a block of keys of one head. With a capacity, the past is in the buffer already and
// only the new rows are written; without, the present is a new buffer and the past is copied as
// well.
//
//===----------------------------------------------------------------------===//

#include "VectorCode.h"
#include "tacq/CPU/HotKernels.h"
#include "tacq/Codegen/AttentionTensors.h"

using namespace mlir;
using namespace tacq;

namespace {

constexpr int64_t keysPerTask = 64;

class AppendKernel : VectorCode {
public:
  AppendKernel(KernelBuilder &k, AttentionOp op, std::optional<Sym> capacity)
      : VectorCode(k), tensors(op, capacity) {}
  LogicalResult emit();

private:
  void copyRow(Value from, Value fromStart, Value to, Value toStart, int64_t features);

  CacheTensors tensors;
};

void AppendKernel::copyRow(Value from, Value fromStart, Value to, Value toStart, int64_t features) {
  int64_t rest = features % vectorLanes, whole = features - rest;
  for (int64_t at = 0; at < whole; at += vectorLanes)
    store(load(from, plus(fromStart, at)), to, plus(toStart, at));
  if (rest > 0) {
    Value active = mask(k.index(rest));
    store(load(from, plus(fromStart, whole), active), to, plus(toStart, whole), active);
  }
}

LogicalResult AppendKernel::emit() {
  if (failed(tensors.collect(*this)))
    return failure();
  const Dims &dims = tensors.added;
  const Sym &first = tensors.first(), &total = tensors.total;
  Sym blocks = Sym::ceilDiv(total - first, keysPerTask);
  k.parallel(dims[0] * dims[2] * blocks, [&](Value task) {
    Value blockCount = k.sym(blocks), heads = k.sym(dims[2]);
    Value batchAndHead = b.create<arith::DivUIOp>(task, blockCount);
    Value batch = b.create<arith::DivUIOp>(batchAndHead, heads);
    Value head = b.create<arith::RemUIOp>(batchAndHead, heads);
    Value begin =
        k.add(k.sym(first), times(b.create<arith::RemUIOp>(task, blockCount), keysPerTask));
    Value end = k.min(plus(begin, keysPerTask), k.sym(total));
    loop(begin, end, 1, [&](Value key) {
      tensors.appendKey(*this, batch, head, key,
                        [&](Value from, Value fromStart, Value to, Value toStart,
                            int64_t features) { copyRow(from, fromStart, to, toStart, features); });
    });
  });
  return success();
}

} // namespace

LogicalResult tacq::emitCacheAppend(KernelBuilder &kernel, AttentionOp op,
                                    std::optional<Sym> capacity) {
  return AppendKernel(kernel, op, capacity).emit();
}
