//===- VulkanApi.cpp - Opens the Vulkan loader ----------------------------===//

#include "VulkanApi.h"

#include <cstring>
#include <dlfcn.h>

using namespace tacq;

static const char *resultText(VkResult result) {
  switch (result) {
  case VK_ERROR_OUT_OF_HOST_MEMORY:
    return "out of host memory";
  case VK_ERROR_OUT_OF_DEVICE_MEMORY:
    return "out of device memory";
  case VK_ERROR_INITIALIZATION_FAILED:
    return "the initialization failed";
  case VK_ERROR_DEVICE_LOST:
    return "the device is lost";
  case VK_ERROR_LAYER_NOT_PRESENT:
    return "a layer is not installed";
  case VK_ERROR_EXTENSION_NOT_PRESENT:
    return "an extension is not there";
  case VK_ERROR_FEATURE_NOT_PRESENT:
    return "the device does not have a feature";
  case VK_ERROR_INCOMPATIBLE_DRIVER:
    return "there is no Vulkan device driver";
  case VK_ERROR_TOO_MANY_OBJECTS:
    return "there are too many objects";
  case VK_ERROR_OUT_OF_POOL_MEMORY:
    return "out of pool memory";
  case VK_TIMEOUT:
    return "the device did not finish in time";
  default:
    return nullptr;
  }
}

Error tacq::vulkanError(VkResult result, const char *what) {
  if (result == VK_SUCCESS)
    return success();
  tacq_code_t code = TACQ_DEVICE_FAILURE;
  if (result == VK_ERROR_OUT_OF_HOST_MEMORY || result == VK_ERROR_OUT_OF_DEVICE_MEMORY)
    code = TACQ_OUT_OF_MEMORY;
  else if (result == VK_ERROR_INCOMPATIBLE_DRIVER || result == VK_ERROR_LAYER_NOT_PRESENT)
    code = TACQ_UNSUPPORTED;
  if (const char *text = resultText(result))
    return makeError(code, "device 'vulkan' cannot %s: %s", what, text);
  return makeError(code, "device 'vulkan' cannot %s: error %d", what, static_cast<int>(result));
}

Error VulkanInstanceApi::open(bool validate) {
  library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return makeError(TACQ_UNSUPPORTED, "device 'vulkan' is not there: the Vulkan loader "
                                       "libvulkan.so.1 cannot be opened");
  GetInstanceProcAddr =
      replacement
          ? replacement
          : reinterpret_cast<PFN_vkGetInstanceProcAddr>(dlsym(library, "vkGetInstanceProcAddr"));
  auto create =
      GetInstanceProcAddr
          ? reinterpret_cast<PFN_vkCreateInstance>(GetInstanceProcAddr(nullptr, "vkCreateInstance"))
          : nullptr;
  if (!create) {
    close();
    return makeError(TACQ_UNSUPPORTED, "libvulkan.so.1 is no Vulkan loader");
  }
  VkApplicationInfo application = {};
  application.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO;
  application.pApplicationName = "tacq";
  application.apiVersion = VK_API_VERSION_1_3;
  static const char *const layer = "VK_LAYER_KHRONOS_validation";
  VkInstanceCreateInfo info = {};
  info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
  info.pApplicationInfo = &application;
  info.enabledLayerCount = validate ? 1 : 0;
  info.ppEnabledLayerNames = &layer;
  VkResult result = create(&info, nullptr, &instance);
  if (result != VK_SUCCESS) {
    instance = VK_NULL_HANDLE;
    close();
    return vulkanError(result, validate ? "make an instance with the validation layer"
                                        : "make an instance");
  }
  bool complete = true;
#define X(name)                                                                                    \
  name = reinterpret_cast<PFN_vk##name>(GetInstanceProcAddr(instance, "vk" #name));                \
  complete = complete && (name);
  TACQ_VULKAN_INSTANCE_FUNCTIONS(X)
#undef X
  if (complete)
    return success();
  close();
  return makeError(TACQ_UNSUPPORTED, "device 'vulkan' needs a loader for Vulkan 1.1");
}

void VulkanInstanceApi::close() {
  if (instance && DestroyInstance)
    DestroyInstance(instance, nullptr);
  // The library stays: drivers that it has loaded may have threads.
  instance = VK_NULL_HANDLE;
}

Error VulkanDeviceApi::load(const VulkanInstanceApi &api, VkDevice device) {
#define X(name)                                                                                    \
  name = reinterpret_cast<PFN_vk##name>(api.GetDeviceProcAddr(device, "vk" #name));                \
  if (!(name))                                                                                     \
    return makeError(TACQ_UNSUPPORTED, "the Vulkan device has no function vk" #name);
  TACQ_VULKAN_DEVICE_FUNCTIONS(X)
#undef X
#define X(name) name = reinterpret_cast<PFN_vk##name>(api.GetDeviceProcAddr(device, "vk" #name));
  TACQ_VULKAN_TIMELINE_FUNCTIONS(X)
#undef X
  return success();
}
