//===- DotCode.h - Products of 8-bit integers -------------------*- C++ -*-===//
//
// Vectors of bytes of one register, in which each four bytes are a row: codes of four columns of 16
// (AVX-512), 8 (AVX2) or 4 rows (NEON). A tile's 16 rows are one, two or four registers. Codes are
// unsigned on x86; on AArch64 they are signed, and those that have 8 bits are stored less 128.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_CPU_DOTCODE_H
#define TACQ_LIB_CPU_DOTCODE_H

#include "VectorCode.h"
#include "tacq/CPU/CpuTarget.h"

namespace tacq {

/// Columns of a row of the input from `at` on. On AArch64 they are in registers, 16 columns each:
/// an instruction multiplies with any quad of a register, and lookups have registers as their
/// table.
struct InputColumns {
  mlir::Value buffer, at;
  llvm::SmallVector<mlir::Value, 8> registers;
};

class DotCode : public VectorCode {
public:
  DotCode(KernelBuilder &k, const CpuTarget &target)
      : VectorCode(k), registerBytes(target.vectorBits / 8), product(target.byteProduct) {}

  /// Columns of a row that stand side by side.
  static constexpr int64_t quadColumns = 4;
  const int64_t registerBytes;
  bool isWide() const { return registerBytes == 64; }
  bool hasVnni() const {
    return product == ByteProduct::AvxVnni || product == ByteProduct::Avx512Vnni;
  }
  bool isArm() const { return registerBytes == 16; }
  /// There are products of 2x8 by 8x2 matrices, for which a decoded tile has pairs of rows, each of
  /// eight columns, in a register.
  bool hasMatrices() const { return product == ByteProduct::NeonI8mm; }
  /// 32 registers, not 16.
  bool hasManyRegisters() const { return isWide() || isArm(); }
  /// Registers of 16 rows by four columns.
  int64_t parts() const { return vectorLanes * quadColumns / registerBytes; }
  /// The largest code whose products with signed bytes `dot` sums exactly in the fast way.
  unsigned fastLimit() const { return hasVnni() ? 255 : isArm() ? 127 : 128; }

  /// AArch64: a register's value, of which LLVM knows nothing. If ordered, loads do not move from
  /// one side to the other: its scheduler would start on everything at once, and run out of
  /// registers.
  mlir::Value opaque(mlir::Value value, bool isOrdered);
  /// x86: an index, of which LLVM knows nothing but that it is made after the sums.
  mlir::Value indexAfter(mlir::Value index, mlir::Value sums);

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
  /// 16 bytes as f32.
  mlir::Value bytesToFloat(mlir::Value bytes, bool isSigned);

  mlir::Value bytesConstant(llvm::function_ref<uint8_t(int64_t)> byte);
  mlir::Value splatByte(unsigned value) {
    return bytesConstant([=](int64_t) { return value; });
  }
  /// Shifts to lower (or, below 0, to higher) bits and keeps those of `mask`, which must come from
  /// the same byte.
  mlir::Value shiftAndMask(mlir::Value bytes, int shift, unsigned mask);
  /// `count` columns, a multiple of 16 on AArch64.
  InputColumns loadColumns(mlir::Value buffer, mlir::Value at, int64_t count);
  /// The four bytes from a column on, repeated for each row.
  mlir::Value loadQuad(const InputColumns &columns, int64_t column);
  /// Adds to each row's sum the products of its four codes, at most `largest`, with the signed
  /// bytes of the quad.
  mlir::Value dot(mlir::Value sums, mlir::Value codes, mlir::Value quad, unsigned largest);
  /// AVX2: the products of pairs of codes, at most `fastLimit`, and of the quad's bytes, in 16
  /// bits.
  mlir::Value pairs(mlir::Value codes, mlir::Value quad);
  /// Sums of neighbouring 16-bit numbers.
  mlir::Value widen(mlir::Value words);
  bool multipliesPairs() const { return product == ByteProduct::Avx2; }
  /// The largest magnitude of a pair of products of codes up to `largest`.
  static int64_t largestPair(unsigned largest) { return 2 * 127 * int64_t(largest); }
  /// Adds the products of two rows of codes with two rows of the input, which are the columns.
  mlir::Value multiplyMatrices(mlir::Value sums, mlir::Value codes, mlir::Value input);
  /// Vectors of equal length, a power of two of them, as one.
  mlir::Value concat(llvm::ArrayRef<mlir::Value> parts);
  /// Four of the numbers of two registers.
  mlir::Value pickNumbers(mlir::Value x, mlir::Value y, llvm::ArrayRef<int64_t> lanes);
  mlir::Value zeroSums() {
    return b.create<mlir::arith::ConstantOp>(b.getZeroAttr(vector(registerBytes / 4, 32)));
  }
  /// The 16 rows' sums of all parts as f32.
  mlir::Value sumsToFloat(llvm::ArrayRef<mlir::Value> parts);

  /// For each byte the byte of its 16-byte lane of `table` that it numbers.
  mlir::Value lookupInLanes(mlir::Value table, mlir::Value indices);
  /// AArch64: for each byte that of the table, of one, two or four registers, that it numbers.
  mlir::Value lookupInTable(llvm::ArrayRef<mlir::Value> table, mlir::Value indices);
  /// 16 of 128 columns, by 16 positions, as f32.
  mlir::Value lookupColumns(const InputColumns &columns, mlir::Value positions);
  /// z - x * y, where y is the same in all lanes.
  mlir::Value subtractProduct(mlir::Value z, mlir::Value x, mlir::Value y);

private:
  mlir::Value half(mlir::Value all, int64_t number);
  mlir::Value dotArm(mlir::Value sums, mlir::Value codes, mlir::Value quad);

  const ByteProduct product;
};

} // namespace tacq

#endif // TACQ_LIB_CPU_DOTCODE_H
