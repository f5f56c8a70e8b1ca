//===- Shaders.h - Pipelines of an executable -------------------*- C++ -*-===//

#ifndef TACQ_DRIVERS_VULKAN_SHADERS_H
#define TACQ_DRIVERS_VULKAN_SHADERS_H

#include "VulkanDevice.h"
#include "tacq/VulkanExecutable.h"

#include <array>
#include <map>
#include <optional>

namespace tacq {

struct Shader {
  tacq_vulkan_kernel info;
  VkPipeline pipeline = VK_NULL_HANDLE;
  VkPipelineLayout layout = VK_NULL_HANDLE;
  VkDescriptorSetLayout setLayout = VK_NULL_HANDLE;
  /// Storage buffers that it binds.
  uint32_t bindings() const { return info.buffer_count + 2; }
};

/// The pipelines of all kernels of an executable.
class Shaders {
public:
  explicit Shaders(VulkanDevice &device) : device(device) {}
  ~Shaders();

  /// `what` names the module and the executable in messages.
  Error load(const uint8_t *code, uint64_t size, size_t kernels, const std::string &what);
  /// A kernel, or a variant of one.
  const Shader &operator[](uint32_t number) const { return shaders[number]; }
  struct Step {
    uint32_t number = TACQ_VULKAN_NO_SHADER;
    int64_t tasks = 0;
  };
  /// What runs for a dispatch with these symbols, one after the other; there may be no second one.
  /// nullopt if there are too few symbols.
  using Steps = std::array<Step, 2>;
  std::optional<Steps> choose(uint32_t kernel, const int64_t *symbols, uint32_t count) const;

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
