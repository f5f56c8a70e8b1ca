//===- VulkanDevice.cpp - Devices, memory and transfers -------------------===//

#include "VulkanDevice.h"

#include "CooperativeMatrix.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace tacq;

namespace {

constexpr int64_t kAlignment = 64;
constexpr uint64_t kNanoseconds = 1000000000; // of a second
constexpr uint32_t kNvidia = 0x10DE;
constexpr VkMemoryPropertyFlags kMapped =
    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
/// More than that the device fills with zeros.
constexpr int64_t kLargestHostFill = 1 << 20;

VulkanFeatures featuresOf(const VulkanInstanceApi &api, VkPhysicalDevice physical,
                          const VkPhysicalDeviceProperties &properties) {
  VkPhysicalDevice16BitStorageFeatures storage16 = {};
  storage16.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES;
  VkPhysicalDevice8BitStorageFeatures storage8 = {};
  storage8.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_8BIT_STORAGE_FEATURES;
  VkPhysicalDeviceShaderFloat16Int8Features float16Int8 = {};
  float16Int8.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES;
  VkPhysicalDeviceShaderIntegerDotProductFeatures dot8 = {};
  dot8.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES;
  VkPhysicalDeviceFeatures2 all = {};
  all.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
  all.pNext = &storage16;
  if (properties.apiVersion >= VK_API_VERSION_1_2) {
    storage16.pNext = &storage8;
    storage8.pNext = &float16Int8;
  }
  if (properties.apiVersion >= VK_API_VERSION_1_3)
    float16Int8.pNext = &dot8;
  api.GetPhysicalDeviceFeatures2(physical, &all);
  VkPhysicalDeviceSubgroupProperties subgroup = {};
  subgroup.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES;
  VkPhysicalDeviceProperties2 more = {};
  more.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
  more.pNext = &subgroup;
  api.GetPhysicalDeviceProperties2(physical, &more);
  constexpr VkSubgroupFeatureFlags needed = VK_SUBGROUP_FEATURE_BASIC_BIT |
                                            VK_SUBGROUP_FEATURE_ARITHMETIC_BIT |
                                            VK_SUBGROUP_FEATURE_SHUFFLE_BIT;
  VulkanFeatures result;
  result.int64 = all.features.shaderInt64;
  result.float64 = all.features.shaderFloat64;
  result.int16 = all.features.shaderInt16;
  result.storage16 = storage16.storageBuffer16BitAccess;
  result.storage8 = storage8.storageBuffer8BitAccess;
  result.int8 = float16Int8.shaderInt8;
  result.float16 = float16Int8.shaderFloat16;
  result.dot8 = dot8.shaderIntegerDotProduct;
  if ((subgroup.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT) &&
      (subgroup.supportedOperations & needed) == needed)
    result.subgroup = subgroup.subgroupSize;
  // Not what Vulkan promises: it was seen on these.
  bool isSoftware = properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
  result.inOrder = isSoftware || properties.vendorID == kNvidia;
  result.matrix16 = hasMatrix16(api, physical, properties);
  const VkPhysicalDeviceLimits &limits = properties.limits;
  result.storageBuffers = limits.maxPerStageDescriptorStorageBuffers;
  result.invocations =
      std::min(limits.maxComputeWorkGroupInvocations, limits.maxComputeWorkGroupSize[0]);
  result.sharedBytes = limits.maxComputeSharedMemorySize;
  return result;
}

void fillInfo(tacq_device_info_t &info, uint32_t index,
              const VkPhysicalDeviceProperties &properties, const VulkanFeatures &features) {
  snprintf(info.name, sizeof(info.name), "vulkan:%u", index);
  snprintf(info.description, sizeof(info.description), "%s, Vulkan %u.%u; %s",
           properties.deviceName, VK_API_VERSION_MAJOR(properties.apiVersion),
           VK_API_VERSION_MINOR(properties.apiVersion), features.text().c_str());
}

/// The devices of Vulkan 1.1 or newer, in the loader's order.
Error enumerate(const VulkanInstanceApi &api, std::vector<VkPhysicalDevice> &devices) {
  uint32_t count = 0;
  VkResult counted = api.EnumeratePhysicalDevices(api.instance, &count, nullptr);
  // So the loader says that drivers are installed, and none of them has a device.
  if (counted == VK_ERROR_INITIALIZATION_FAILED)
    return success();
  if (Error error = vulkanError(counted, "list devices"))
    return error;
  devices.resize(count);
  VkResult result = api.EnumeratePhysicalDevices(api.instance, &count, devices.data());
  if (result != VK_SUCCESS && result != VK_INCOMPLETE)
    return vulkanError(result, "list devices");
  devices.resize(count);
  devices.erase(std::remove_if(devices.begin(), devices.end(),
                               [&](VkPhysicalDevice device) {
                                 VkPhysicalDeviceProperties properties;
                                 api.GetPhysicalDeviceProperties(device, &properties);
                                 return properties.apiVersion < VK_API_VERSION_1_1;
                               }),
                devices.end());
  return success();
}

} // namespace

bool VulkanFeatures::has(const std::string &feature) const {
  const std::pair<const char *, uint32_t> limits[] = {
      {"buffers=", storageBuffers}, {"invocations=", invocations}, {"shared=", sharedBytes}};
  for (auto [name, most] : limits)
    if (feature.compare(0, strlen(name), name) == 0)
      return strtoul(feature.c_str() + strlen(name), nullptr, 10) <= most;
  if (feature.compare(0, 9, "subgroup=") == 0)
    return strtoul(feature.c_str() + 9, nullptr, 10) == subgroup;
  const std::pair<const char *, bool> known[] = {
      {"int64", int64},       {"float64", float64},     {"int16", int16},       {"int8", int8},
      {"float16", float16},   {"storage16", storage16}, {"storage8", storage8}, {"dot8", dot8},
      {"matrix16", matrix16}, {"in-order", inOrder}};
  for (auto [name, present] : known)
    if (feature == name)
      return present;
  return false;
}

std::string VulkanFeatures::text() const {
  std::string result;
  for (const char *name : {"int64", "float64", "int16", "int8", "float16", "storage16", "storage8",
                           "dot8", "matrix16", "in-order"})
    if (has(name))
      result += (result.empty() ? "" : " ") + std::string(name);
  if (subgroup)
    result += " subgroup=" + std::to_string(subgroup);
  return result;
}

// ---- devices -------------------------------------------------------------------------------

Error VulkanDevice::list(std::vector<tacq_device_info_t> &infos) {
  VulkanInstanceApi api;
  // A machine without Vulkan has no such devices, which is no error.
  if (Error error = api.open(false))
    return success();
  std::vector<VkPhysicalDevice> devices;
  Error error = enumerate(api, devices);
  for (uint32_t i = 0; !error && i < devices.size(); ++i) {
    VkPhysicalDeviceProperties properties;
    api.GetPhysicalDeviceProperties(devices[i], &properties);
    tacq_device_info_t info = {};
    fillInfo(info, i, properties, featuresOf(api, devices[i], properties));
    infos.push_back(info);
  }
  api.close();
  return error;
}

Error VulkanDevice::open(const tacq_host_t &host, const VulkanOptions &options,
                         std::unique_ptr<VulkanDevice> &result) {
  std::unique_ptr<VulkanDevice> made(new VulkanDevice(host, options));
  if (Error error = made->create())
    return error;
  result = std::move(made);
  return success();
}

Error VulkanDevice::create() {
  if (Error error = instance.open(options.validate))
    return error;
  std::vector<VkPhysicalDevice> devices;
  if (Error error = enumerate(instance, devices))
    return error;
  if (options.index >= devices.size())
    return makeError(TACQ_UNSUPPORTED,
                     devices.empty() ? "there is no device 'vulkan:%u': this machine has no Vulkan "
                                       "device (%zu)"
                                     : "there is no device 'vulkan:%u': this machine has %zu",
                     options.index, devices.size());
  physical = devices[options.index];
  instance.GetPhysicalDeviceProperties(physical, &properties);
  features = featuresOf(instance, physical, properties);
  instance.GetPhysicalDeviceMemoryProperties(physical, &memory);
  if (Error error = createDevice())
    return error;
  VkCommandPoolCreateInfo poolInfo = {};
  poolInfo.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
  poolInfo.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
  poolInfo.queueFamilyIndex = queueFamily;
  if (Error error = vulkanError(api.CreateCommandPool(device, &poolInfo, nullptr, &pool),
                                "make a command pool"))
    return error;
  if (Error error = queue.create(device, queueFamily, properties.apiVersion >= VK_API_VERSION_1_2,
                                 options.timeout * kNanoseconds))
    return error;
  if (Error error = makeCommandBuffer(transfers))
    return error;
  loadPipelineCache();
  return success();
}

Error VulkanDevice::createDevice() {
  uint32_t count = 0;
  instance.GetPhysicalDeviceQueueFamilyProperties(physical, &count, nullptr);
  std::vector<VkQueueFamilyProperties> families(count);
  instance.GetPhysicalDeviceQueueFamilyProperties(physical, &count, families.data());
  auto family = std::find_if(families.begin(), families.end(), [](const auto &each) {
    return each.queueFlags & VK_QUEUE_COMPUTE_BIT;
  });
  if (family == families.end())
    return makeError(TACQ_UNSUPPORTED, "device 'vulkan:%u' has no queue for compute shaders",
                     options.index);
  queueFamily = static_cast<uint32_t>(family - families.begin());
  float priority = 1;
  VkDeviceQueueCreateInfo queueInfo = {};
  queueInfo.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
  queueInfo.queueFamilyIndex = queueFamily;
  queueInfo.queueCount = 1;
  queueInfo.pQueuePriorities = &priority;
  // What there is is enabled: an executable asks for what it needs before it is chosen.
  VkPhysicalDevice16BitStorageFeatures storage16 = {};
  storage16.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES;
  storage16.storageBuffer16BitAccess = features.storage16;
  VkPhysicalDevice8BitStorageFeatures storage8 = {};
  storage8.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_8BIT_STORAGE_FEATURES;
  storage8.storageBuffer8BitAccess = features.storage8;
  VkPhysicalDeviceShaderFloat16Int8Features float16Int8 = {};
  float16Int8.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES;
  float16Int8.shaderFloat16 = features.float16;
  float16Int8.shaderInt8 = features.int8;
  VkPhysicalDeviceShaderIntegerDotProductFeatures dot8 = {};
  dot8.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES;
  dot8.shaderIntegerDotProduct = features.dot8;
  VkPhysicalDeviceFeatures2 enabled = {};
  enabled.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
  enabled.features.shaderInt64 = features.int64;
  enabled.features.shaderFloat64 = features.float64;
  enabled.features.shaderInt16 = features.int16;
  VkPhysicalDeviceTimelineSemaphoreFeatures timeline = {};
  timeline.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES;
  timeline.timelineSemaphore = VK_TRUE; // every device of Vulkan 1.2 has them
  enabled.pNext = &storage16;
  if (properties.apiVersion >= VK_API_VERSION_1_2) {
    storage16.pNext = &storage8;
    storage8.pNext = &float16Int8;
    timeline.pNext = enabled.pNext;
    enabled.pNext = &timeline;
  }
  if (properties.apiVersion >= VK_API_VERSION_1_3)
    float16Int8.pNext = &dot8;
  CooperativeMatrixFeatures matrices;
  matrices.cooperativeMatrix = VK_TRUE;
  VkPhysicalDeviceVulkanMemoryModelFeatures memoryModel = {};
  memoryModel.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES;
  memoryModel.vulkanMemoryModel = VK_TRUE;
  memoryModel.pNext = &matrices;
  std::vector<const char *> extensions;
  if (features.matrix16) {
    dot8.pNext = &memoryModel;
    extensions.push_back(kCooperativeMatrixExtension);
  }
  VkDeviceCreateInfo info = {};
  info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
  info.pNext = &enabled;
  info.queueCreateInfoCount = 1;
  info.pQueueCreateInfos = &queueInfo;
  info.enabledExtensionCount = static_cast<uint32_t>(extensions.size());
  info.ppEnabledExtensionNames = extensions.data();
  if (Error error =
          vulkanError(instance.CreateDevice(physical, &info, nullptr, &device), "open the device"))
    return error;
  if (Error error = api.load(instance, device))
    return error;
  return success();
}

VulkanDevice::~VulkanDevice() {
  // The driver itself has to stay, too, where something still runs.
  if (!queue.drain())
    return;
  if (device && api.DestroyDevice && api.DeviceWaitIdle) {
    api.DeviceWaitIdle(device);
    releaseRing();
    if (pipelineCache)
      api.DestroyPipelineCache(device, pipelineCache, nullptr);
    queue.close();
    if (pool)
      api.DestroyCommandPool(device, pool, nullptr);
    api.DestroyDevice(device, nullptr);
  }
  instance.close();
}

CpuDevice &VulkanDevice::processor() {
  if (!cpu)
    cpu = std::make_unique<CpuDevice>(host, options.cpu);
  return *cpu;
}

void VulkanDevice::describe(tacq_device_info_t &info) const {
  fillInfo(info, options.index, properties, features);
}

// ---- command buffers -----------------------------------------------------------------------

Error VulkanDevice::makeCommandBuffer(VkCommandBuffer &commands) {
  VkCommandBufferAllocateInfo info = {};
  info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
  info.commandPool = pool;
  info.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  info.commandBufferCount = 1;
  return vulkanError(api.AllocateCommandBuffers(device, &info, &commands), "make a command buffer");
}

void VulkanDevice::freeCommandBuffer(VkCommandBuffer commands) {
  if (commands && !queue.isHung())
    api.FreeCommandBuffers(device, pool, 1, &commands);
}

Error VulkanDevice::begin(VkCommandBuffer commands) {
  // A run that failed may have left it half recorded.
  if (Error error = vulkanError(api.ResetCommandBuffer(commands, 0), "record commands"))
    return error;
  VkCommandBufferBeginInfo info = {};
  info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
  return vulkanError(api.BeginCommandBuffer(commands, &info), "record commands");
}

Error VulkanDevice::submit(VkCommandBuffer commands) {
  if (Error error = end(commands))
    return error;
  return execute(commands);
}

Error VulkanDevice::end(VkCommandBuffer commands) {
  VkMemoryBarrier barrier = {};
  barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
  barrier.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
  barrier.dstAccessMask = VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT;
  api.CmdPipelineBarrier(commands,
                         VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
                         VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &barrier, 0, nullptr, 0, nullptr);
  return vulkanError(api.EndCommandBuffer(commands), "record commands");
}

Error VulkanDevice::execute(VkCommandBuffer commands) {
  uint64_t number = 0;
  if (Error error = queue.submit(commands, number))
    return error;
  return queue.wait(number);
}

// ---- memory --------------------------------------------------------------------------------

int32_t VulkanDevice::memoryType(uint32_t allowed, VkMemoryPropertyFlags wanted) const {
  for (uint32_t i = 0; i < memory.memoryTypeCount; ++i)
    if ((allowed >> i & 1) && (memory.memoryTypes[i].propertyFlags & wanted) == wanted)
      return static_cast<int32_t>(i);
  return -1;
}

bool VulkanDevice::isUnified() const {
  return properties.deviceType != VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
}

/// The device's own memory; such that the host can write to, if all of it is.
int32_t VulkanDevice::deviceMemoryType(uint32_t allowed) const {
  constexpr VkMemoryPropertyFlags local = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
  int32_t own = memoryType(allowed, local), shared = memoryType(allowed, local | kMapped);
  auto heapSize = [&](int32_t type) {
    return memory.memoryHeaps[memory.memoryTypes[type].heapIndex].size;
  };
  bool all = shared >= 0 && (isUnified() || heapSize(shared) >= heapSize(own));
  return all ? shared : own;
}

Error VulkanDevice::allocate(int64_t size, Use use, VulkanBuffer &buffer) {
  int64_t padded;
  if (size < 0 || __builtin_add_overflow(std::max<int64_t>(size, 1), kAlignment - 1, &padded))
    return makeError(TACQ_OUT_OF_MEMORY, "device 'vulkan' cannot allocate %lld bytes",
                     static_cast<long long>(size));
  padded &= ~(kAlignment - 1);
  VkBufferCreateInfo info = {};
  info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
  info.size = static_cast<VkDeviceSize>(padded);
  info.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
               VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  std::string what = formatText("allocate %lld bytes", static_cast<long long>(padded));
  if (Error error =
          vulkanError(api.CreateBuffer(device, &info, nullptr, &buffer.buffer), what.c_str()))
    return error;
  VkMemoryRequirements needs;
  api.GetBufferMemoryRequirements(device, buffer.buffer, &needs);
  int32_t type = use != Use::Host ? deviceMemoryType(needs.memoryTypeBits) : -1;
  if (use == Use::Host)
    type = memoryType(needs.memoryTypeBits, kMapped | VK_MEMORY_PROPERTY_HOST_CACHED_BIT);
  if (use == Use::Host && type < 0)
    type = memoryType(needs.memoryTypeBits, kMapped);
  VkMemoryPropertyFlags flags = type < 0 ? 0 : memory.memoryTypes[type].propertyFlags;
  if (options.staged && use != Use::Host)
    flags &= ~kMapped;
  VkMemoryAllocateInfo allocation = {};
  allocation.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
  allocation.allocationSize = needs.size;
  allocation.memoryTypeIndex = static_cast<uint32_t>(std::max(type, 0));
  VkResult result = type < 0 ? VK_ERROR_OUT_OF_DEVICE_MEMORY
                             : api.AllocateMemory(device, &allocation, nullptr, &buffer.memory);
  if (result == VK_SUCCESS)
    result = api.BindBufferMemory(device, buffer.buffer, buffer.memory, 0);
  void *address = nullptr;
  if (result == VK_SUCCESS && (flags & kMapped) == kMapped)
    result = api.MapMemory(device, buffer.memory, 0, VK_WHOLE_SIZE, 0, &address);
  if (result != VK_SUCCESS) {
    release(buffer);
    return vulkanError(result, what.c_str());
  }
  buffer.mapped = static_cast<uint8_t *>(address);
  buffer.size = padded;
  buffer.number = ++buffersMade;
  // The memory of a device without its own is the host's.
  buffer.readable = buffer.mapped && (use == Use::Host || isUnified() ||
                                      (flags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT));
  if (use == Use::Constants)
    return success();
  if (buffer.mapped && (buffer.readable || padded <= kLargestHostFill)) {
    memset(buffer.mapped, 0, static_cast<size_t>(padded));
    return success();
  }
  Error error = begin(transfers);
  if (!error) {
    api.CmdFillBuffer(transfers, buffer.buffer, 0, VK_WHOLE_SIZE, 0);
    error = submit(transfers);
  }
  if (error)
    release(buffer);
  return error;
}

void VulkanDevice::release(VulkanBuffer &buffer) {
  if (queue.isHung())
    return;
  if (buffer.mirror)
    release(*buffer.mirror);
  if (buffer.buffer)
    api.DestroyBuffer(device, buffer.buffer, nullptr);
  if (buffer.memory)
    api.FreeMemory(device, buffer.memory, nullptr);
  buffer = VulkanBuffer();
}
