//===- EmitCacheAppend.cpp - Appends keys and values to the cache ---------===//
//
// A task is a block of keys of one head. With a capacity, the past is in the buffer already and
// only the new rows are written; without, the present is a new buffer and the past is copied as
// well. Rotary embeddings that are part of the kernel are applied on the way: to the keys, and to
// the queries of the heads that share the key head.
//
//===----------------------------------------------------------------------===//

#include "AppendCode.h"
#include "DecodeAttention.h"
#include "tacq/CPU/HotKernels.h"

using namespace mlir;
using namespace tacq;

namespace {

constexpr int64_t keysPerTask = 64;

} // namespace

LogicalResult AppendCode::collect() {
  if (failed(tensors.collect(*this)))
    return failure();
  if (RopeOp rope = tensors.keyRope())
    return keyRope.emplace(k, rope).collect();
  return success();
}

void AppendCode::copyRow(Value from, Value fromStart, Value to, Value toStart, int64_t features) {
  int64_t rest = features % vectorLanes, whole = features - rest;
  for (int64_t at = 0; at < whole; at += vectorLanes)
    store(load(from, plus(fromStart, at)), to, plus(toStart, at));
  if (rest > 0) {
    Value active = mask(k.index(rest));
    store(load(from, plus(fromStart, whole), active), to, plus(toStart, whole), active);
  }
}

void AppendCode::emitKeys(Value batch, Value head, Value begin, Value end) {
  loop(begin, end, 1, [&](Value key) {
    tensors.appendKey(
        *this, batch, head, key,
        [&](const AppendedTensor &tensor, Value from, Value fromStart, Value toStart) {
          if (!tensor.isKey || !keyRope)
            return copyRow(from, fromStart, tensor.present, toStart, tensor.features);
          Value position = k.sub(key, k.sym(tensors.past));
          keyRope->emitHead(fromStart, tensor.present, toStart, keyRope->angleOf(batch, position));
        });
  });
}

LogicalResult tacq::emitCacheAppend(KernelBuilder &kernel, AttentionOp op, const CpuTarget &target,
                                    const KernelOptions &options) {
  KernelBuilder &k = kernel;
  AppendCode code(k, op, options.capacity);
  AttentionTensors attention(op, options.capacity);
  if (failed(code.collect()) || failed(attention.collect(code)))
    return failure();
  std::optional<RopeCode> queryRope;
  if (RopeOp rope = attention.queryRope())
    if (failed(queryRope.emplace(k, rope).collect()))
      return failure();
  const CacheTensors &tensors = code.tensors;
  const Dims &dims = tensors.added;
  const Sym &first = tensors.first(), &total = tensors.total;
  Sym blocks = Sym::ceilDiv(total - first, keysPerTask);
  Sym heads = dims[0] * dims[2];
  if (options.attendAppends)
    heads = heads * (Sym(1) - DecodeAttention(k, target, attention).isChosen());
  k.parallel(heads * blocks, [&](Value task) {
    Value blockCount = k.sym(blocks), headCount = k.sym(dims[2]);
    Value batchAndHead = k.b.create<arith::DivUIOp>(task, blockCount);
    Value batch = k.b.create<arith::DivUIOp>(batchAndHead, headCount);
    Value head = k.b.create<arith::RemUIOp>(batchAndHead, headCount);
    Value block = code.times(k.b.create<arith::RemUIOp>(task, blockCount), keysPerTask);
    Value begin = k.add(k.sym(first), block);
    Value end = k.min(code.plus(begin, keysPerTask), k.sym(total));
    code.emitKeys(batch, head, begin, end);
    if (!queryRope)
      return;
    Value past = k.sym(tensors.past), queryHeads = k.sym(attention.q[2]);
    Value group = k.b.create<arith::DivUIOp>(queryHeads, headCount);
    code.loop(k.sub(begin, past), k.sub(end, past), 1, [&](Value position) {
      Value angle = queryRope->angleOf(batch, position);
      Value row = k.add(k.mul(batch, k.sym(attention.q[1])), position);
      Value start = k.add(k.mul(row, queryHeads), k.mul(head, group));
      code.loop(k.index(0), group, 1, [&](Value i) {
        Value at = code.times(k.add(start, i), attention.depth);
        queryRope->emitHead(at, attention.queries, at, angle);
      });
    });
  });
  return success();
}
