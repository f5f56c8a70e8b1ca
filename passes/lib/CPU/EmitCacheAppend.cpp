//===- EmitCacheAppend.cpp - Appends keys and values to the cache ---------===//
//
// A task is a block of keys of one head. With a capacity, the past is in the buffer already and
// only the new rows are written; without, the present is a new buffer and the past is copied as
// well.
//
//===----------------------------------------------------------------------===//

#include "VectorCode.h"
#include "tacq/CPU/HotKernels.h"

using namespace mlir;
using namespace tacq;

namespace {

constexpr int64_t keysPerTask = 64;

class AppendKernel : VectorCode {
public:
  AppendKernel(KernelBuilder &k, AttentionOp op, std::optional<Sym> capacity)
      : VectorCode(k), op(op), capacity(capacity) {}
  LogicalResult emit();

private:
  struct Part {
    Value added, before, present;
    int64_t features;
  };
  void copyRow(Value from, Value fromStart, Value to, Value toStart, int64_t features);
  LogicalResult addPart(Value added, Value before, Value present);

  AttentionOp op;
  std::optional<Sym> capacity;
  SmallVector<Part, 2> parts;
};

LogicalResult AppendKernel::addPart(Value added, Value before, Value present) {
  Part part{inputBuffer(added), capacity ? Value() : inputBuffer(before), outputBuffer(present), 0};
  std::optional<int64_t> features = k.dims(added)[3].constant();
  if (!part.added || !part.present || !features || (!capacity && !part.before))
    return op.emitError("the kernel of a cache holds the attention operation alone");
  part.features = *features;
  parts.push_back(part);
  return success();
}

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
  if (!op.getPresentKey())
    return op.emitError("attention without a cache appends nothing");
  if (failed(addPart(op.getK(), op.getPastKey(), op.getPresentKey())) ||
      failed(addPart(op.getV(), op.getPastValue(), op.getPresentValue())))
    return failure();
  Dims dims = k.dims(op.getK());
  Sym past = k.dims(op.getPastKey())[2], total = k.dims(op.getPresentKey())[2];
  Sym first = capacity ? past : Sym(0);
  Sym blocks = Sym::ceilDiv(total - first, keysPerTask);
  k.parallel(dims[0] * dims[2] * blocks, [&](Value task) {
    Value blockCount = k.sym(blocks), heads = k.sym(dims[2]), added = k.sym(dims[1]);
    Value batchAndHead = b.create<arith::DivUIOp>(task, blockCount);
    Value batch = b.create<arith::DivUIOp>(batchAndHead, heads);
    Value head = b.create<arith::RemUIOp>(batchAndHead, heads);
    Value begin =
        k.add(k.sym(first), times(b.create<arith::RemUIOp>(task, blockCount), keysPerTask));
    Value end = k.min(plus(begin, keysPerTask), k.sym(total));
    Value extent = k.sym(capacity ? *capacity : total), pastCount = k.sym(past);
    loop(begin, end, 1, [&](Value key) {
      Value to = k.add(k.mul(batchAndHead, extent), key);
      Value position = k.sub(key, pastCount);
      Value from = k.add(k.mul(k.add(k.mul(batch, added), position), heads), head);
      for (const Part &part : parts) {
        auto appendRow = [&] {
          copyRow(part.added, times(from, part.features), part.present, times(to, part.features),
                  part.features);
        };
        if (capacity) {
          appendRow();
          continue;
        }
        Value isNew = k.lessEqual(pastCount, key);
        when(isNew, appendRow);
        when(k.logicalNot(isNew), [&] {
          Value old = k.add(k.mul(batchAndHead, pastCount), key);
          copyRow(part.before, times(old, part.features), part.present, times(to, part.features),
                  part.features);
        });
      }
    });
  });
  return success();
}

} // namespace

LogicalResult tacq::emitCacheAppend(KernelBuilder &kernel, AttentionOp op,
                                    std::optional<Sym> capacity) {
  return AppendKernel(kernel, op, capacity).emit();
}
