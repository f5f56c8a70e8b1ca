//===- VulkanDevice.h - Objects of the vulkan driver ------------*- C++ -*-===//

#ifndef TACQ_DRIVERS_VULKAN_VULKANDEVICE_H
#define TACQ_DRIVERS_VULKAN_VULKANDEVICE_H

#include "VulkanQueue.h"
#include "cpu/CpuDevice.h"
#include "tacq/driver.h"

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace tacq {

struct VulkanBuffer {
  VkBuffer buffer = VK_NULL_HANDLE;
  VkDeviceMemory memory = VK_NULL_HANDLE;
  /// Where the host sees it; null if it does not. It may be slow to read there.
  uint8_t *mapped = nullptr;
  bool readable = false;
  int64_t size = 0;
  /// Of all buffers that the device ever had; handles are used again.
  uint64_t number = 0;
  /// What a run leaves in `mirror` for the host, of the first `mirrored` bytes of the buffer.
  std::unique_ptr<VulkanBuffer> mirror;
  int64_t mirrored = 0;
  /// The host has read it since the run before.
  bool wasRead = false;

  static VulkanBuffer *of(tacq_driver_buffer_t *buffer) {
    return reinterpret_cast<VulkanBuffer *>(buffer);
  }
};

/// What a physical device has that executables may ask for.
struct VulkanFeatures {
  bool int64 = false, float64 = false, int16 = false, int8 = false, float16 = false;
  bool storage16 = false, storage8 = false, dot8 = false, matrix16 = false, inOrder = false;
  /// Invocations of a subgroup, where they do arithmetic and shuffles; else 0.
  uint32_t subgroup = 0;
  uint32_t storageBuffers = 0;
  /// Of a workgroup along x, and bytes that it shares.
  uint32_t invocations = 0, sharedBytes = 0;

  /// False for an unknown name.
  bool has(const std::string &feature) const;
  std::string text() const;
};

struct VulkanOptions {
  uint32_t index = 0;
  bool validate = false;
  /// Of a run's commands, in seconds.
  uint64_t timeout = 600;
  /// The device's memory is used as if the host did not see it.
  bool staged = false;
  /// Who runs the kernels that have no shader.
  CpuOptions cpu;
};

/// A device, its one queue and a command buffer for transfers. Used by one thread at a time, as
/// everything of a session is; sessions on several threads need a device each.
class VulkanDevice {
public:
  ~VulkanDevice();
  static Error open(const tacq_host_t &host, const VulkanOptions &options,
                    std::unique_ptr<VulkanDevice> &result);
  static Error list(std::vector<tacq_device_info_t> &infos);
  static VulkanDevice *of(tacq_driver_device_t *device) {
    return reinterpret_cast<VulkanDevice *>(device);
  }

  enum class Use { Device, Host, Constants };
  /// Zeroed, but for constants, which will be written. `Use::Host` memory is always mapped,
  /// coherent and quick to read; the device's is mapped where the device lets the host write to all
  /// of it.
  Error allocate(int64_t size, Use use, VulkanBuffer &buffer);
  void release(VulkanBuffer &buffer);
  /// The device may still be copying when it returns; `data` is free then.
  Error upload(VulkanBuffer &to, int64_t offset, const void *data, int64_t size);
  Error write(VulkanBuffer &to, int64_t offset, const void *data, int64_t size);
  Error read(void *data, VulkanBuffer &from, int64_t offset, int64_t size);
  /// The ranges may overlap.
  Error copy(VulkanBuffer &to, int64_t toOffset, VulkanBuffer &from, int64_t fromOffset,
             int64_t size);

  /// Ends a command buffer, with its results visible to the host.
  Error end(VkCommandBuffer commands);
  /// Runs a command buffer, which has ended, and waits for it.
  Error execute(VkCommandBuffer commands);
  Error begin(VkCommandBuffer commands);
  Error makeCommandBuffer(VkCommandBuffer &commands);
  void freeCommandBuffer(VkCommandBuffer commands);

  /// The device works in the host's memory.
  bool isUnified() const;
  /// The machine's processor beside the device, whose workers begin when it is first used.
  CpuDevice &processor();
  void describe(tacq_device_info_t &info) const;

  /// The pipeline cache of this device and driver, from the user's cache folder.
  VkPipelineCache pipelineCache = VK_NULL_HANDLE;
  void savePipelineCache();

  const tacq_host_t host;
  VulkanInstanceApi instance;
  VulkanDeviceApi api;
  VkPhysicalDevice physical = VK_NULL_HANDLE;
  VkDevice device = VK_NULL_HANDLE;
  VkPhysicalDeviceProperties properties = {};
  VulkanFeatures features;
  VulkanQueue queue{api};

private:
  VulkanDevice(const tacq_host_t &host, const VulkanOptions &options)
      : host(host), options(options) {}
  Error create();
  Error createDevice();
  int32_t memoryType(uint32_t allowed, VkMemoryPropertyFlags wanted) const;
  int32_t deviceMemoryType(uint32_t allowed) const;
  Error submit(VkCommandBuffer commands);
  struct StagingPiece {
    VulkanBuffer buffer;
    VkCommandBuffer commands = VK_NULL_HANDLE;
    uint64_t submission = 0;
  };
  Error nextPiece(StagingPiece *&piece);
  void releaseRing();
  void loadPipelineCache();
  std::string cachePath() const;

  const VulkanOptions options;
  uint32_t queueFamily = 0;
  VkPhysicalDeviceMemoryProperties memory = {};
  VkCommandPool pool = VK_NULL_HANDLE;
  VkCommandBuffer transfers = VK_NULL_HANDLE;
  std::unique_ptr<CpuDevice> cpu;
  std::array<StagingPiece, 4> ring;
  size_t nextInRing = 0;
  size_t savedCacheSize = 0;
  uint64_t buffersMade = 0;
};

tacq_status_t *createVulkanProgram(tacq_driver_device_t *device, const tacq_program_desc_t *desc,
                                   tacq_driver_program_t **program);
void destroyVulkanProgram(tacq_driver_program_t *program);
tacq_status_t *runVulkanProgram(tacq_driver_program_t *program, tacq_run_t *run);
tacq_status_t *startVulkanProgram(tacq_driver_program_t *program, tacq_run_t *run);
tacq_status_t *finishVulkanProgram(tacq_driver_program_t *program);

} // namespace tacq

#endif // TACQ_DRIVERS_VULKAN_VULKANDEVICE_H
