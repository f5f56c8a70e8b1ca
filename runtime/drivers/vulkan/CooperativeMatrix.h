//===- CooperativeMatrix.h - VK_KHR_cooperative_matrix ----------*- C++ -*-===//
//
// The extension is newer than the Vulkan headers of some systems: what the driver needs of it is
// declared here.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_DRIVERS_VULKAN_COOPERATIVEMATRIX_H
#define TACQ_DRIVERS_VULKAN_COOPERATIVEMATRIX_H

#include "VulkanApi.h"

namespace tacq {

inline constexpr char kCooperativeMatrixExtension[] = "VK_KHR_cooperative_matrix";

/// VkPhysicalDeviceCooperativeMatrixFeaturesKHR.
struct CooperativeMatrixFeatures {
  static constexpr auto kType = static_cast<VkStructureType>(1000506000);
  VkStructureType sType = kType;
  void *pNext = nullptr;
  VkBool32 cooperativeMatrix = VK_FALSE;
  VkBool32 cooperativeMatrixRobustBufferAccess = VK_FALSE;
};

/// Whether subgroups of the device multiply matrices of f16, 16 by 16 by 16, into sums of f32 (the
/// feature "matrix16"), in the memory model that shaders with such matrices must have.
bool hasMatrix16(const VulkanInstanceApi &api, VkPhysicalDevice physical,
                 const VkPhysicalDeviceProperties &properties);

} // namespace tacq

#endif // TACQ_DRIVERS_VULKAN_COOPERATIVEMATRIX_H
