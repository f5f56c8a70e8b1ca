//===- PackShaders.cpp - The executable of a profile's shaders ------------===//

#include "ModuleEmitter.h"
#include "tacq/Dialect/Schedule/ScheduleDialect.h"
#include "tacq/VulkanExecutable.h"

using namespace mlir;
using namespace tacq;

std::vector<char> tacq::packShaders(ModuleOp module, ArrayRef<VulkanShader> shaders,
                                    const llvm::StringMap<uint32_t> &kernelNumbers, bool ordered,
                                    llvm::StringMap<KernelCode> &codes,
                                    std::set<std::string> &features) {
  using Role = VulkanShader::Role;
  tacq_vulkan_header header = {TACQ_VULKAN_EXECUTABLE_MAGIC,
                               TACQ_VULKAN_EXECUTABLE_VERSION,
                               uint32_t(kernelNumbers.size()),
                               ordered ? TACQ_VULKAN_ORDERED : 0,
                               0,
                               0};
  using Role = VulkanShader::Role;
  header.variant_count = uint32_t(
      llvm::count_if(shaders, [](const VulkanShader &each) { return each.role != Role::Kernel; }));
  std::vector<tacq_vulkan_kernel> entries(header.kernel_count + header.variant_count);
  std::vector<char> bytes(sizeof(header) + entries.size() * sizeof(entries[0]));
  auto entryOf = [&](StringRef kernel) {
    Block &body = module.lookupSymbol<rt::KernelOp>(kernel).getBody().front();
    tacq_vulkan_kernel entry = {};
    entry.read_count = body.getNumArguments();
    entry.buffer_count = entry.read_count + body.getTerminator()->getNumOperands();
    entry.variant = entry.first = TACQ_VULKAN_NO_SHADER;
    return entry;
  };
  // What the host does is described, too, as far as it concerns buffers.
  for (const auto &[name, number] : kernelNumbers)
    entries[number] = entryOf(name);
  unsigned buffers = 0;
  // Variants follow their kernel, and what runs before a variant follows that. `last` is the kernel
  // or the variant that the next variant follows.
  uint32_t next = header.kernel_count, last = 0;
  size_t variant = 0;
  for (const VulkanShader &shader : shaders) {
    KernelCode &code = codes[shader.name];
    bool isKernel = shader.role == Role::Kernel, isFirst = shader.role == Role::First;
    uint32_t number = isKernel ? kernelNumbers.lookup(shader.name) : next++;
    tacq_vulkan_kernel &entry = entries[number];
    if (!isKernel)
      entry = entryOf(shader.name);
    entry.code_offset = bytes.size();
    entry.code_size = shader.code.size() * sizeof(uint32_t);
    entry.tasks_per_group = shader.tasksPerGroup;
    Sym tasks = code.shaderTasks;
    if (isKernel) {
      variant = 0;
      last = number;
    } else if (isFirst) {
      // Both have the workspace behind the outputs.
      entries[last].first = number;
      ++entries[last].buffer_count;
      ++entry.buffer_count;
      tasks = code.variants[variant - 1].first;
    } else {
      entries[last].variant = number;
      last = number;
      tasks = code.variants[variant++].own;
    }
    std::optional<int64_t> count = tasks.constant();
    entry.task_count = count.value_or(0);
    entry.task_symbol = count ? TACQ_VULKAN_NO_SYMBOL : code.symbols.indexOf(tasks);
    auto *words = reinterpret_cast<const char *>(shader.code.data());
    bytes.insert(bytes.end(), words, words + entry.code_size);
    addVulkanFeatures(features, shader.features);
  }
  for (const tacq_vulkan_kernel &entry : entries)
    if (entry.code_size)
      buffers = std::max(buffers, entry.buffer_count + (ordered ? 3 : 2));
  features.insert("buffers=" + std::to_string(buffers));
  memcpy(bytes.data(), &header, sizeof(header));
  memcpy(bytes.data() + sizeof(header), entries.data(), entries.size() * sizeof(entries[0]));
  return bytes;
}
