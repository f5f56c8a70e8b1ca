//===- VulkanApi.h - The Vulkan functions that the driver calls -*- C++ -*-===//
//
// The loader is opened when the first device is asked for: nothing is linked, and a machine without
// Vulkan runs everything else. All calls go through this table, so that tests can replace any of
// them.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_DRIVERS_VULKAN_VULKANAPI_H
#define TACQ_DRIVERS_VULKAN_VULKANAPI_H

#define VK_NO_PROTOTYPES
#include "tacq/Error.h"

#include <vulkan/vulkan.h>

#include <vector>

#define TACQ_VULKAN_INSTANCE_FUNCTIONS(X)                                                          \
  X(DestroyInstance)                                                                               \
  X(EnumeratePhysicalDevices)                                                                      \
  X(EnumerateDeviceExtensionProperties)                                                            \
  X(GetPhysicalDeviceProperties)                                                                   \
  X(GetPhysicalDeviceProperties2)                                                                  \
  X(GetPhysicalDeviceFeatures2)                                                                    \
  X(GetPhysicalDeviceMemoryProperties)                                                             \
  X(GetPhysicalDeviceQueueFamilyProperties)                                                        \
  X(CreateDevice)                                                                                  \
  X(GetDeviceProcAddr)

#define TACQ_VULKAN_DEVICE_FUNCTIONS(X)                                                            \
  X(DestroyDevice)                                                                                 \
  X(GetDeviceQueue)                                                                                \
  X(DeviceWaitIdle)                                                                                \
  X(CreateBuffer)                                                                                  \
  X(DestroyBuffer)                                                                                 \
  X(GetBufferMemoryRequirements)                                                                   \
  X(AllocateMemory)                                                                                \
  X(FreeMemory)                                                                                    \
  X(BindBufferMemory)                                                                              \
  X(MapMemory)                                                                                     \
  X(CreateCommandPool)                                                                             \
  X(DestroyCommandPool)                                                                            \
  X(AllocateCommandBuffers)                                                                        \
  X(FreeCommandBuffers)                                                                            \
  X(BeginCommandBuffer)                                                                            \
  X(EndCommandBuffer)                                                                              \
  X(ResetCommandBuffer)                                                                            \
  X(QueueSubmit)                                                                                   \
  X(CreateSemaphore)                                                                               \
  X(DestroySemaphore)                                                                              \
  X(CreateFence)                                                                                   \
  X(DestroyFence)                                                                                  \
  X(ResetFences)                                                                                   \
  X(WaitForFences)                                                                                 \
  X(GetFenceStatus)                                                                                \
  X(CreateShaderModule)                                                                            \
  X(DestroyShaderModule)                                                                           \
  X(CreateDescriptorSetLayout)                                                                     \
  X(DestroyDescriptorSetLayout)                                                                    \
  X(CreatePipelineLayout)                                                                          \
  X(DestroyPipelineLayout)                                                                         \
  X(CreatePipelineCache)                                                                           \
  X(DestroyPipelineCache)                                                                          \
  X(GetPipelineCacheData)                                                                          \
  X(CreateComputePipelines)                                                                        \
  X(DestroyPipeline)                                                                               \
  X(CreateDescriptorPool)                                                                          \
  X(DestroyDescriptorPool)                                                                         \
  X(ResetDescriptorPool)                                                                           \
  X(AllocateDescriptorSets)                                                                        \
  X(UpdateDescriptorSets)                                                                          \
  X(CmdBindPipeline)                                                                               \
  X(CmdBindDescriptorSets)                                                                         \
  X(CmdDispatch)                                                                                   \
  X(CmdCopyBuffer)                                                                                 \
  X(CmdFillBuffer)                                                                                 \
  X(CmdPipelineBarrier)

/// Of Vulkan 1.2; null on older devices.
#define TACQ_VULKAN_TIMELINE_FUNCTIONS(X)                                                          \
  X(GetSemaphoreCounterValue)                                                                      \
  X(WaitSemaphores)

namespace tacq {

struct VulkanInstanceApi {
  PFN_vkGetInstanceProcAddr GetInstanceProcAddr = nullptr;
  VkInstance instance = VK_NULL_HANDLE;
#define X(name) PFN_vk##name name = nullptr;
  TACQ_VULKAN_INSTANCE_FUNCTIONS(X)
#undef X

  /// What functions are asked for in place of the loader, if it is set: tests make any of them
  /// fail.
  static inline PFN_vkGetInstanceProcAddr replacement = nullptr;

  /// Opens the loader and makes an instance, with the validation layer if asked for. Messages of
  /// the layer go to the layer's own log.
  Error open(bool validate);
  void close();

private:
  void *library = nullptr;
};

struct VulkanDeviceApi {
#define X(name) PFN_vk##name name = nullptr;
  TACQ_VULKAN_DEVICE_FUNCTIONS(X)
  TACQ_VULKAN_TIMELINE_FUNCTIONS(X)
#undef X

  Error load(const VulkanInstanceApi &api, VkDevice device);
};

/// Success, or what the call that returned `result` did not do: "cannot <what>: <why>".
Error vulkanError(VkResult result, const char *what);

} // namespace tacq

#endif // TACQ_DRIVERS_VULKAN_VULKANAPI_H
