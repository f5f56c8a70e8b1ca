//===- CompileKernels.h - The executables of a module -----------*- C++ -*-===//

#ifndef TACQ_MODULE_COMPILEKERNELS_H
#define TACQ_MODULE_COMPILEKERNELS_H

#include "ModuleEmitter.h"
#include "tacq/ModuleWriter.h"

namespace tacq {

/// Compiles the kernels of a module for all of its targets. A kernel for which a profile has no
/// shader runs on the host there: with the code of the CPU targets, or if there are none, with that
/// of an executable for machines like the one that compiles, of such kernels alone.
class KernelCompiler {
public:
  /// `mixed` has the module's weights of mixed precision, and may be null.
  KernelCompiler(mlir::ModuleOp module, const llvm::StringMap<MixedWeight> *mixed,
                 const std::string &file, KernelCache *cache, ModuleWriter &writer)
      : module(module), mixed(mixed), file(file), cache(cache), writer(writer) {}

  Error run(const ModuleTargets &targets);

  /// Of each kernel.
  llvm::StringMap<uint32_t> numbers;
  llvm::StringMap<KernelCode> codes;
  /// A sentence for each kernel that has no shader.
  std::vector<std::string> remarks() const;

private:
  /// Kernels with a reason for each.
  using Refusals = llvm::StringMap<std::string>;

  Error compileShaders(VulkanProfileAttr profile);
  Error compileForCpu(const CpuTarget &target, bool isShared, const Refusals *only);
  Error addExecutable(format::ExecutableT executable, llvm::ArrayRef<char> code,
                      llvm::function_ref<bool(llvm::StringRef)> has);
  std::string nodesOf(llvm::StringRef kernel) const;

  mlir::ModuleOp module;
  const llvm::StringMap<MixedWeight> *mixed;
  const std::string &file;
  KernelCache *cache;
  ModuleWriter &writer;
  llvm::StringSet<> wide;
  /// Kernels that some profile has no shader for.
  Refusals refused;
  /// What is refused, in the order of kernels, and the profiles that do.
  std::map<std::pair<uint32_t, std::string>, std::vector<std::string>> refusedBy;
};

} // namespace tacq

#endif // TACQ_MODULE_COMPILEKERNELS_H
