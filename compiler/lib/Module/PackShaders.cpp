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
  tacq_vulkan_header header = {TACQ_VULKAN_EXECUTABLE_MAGIC,
                               TACQ_VULKAN_EXECUTABLE_VERSION,
                               uint32_t(kernelNumbers.size()),
                               ordered ? TACQ_VULKAN_ORDERED : 0,
                               0,
                               0};
  using Role = VulkanShader::Role;
  header.variant_count = uint32_t(
      llvm::count_if(shaders, [](const VulkanShader &each) { return each.role != Role::Kernel; }));
  size_t entries = header.kernel_count + header.variant_count;
  std::vector<char> bytes(sizeof(header) + entries * sizeof(tacq_vulkan_kernel));
  auto setEntry = [&](size_t number, const tacq_vulkan_kernel &entry) {
    memcpy(bytes.data() + sizeof(header) + number * sizeof(entry), &entry, sizeof(entry));
  };
  auto entryOf = [&](StringRef kernel) {
    Block &body = module.lookupSymbol<rt::KernelOp>(kernel).getBody().front();
    tacq_vulkan_kernel entry = {};
    entry.read_count = body.getNumArguments();
    entry.buffer_count = entry.read_count + body.getTerminator()->getNumOperands();
    return entry;
  };
  memcpy(bytes.data(), &header, sizeof(header));
  unsigned buffers = 0;
  // Of each kernel, the numbers of its variant and of what runs before that.
  llvm::StringMap<uint32_t> variants, firsts;
  for (const VulkanShader &shader : shaders)
    if (shader.role != Role::Kernel)
      (shader.role == Role::First ? firsts : variants)
          .try_emplace(shader.name, kernelNumbers.size() + variants.size() + firsts.size());
  auto numberIn = [](const llvm::StringMap<uint32_t> &numbers, StringRef name) {
    auto found = numbers.find(name);
    return found == numbers.end() ? TACQ_VULKAN_NO_SHADER : found->second;
  };
  // What the host does is described, too, as far as it concerns buffers.
  for (const auto &[name, number] : kernelNumbers)
    setEntry(number, entryOf(name));
  for (const VulkanShader &shader : shaders) {
    KernelCode &code = codes[shader.name];
    tacq_vulkan_kernel entry = entryOf(shader.name);
    entry.code_offset = bytes.size();
    entry.code_size = shader.code.size() * sizeof(uint32_t);
    entry.tasks_per_group = shader.tasksPerGroup;
    const Sym &tasks = shader.role == Role::Kernel    ? code.shaderTasks
                       : shader.role == Role::Variant ? code.variantTasks
                                                      : code.firstTasks;
    std::optional<int64_t> count = tasks.constant();
    entry.task_count = count.value_or(0);
    entry.task_symbol = count ? TACQ_VULKAN_NO_SYMBOL : code.symbols.indexOf(tasks);
    entry.variant = entry.first = TACQ_VULKAN_NO_SHADER;
    size_t number = kernelNumbers.lookup(shader.name);
    if (shader.role == Role::Kernel)
      entry.variant = numberIn(variants, shader.name);
    if (shader.role == Role::Variant) {
      number = numberIn(variants, shader.name);
      entry.first = numberIn(firsts, shader.name);
    }
    if (shader.role == Role::First)
      number = numberIn(firsts, shader.name);
    // Linear operations' variants have the workspace behind the outputs.
    bool hasWorkspace = shader.role == Role::First || entry.first != TACQ_VULKAN_NO_SHADER;
    entry.buffer_count += hasWorkspace;
    buffers = std::max(buffers, entry.buffer_count + (ordered ? 3 : 2));
    setEntry(number, entry);
    auto *words = reinterpret_cast<const char *>(shader.code.data());
    bytes.insert(bytes.end(), words, words + entry.code_size);
    features.insert(shader.features.begin(), shader.features.end());
  }
  features.insert("buffers=" + std::to_string(buffers));
  return bytes;
}
