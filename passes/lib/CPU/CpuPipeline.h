//===- CpuPipeline.h - The steps of compileCpuKernels -----------*- C++ -*-===//

#ifndef TACQ_LIB_CPU_CPUPIPELINE_H
#define TACQ_LIB_CPU_CPUPIPELINE_H

#include "tacq/CPU/CpuTarget.h"
#include <memory>

namespace llvm {
class LLVMContext;
class Module;
class TargetMachine;
} // namespace llvm

namespace tacq {

/// What a kernel function's argument is, as far as the entry point has to know.
enum class KernelArgument { Buffer, AliasedBuffer, Index, Status };

struct KernelSignature {
  std::string name;
  llvm::SmallVector<KernelArgument> arguments;
};

/// Lowers the functions to the LLVM dialect in place. Math functions become arithmetic, LLVM
/// intrinsics or calls of the C library.
mlir::LogicalResult lowerToLLVMDialect(mlir::ModuleOp kernels);

/// Translates lowered kernels and gives each function its entry point.
std::unique_ptr<llvm::Module> translateKernels(mlir::ModuleOp kernels,
                                               llvm::ArrayRef<KernelSignature> signatures,
                                               const CpuTarget &target, llvm::LLVMContext &context);

/// A target machine for position-independent code; null with a diagnostic at `loc`.
std::unique_ptr<llvm::TargetMachine> makeTargetMachine(const CpuTarget &target, unsigned optLevel,
                                                       mlir::Location loc);

/// Optimizes and appends the relocatable object.
mlir::LogicalResult emitObject(llvm::Module &module, llvm::TargetMachine &machine,
                               const CpuCompileOptions &options,
                               llvm::SmallVectorImpl<char> &object, mlir::Location loc);

/// Links one object into a shared object; only functions that the runtime offers may be undefined.
mlir::LogicalResult linkSharedObject(llvm::ArrayRef<char> object, llvm::SmallVectorImpl<char> &elf,
                                     mlir::Location loc);

} // namespace tacq

#endif // TACQ_LIB_CPU_CPUPIPELINE_H
