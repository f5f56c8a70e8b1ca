//===- ShaderCode.h - Scalars over flat buffers -----------------*- C++ -*-===//
//
// What the shaders of the named operations have in common: elements of any floating-point type are
// loaded as f32 and rounded when they are stored, and bytes can be read by the word.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_VULKAN_SHADERCODE_H
#define TACQ_LIB_VULKAN_SHADERCODE_H

#include "tacq/Codegen/FlatCode.h"

namespace tacq {

class ShaderCode : public FlatCode {
public:
  using FlatCode::FlatCode;

  mlir::Value f(double value) { return k.constant(b.getF32Type(), value); }
  mlir::Value word(int64_t value) { return k.integer(b.getI32Type(), value); }
  mlir::Value quotient(mlir::Value x, mlir::Value y);
  mlir::Value remainder(mlir::Value x, mlir::Value y);

  mlir::Value load(mlir::Value buffer, mlir::Value at);
  void store(mlir::Value value, mlir::Value buffer, mlir::Value at);
  mlir::Value activate(Activation activation, mlir::Value x);

  /// The 32-bit words of a buffer of bytes.
  mlir::Value wordsOf(mlir::Value buffer);
  mlir::Value loadWord(mlir::Value words, mlir::Value byteAt);
  /// A little-endian number of 1, 2 or 4 bytes, which does not cross a word, as i32.
  mlir::Value loadNumber(mlir::Value words, mlir::Value byteAt, int64_t bytes);
  /// An f16 number at any byte, as f32.
  mlir::Value loadHalf(mlir::Value words, mlir::Value byteAt);
  mlir::Value shiftRight(mlir::Value x, int64_t by);
  mlir::Value toIndex(mlir::Value word);

  /// For the part that `number` is of, of parts of so many numbers each that follow each other:
  /// calls `body` with the part's number, and `number` counted from where the part begins.
  void ofPart(mlir::Value number, llvm::ArrayRef<int64_t> counts,
              llvm::function_ref<void(size_t part, mlir::Value own)> body);

  /// Memory of an invocation.
  mlir::Value stackBuffer(int64_t elements, mlir::Type element);
};

} // namespace tacq

#endif // TACQ_LIB_VULKAN_SHADERCODE_H
