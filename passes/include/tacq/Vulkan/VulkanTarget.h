//===- VulkanTarget.h - Device profiles and shaders -------------*- C++ -*-===//
//
// From kernel functions (see KernelBuilder.h) to one executable of SPIR-V shaders for each device
// profile, as tacq/VulkanExecutable.h describes it.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_VULKAN_VULKANTARGET_H
#define TACQ_VULKAN_VULKANTARGET_H

#include "tacq/Codegen/KernelBuilder.h"
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace mlir {
class OpPassManager;
} // namespace mlir

namespace tacq {

/// The names that vulkanProfile knows.
std::vector<std::string> vulkanProfileNames();
/// The profile of a name; null if there is none.
VulkanProfileAttr vulkanProfile(mlir::MLIRContext *context, llvm::StringRef name);
/// Of two profiles that a device supports, the one of higher rank is used.
int32_t vulkanProfileRank(VulkanProfileAttr profile);
/// What any device of Vulkan gives a workgroup: invocations, and bytes of memory that they share.
inline constexpr int64_t vulkanInvocations = 128, vulkanSharedBytes = 16384;
/// The most invocations that workgroups of a profile's shaders have, and the most bytes that these
/// share.
int64_t vulkanProfileInvocations(VulkanProfileAttr profile);
int64_t vulkanProfileSharedBytes(VulkanProfileAttr profile);

/// The attribute of a kernel function whose task is done by a workgroup, of so many invocations,
/// instead of by one invocation.
inline constexpr llvm::StringLiteral vulkanWorkgroupAttr = "tacq.workgroup";

/// The feature of devices that begin the workgroups of dispatches in the order of the dispatches.
/// Kernels for them wait for each other themselves, by flags in memory.
inline constexpr llvm::StringLiteral vulkanOrderedFeature = "in-order";

/// The attribute of a kernel function with the numbers of its buffers that need not be coherent: no
/// workgroup reads what others write in the same call after it may have read what was there before.
inline constexpr llvm::StringLiteral vulkanConstantsAttr = "tacq.constants";

/// The attribute of the barrier behind which a kernel function reads what other dispatches of the
/// call have written. A function without one reads it from its beginning.
inline constexpr llvm::StringLiteral vulkanAwaitAttr = "tacq.await";

/// Emits the kernel of a region for a profile: of its one named operation, or of its nodes. The
/// builder must be new.
mlir::LogicalResult emitVulkanKernel(KernelBuilder &kernel, VulkanProfileAttr profile,
                                     const KernelOptions &options = {});

/// The attribute of a kernel function that is a variant of another one: its name.
inline constexpr llvm::StringLiteral vulkanVariantAttr = "tacq.variant_of";
/// With that, the function is what runs before the variant.
inline constexpr llvm::StringLiteral vulkanFirstAttr = "tacq.first";

/// A kernel has so many variants at most: one for many rows, and one for many keys.
inline constexpr unsigned vulkanVariants = 2;

/// Emits variant `number` of a region's kernel. It has no tasks where it is not made for the sizes,
/// and then another variant, or the kernel, runs. With `first`, what has to run before the variant,
/// of the same buffers and workspace. False, and the builder is of no use, if there is none.
bool emitVulkanVariant(KernelBuilder &kernel, VulkanProfileAttr profile, unsigned number,
                       bool first, const KernelOptions &options = {});

/// Emits a kernel that reads `bytes` bytes of its first tensor and does nothing else: what a
/// device's memory gives, to compare other kernels with. Its result has a word for each invocation.
void emitReadingShader(KernelBuilder &kernel, VulkanProfileAttr profile, int64_t bytes);
/// Its number of tasks.
int64_t readingTasks(VulkanProfileAttr profile, int64_t bytes);

/// The passes from kernel functions to spirv.module operations, one for each.
void buildVulkanPipeline(mlir::OpPassManager &manager, llvm::StringRef profile);

struct VulkanShader {
  /// Of the kernel, which may have a variant.
  std::string name;
  enum class Role { Kernel, Variant, First } role = Role::Kernel;
  std::vector<uint32_t> code;
  /// Tasks that a workgroup does at once.
  uint32_t tasksPerGroup = 1;
  /// What the device must have, in the names that executables use for features.
  std::vector<std::string> features;
  /// Why there is no code, a line for each reason; empty if there is.
  std::string refusal;
};

/// Compiles every function of `kernels`, which is left unusable, to a shader, in their order. One
/// that cannot be has a refusal.
std::vector<VulkanShader> compileVulkanKernels(mlir::ModuleOp kernels, VulkanProfileAttr profile);

/// Adds features to those that an executable requires. Of those that differ in their number, the
/// largest is left.
void addVulkanFeatures(std::set<std::string> &all, llvm::ArrayRef<std::string> more);

} // namespace tacq

#endif // TACQ_VULKAN_VULKANTARGET_H
