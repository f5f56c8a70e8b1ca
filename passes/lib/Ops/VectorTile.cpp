//===- VectorTile.cpp - Vector loads and stores of a kernel's buffers -----===//

#include "VectorTile.h"

using namespace mlir;
using namespace tacq;

int64_t VectorBuffer::lanesFor(KernelBuilder &k, Type element) {
  return k.vectorBits / std::max(32u, computeType(element).getIntOrFloatBitWidth());
}

VectorBuffer::VectorBuffer(KernelBuilder &k, Value buffer, Type element, int64_t lanes)
    : k(k), buffer(buffer), element(element),
      compute(VectorType::get({lanes}, computeType(element))),
      stored(VectorType::get({lanes}, storageType(element))) {}

Value VectorBuffer::widen(Value raw) {
  if (isFloat(element) && stored != compute)
    return k.b.create<arith::ExtFOp>(compute, raw);
  return raw;
}

Value VectorBuffer::scalar(Value position) {
  Value raw = k.b.create<memref::LoadOp>(buffer, position);
  if (isFloat(element) && stored != compute)
    return k.b.create<arith::ExtFOp>(compute.getElementType(), raw);
  return raw;
}

Value VectorBuffer::load(Value position, Value mask) {
  if (!mask)
    return widen(k.b.create<vector::LoadOp>(stored, buffer, position));
  Value zero = k.b.create<arith::ConstantOp>(k.b.getZeroAttr(stored));
  return widen(k.b.create<vector::MaskedLoadOp>(stored, buffer, position, mask, zero));
}

Value VectorBuffer::loadSecond(Value position, Value low, Value high) {
  int64_t lanes = compute.getNumElements();
  Value first = load(position, low), second = load(k.add(position, k.index(lanes)), high);
  SmallVector<int64_t> even;
  for (int64_t i = 0; i < lanes; ++i)
    even.push_back(2 * i);
  return k.b.create<vector::ShuffleOp>(first, second, even);
}

Value VectorBuffer::gather(Value position, Value offsets, Value mask) {
  Value zero = k.b.create<arith::ConstantOp>(k.b.getZeroAttr(stored));
  return widen(k.b.create<vector::GatherOp>(stored, buffer, position, offsets, mask, zero));
}

void VectorBuffer::store(Value vector, Value position, Value mask) {
  if (isFloat(element) && stored != compute)
    vector = k.b.create<arith::TruncFOp>(stored, vector);
  if (mask)
    k.b.create<vector::MaskedStoreOp>(buffer, position, mask, vector);
  else
    k.b.create<vector::StoreOp>(vector, buffer, position);
}

Value tacq::splat(KernelBuilder &k, VectorType type, Value x) {
  return k.b.create<vector::BroadcastOp>(type, x);
}

Value tacq::multiplyAdd(KernelBuilder &k, Value x, Value y, Value sum) {
  if (isa<FloatType>(getElementTypeOrSelf(x.getType())))
    return k.b.create<vector::FMAOp>(x, y, sum);
  Value product = k.b.create<arith::MulIOp>(x, y);
  return k.b.create<arith::AddIOp>(product, sum);
}

Value tacq::sumLanes(KernelBuilder &k, Value vector) {
  arith::FastMathFlags flags = arith::FastMathFlags::none;
  if (isa<FloatType>(getElementTypeOrSelf(vector.getType())))
    flags = arith::FastMathFlags::reassoc;
  return k.b.create<vector::ReductionOp>(vector::CombiningKind::ADD, vector, flags);
}

Value tacq::laneOffsets(KernelBuilder &k, int64_t lanes, Value step) {
  auto type = VectorType::get({lanes}, k.b.getIndexType());
  SmallVector<int64_t> counts = llvm::to_vector(llvm::seq<int64_t>(0, lanes));
  Value count = k.b.create<arith::ConstantOp>(DenseIntElementsAttr::get(type, counts));
  return k.b.createOrFold<arith::MulIOp>(count, splat(k, type, step));
}
