//===- Shaders.cpp - Pipelines of an executable ---------------------------===//

#include "Shaders.h"

#include <algorithm>
#include <cstring>

using namespace tacq;

Shaders::~Shaders() {
  workers.reset();
  if (device.queue.isHung())
    return;
  for (Shader &shader : shaders)
    if (shader.pipeline)
      device.api.DestroyPipeline(device.device, shader.pipeline, nullptr);
  for (auto &[bindings, made] : layouts) {
    if (made.pipeline)
      device.api.DestroyPipelineLayout(device.device, made.pipeline, nullptr);
    if (made.set)
      device.api.DestroyDescriptorSetLayout(device.device, made.set, nullptr);
  }
}

Error Shaders::load(const uint8_t *code, uint64_t size, size_t kernels,
                    const std::vector<uint32_t> &absent, const std::string &what) {
  auto broken = [&](const char *why) {
    return makeError(TACQ_INVALID_MODULE, "%s: %s", what.c_str(), why);
  };
  tacq_vulkan_header header;
  if (size < sizeof(header))
    return broken("the shaders are truncated");
  memcpy(&header, code, sizeof(header));
  if (header.magic != TACQ_VULKAN_EXECUTABLE_MAGIC ||
      header.version != TACQ_VULKAN_EXECUTABLE_VERSION)
    return broken("the shaders are of another version");
  uint64_t entries = uint64_t(header.kernel_count) + header.variant_count;
  uint64_t tableEnd = sizeof(header) + entries * sizeof(tacq_vulkan_kernel);
  if (header.kernel_count != kernels || tableEnd > size)
    return broken("the table of shaders does not fit the module");
  shaders.resize(entries);
  // Behind its kernel, or the variant before, so that there is an end.
  auto isVariant = [&](uint32_t number, size_t of) {
    return number == TACQ_VULKAN_NO_SHADER ||
           (number >= kernels && number > of && number < entries);
  };
  for (size_t i = 0; i < entries; ++i) {
    Shader &shader = shaders[i];
    shader.ordered = (header.flags & TACQ_VULKAN_ORDERED) && i < kernels;
    memcpy(&shader.info, code + sizeof(header) + i * sizeof(shader.info), sizeof(shader.info));
    const tacq_vulkan_kernel &info = shader.info;
    if (std::binary_search(absent.begin(), absent.end(), static_cast<uint32_t>(i))) {
      if (!shader.isAbsent() || info.read_count > info.buffer_count)
        return broken("it has a shader that the module says it does not have");
      continue;
    }
    if (info.code_offset % 4 != 0 || info.code_size % 4 != 0 || info.code_size < 20 ||
        info.code_offset < tableEnd || info.code_offset > size ||
        info.code_size > size - info.code_offset || info.read_count > info.buffer_count ||
        info.tasks_per_group == 0 || !isVariant(info.variant, i) || !isVariant(info.first, i) ||
        shader.bindings() > device.features.storageBuffers)
      return broken("a shader lies outside of the executable, or binds too many buffers");
    Layouts own;
    if (Error error = layoutsFor(shader.bindings(), own))
      return error;
    shader.setLayout = own.set;
    shader.layout = own.pipeline;
  }
  name = what;
  errors.resize(entries);
  workers = std::make_unique<Workers>(entries, [this, code](size_t i) {
    if (!shaders[i].isAbsent())
      errors[i] = makePipeline(shaders[i], code);
  });
  return success();
}

Error Shaders::finish() {
  if (!workers)
    return success();
  workers.reset();
  for (Error &error : errors)
    if (error)
      return Error(error.code(), name + ": " + error.message());
  device.savePipelineCache();
  return success();
}

std::optional<Shaders::Steps> Shaders::choose(uint32_t kernel, const int64_t *symbols,
                                              uint32_t count) const {
  auto tasksOf = [&](uint32_t number) -> std::optional<int64_t> {
    const tacq_vulkan_kernel &info = shaders[number].info;
    if (info.task_symbol == TACQ_VULKAN_NO_SYMBOL)
      return info.task_count;
    if (info.task_symbol >= count)
      return std::nullopt;
    return symbols[info.task_symbol];
  };
  uint32_t variant = shaders[kernel].info.variant;
  for (; variant != TACQ_VULKAN_NO_SHADER; variant = shaders[variant].info.variant) {
    std::optional<int64_t> tasks = tasksOf(variant);
    if (!tasks)
      return std::nullopt;
    if (*tasks <= 0)
      continue;
    uint32_t first = shaders[variant].info.first;
    if (first == TACQ_VULKAN_NO_SHADER)
      return Steps{{{variant, *tasks}}};
    if (std::optional<int64_t> firstTasks = tasksOf(first))
      return Steps{{{first, *firstTasks}, {variant, *tasks}}};
    return std::nullopt;
  }
  std::optional<int64_t> tasks = tasksOf(kernel);
  return tasks ? std::optional(Steps{{{kernel, *tasks}}}) : std::nullopt;
}

Error Shaders::layoutsFor(uint32_t bindings, Layouts &result) {
  Layouts &made = layouts[bindings];
  if (!made.set) {
    std::vector<VkDescriptorSetLayoutBinding> each(bindings);
    for (uint32_t i = 0; i < bindings; ++i)
      each[i] = {i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
    VkDescriptorSetLayoutCreateInfo info = {};
    info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO;
    info.bindingCount = bindings;
    info.pBindings = each.data();
    if (Error error = vulkanError(
            device.api.CreateDescriptorSetLayout(device.device, &info, nullptr, &made.set),
            "make a descriptor layout"))
      return error;
    VkPipelineLayoutCreateInfo layoutInfo = {};
    layoutInfo.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
    layoutInfo.setLayoutCount = 1;
    layoutInfo.pSetLayouts = &made.set;
    if (Error error = vulkanError(
            device.api.CreatePipelineLayout(device.device, &layoutInfo, nullptr, &made.pipeline),
            "make a pipeline layout"))
      return error;
  }
  result = made;
  return success();
}

Error Shaders::makePipeline(Shader &shader, const uint8_t *code) const {
  std::vector<uint32_t> words(shader.info.code_size / 4);
  memcpy(words.data(), code + shader.info.code_offset, shader.info.code_size);
  VkShaderModuleCreateInfo moduleInfo = {};
  moduleInfo.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
  moduleInfo.codeSize = shader.info.code_size;
  moduleInfo.pCode = words.data();
  VkShaderModule module = VK_NULL_HANDLE;
  if (Error error =
          vulkanError(device.api.CreateShaderModule(device.device, &moduleInfo, nullptr, &module),
                      "load a shader"))
    return error;
  VkComputePipelineCreateInfo info = {};
  info.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
  info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.module = module;
  info.stage.pName = "main";
  info.layout = shader.layout;
  VkResult result = device.api.CreateComputePipelines(device.device, device.pipelineCache, 1, &info,
                                                      nullptr, &shader.pipeline);
  device.api.DestroyShaderModule(device.device, module, nullptr);
  return vulkanError(result, "compile a shader");
}
