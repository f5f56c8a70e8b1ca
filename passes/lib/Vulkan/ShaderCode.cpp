//===- ShaderCode.cpp - Scalars over flat buffers -------------------------===//

#include "ShaderCode.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVAttributes.h"
#include "tacq/Codegen/MathExpansion.h"

using namespace mlir;
using namespace tacq;

Value ShaderCode::quotient(Value x, Value y) { return b.create<arith::DivUIOp>(x, y); }
Value ShaderCode::remainder(Value x, Value y) { return b.create<arith::RemUIOp>(x, y); }

Value ShaderCode::load(Value buffer, Value at) {
  Value raw = b.create<memref::LoadOp>(buffer, ValueRange{at});
  if (raw.getType().isF32())
    return raw;
  if (raw.getType().isF64())
    return b.create<arith::TruncFOp>(b.getF32Type(), raw);
  return b.create<arith::ExtFOp>(b.getF32Type(), raw);
}

void ShaderCode::store(Value value, Value buffer, Value at) {
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  if (element.isF64())
    value = b.create<arith::ExtFOp>(element, value);
  else if (!element.isF32())
    value = b.create<arith::TruncFOp>(element, value);
  b.create<memref::StoreOp>(value, buffer, ValueRange{at});
}

Value ShaderCode::activate(Activation activation, Value x) {
  switch (activation) {
  case Activation::None:
    return x;
  case Activation::ReLU:
    return b.create<arith::MaximumFOp>(x, f(0.0));
  case Activation::SiLU:
    return k.div(x, k.add(emitExp(b, b.create<arith::NegFOp>(x)), f(1.0)));
  case Activation::Gelu: {
    Value erf = emitErf(b, k.mul(x, f(0.70710678118654752)));
    return k.mul(k.mul(x, f(0.5)), k.add(erf, f(1.0)));
  }
  case Activation::GeluTanh: {
    Value cubic = k.add(k.mul(k.mul(k.mul(x, x), f(0.044715)), x), x);
    Value tanh = emitTanh(b, k.mul(cubic, f(0.79788456080286536)));
    return k.mul(k.mul(x, f(0.5)), k.add(tanh, f(1.0)));
  }
  }
  llvm_unreachable("unknown activation");
}

Value ShaderCode::wordsOf(Value buffer) {
  auto space = spirv::StorageClassAttr::get(b.getContext(), spirv::StorageClass::StorageBuffer);
  auto type = MemRefType::get({ShapedType::kDynamic}, b.getI32Type(), AffineMap(), space);
  return b.create<UnrealizedConversionCastOp>(type, buffer).getResult(0);
}

Value ShaderCode::loadWord(Value words, Value byteAt) {
  Value at = b.create<arith::ShRUIOp>(byteAt, k.index(2));
  return b.create<memref::LoadOp>(words, ValueRange{at});
}

Value ShaderCode::loadNumber(Value words, Value byteAt, int64_t bytes) {
  Value all = loadWord(words, byteAt);
  if (bytes == 4)
    return all;
  Value low = b.create<arith::IndexCastOp>(b.getI32Type(), byteAt);
  Value shift = b.create<arith::ShLIOp>(b.create<arith::AndIOp>(low, word(3)), word(3));
  Value moved = b.create<arith::ShRUIOp>(all, shift);
  return b.create<arith::AndIOp>(moved, word((int64_t(1) << (8 * bytes)) - 1));
}

Value ShaderCode::loadHalf(Value words, Value byteAt) {
  Value low = loadNumber(words, byteAt, 1), high = loadNumber(words, plus(byteAt, 1), 1);
  Value both = b.create<arith::OrIOp>(low, b.create<arith::ShLIOp>(high, word(8)));
  Value bits = b.create<arith::TruncIOp>(b.getI16Type(), both);
  Value half = b.create<arith::BitcastOp>(b.getF16Type(), bits);
  return b.create<arith::ExtFOp>(b.getF32Type(), half);
}

Value ShaderCode::shiftRight(Value x, int64_t by) {
  return by == 0 ? x : b.create<arith::ShRUIOp>(x, word(by)).getResult();
}

Value ShaderCode::toIndex(Value number) {
  return b.create<arith::IndexCastUIOp>(b.getIndexType(), number);
}

void ShaderCode::ofPart(Value number, ArrayRef<int64_t> counts,
                        function_ref<void(size_t, Value)> body) {
  int64_t first = 0;
  for (auto [part, count] : llvm::enumerate(counts)) {
    Value own = plus(number, -first);
    if (counts.size() == 1)
      return body(part, own);
    int64_t last = first + count;
    Value isIt = k.logicalAnd(k.lessEqual(k.index(first), number), k.less(number, k.index(last)));
    when(isIt, [&, part = part] { body(part, own); });
    first = last;
  }
}

Value ShaderCode::stackBuffer(int64_t elements, Type element) {
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(&k.function().front());
  return b.create<memref::AllocaOp>(MemRefType::get({std::max<int64_t>(elements, 1)}, element));
}
