//===- FlatCode.h - Loops over flat buffers ---------------------*- C++ -*-===//
//
// What kernels that address memory themselves have in common, of vectors or of scalars.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_CODEGEN_FLATCODE_H
#define TACQ_CODEGEN_FLATCODE_H

#include "tacq/Codegen/KernelBuilder.h"

namespace tacq {

class FlatCode {
public:
  explicit FlatCode(KernelBuilder &k) : k(k), b(k.b) {}

  KernelBuilder &k;
  mlir::ImplicitLocOpBuilder &b;

  /// The buffer of a tensor of the kernel's region; null for null, and if it is not an input.
  mlir::Value inputBuffer(mlir::Value tensor);
  /// The buffer of a result that is yielded; null if it is not.
  mlir::Value outputBuffer(mlir::Value tensor);

  mlir::Value plus(mlir::Value x, int64_t y) { return y == 0 ? x : k.add(x, k.index(y)); }
  mlir::Value times(mlir::Value x, int64_t y) { return y == 1 ? x : k.mul(x, k.index(y)); }

  /// for i in [first, last) by step, with carried values.
  llvm::SmallVector<mlir::Value>
  loop(mlir::Value first, mlir::Value last, int64_t step, mlir::ValueRange carried,
       llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value, mlir::ValueRange)> body);
  void loop(mlir::Value first, mlir::Value last, int64_t step,
            llvm::function_ref<void(mlir::Value)> body);
  void when(mlir::Value condition, llvm::function_ref<void()> then);
};

} // namespace tacq

#endif // TACQ_CODEGEN_FLATCODE_H
