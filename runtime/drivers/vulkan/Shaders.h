//===- Shaders.h - Pipelines of an executable -------------------*- C++ -*-===//

#ifndef TACQ_DRIVERS_VULKAN_SHADERS_H
#define TACQ_DRIVERS_VULKAN_SHADERS_H

#include "VulkanDevice.h"
#include "tacq/VulkanExecutable.h"

#include <map>

namespace tacq {

struct Shader {
  tacq_vulkan_kernel info;
  VkPipeline pipeline = VK_NULL_HANDLE;
  VkPipelineLayout layout = VK_NULL_HANDLE;
  VkDescriptorSetLayout setLayout = VK_NULL_HANDLE;
  /// Whether dispatches are ordered by flags.
  bool ordered = false;
  /// Storage buffers that it binds.
  uint32_t bindings() const { return info.buffer_count + (ordered ? 3 : 2); }
};

/// The pipelines of all kernels of an executable.
class Shaders {
public:
  explicit Shaders(VulkanDevice &device) : device(device) {}
  ~Shaders();

  /// `what` names the module and the executable in messages.
  Error load(const uint8_t *code, uint64_t size, size_t kernels, const std::string &what);
  /// Whether their dispatches need no barriers.
  bool areOrdered() const { return !shaders.empty() && shaders[0].ordered; }
  const Shader &operator[](uint32_t kernel) const { return shaders[kernel]; }

private:
  struct Layouts {
    VkDescriptorSetLayout set = VK_NULL_HANDLE;
    VkPipelineLayout pipeline = VK_NULL_HANDLE;
  };
  Error layoutsFor(uint32_t bindings, Layouts &layouts);
  Error makePipeline(Shader &shader, const uint8_t *code);

  VulkanDevice &device;
  std::vector<Shader> shaders;
  std::map<uint32_t, Layouts> layouts; // by the number of bindings
};

} // namespace tacq

#endif // TACQ_DRIVERS_VULKAN_SHADERS_H
