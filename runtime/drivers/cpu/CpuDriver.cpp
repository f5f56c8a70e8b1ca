//===- CpuDriver.cpp - Devices of the cpu driver --------------------------===//
//
// Device, memory and the driver table. Programs are in CpuProgram.cpp.
//
//===----------------------------------------------------------------------===//

#include "CpuDevice.h"
#include "Drivers.h"
#include "Status.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace tacq;

namespace {

std::string describe(const CpuFeatures &features, int32_t cores) {
  return formatText("%s, %d cores; %s", features.model.c_str(), cores, features.text().c_str());
}

void fillInfo(tacq_device_info_t &info, const std::string &name, const std::string &description) {
  snprintf(info.name, sizeof(info.name), "%s", name.c_str());
  snprintf(info.description, sizeof(info.description), "%s", description.c_str());
}

tacq_status_t *listDevices(const tacq_driver_t *, tacq_device_info_t *infos, size_t capacity,
                           size_t *count) {
  *count = 1;
  if (capacity > 0)
    fillInfo(infos[0], "cpu", describe(CpuFeatures::detect(), ThreadPool::availableCores()));
  return nullptr;
}

tacq_status_t *openDevice(const tacq_driver_t *, const tacq_host_t *host, const char *options,
                          tacq_driver_device_t **device) {
  CpuOptions parsed;
  if (Error error = CpuOptions::parse(options, parsed))
    return toStatus(error);
  *device = reinterpret_cast<tacq_driver_device_t *>(new CpuDevice(*host, parsed));
  return nullptr;
}

void closeDevice(tacq_driver_device_t *device) { delete CpuDevice::of(device); }

tacq_status_t *describeDevice(tacq_driver_device_t *handle, tacq_device_info_t *info) {
  CpuDevice *device = CpuDevice::of(handle);
  fillInfo(*info, formatText("cpu:threads=%d", device->pool.size()),
           describe(device->features, ThreadPool::availableCores()));
  return nullptr;
}

int32_t supports(tacq_driver_device_t *handle, const tacq_executable_desc_t *executable,
                 char *reason, size_t reasonSize) {
  std::vector<std::string> needed(executable->features,
                                  executable->features + executable->feature_count);
  std::string missing;
  bool supported = CpuDevice::of(handle)->supports(executable->format, needed, missing);
  snprintf(reason, reasonSize, "%s", missing.c_str());
  return supported;
}

// ---- memory --------------------------------------------------------------------------------

tacq_status_t *createBuffer(tacq_driver_device_t *device, int64_t size,
                            tacq_driver_buffer_t **buffer) {
  CpuBuffer result;
  if (Error error = CpuDevice::of(device)->allocate(size, true, result))
    return toStatus(error);
  *buffer = reinterpret_cast<tacq_driver_buffer_t *>(new CpuBuffer(result));
  return nullptr;
}

tacq_status_t *wrapHost(tacq_driver_device_t *, const void *memory, int64_t size,
                        tacq_driver_buffer_t **buffer) {
  auto *bytes = const_cast<uint8_t *>(static_cast<const uint8_t *>(memory));
  *buffer = reinterpret_cast<tacq_driver_buffer_t *>(new CpuBuffer{bytes, size, false});
  return nullptr;
}

void destroyBuffer(tacq_driver_device_t *device, tacq_driver_buffer_t *buffer) {
  CpuDevice::of(device)->release(*CpuBuffer::of(buffer));
  delete CpuBuffer::of(buffer);
}

void *hostPointer(tacq_driver_device_t *, tacq_driver_buffer_t *buffer) {
  return CpuBuffer::of(buffer)->memory;
}

void copyRows(uint8_t *dst, tacq_region_t to, const uint8_t *src, tacq_region_t from,
              int64_t rowBytes, int64_t rows) {
  if (rowBytes > 0)
    for (int64_t i = 0; i < rows; ++i)
      memcpy(dst + to.offset + i * to.pitch, src + from.offset + i * from.pitch,
             static_cast<size_t>(rowBytes));
}

tacq_status_t *writeBuffer(tacq_driver_device_t *, tacq_driver_buffer_t *dst, tacq_region_t to,
                           const void *src, tacq_region_t from, int64_t rowBytes, int64_t rows) {
  copyRows(CpuBuffer::of(dst)->memory, to, static_cast<const uint8_t *>(src), from, rowBytes, rows);
  return nullptr;
}

tacq_status_t *readBuffer(tacq_driver_device_t *, void *dst, tacq_region_t to,
                          tacq_driver_buffer_t *src, tacq_region_t from, int64_t rowBytes,
                          int64_t rows) {
  copyRows(static_cast<uint8_t *>(dst), to, CpuBuffer::of(src)->memory, from, rowBytes, rows);
  return nullptr;
}

tacq_status_t *copyBuffer(tacq_driver_device_t *, tacq_driver_buffer_t *dst, tacq_region_t to,
                          tacq_driver_buffer_t *src, tacq_region_t from, int64_t rowBytes,
                          int64_t rows) {
  copyRows(CpuBuffer::of(dst)->memory, to, CpuBuffer::of(src)->memory, from, rowBytes, rows);
  return nullptr;
}

} // namespace

CpuDevice::CpuDevice(const tacq_host_t &host, const CpuOptions &options)
    : host(host), features(CpuFeatures::detect()), pool(options.threads, options.cores) {}

Error CpuDevice::allocate(int64_t size, bool zero, CpuBuffer &buffer) {
  size_t bytes = size > 0 ? static_cast<size_t>(size) : 1;
  auto *memory =
      static_cast<uint8_t *>(host.allocator.allocate(host.allocator.user, bytes, kAlignment));
  if (!memory)
    return makeError(TACQ_OUT_OF_MEMORY, "device 'cpu' cannot allocate %zu bytes", bytes);
  if (zero)
    memset(memory, 0, bytes);
  buffer = {memory, static_cast<int64_t>(bytes), true};
  return success();
}

bool CpuDevice::supports(const std::string &format, const std::vector<std::string> &needed,
                         std::string &reason) const {
  if (features.format != format) {
    reason = "is of format " + format;
    return false;
  }
  bool amx = false;
  for (const std::string &feature : needed) {
    amx |= feature == "amx-tile";
    if (!features.has(feature))
      reason += (reason.empty() ? "needs " : ", ") + feature;
  }
  // The permission covers the whole process, so it is asked for only when it is used.
  if (reason.empty() && amx && !enableAmx())
    reason = "needs amx-tile, which the system does not permit";
  return reason.empty();
}

void CpuDevice::release(CpuBuffer &buffer) {
  if (buffer.memory && buffer.owned)
    host.allocator.release(host.allocator.user, buffer.memory, static_cast<size_t>(buffer.size),
                           kAlignment);
  buffer = CpuBuffer();
}

const tacq_driver_t *tacq::cpuDriver() {
  static const tacq_driver_t driver = {
      sizeof(tacq_driver_t),
      TACQ_DRIVER_VERSION,
      "cpu",
      /*user=*/nullptr,
      listDevices,
      openDevice,
      closeDevice,
      describeDevice,
      supports,
      /*needs_no_executable=*/0,
      createBuffer,
      wrapHost,
      destroyBuffer,
      hostPointer,
      writeBuffer,
      readBuffer,
      copyBuffer,
      createCpuProgram,
      destroyCpuProgram,
      runCpuProgram,
      /*start=*/nullptr,
      /*finish=*/nullptr,
  };
  return &driver;
}
