//===- AmxCode.cpp - Products of tiles of bytes and of bf16 ---------------===//

#include "AmxCode.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace tacq;

Value AmxCode::number(unsigned value) {
  return b.create<LLVM::ConstantOp>(b.getI8Type(), b.getI8IntegerAttr(int8_t(value)));
}

Value AmxCode::strideOf(int64_t bytes) {
  return b.create<LLVM::ConstantOp>(b.getI64Type(), b.getI64IntegerAttr(bytes));
}

Value AmxCode::pointer(Value buffer, Value at) {
  unsigned width = cast<MemRefType>(buffer.getType()).getElementTypeBitWidth() / 8;
  Value start = b.create<memref::ExtractAlignedPointerAsIndexOp>(buffer);
  Value address =
      b.create<arith::IndexCastOp>(b.getI64Type(), k.add(start, times(at, int64_t(width))));
  return b.create<LLVM::IntToPtrOp>(LLVM::LLVMPointerType::get(b.getContext()), address);
}

/// The palette of 8 registers; bytes of a row from byte 16 on, rows from byte 48 on.
void AmxCode::configure() {
  constexpr int64_t size = 64, rowBytesAt = 16, rowsAt = 48, registers = 8;
  Value buffer = stackBuffer(size, b.getI8Type());
  SmallVector<int8_t> content(size, 0);
  content[0] = 1;
  for (int64_t i = 0; i < registers; ++i) {
    content[rowBytesAt + 2 * i] = bytes;
    content[rowsAt + i] = rows;
  }
  auto type = VectorType::get(size, b.getI8Type());
  Value bits = b.create<arith::ConstantOp>(DenseElementsAttr::get(type, ArrayRef(content)));
  b.create<vector::StoreOp>(bits, buffer, ValueRange{k.index(0)});
  intrinsic("llvm.x86.ldtilecfg", Type(), pointer(buffer, k.index(0)));
}

void AmxCode::release() { intrinsic("llvm.x86.tilerelease", Type(), {}); }

void AmxCode::zero(unsigned tile) { intrinsic("llvm.x86.tilezero", Type(), number(tile)); }

void AmxCode::load(unsigned tile, Value buffer, Value at, int64_t stride) {
  intrinsic("llvm.x86.tileloadd64", Type(), {number(tile), pointer(buffer, at), strideOf(stride)});
}

void AmxCode::store(unsigned tile, Value buffer, Value at, int64_t stride) {
  intrinsic("llvm.x86.tilestored64", Type(), {number(tile), pointer(buffer, at), strideOf(stride)});
}

void AmxCode::multiply(unsigned sums, unsigned signedBytes, unsigned unsignedBytes) {
  intrinsic("llvm.x86.tdpbsud", Type(), {number(sums), number(signedBytes), number(unsignedBytes)});
}

void AmxCode::multiplyBf16(unsigned sums, unsigned rows, unsigned pairs) {
  intrinsic("llvm.x86.tdpbf16ps", Type(), {number(sums), number(rows), number(pairs)});
}
