//===- AmxCode.h - Products of tiles of bytes and of bf16 -------*- C++ -*-===//
//
// Intel's Advanced Matrix Extensions: eight registers of 16 rows by 64 bytes, configured at the
// start of a task and released at its end. A product adds to 16 x 16 integers of 32 bits the
// products of 16 rows by 64 signed bytes with 64 x 16 unsigned ones, which stand four to a row of a
// column: the order in which a tile's codes are decoded. Or it adds to 16 x 16 f32 the products of
// 16 rows by 32 numbers of bf16 with 32 x 16, which stand two to a row of a column.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_CPU_AMXCODE_H
#define TACQ_LIB_CPU_AMXCODE_H

#include "VectorCode.h"

namespace tacq {

class AmxCode : VectorCode {
public:
  explicit AmxCode(KernelBuilder &k) : VectorCode(k) {}

  static constexpr int64_t rows = 16, bytes = 64;

  void configure();
  void release();
  void zero(unsigned number);
  /// 16 rows of 64 bytes, `stride` bytes apart, from element `at` of the buffer on.
  void load(unsigned number, mlir::Value buffer, mlir::Value at, int64_t stride);
  void store(unsigned number, mlir::Value buffer, mlir::Value at, int64_t stride);
  /// sums += signed * unsigned.
  void multiply(unsigned sums, unsigned signedBytes, unsigned unsignedBytes);
  /// sums += rows * pairs, of bf16.
  void multiplyBf16(unsigned sums, unsigned rows, unsigned pairs);

private:
  mlir::Value number(unsigned value);
  mlir::Value pointer(mlir::Value buffer, mlir::Value at);
  mlir::Value strideOf(int64_t bytes);
};

} // namespace tacq

#endif // TACQ_LIB_CPU_AMXCODE_H
