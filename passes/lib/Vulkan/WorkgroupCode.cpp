//===- WorkgroupCode.cpp - Kernels whose tasks workgroups do --------------===//

#include "WorkgroupCode.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"

using namespace mlir;
using namespace tacq;

void WorkgroupCode::setWorkgroup(int64_t count) {
  assert(count <= mostInvocations() && "devices of the profile may not have as many");
  invocations = count;
  k.function()->setAttr(vulkanWorkgroupAttr, b.getI32IntegerAttr(int32_t(count)));
}

Value WorkgroupCode::thread() { return b.create<gpu::ThreadIdOp>(gpu::Dimension::x); }

void WorkgroupCode::barrier() { b.create<gpu::BarrierOp>(); }

void WorkgroupCode::awaitInputs() {
  b.create<gpu::BarrierOp>()->setAttr(vulkanAwaitAttr, b.getUnitAttr());
}

Value WorkgroupCode::shared(int64_t elements, Type element) {
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(&k.function().front());
  auto vector = dyn_cast<VectorType>(element);
  int64_t width = vector ? vector.getNumElements() : 1;
  bytesShared += elements * width * getElementTypeOrSelf(element).getIntOrFloatBitWidth() / 8;
  auto space = spirv::StorageClassAttr::get(b.getContext(), spirv::StorageClass::Workgroup);
  return b.create<memref::AllocOp>(MemRefType::get({elements}, element, AffineMap(), space));
}

Value WorkgroupCode::loadShared(Value memory, Value at) { return element(memory, at); }

void WorkgroupCode::storeShared(Value value, Value memory, Value at) {
  b.create<memref::StoreOp>(value, memory, ValueRange{at});
}

Value WorkgroupCode::shuffleXor(Value value, int64_t mask) {
  return b.create<spirv::GroupNonUniformShuffleXorOp>(value.getType(), spirv::Scope::Subgroup,
                                                      value, word(mask));
}

Value WorkgroupCode::sumSubgroup(Value value, int64_t width) {
  for (int64_t mask = width; mask < subgroup(); mask *= 2)
    value = k.add(value, shuffleXor(value, mask));
  return value;
}

Value WorkgroupCode::reduce(Value value, Value memory, function_ref<Value(Value, Value)> combine) {
  for (int64_t mask = 1; mask < subgroup(); mask *= 2)
    value = combine(value, shuffleXor(value, mask));
  Value own = thread();
  // All of a subgroup store the same.
  storeShared(value, memory, quotient(own, k.index(subgroup())));
  barrier();
  Value result = loadShared(memory, k.index(0));
  if (subgroups() <= 16)
    for (int64_t i = 1; i < subgroups(); ++i)
      result = combine(result, loadShared(memory, k.index(i)));
  else
    result = loop(k.index(1), k.index(subgroups()), 1, result, [&](Value i, ValueRange carried) {
      return SmallVector<Value>{combine(carried[0], loadShared(memory, i))};
    })[0];
  barrier();
  return result;
}

Value WorkgroupCode::element(Value buffer, Value at) {
  return b.create<memref::LoadOp>(buffer, ValueRange{at});
}

Value WorkgroupCode::view(Value buffer, Type element) {
  auto space = spirv::StorageClassAttr::get(b.getContext(), spirv::StorageClass::StorageBuffer);
  auto type = MemRefType::get({ShapedType::kDynamic}, element, AffineMap(), space);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(&k.function().front());
  return b.create<UnrealizedConversionCastOp>(type, buffer).getResult(0);
}

Value WorkgroupCode::component(Value quad, int64_t i) {
  return b.create<spirv::CompositeExtractOp>(quad, ArrayRef<int32_t>{int32_t(i)});
}

Value WorkgroupCode::dot(Value sum, Value x, Value codes) {
  auto format = spirv::PackedVectorFormatAttr::get(
      b.getContext(), spirv::PackedVectorFormat::PackedVectorFormat4x8Bit);
  Value product = b.create<spirv::SUDotOp>(b.getI32Type(), x, codes, format);
  return sum ? k.add(sum, product) : product;
}

Value WorkgroupCode::halfOf(Value word, bool high) {
  Value moved = high ? shiftRight(word, 16) : word;
  Value bits = b.create<arith::TruncIOp>(b.getI16Type(), moved);
  Value half = b.create<arith::BitcastOp>(b.getF16Type(), bits);
  return b.create<arith::ExtFOp>(b.getF32Type(), half);
}

Value WorkgroupCode::packPair(Value low, Value high) {
  Value halves[] = {b.create<arith::TruncFOp>(b.getF16Type(), low),
                    b.create<arith::TruncFOp>(b.getF16Type(), high)};
  Value both = b.create<spirv::CompositeConstructOp>(VectorType::get({2}, b.getF16Type()), halves);
  return b.create<spirv::BitcastOp>(b.getI32Type(), both);
}

Value WorkgroupCode::quad(ValueRange words) {
  return b.create<spirv::CompositeConstructOp>(quadType(), words);
}

Value WorkgroupCode::pair(Value half) {
  auto type = VectorType::get({2}, b.getF16Type());
  return b.create<spirv::CompositeConstructOp>(type, ValueRange{half, half});
}

Value WorkgroupCode::scaledPair(Value numbers, Value factor, Value offset, Value scale) {
  Value pair = b.create<spirv::BitcastOp>(factor.getType(), numbers);
  Value above = b.create<spirv::GLFmaOp>(factor.getType(), pair, factor, offset);
  Value scaled = b.create<arith::MulFOp>(above, scale);
  return b.create<spirv::BitcastOp>(b.getI32Type(), scaled);
}
