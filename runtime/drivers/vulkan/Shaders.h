//===- Shaders.h - Pipelines of an executable -------------------*- C++ -*-===//

#ifndef TACQ_DRIVERS_VULKAN_SHADERS_H
#define TACQ_DRIVERS_VULKAN_SHADERS_H

#include "VulkanDevice.h"
#include "Workers.h"
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
  /// Whether dispatches are ordered by flags.
  bool ordered = false;
  /// The executable does not have it.
  bool isAbsent() const { return info.code_size == 0; }
  /// Storage buffers that it binds.
  uint32_t bindings() const { return info.buffer_count + (ordered ? 3 : 2); }
};

/// The pipelines of all kernels of an executable.
class Shaders {
public:
  explicit Shaders(VulkanDevice &device) : device(device) {}
  ~Shaders();

  /// Checks the executable, and begins to make its pipelines on other threads; `absent` are the
  /// kernels that it should not have, `what` names the module and the executable in messages. The
  /// code stays where it is.
  Error load(const uint8_t *code, uint64_t size, size_t kernels,
             const std::vector<uint32_t> &absent, const std::string &what);
  /// Whether their dispatches need no barriers, but for those of variants.
  bool areOrdered() const { return !shaders.empty() && shaders[0].ordered; }
  /// Nothing else is to be used before.
  Error finish();
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
  Error makePipeline(Shader &shader, const uint8_t *code) const;

  VulkanDevice &device;
  std::vector<Shader> shaders;
  std::map<uint32_t, Layouts> layouts; // by the number of bindings
  std::string name;
  std::vector<Error> errors; // of each shader
  std::unique_ptr<Workers> workers;
};

} // namespace tacq

#endif // TACQ_DRIVERS_VULKAN_SHADERS_H
