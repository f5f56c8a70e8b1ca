//===- VectorCode.cpp - Vectors of f32 over flat buffers ------------------===//

#include "VectorCode.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "tacq/Codegen/MathExpansion.h"

using namespace mlir;
using namespace tacq;

Value VectorCode::splat(float value) { return f32Constant(b, f32Vector(), value); }

Value VectorCode::splat(Value scalar) { return b.create<vector::BroadcastOp>(f32Vector(), scalar); }

Value VectorCode::mask(Value count) {
  return b.create<vector::CreateMaskOp>(VectorType::get(vectorLanes, b.getI1Type()),
                                        ValueRange{count});
}

Value VectorCode::load(Value buffer, Value at, Value mask) {
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  auto type = VectorType::get(vectorLanes, element);
  Value raw;
  if (mask) {
    Value zeros = b.create<arith::ConstantOp>(b.getZeroAttr(type));
    raw = b.create<vector::MaskedLoadOp>(type, buffer, ValueRange{at}, mask, zeros);
  } else {
    raw = b.create<vector::LoadOp>(type, buffer, ValueRange{at});
  }
  return element.isF32() ? raw : b.create<arith::ExtFOp>(f32Vector(), raw).getResult();
}

void VectorCode::store(Value vector, Value buffer, Value at, Value mask) {
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  if (!element.isF32())
    vector = b.create<arith::TruncFOp>(VectorType::get(vectorLanes, element), vector);
  if (mask)
    b.create<vector::MaskedStoreOp>(buffer, ValueRange{at}, mask, vector);
  else
    b.create<vector::StoreOp>(vector, buffer, ValueRange{at});
}

Value VectorCode::loadScalar(Value buffer, Value at) {
  Value raw = b.create<memref::LoadOp>(buffer, ValueRange{at});
  return raw.getType().isF32() ? raw : b.create<arith::ExtFOp>(b.getF32Type(), raw).getResult();
}

void VectorCode::storeScalar(Value value, Value buffer, Value at) {
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  if (!element.isF32())
    value = b.create<arith::TruncFOp>(element, value);
  b.create<memref::StoreOp>(value, buffer, ValueRange{at});
}

void VectorCode::prefetch(Value buffer, Value at) {
  b.create<memref::PrefetchOp>(buffer, ValueRange{at}, /*isWrite=*/false, /*localityHint=*/3,
                               /*isDataCache=*/true);
}

Value VectorCode::fma(Value x, Value y, Value z) { return b.create<math::FmaOp>(x, y, z); }

Value VectorCode::sum(Value vector) {
  return b.create<vector::ReductionOp>(vector::CombiningKind::ADD, vector);
}

Value VectorCode::largest(Value vector) {
  return b.create<vector::ReductionOp>(vector::CombiningKind::MAXNUMF, vector);
}

Value VectorCode::activate(Activation activation, Value x) {
  auto mul = [&](Value x, Value y) { return k.mul(x, y); };
  switch (activation) {
  case Activation::None:
    return x;
  case Activation::ReLU:
    return b.create<arith::MaximumFOp>(x, splat(0.0f));
  case Activation::SiLU: {
    Value negated = b.create<arith::NegFOp>(x);
    return b.create<arith::DivFOp>(x, k.add(emitExp(b, negated), splat(1.0f)));
  }
  case Activation::Gelu: {
    Value erf = emitErf(b, mul(x, splat(0.70710678118654752f)));
    return mul(mul(x, splat(0.5f)), k.add(erf, splat(1.0f)));
  }
  case Activation::GeluTanh: {
    Value cubic = fma(mul(mul(x, x), splat(0.044715f)), x, x);
    Value tanh = emitTanh(b, mul(cubic, splat(0.79788456080286536f)));
    return mul(mul(x, splat(0.5f)), k.add(tanh, splat(1.0f)));
  }
  }
  llvm_unreachable("unknown activation");
}

Value VectorCode::intrinsic(StringRef name, Type result, ValueRange arguments) {
  return b
      .create<LLVM::CallIntrinsicOp>(result, b.getStringAttr(name), arguments,
                                     LLVM::FastmathFlagsAttr())
      .getResults();
}

Value VectorCode::stackBuffer(int64_t elements, Type element) {
  // In the entry block, so that a loop does not grow the stack.
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(&k.function().front());
  auto type = MemRefType::get({elements}, element);
  Value buffer = b.create<memref::AllocaOp>(type, b.getI64IntegerAttr(64));
  return b.create<memref::CastOp>(MemRefType::get({ShapedType::kDynamic}, element), buffer);
}
