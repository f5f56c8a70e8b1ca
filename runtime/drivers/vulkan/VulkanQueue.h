//===- VulkanQueue.h - Work of a device, in its order -----------*- C++ -*-===//

#ifndef TACQ_DRIVERS_VULKAN_VULKANQUEUE_H
#define TACQ_DRIVERS_VULKAN_VULKANQUEUE_H

#include "VulkanApi.h"

#include <cstdint>
#include <deque>

namespace tacq {

/// Submissions have numbers, from 1 on, and end in their order. A timeline semaphore tells how far
/// the device is; where there is none, a fence for each of them.
class VulkanQueue {
public:
  explicit VulkanQueue(const VulkanDeviceApi &api) : api(api) {}

  /// `timeout` in nanoseconds: after that the device is taken for hung.
  Error create(VkDevice device, uint32_t family, bool hasTimeline, uint64_t timeout);
  /// Before the device is closed, and when nothing runs any more.
  void close();
  /// Waits for all that was submitted, but not a second time. False if it may still run: then
  /// nothing that it uses may be destroyed, neither now nor later.
  bool drain();
  /// Whether something was waited for in vain, and may still run.
  bool isHung() { return hung || (failure != VK_SUCCESS && !drain()); }
  Error submit(VkCommandBuffer commands, uint64_t &number);
  /// Returns when the submission of this number, and all before it, have ended.
  Error wait(uint64_t number);
  /// Of all that was submitted.
  Error waitForAll() { return wait(submitted); }

private:
  VkResult reached(uint64_t number);
  VkResult sleepUntil(uint64_t number);
  VkResult newFence(VkFence &fence);
  Error fail(VkResult result);

  struct Pending {
    uint64_t number;
    VkFence fence;
  };

  const VulkanDeviceApi &api;
  VkDevice device = VK_NULL_HANDLE;
  VkQueue queue = VK_NULL_HANDLE;
  VkSemaphore timeline = VK_NULL_HANDLE;
  std::deque<Pending> pending; // where there is no timeline
  std::deque<VkFence> unused;
  uint64_t timeout = 0, submitted = 0, ended = 0;
  /// Of the call after which nothing more can be done with the device.
  VkResult failure = VK_SUCCESS;
  /// What drain() has found.
  bool hung = false;
};

} // namespace tacq

#endif // TACQ_DRIVERS_VULKAN_VULKANQUEUE_H
