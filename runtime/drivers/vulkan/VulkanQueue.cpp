//===- VulkanQueue.cpp - Work of a device, in its order -------------------===//

#include "VulkanQueue.h"

#include <chrono>

using namespace tacq;

/// So long the end of commands is polled for: being woken up takes longer than many a token.
static constexpr std::chrono::microseconds kSpinning(2000);

void VulkanQueue::close() {
  if (timeline)
    api.DestroySemaphore(device, timeline, nullptr);
  for (const Pending &each : pending)
    api.DestroyFence(device, each.fence, nullptr);
  for (VkFence fence : unused)
    api.DestroyFence(device, fence, nullptr);
}

Error VulkanQueue::create(VkDevice own, uint32_t family, bool hasTimeline, uint64_t longest) {
  device = own;
  timeout = longest;
  api.GetDeviceQueue(device, family, 0, &queue);
  if (!hasTimeline || !api.GetSemaphoreCounterValue || !api.WaitSemaphores)
    return success();
  VkSemaphoreTypeCreateInfo type = {};
  type.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO;
  type.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE;
  VkSemaphoreCreateInfo info = {};
  info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO;
  info.pNext = &type;
  return vulkanError(api.CreateSemaphore(device, &info, nullptr, &timeline), "make a semaphore");
}

VkResult VulkanQueue::newFence(VkFence &fence) {
  if (!unused.empty()) {
    fence = unused.back();
    unused.pop_back();
    return api.ResetFences(device, 1, &fence);
  }
  VkFenceCreateInfo info = {};
  info.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO;
  return api.CreateFence(device, &info, nullptr, &fence);
}

Error VulkanQueue::submit(VkCommandBuffer commands, uint64_t &number) {
  if (failure != VK_SUCCESS)
    return vulkanError(VK_ERROR_DEVICE_LOST, "run commands");
  number = submitted + 1;
  VkTimelineSemaphoreSubmitInfo values = {};
  values.sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO;
  values.signalSemaphoreValueCount = 1;
  values.pSignalSemaphoreValues = &number;
  VkSubmitInfo info = {};
  info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
  info.commandBufferCount = 1;
  info.pCommandBuffers = &commands;
  VkFence fence = VK_NULL_HANDLE;
  VkResult result = VK_SUCCESS;
  if (timeline) {
    info.pNext = &values;
    info.signalSemaphoreCount = 1;
    info.pSignalSemaphores = &timeline;
  } else {
    result = newFence(fence);
  }
  if (result == VK_SUCCESS)
    result = api.QueueSubmit(queue, 1, &info, fence);
  // A fence that nothing will signal is not waited for.
  if (fence && result == VK_SUCCESS)
    pending.push_back({number, fence});
  else if (fence)
    unused.push_back(fence);
  if (result != VK_SUCCESS)
    return fail(result);
  submitted = number;
  return success();
}

/// VK_SUCCESS if the submission has ended, VK_NOT_READY if not yet.
VkResult VulkanQueue::reached(uint64_t number) {
  if (number <= ended)
    return VK_SUCCESS;
  if (timeline) {
    VkResult result = api.GetSemaphoreCounterValue(device, timeline, &ended);
    return result != VK_SUCCESS ? result : ended >= number ? VK_SUCCESS : VK_NOT_READY;
  }
  while (!pending.empty() && pending.front().number <= number) {
    VkResult result = api.GetFenceStatus(device, pending.front().fence);
    if (result != VK_SUCCESS)
      return result;
    ended = pending.front().number;
    unused.push_back(pending.front().fence);
    pending.pop_front();
  }
  return VK_SUCCESS;
}

VkResult VulkanQueue::sleepUntil(uint64_t number) {
  if (timeline) {
    VkSemaphoreWaitInfo info = {};
    info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO;
    info.semaphoreCount = 1;
    info.pSemaphores = &timeline;
    info.pValues = &number;
    VkResult result = api.WaitSemaphores(device, &info, timeout);
    if (result == VK_SUCCESS)
      ended = number;
    return result;
  }
  while (!pending.empty() && pending.front().number <= number) {
    VkResult result = api.WaitForFences(device, 1, &pending.front().fence, VK_TRUE, timeout);
    if (result == VK_SUCCESS)
      result = reached(pending.front().number);
    if (result != VK_SUCCESS)
      return result;
  }
  return VK_SUCCESS;
}

Error VulkanQueue::fail(VkResult result) {
  failure = result;
  return vulkanError(result, "run commands");
}

bool VulkanQueue::drain() {
  // A device that is lost runs nothing any more.
  if (hung || failure == VK_ERROR_DEVICE_LOST || ended >= submitted)
    return !hung;
  VkResult result = failure == VK_TIMEOUT ? reached(submitted) : sleepUntil(submitted);
  hung = result != VK_SUCCESS && result != VK_ERROR_DEVICE_LOST;
  return !hung;
}

Error VulkanQueue::wait(uint64_t number) {
  if (failure != VK_SUCCESS)
    return vulkanError(VK_ERROR_DEVICE_LOST, "run commands");
  auto start = std::chrono::steady_clock::now();
  VkResult result;
  do
    result = reached(number);
  while (result == VK_NOT_READY && std::chrono::steady_clock::now() - start < kSpinning);
  if (result == VK_NOT_READY)
    result = sleepUntil(number);
  if (result == VK_SUCCESS)
    return success();
  // What was submitted may still run, so that nothing can be used again.
  return fail(result);
}
