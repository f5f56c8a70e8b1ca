//===- VulkanFaultTest.cpp - What a Vulkan device may fail at -------------===//
//
// All calls go through a table, in which each test replaces one function. Whatever fails is a
// status with a message, and what can go on does. Needs any Vulkan device.
//
//===----------------------------------------------------------------------===//

#include "vulkan/Shaders.h"
#include "vulkan/VulkanDevice.h"

#include <gtest/gtest.h>

using namespace tacq;

namespace {

VKAPI_ATTR VkResult VKAPI_CALL noMemory(VkDevice, const VkMemoryAllocateInfo *,
                                        const VkAllocationCallbacks *, VkDeviceMemory *) {
  return VK_ERROR_OUT_OF_DEVICE_MEMORY;
}
VKAPI_ATTR VkResult VKAPI_CALL lostDevice(VkQueue, uint32_t, const VkSubmitInfo *, VkFence) {
  return VK_ERROR_DEVICE_LOST;
}
VKAPI_ATTR VkResult VKAPI_CALL notReady(VkDevice, VkFence) { return VK_NOT_READY; }
VKAPI_ATTR VkResult VKAPI_CALL notReached(VkDevice, VkSemaphore, uint64_t *value) {
  *value = 0;
  return VK_SUCCESS;
}
VKAPI_ATTR VkResult VKAPI_CALL timelineTimeout(VkDevice, const VkSemaphoreWaitInfo *, uint64_t) {
  return VK_TIMEOUT;
}
VKAPI_ATTR VkResult VKAPI_CALL timeout(VkDevice, uint32_t, const VkFence *, VkBool32, uint64_t) {
  return VK_TIMEOUT;
}
VKAPI_ATTR VkResult VKAPI_CALL noPipeline(VkDevice, VkPipelineCache, uint32_t,
                                          const VkComputePipelineCreateInfo *,
                                          const VkAllocationCallbacks *, VkPipeline *pipeline) {
  *pipeline = VK_NULL_HANDLE;
  return VK_ERROR_INITIALIZATION_FAILED;
}
VKAPI_ATTR VkResult VKAPI_CALL badShader(VkDevice, const VkShaderModuleCreateInfo *,
                                         const VkAllocationCallbacks *, VkShaderModule *module) {
  *module = VK_NULL_HANDLE;
  return VK_SUCCESS;
}
VKAPI_ATTR VkResult VKAPI_CALL noCache(VkDevice, VkPipelineCache, size_t *, void *) {
  return VK_ERROR_OUT_OF_HOST_MEMORY;
}
VKAPI_ATTR VkResult VKAPI_CALL noSet(VkDevice, const VkDescriptorSetLayoutCreateInfo *,
                                     const VkAllocationCallbacks *, VkDescriptorSetLayout *) {
  return VK_ERROR_OUT_OF_HOST_MEMORY;
}

class VulkanFaults : public testing::Test {
protected:
  void SetUp() override {
    tacq_host_t host = {};
    Error error = VulkanDevice::open(host, {}, device);
    ASSERT_FALSE(error) << error.message();
  }

  /// Commands that do nothing.
  Error runNothing() {
    VkCommandBuffer commands = VK_NULL_HANDLE;
    if (Error error = device->makeCommandBuffer(commands))
      return error;
    Error error = device->begin(commands);
    if (!error)
      error = device->end(commands);
    if (!error)
      error = device->execute(commands);
    device->freeCommandBuffer(commands);
    return error;
  }

  /// An executable of one kernel whose code is `words`.
  static std::vector<uint8_t> executable(std::vector<uint32_t> words) {
    tacq_vulkan_header header = {
        TACQ_VULKAN_EXECUTABLE_MAGIC, TACQ_VULKAN_EXECUTABLE_VERSION, 1, 0, 0, 0};
    tacq_vulkan_kernel kernel = {};
    kernel.code_offset = sizeof(header) + sizeof(kernel);
    kernel.code_size = words.size() * sizeof(uint32_t);
    kernel.buffer_count = 1;
    kernel.task_symbol = TACQ_VULKAN_NO_SYMBOL;
    kernel.tasks_per_group = 1;
    kernel.task_count = 1;
    kernel.variant = kernel.first = TACQ_VULKAN_NO_SHADER;
    std::vector<uint8_t> bytes(kernel.code_offset + kernel.code_size);
    memcpy(bytes.data(), &header, sizeof(header));
    memcpy(bytes.data() + sizeof(header), &kernel, sizeof(kernel));
    memcpy(bytes.data() + kernel.code_offset, words.data(), kernel.code_size);
    return bytes;
  }

  Error load(const std::vector<uint8_t> &bytes, const std::vector<uint32_t> &absent = {}) {
    Shaders shaders(*device);
    if (Error error = shaders.load(bytes.data(), bytes.size(), 1, absent, "module 'm'"))
      return error;
    return shaders.finish();
  }

  static void expect(const Error &error, tacq_code_t code, const char *text) {
    ASSERT_TRUE(error);
    EXPECT_EQ(error.code(), code) << error.message();
    EXPECT_NE(std::string(error.message()).find(text), std::string::npos) << error.message();
  }

  std::unique_ptr<VulkanDevice> device;
  const std::vector<uint32_t> code = {0x07230203, 0x00010300, 0, 1, 0};
};

TEST_F(VulkanFaults, NoSuchDevice) {
  tacq_host_t host = {};
  std::unique_ptr<VulkanDevice> other;
  VulkanOptions options;
  options.index = 99;
  expect(VulkanDevice::open(host, options, other), TACQ_UNSUPPORTED, "no device 'vulkan:99'");
}

TEST_F(VulkanFaults, AbsentFeatures) {
  EXPECT_FALSE(device->features.has("subgroup=3"));
  EXPECT_FALSE(device->features.has("buffers=4000000000"));
  EXPECT_FALSE(device->features.has("of another kind"));
}

TEST_F(VulkanFaults, OutOfMemory) {
  auto real = device->api.AllocateMemory;
  device->api.AllocateMemory = noMemory;
  VulkanBuffer buffer;
  expect(device->allocate(1000, VulkanDevice::Use::Device, buffer), TACQ_OUT_OF_MEMORY,
         "out of device memory");
  EXPECT_EQ(buffer.buffer, VkBuffer(VK_NULL_HANDLE));
  expect(device->allocate(INT64_MAX, VulkanDevice::Use::Device, buffer), TACQ_OUT_OF_MEMORY,
         "cannot allocate");
  // The device goes on.
  device->api.AllocateMemory = real;
  ASSERT_FALSE(device->allocate(1000, VulkanDevice::Use::Device, buffer));
  uint32_t value = 7, read = 0;
  EXPECT_FALSE(device->write(buffer, 4, &value, sizeof(value)));
  EXPECT_FALSE(device->read(&read, buffer, 4, sizeof(read)));
  EXPECT_EQ(read, value);
  device->release(buffer);
}

TEST_F(VulkanFaults, LostDevice) {
  ASSERT_FALSE(runNothing());
  auto real = device->api.QueueSubmit;
  device->api.QueueSubmit = lostDevice;
  expect(runNothing(), TACQ_DEVICE_FAILURE, "the device is lost");
  // It stays so.
  device->api.QueueSubmit = real;
  expect(runNothing(), TACQ_DEVICE_FAILURE, "the device is lost");
}

TEST_F(VulkanFaults, QueueTimeout) {
  device->api.GetSemaphoreCounterValue = notReached;
  device->api.WaitSemaphores = timelineTimeout;
  expect(runNothing(), TACQ_DEVICE_FAILURE, "did not finish in time");
}

/// A queue of the same device that knows no timeline semaphores.
TEST_F(VulkanFaults, Fences) {
  VulkanQueue queue(device->api);
  ASSERT_FALSE(queue.create(device->device, 0, /*hasTimeline=*/false, UINT64_MAX));
  VkCommandBuffer commands = VK_NULL_HANDLE;
  ASSERT_FALSE(device->makeCommandBuffer(commands));
  ASSERT_FALSE(device->begin(commands));
  ASSERT_FALSE(device->end(commands));
  for (uint64_t i = 1; i <= 5; ++i) {
    uint64_t number = 0;
    ASSERT_FALSE(queue.submit(commands, number));
    EXPECT_EQ(number, i);
    ASSERT_FALSE(queue.wait(number));
  }
  auto realStatus = device->api.GetFenceStatus;
  device->api.GetFenceStatus = notReady;
  device->api.WaitForFences = timeout;
  uint64_t number = 0;
  ASSERT_FALSE(queue.submit(commands, number));
  expect(queue.wait(number), TACQ_DEVICE_FAILURE, "did not finish in time");
  device->api.GetFenceStatus = realStatus;
  device->api.DeviceWaitIdle(device->device);
  queue.close();
  device->freeCommandBuffer(commands);
}

TEST_F(VulkanFaults, DamagedExecutables) {
  std::vector<uint8_t> whole = executable(code);
  for (size_t size : {size_t(0), size_t(15), size_t(40), whole.size() - 4})
    expect(load({whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size)}), TACQ_INVALID_MODULE,
           "module 'm'");
  std::vector<uint8_t> other = whole;
  other[4] ^= 0x80; // the version
  expect(load(other), TACQ_INVALID_MODULE, "another version");
  // What is said to be there and what is there.
  expect(load(executable({})), TACQ_INVALID_MODULE, "outside of the executable");
  expect(load(executable(code), {0}), TACQ_INVALID_MODULE, "a shader that the module says");
  EXPECT_FALSE(load(executable({}), {0}));
}

TEST_F(VulkanFaults, ShadersThatDoNotCompile) {
  auto realModule = device->api.CreateShaderModule;
  auto realDestroy = device->api.DestroyShaderModule;
  device->api.CreateShaderModule = badShader;
  device->api.DestroyShaderModule = [](VkDevice, VkShaderModule, const VkAllocationCallbacks *) {};
  device->api.CreateComputePipelines = noPipeline;
  expect(load(executable(code)), TACQ_DEVICE_FAILURE, "cannot compile a shader");
  device->api.CreateShaderModule = realModule;
  device->api.DestroyShaderModule = realDestroy;
  device->api.CreateDescriptorSetLayout = noSet;
  expect(load(executable(code)), TACQ_OUT_OF_MEMORY, "make a descriptor layout");
}

TEST_F(VulkanFaults, PipelineCacheThatCannotBeSaved) {
  device->api.GetPipelineCacheData = noCache;
  device->savePipelineCache();
  EXPECT_FALSE(runNothing());
}

} // namespace
