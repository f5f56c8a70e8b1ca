//===- AttentionTensors.cpp - What a kernel of attention reads ------------===//

#include "tacq/Codegen/AttentionTensors.h"

using namespace mlir;
using namespace tacq;

LogicalResult AttentionTensors::collect(FlatCode &code) {
  KernelBuilder &k = code.k;
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
  queries = queryRope() ? code.outputBuffer(op.getQ()) : code.inputBuffer(op.getQ());
  out = code.outputBuffer(op.getOut());
  bool cached = bool(op.getPresentKey());
  keys = cached ? code.outputBuffer(op.getPresentKey()) : code.inputBuffer(op.getK());
  values = cached ? code.outputBuffer(op.getPresentValue()) : code.inputBuffer(op.getV());
  keyMask = code.inputBuffer(op.getKeyMask());
  bias = code.inputBuffer(op.getBias());
  if (!queries || !out || !keys || !values || bool(op.getKeyMask()) != bool(keyMask) ||
      bool(op.getBias()) != bool(bias))
    return op.emitError("the kernel of attention holds that operation alone");
  return success();
}

Rows tacq::headRows(FlatCode &code, Value buffer, const Sym &length, const Sym &heads, Value batch,
                    Value head, int64_t features) {
  KernelBuilder &k = code.k;
  Value first = k.add(k.mul(k.mul(batch, k.sym(length)), k.sym(heads)), head);
  return {buffer, code.times(first, features), code.times(k.sym(heads), features), features};
}

Rows AttentionTensors::rows(FlatCode &code, Value buffer, int64_t features, Value batch,
                            Value head) {
  KernelBuilder &k = code.k;
  if (!op.getPresentKey())
    return headRows(code, buffer, total, kNew[2], batch, head, features);
  Value extent = k.sym(capacity ? *capacity : total);
  Value first = k.mul(k.add(k.mul(batch, k.sym(kNew[2])), head), extent);
  return {buffer, code.times(first, features), k.index(features), features};
}

Value tacq::biasStart(FlatCode &code, Value bias, const Sym &queries, const Sym &keys, Value batch,
                      Value head, Value position) {
  KernelBuilder &k = code.k;
  Dims dims = k.dims(bias);
  auto orOne = [&](const Sym &dim, Value at) {
    return k.select(k.equal(k.sym(dim), k.index(1)), k.index(0), at);
  };
  Value row = k.add(k.mul(orOne(dims[0], batch), k.sym(dims[1])), orOne(dims[1], head));
  row = k.add(k.mul(row, k.sym(queries)), position);
  return k.mul(row, k.sym(keys));
}

Value AttentionTensors::biasRow(FlatCode &code, Value batch, Value head, Value position) {
  return biasStart(code, op.getBias(), q[1], total, batch, head, position);
}

LogicalResult CacheTensors::add(FlatCode &code, Value tensor, Value before, Value present) {
  auto rope = tensor.getDefiningOp<RopeOp>();
  AppendedTensor part{code.inputBuffer(rope ? rope.getX() : tensor),
                      capacity ? Value() : code.inputBuffer(before), code.outputBuffer(present), 0,
                      tensors.empty()};
  std::optional<int64_t> features = code.k.dims(tensor)[3].constant();
  if (!part.added || !part.present || !features || (!capacity && (!part.before || rope)))
    return op.emitError("the kernel of a cache holds the attention operation alone");
  part.features = *features;
  tensors.push_back(part);
  return success();
}

LogicalResult CacheTensors::collect(FlatCode &code) {
  if (!op.getPresentKey())
    return op.emitError("attention without a cache appends nothing");
  added = code.k.dims(op.getK());
  past = code.k.dims(op.getPastKey())[2];
  total = code.k.dims(op.getPresentKey())[2];
  if (failed(add(code, op.getK(), op.getPastKey(), op.getPresentKey())))
    return failure();
  return add(code, op.getV(), op.getPastValue(), op.getPresentValue());
}

void CacheTensors::appendKey(FlatCode &code, Value batch, Value head, Value key, CopyRow copyRow) {
  KernelBuilder &k = code.k;
  Value heads = k.sym(added[2]), pastCount = k.sym(past);
  Value batchAndHead = k.add(k.mul(batch, heads), head);
  Value to = k.add(k.mul(batchAndHead, k.sym(capacity ? *capacity : total)), key);
  Value position = k.sub(key, pastCount);
  Value from = k.add(k.mul(k.add(k.mul(batch, k.sym(added[1])), position), heads), head);
  for (const AppendedTensor &part : tensors) {
    auto copy = [&](Value buffer, Value row) {
      copyRow(part, buffer, code.times(row, part.features), code.times(to, part.features));
    };
    if (capacity) {
      copy(part.added, from);
      continue;
    }
    Value isNew = k.lessEqual(pastCount, key);
    code.when(isNew, [&] { copy(part.added, from); });
    code.when(k.logicalNot(isNew),
              [&] { copy(part.before, k.add(k.mul(batchAndHead, pastCount), key)); });
  }
}
