//===- Runtime.cpp - C API: runtimes and devices --------------------------===//

#include "Drivers.h"
#include "Objects.h"
#include "Status.h"

#include <cctype>
#include <cstdlib>

using namespace tacq;

uint32_t tacq_api_version(void) { return TACQ_API_VERSION; }

const char *tacq_version_string(void) { return TACQ_VERSION_STRING; }

static void *defaultAllocate(void *, size_t size, size_t alignment) {
  void *memory = nullptr;
  return posix_memalign(&memory, std::max(alignment, sizeof(void *)), size) == 0 ? memory : nullptr;
}

static void defaultRelease(void *, void *memory, size_t, size_t) { free(memory); }

static Error checkDriver(const tacq_driver_t *driver) {
  if (!driver || driver->struct_size < sizeof(tacq_driver_t) ||
      driver->version != TACQ_DRIVER_VERSION)
    return makeError(TACQ_INVALID_ARGUMENT, "the driver table is not of version %d",
                     TACQ_DRIVER_VERSION);
  std::string name = driver->name ? driver->name : "";
  bool valid = !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return isalnum(c) || c == '-' || c == '_';
  });
  if (!valid)
    return makeError(TACQ_INVALID_ARGUMENT, "'%s' is no name for a driver", name.c_str());
  if (!driver->list_devices || !driver->open_device || !driver->close_device ||
      !driver->describe_device || !driver->supports || !driver->create_buffer ||
      !driver->destroy_buffer || !driver->write || !driver->read || !driver->copy ||
      !driver->create_program || !driver->destroy_program || !driver->run)
    return makeError(TACQ_INVALID_ARGUMENT, "the table of driver '%s' is not complete",
                     name.c_str());
  return success();
}

tacq_status_t *tacq_runtime_create(const tacq_runtime_options_t *options,
                                   tacq_runtime_t **runtime) {
  if (!runtime)
    return tacq_status_create(TACQ_INVALID_ARGUMENT, "tacq_runtime_create needs an address");
  *runtime = nullptr;
  tacq_runtime_options_t chosen = {};
  if (Error error = readOptions(options, chosen))
    return toStatus(error);
  if (!chosen.allocator.allocate != !chosen.allocator.release)
    return tacq_status_create(TACQ_INVALID_ARGUMENT,
                              "an allocator needs both functions, allocate and release");
  auto result = std::make_unique<tacq_runtime>();
  result->host.struct_size = sizeof(tacq_host_t);
  result->host.allocator = chosen.allocator.allocate
                               ? chosen.allocator
                               : tacq_allocator_t{nullptr, defaultAllocate, defaultRelease};
  result->host.log = chosen.log;
  result->host.log_user = chosen.log_user;
  result->drivers = {cpuDriver(), nullDriver()};
#if TACQ_HAVE_VULKAN
  result->drivers.push_back(vulkanDriver());
#endif
  *runtime = result.release();
  return nullptr;
}

void tacq_runtime_release(tacq_runtime_t *runtime) {
  if (runtime)
    runtime->release();
}

const tacq_driver_t *tacq_runtime::findDriver(const std::string &name) {
  std::lock_guard<std::mutex> lock(mutex);
  for (const tacq_driver_t *driver : drivers)
    if (name == driver->name)
      return driver;
  return nullptr;
}

tacq_status_t *tacq_runtime_register_driver(tacq_runtime_t *runtime, const tacq_driver_t *driver) {
  if (!runtime)
    return tacq_status_create(TACQ_INVALID_ARGUMENT, "the runtime is NULL");
  if (Error error = checkDriver(driver))
    return toStatus(error);
  if (runtime->findDriver(driver->name))
    return toStatus(
        makeError(TACQ_INVALID_ARGUMENT, "a driver '%s' is registered already", driver->name));
  std::lock_guard<std::mutex> lock(runtime->mutex);
  runtime->drivers.push_back(driver);
  return nullptr;
}

tacq_status_t *tacq_runtime_list_devices(tacq_runtime_t *runtime, tacq_device_info_t *infos,
                                         size_t capacity, size_t *count) {
  if (!runtime || !count || (capacity > 0 && !infos))
    return tacq_status_create(TACQ_INVALID_ARGUMENT,
                              "tacq_runtime_list_devices needs a runtime, infos and a count");
  if (capacity > 0 && infos[0].struct_size != sizeof(tacq_device_info_t))
    return tacq_status_create(TACQ_INVALID_ARGUMENT, "struct_size of infos[0] is not set");
  std::vector<const tacq_driver_t *> drivers;
  {
    std::lock_guard<std::mutex> lock(runtime->mutex);
    drivers = runtime->drivers;
  }
  size_t total = 0;
  for (const tacq_driver_t *driver : drivers) {
    size_t found = 0;
    size_t used = std::min(total, capacity);
    if (tacq_status_t *status =
            driver->list_devices(driver, infos + used, capacity - used, &found)) {
      // The devices of others are there all the same.
      runtime->log(TACQ_LOG_WARNING, tacq_status_message(status));
      tacq_status_free(status);
      continue;
    }
    for (size_t i = used; i < std::min(used + found, capacity); ++i)
      infos[i].struct_size = sizeof(tacq_device_info_t);
    total += found;
  }
  *count = total;
  return nullptr;
}

tacq_status_t *tacq_device_open(tacq_runtime_t *runtime, const char *name, tacq_device_t **device) {
  if (!runtime || !name || !device)
    return tacq_status_create(TACQ_INVALID_ARGUMENT,
                              "tacq_device_open needs a runtime, a name and an address");
  *device = nullptr;
  std::string text = name;
  size_t colon = text.find(':');
  std::string driverName = text.substr(0, colon);
  const tacq_driver_t *driver = runtime->findDriver(driverName);
  if (!driver) {
    std::string known;
    std::lock_guard<std::mutex> lock(runtime->mutex);
    for (const tacq_driver_t *each : runtime->drivers)
      known += (known.empty() ? "" : ", ") + std::string(each->name);
    return toStatus(makeError(TACQ_INVALID_ARGUMENT,
                              "there is no device '%s'; this runtime has the drivers %s", name,
                              known.c_str()));
  }
  tacq_driver_device_t *handle = nullptr;
  if (tacq_status_t *status = driver->open_device(
          driver, &runtime->host, colon == std::string::npos ? "" : name + colon + 1, &handle))
    return status;
  auto *result = new tacq_device;
  result->runtime = runtime->retain();
  result->driver = driver;
  result->handle = handle;
  *device = result;
  return nullptr;
}

tacq_device::~tacq_device() {
  driver->close_device(handle);
  runtime->release();
}

void tacq_device_release(tacq_device_t *device) {
  if (device)
    device->release();
}

tacq_status_t *tacq_device_get_info(const tacq_device_t *device, tacq_device_info_t *info) {
  if (!device)
    return tacq_status_create(TACQ_INVALID_ARGUMENT, "the device is NULL");
  tacq_device_info_t result = {};
  if (tacq_status_t *status = device->driver->describe_device(device->handle, &result))
    return status;
  return toStatus(writeInfo(result, info));
}
