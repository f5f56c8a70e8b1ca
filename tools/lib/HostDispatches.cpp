//===- HostDispatches.cpp - What runs on the CPU beside a device ----------===//

#include "ModuleSummary.h"
#include "tacq/VulkanExecutable.h"

#include <cstring>
#include <nlohmann/json.hpp>

using namespace tacq;
using namespace tacq::tools;
using nlohmann::ordered_json;

namespace {

/// What an executable says of the buffers of a kernel that it lacks.
struct Buffers {
  uint32_t count = 0, reads = 0;
};

/// All buffers count as written where the executable is of another form.
Buffers buffersOf(const ModuleView &view, const format::Executable &executable, uint32_t kernel,
                  uint32_t bound) {
  tacq_vulkan_header header;
  tacq_vulkan_kernel entry;
  uint64_t at = sizeof(header) + kernel * uint64_t(sizeof(entry));
  if (executable.format()->str() != "spirv" || at + sizeof(entry) > executable.size())
    return {bound, 0};
  memcpy(&header, view.bytes(executable), sizeof(header));
  memcpy(&entry, view.bytes(executable) + at, sizeof(entry));
  if (header.magic != TACQ_VULKAN_EXECUTABLE_MAGIC || entry.read_count > entry.buffer_count ||
      entry.buffer_count > bound)
    return {bound, 0};
  return {entry.buffer_count, entry.read_count};
}

/// The host has constants already. What is written is fetched, too: a kernel may keep parts of it.
ordered_json describe(const ModuleView &view, const format::Executable &executable,
                      const format::Dispatch &dispatch) {
  const format::Module &module = view.metadata();
  ordered_json line;
  line["kernel"] = textOf(executable.kernels()->Get(dispatch.kernel()));
  const format::NodeInfo *node =
      dispatch.node() == kNone ? nullptr : module.nodes()->Get(dispatch.node());
  line["node"] = node ? textOf(node->name()) : "";
  line["op"] = node ? textOf(node->op()) : "";
  Buffers buffers = buffersOf(view, executable, dispatch.kernel(),
                              static_cast<uint32_t>(sizeOf(dispatch.bindings())));
  ordered_json fetched = ordered_json::array(), returned = ordered_json::array();
  for (uint32_t i = 0; i < buffers.count; ++i) {
    uint32_t number = dispatch.bindings()->Get(i);
    if (module.buffers()->Get(number)->kind() == format::BufferKind_Constant)
      continue;
    fetched.push_back(bufferName(module, number));
    if (i >= buffers.reads)
      returned.push_back(bufferName(module, number));
  }
  line["to_host"] = fetched;
  line["to_device"] = returned;
  return line;
}

} // namespace

ordered_json tools::hostDispatches(const ModuleView &view, const format::Executable &executable) {
  ordered_json result = ordered_json::array();
  const format::Module &module = view.metadata();
  // An executable for the host is not run by itself.
  if (executable.driver()->str() == "host" || sizeOf(executable.absent()) == 0)
    return result;
  for (const format::Block *block : *module.blocks())
    for (uint32_t i = 0; i < sizeOf(block->commands()); ++i) {
      if (block->commands_type()->Get(i) != format::Command_Dispatch)
        continue;
      const auto &dispatch = *block->commands()->GetAs<format::Dispatch>(i);
      if (!hasKernel(executable, dispatch.kernel()))
        result.push_back(describe(view, executable, dispatch));
    }
  return result;
}
