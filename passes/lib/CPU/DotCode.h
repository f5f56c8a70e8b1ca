//===- DotCode.h - Products of 8-bit integers -------------------*- C++ -*-===//
//
// Vectors of bytes of one register, in which each four bytes are a row: unsigned codes of four
// columns of 16 (AVX-512) or 8 rows (AVX2). A tile's 16 rows are one register or two halves.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_CPU_DOTCODE_H
#define TACQ_LIB_CPU_DOTCODE_H

#include "VectorCode.h"
#include "tacq/CPU/CpuTarget.h"

namespace tacq {

class DotCode : public VectorCode {
public:
  DotCode(KernelBuilder &k, const CpuTarget &target)
      : VectorCode(k), registerBytes(target.vectorBits / 8) {}

  /// Columns of a row that stand side by side.
  static constexpr int64_t quadColumns = 4;
  const int64_t registerBytes;
  bool isWide() const { return registerBytes == 64; }
  /// Registers of 16 rows by four columns.
  int64_t halves() const { return vectorLanes * quadColumns / registerBytes; }
  /// The largest byte whose products with signed bytes `dot` sums exactly in the fast way.
  unsigned fastLimit() const { return isWide() ? 255 : 128; }

  mlir::VectorType vector(int64_t lanes, unsigned bits) {
    return mlir::VectorType::get(lanes, b.getIntegerType(bits));
  }
  mlir::VectorType bytes() { return vector(registerBytes, 8); }
  mlir::Value loadBytes(mlir::Value buffer, mlir::Value at, int64_t count);
  /// A little-endian number of 1, 2 or 4 bytes, as an index.
  mlir::Value loadNumber(mlir::Value buffer, mlir::Value at, int64_t width);
  /// 16 f16 numbers, or one, as f32.
  mlir::Value loadHalves(mlir::Value buffer, mlir::Value at);
  mlir::Value loadHalf(mlir::Value buffer, mlir::Value at);
  /// 16 unsigned bytes as f32.
  mlir::Value loadByteNumbers(mlir::Value buffer, mlir::Value at);

  mlir::Value bytesConstant(llvm::function_ref<uint8_t(int64_t)> byte);
  mlir::Value splatByte(unsigned value) {
    return bytesConstant([=](int64_t) { return value; });
  }
  /// Shifts to lower (or, below 0, to higher) bits and keeps those of `mask`, which must come from
  /// the same byte.
  mlir::Value shiftAndMask(mlir::Value bytes, int shift, unsigned mask);
  /// Four bytes, repeated for each row.
  mlir::Value loadQuad(mlir::Value buffer, mlir::Value at);
  /// Adds to each row's sum the products of its four unsigned codes, at most `largest`, with the
  /// signed bytes of the quad.
  mlir::Value dot(mlir::Value sums, mlir::Value codes, mlir::Value quad, unsigned largest);
  mlir::Value zeroSums() {
    return b.create<mlir::arith::ConstantOp>(b.getZeroAttr(vector(registerBytes / 4, 32)));
  }
  /// The 16 rows' sums of all halves as f32.
  mlir::Value sumsToFloat(llvm::ArrayRef<mlir::Value> halves);

  /// For each byte the byte of its 16-byte lane of `table` that it numbers.
  mlir::Value lookupInLanes(mlir::Value table, mlir::Value indices);
  /// 16 of the signed bytes at [at, at + 128), by 16 positions, as f32.
  mlir::Value lookupColumns(mlir::Value buffer, mlir::Value at, mlir::Value positions);

private:
  mlir::Value intrinsic(llvm::StringRef name, mlir::Type result, mlir::ValueRange arguments);
};

} // namespace tacq

#endif // TACQ_LIB_CPU_DOTCODE_H
