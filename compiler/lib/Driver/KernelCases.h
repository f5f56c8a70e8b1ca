//===- KernelCases.h - Kernels to be measured -------------------*- C++ -*-===//

#ifndef TACQ_LIB_DRIVER_KERNELCASES_H
#define TACQ_LIB_DRIVER_KERNELCASES_H

#include "mlir/IR/MLIRContext.h"
#include "tacq/KernelBenchmark.h"
#include "llvm/ADT/SmallVector.h"

namespace tacq {

/// One kernel and its data.
struct KernelCase {
  /// A function @k that is one operation.
  std::string text;
  /// What each run reads from memory: a packed weight, or keys and values.
  std::vector<uint8_t> streamed;
  /// All other buffers, which stay in the caches.
  std::vector<std::vector<uint8_t>> buffers;
  /// In the kernel's order: the number of a buffer, or ~offset in the streamed bytes.
  llvm::SmallVector<int64_t> bindings;
  double macs = 0, bitsPerWeight = 0;
  /// The multiplications are those of 8-bit integers.
  bool integers = false;
};

/// A weight with random codes and a random circuit.
MixedWeight randomWeight(const KernelBenchmarkOptions &options);

Error makeKernelCase(const KernelBenchmarkOptions &options, mlir::MLIRContext &context,
                     KernelCase &result);

} // namespace tacq

#endif // TACQ_LIB_DRIVER_KERNELCASES_H
