//===- VulkanDriver.cpp - The table of the vulkan driver ------------------===//

#include "Drivers.h"
#include "Status.h"
#include "VulkanDevice.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace tacq;

namespace {

tacq_status_t *listDevices(const tacq_driver_t *, tacq_device_info_t *infos, size_t capacity,
                           size_t *count) {
  std::vector<tacq_device_info_t> found;
  if (Error error = VulkanDevice::list(found))
    return toStatus(error);
  *count = found.size();
  for (size_t i = 0; i < std::min(capacity, found.size()); ++i) {
    memcpy(infos[i].name, found[i].name, sizeof(infos[i].name));
    memcpy(infos[i].description, found[i].description, sizeof(infos[i].description));
  }
  return nullptr;
}

/// After that a device is taken for hung, in seconds, at most.
constexpr unsigned long kLongestTimeout = 1000000;

Error parseOptions(const std::string &options, VulkanOptions &result) {
  std::string threads;
  size_t at = 0;
  while (at < options.size()) {
    size_t end = std::min(options.find(',', at), options.size());
    std::string option = options.substr(at, end - at);
    at = end + 1;
    char *rest;
    errno = 0;
    bool isTimeout = option.compare(0, 8, "timeout=") == 0;
    const char *digits = option.c_str() + (isTimeout ? 8 : 0);
    unsigned long value = strtoul(digits, &rest, 10);
    bool isNumber = *digits >= '0' && *digits <= '9' && !*rest && !errno;
    if (option == "validate")
      result.validate = true;
    else if (option == "staged")
      result.staged = true;
    else if (option.compare(0, 8, "threads=") == 0)
      threads = option;
    else if (isTimeout && isNumber && value > 0 && value <= kLongestTimeout)
      result.timeout = value;
    else if (!isTimeout && isNumber && value <= 1000)
      result.index = static_cast<uint32_t>(value);
    else
      return makeError(
          TACQ_INVALID_ARGUMENT,
          "device 'vulkan' has no option '%s'; known are the device's number, validate, "
          "staged, timeout=SECONDS and threads=N",
          option.c_str());
  }
  return CpuOptions::parse(threads, result.cpu);
}

tacq_status_t *openDevice(const tacq_driver_t *, const tacq_host_t *host, const char *options,
                          tacq_driver_device_t **device) {
  VulkanOptions parsed;
  if (Error error = parseOptions(options, parsed))
    return toStatus(error);
  std::unique_ptr<VulkanDevice> opened;
  if (Error error = VulkanDevice::open(*host, parsed, opened))
    return toStatus(error);
  *device = reinterpret_cast<tacq_driver_device_t *>(opened.release());
  return nullptr;
}

void closeDevice(tacq_driver_device_t *device) { delete VulkanDevice::of(device); }

tacq_status_t *describeDevice(tacq_driver_device_t *device, tacq_device_info_t *info) {
  VulkanDevice::of(device)->describe(*info);
  return nullptr;
}

int32_t supports(tacq_driver_device_t *handle, const tacq_executable_desc_t *executable,
                 char *reason, size_t reasonSize) {
  if (strcmp(executable->format, "spirv") != 0) {
    snprintf(reason, reasonSize, "is of format %s", executable->format);
    return 0;
  }
  std::string missing;
  for (size_t i = 0; i < executable->feature_count; ++i)
    if (!VulkanDevice::of(handle)->features.has(executable->features[i]))
      missing += (missing.empty() ? "needs " : ", ") + std::string(executable->features[i]);
  snprintf(reason, reasonSize, "%s", missing.c_str());
  return missing.empty();
}

// ---- memory --------------------------------------------------------------------------------

tacq_status_t *createBuffer(tacq_driver_device_t *device, int64_t size,
                            tacq_driver_buffer_t **buffer) {
  auto result = std::make_unique<VulkanBuffer>();
  if (Error error = VulkanDevice::of(device)->allocate(size, VulkanDevice::Use::Device, *result))
    return toStatus(error);
  *buffer = reinterpret_cast<tacq_driver_buffer_t *>(result.release());
  return nullptr;
}

void destroyBuffer(tacq_driver_device_t *device, tacq_driver_buffer_t *buffer) {
  VulkanDevice::of(device)->release(*VulkanBuffer::of(buffer));
  delete VulkanBuffer::of(buffer);
}

void *hostPointer(tacq_driver_device_t *, tacq_driver_buffer_t *buffer) {
  VulkanBuffer &own = *VulkanBuffer::of(buffer);
  return own.readable ? own.mapped : nullptr;
}

tacq_status_t *writeBuffer(tacq_driver_device_t *device, tacq_driver_buffer_t *dst,
                           tacq_region_t to, const void *src, tacq_region_t from, int64_t rowBytes,
                           int64_t rows) {
  const auto *bytes = static_cast<const uint8_t *>(src);
  for (int64_t i = 0; rowBytes > 0 && i < rows; ++i)
    if (Error error =
            VulkanDevice::of(device)->write(*VulkanBuffer::of(dst), to.offset + i * to.pitch,
                                            bytes + from.offset + i * from.pitch, rowBytes))
      return toStatus(error);
  return nullptr;
}

tacq_status_t *readBuffer(tacq_driver_device_t *device, void *dst, tacq_region_t to,
                          tacq_driver_buffer_t *src, tacq_region_t from, int64_t rowBytes,
                          int64_t rows) {
  auto *bytes = static_cast<uint8_t *>(dst);
  for (int64_t i = 0; rowBytes > 0 && i < rows; ++i)
    if (Error error =
            VulkanDevice::of(device)->read(bytes + to.offset + i * to.pitch, *VulkanBuffer::of(src),
                                           from.offset + i * from.pitch, rowBytes))
      return toStatus(error);
  return nullptr;
}

tacq_status_t *copyBuffer(tacq_driver_device_t *device, tacq_driver_buffer_t *dst, tacq_region_t to,
                          tacq_driver_buffer_t *src, tacq_region_t from, int64_t rowBytes,
                          int64_t rows) {
  for (int64_t i = 0; rowBytes > 0 && i < rows; ++i)
    if (Error error = VulkanDevice::of(device)->copy(
            *VulkanBuffer::of(dst), to.offset + i * to.pitch, *VulkanBuffer::of(src),
            from.offset + i * from.pitch, rowBytes))
      return toStatus(error);
  return nullptr;
}

} // namespace

const tacq_driver_t *tacq::vulkanDriver() {
  static const tacq_driver_t driver = {
      sizeof(tacq_driver_t),
      TACQ_DRIVER_VERSION,
      "vulkan",
      /*user=*/nullptr,
      listDevices,
      openDevice,
      closeDevice,
      describeDevice,
      supports,
      /*needs_no_executable=*/0,
      createBuffer,
      /*wrap_host=*/nullptr,
      destroyBuffer,
      hostPointer,
      writeBuffer,
      readBuffer,
      copyBuffer,
      createVulkanProgram,
      destroyVulkanProgram,
      runVulkanProgram,
      startVulkanProgram,
      finishVulkanProgram,
  };
  return &driver;
}
