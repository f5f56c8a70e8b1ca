//===- ModuleEmitter.h - From a schedule to a module file -------*- C++ -*-===//

#ifndef TACQ_MODULE_MODULEEMITTER_H
#define TACQ_MODULE_MODULEEMITTER_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "tacq/CPU/CpuTarget.h"
#include "tacq/Codegen/KernelBuilder.h"
#include "tacq/Error.h"
#include "tacq/Import/ParameterStore.h"
#include "tacq/Quantize/MixedWeight.h"
#include "tacq/Vulkan/VulkanTarget.h"
#include "llvm/ADT/StringSet.h"
#include <optional>
#include <set>
#include <string>

namespace tacq {

/// What the code of a kernel asks of its launches.
struct KernelCode {
  KernelSymbols symbols;
  /// Of the CPU's code, once there is any.
  std::optional<Sym> tasks;
  /// Bytes of the memory that the tasks of a launch share (KernelBuilder::workspace), of the CPU's
  /// code and of shaders.
  Sym workspace, shaderWorkspace;
  /// Nanoseconds of a launch on one core of the CPU, if there is an estimate.
  std::optional<Sym> cost;
  /// Of the shader of the last profile: a constant, or one of the symbols.
  Sym shaderTasks;
  /// Of its variants, and of what runs before each of them.
  struct VariantTasks {
    Sym own, first;
  };
  llvm::SmallVector<VariantTasks, vulkanVariants> variants;
  /// The most that a profile's shader has.
  std::optional<Sym> launchTasks;
};

/// Builds the functions of all kernels of the module for one target, or of those in `only`. `codes`
/// collects what they ask for, by the kernel's name, over all targets. Launches are shared where
/// there are shaders, too. Fails with a diagnostic.
mlir::FailureOr<mlir::OwningOpRef<mlir::ModuleOp>>
buildCpuKernels(mlir::ModuleOp module, const CpuTarget &target, llvm::StringMap<KernelCode> &codes,
                bool isShared = false, const llvm::StringMap<std::string> *only = nullptr);

/// The same for shaders. Their numbers of tasks are symbols, since those of `codes` are the CPU's
/// where a module has both. `refusals` says why there are no functions of some kernels; those in
/// `wide` may have weights beyond the range of f16.
mlir::OwningOpRef<mlir::ModuleOp> buildVulkanKernels(mlir::ModuleOp module,
                                                     VulkanProfileAttr profile,
                                                     llvm::StringMap<KernelCode> &codes,
                                                     llvm::StringMap<std::string> &refusals,
                                                     const llvm::StringSet<> &wide = {});

/// The kernels that are launched with weights of which some, once decoded, may be larger than any
/// number of f16.
llvm::StringSet<> kernelsOfWideWeights(mlir::ModuleOp module,
                                       const llvm::StringMap<MixedWeight> &weights);

/// The module's attribute, a dictionary of texts, that becomes the file's metadata.
constexpr llvm::StringLiteral metadataAttribute = "tacq.metadata";

/// The targets of a module, in the order in which they were asked for.
struct ModuleTargets {
  std::vector<CpuTarget> cpu;
  std::vector<VulkanProfileAttr> vulkan;
};

/// Writes the module with one `tacq_rt.schedule` to `path`, with an executable for each target.
/// `file` is the model's file name for messages. `mixed` has the quantized weights by the names of
/// their parameters, `cache` kernels that need not be compiled again, `remarks` receives a sentence
/// for each kernel that has no shader; all three may be null.
Error emitModule(mlir::ModuleOp module, const ModuleTargets &targets,
                 const ParameterStore &parameters, const std::string &file, const std::string &path,
                 const llvm::StringMap<MixedWeight> *mixed = nullptr, KernelCache *cache = nullptr,
                 std::vector<std::string> *remarks = nullptr);

/// Shaders in the form of tacq/VulkanExecutable.h, and what the device must have for them. There
/// may be none of some kernels.
std::vector<char> packShaders(mlir::ModuleOp module, llvm::ArrayRef<VulkanShader> shaders,
                              const llvm::StringMap<uint32_t> &kernelNumbers, bool ordered,
                              llvm::StringMap<KernelCode> &codes, std::set<std::string> &features);

} // namespace tacq

#endif // TACQ_MODULE_MODULEEMITTER_H
