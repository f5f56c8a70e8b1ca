//===- VulkanRuns.cpp - Records and submits what is listed ----------------===//
//
// A run that was started may still be going on while the next one is listed. Each of the two has
// its frame: command buffers, and memory for symbols and for the status. Which buffers hold inputs
// and outputs is the runtime's concern; what a run does to memory happens after all of the run
// before.
//
//===----------------------------------------------------------------------===//

#include "Status.h"
#include "VulkanProgram.h"

#include <algorithm>
#include <cstring>
#include <ctime>

using namespace tacq;

namespace {

/// Symbols' values, and bytes to fill with, of the commands that are not submitted yet.
constexpr int64_t kArenaBytes = 1 << 20;
/// Parts of a run that are submitted separately; those behind the last one share its buffer.
constexpr size_t kMaxSegments = 16;
/// Outputs of more bytes are not copied to the host before they are asked for.
constexpr int64_t kMaxMirrored = 1 << 20;
/// Outputs of so few bytes are always copied; others where the host has read the last ones.
constexpr int64_t kAlwaysMirrored = 4096;

} // namespace

uint64_t tacq::monotonicNanoseconds() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1000000000u + static_cast<uint64_t>(time.tv_nsec);
}

Error VulkanProgram::prepareFrame(Frame &own) {
  own.segments.resize(kMaxSegments);
  if (own.status.buffer)
    return success();
  if (Error error = device.allocate(kArenaBytes, VulkanDevice::Use::Device, own.arena))
    return error;
  // The host writes to it while a run is listed.
  if (!own.arena.mapped) {
    device.release(own.arena);
    if (Error error = device.allocate(kArenaBytes, VulkanDevice::Use::Host, own.arena))
      return error;
  }
  return device.allocate(kStatusBytes, VulkanDevice::Use::Host, own.status);
}

void VulkanProgram::releaseFrame(Frame &own) {
  for (Segment &each : own.segments)
    device.freeCommandBuffer(each.commands);
  device.release(own.arena);
  device.release(own.status);
}

Error VulkanProgram::reserveArena(int64_t bytes, int64_t &offset) {
  int64_t alignment = std::max<int64_t>(
      64, static_cast<int64_t>(device.properties.limits.minStorageBufferOffsetAlignment));
  if (arenaUsed + bytes > kArenaBytes)
    if (Error error = flush())
      return error;
  offset = arenaUsed;
  arenaUsed += (bytes + alignment - 1) / alignment * alignment;
  return success();
}

void VulkanProgram::startSegment() {
  arenaUsed = 0;
  count = 0;
  isSame = true;
  listed.clear();
  pendingReads.clear();
  pendingWrites.clear();
  epoch = epochBefore = Epoch();
  dispatchedSinceBarrier = false;
}

/// Fills the segment's command buffer with what is listed. Nothing of the segment is running.
Error VulkanProgram::recordSegment(Segment &own) {
  if (!own.commands)
    if (Error error = device.makeCommandBuffer(own.commands))
      return error;
  own.isRecorded = false;
  for (size_t i = 0; !isSame && i < own.recorded.size(); ++i)
    if (VkDescriptorSet set = own.recorded[i].set;
        set && (i >= listed.size() || listed[i].set != set))
      freeSets[shaders[own.recorded[i].kernel].setLayout].push_back(set);
  if (!isSame)
    own.recorded = listed;
  if (Error error = device.begin(own.commands))
    return error;
  const VulkanDeviceApi &api = device.api;
  auto addBarrier = [&] {
    VkMemoryBarrier barrier = {};
    barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
    barrier.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
    barrier.dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT |
                            VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
    VkPipelineStageFlags stages =
        VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
    api.CmdPipelineBarrier(own.commands, stages, stages, 0, 1, &barrier, 0, nullptr, 0, nullptr);
  };
  if (shaders.areOrdered()) {
    int32_t last = 0;
    for (const Command &command : own.recorded)
      last = std::max(last, command.ownFlag);
    addBarrier();
    api.CmdFillBuffer(own.commands, flags.buffer, 0,
                      static_cast<VkDeviceSize>((last + 1) * kFlagWords * 4), 0);
  }
  VkPipeline bound = VK_NULL_HANDLE;
  for (const Command &command : own.recorded) {
    // What was submitted before may still be going on.
    if (command.waits || &command == own.recorded.data())
      addBarrier();
    if (!command.set) {
      api.CmdCopyBuffer(own.commands, command.from, command.to, 1, &command.region);
      continue;
    }
    const Shader &shader = shaders[command.kernel];
    if (shader.pipeline != bound)
      api.CmdBindPipeline(own.commands, VK_PIPELINE_BIND_POINT_COMPUTE, shader.pipeline);
    bound = shader.pipeline;
    api.CmdBindDescriptorSets(own.commands, VK_PIPELINE_BIND_POINT_COMPUTE, shader.layout, 0, 1,
                              &command.set, 0, nullptr);
    api.CmdDispatch(own.commands, command.groups, 1, 1);
  }
  if (Error error = device.end(own.commands))
    return error;
  own.isRecorded = true;
  return success();
}

/// Submits what is listed.
Error VulkanProgram::submit() {
  Segment &own = frame->segments[segment];
  Error error;
  if (isSame && count < own.recorded.size()) {
    listed.assign(own.recorded.begin(), own.recorded.begin() + static_cast<ptrdiff_t>(count));
    isSame = false;
  }
  if (!own.isRecorded || !isSame)
    error = recordSegment(own);
  frame->submittedAt = monotonicNanoseconds();
  if (!error)
    error = device.queue.submit(own.commands, frame->submission);
  startSegment();
  segment = std::min(segment + 1, kMaxSegments - 1);
  return error;
}

Error VulkanProgram::flush() {
  if (!count)
    return success();
  if (Error error = submit())
    return error;
  Error error = device.queue.wait(frame->submission);
  *frame->deviceTime += monotonicNanoseconds() - frame->submittedAt;
  return error;
}

tacq_status_t *VulkanProgram::check(const Frame &own) const {
  int32_t words[TACQ_STATUS_WORDS];
  memcpy(words, own.status.mapped, sizeof(words));
  if (words[kLateWord])
    return toStatus(makeError(TACQ_INTERNAL,
                              "module '%s': device '%s' does not begin dispatches in their order; "
                              "compile it for another profile",
                              desc.name, device.properties.deviceName));
  return words[0] == 0 ? nullptr : tacq_kernel_error(desc.module, words);
}

tacq_status_t *VulkanProgram::flushAndCheck() {
  if (Error error = flush())
    return toStatus(error);
  return check(*frame);
}

/// Small outputs are copied to where the host is quick to read them, within the run's submission.
Error VulkanProgram::mirrorOutputs() {
  for (size_t i = 0; i < sizeOf(module.outputs()); ++i) {
    VulkanBuffer *output = active->outputs[i] ? VulkanBuffer::of(active->outputs[i]) : nullptr;
    int64_t size = output ? std::min(outputBytes[i], output->size) : 0;
    if (!output || output->readable || size <= 0 || size > kMaxMirrored)
      continue;
    bool wasRead = output->wasRead;
    output->wasRead = false;
    if (size > kAlwaysMirrored && !wasRead)
      continue;
    if (!output->mirror || output->mirror->size < size) {
      auto mirror = std::make_unique<VulkanBuffer>();
      if (Error error = device.allocate(output->size, VulkanDevice::Use::Host, *mirror))
        return error;
      if (output->mirror)
        device.release(*output->mirror);
      output->mirror = std::move(mirror);
    }
    addCopy({output, 0, size}, {output->mirror.get(), 0, size});
    output->mirrored = size;
  }
  return success();
}

tacq_status_t *VulkanProgram::start(tacq_run_t &activeRun) {
  static const tacq_interpreter_ops_t ops = {sizeof(ops), reserveSlot, bind, dispatch,
                                             copy,        fill,        read};
  frame = &frames[running.empty() || running.back() == &frames[1] ? 0 : 1];
  if (Error error = prepareFrame(*frame))
    return toStatus(error);
  active = &activeRun;
  memset(frame->status.mapped, 0, kStatusBytes);
  frame->deviceTime = activeRun.device_ns;
  frame->submission = 0;
  outputBytes.assign(sizeOf(module.outputs()), 0);
  segment = 0;
  startSegment();
  tacq_status_t *result = tacq_interpret(&activeRun, &ops, this);
  if (!result)
    result = toStatus(mirrorOutputs());
  if (!result && count)
    result = toStatus(submit());
  uint64_t held = 0;
  for (const Frame &each : frames)
    held += static_cast<uint64_t>(each.arena.size);
  for (const VulkanBuffer &slot : slots)
    held += static_cast<uint64_t>(slot.size);
  *activeRun.bytes_transient = held;
  active = nullptr;
  if (!result)
    running.push_back(frame);
  return result;
}

tacq_status_t *VulkanProgram::finish() {
  Frame &own = *running.front();
  running.pop_front();
  // Work that began when the run before had ended counts from there.
  uint64_t from = std::max(own.submittedAt, lastEnd);
  Error error = device.queue.wait(own.submission);
  lastEnd = monotonicNanoseconds();
  *own.deviceTime += lastEnd - from;
  return error ? toStatus(error) : check(own);
}

tacq_status_t *VulkanProgram::run(tacq_run_t &activeRun) {
  tacq_status_t *failed = start(activeRun);
  return failed ? failed : finish();
}

tacq_status_t *tacq::createVulkanProgram(tacq_driver_device_t *device,
                                         const tacq_program_desc_t *desc,
                                         tacq_driver_program_t **program) {
  auto result = std::make_unique<VulkanProgram>(*VulkanDevice::of(device), *desc);
  if (Error error = result->load())
    return toStatus(error);
  *program = reinterpret_cast<tacq_driver_program_t *>(result.release());
  return nullptr;
}

void tacq::destroyVulkanProgram(tacq_driver_program_t *program) {
  delete reinterpret_cast<VulkanProgram *>(program);
}

tacq_status_t *tacq::runVulkanProgram(tacq_driver_program_t *program, tacq_run_t *run) {
  return reinterpret_cast<VulkanProgram *>(program)->run(*run);
}

tacq_status_t *tacq::startVulkanProgram(tacq_driver_program_t *program, tacq_run_t *run) {
  return reinterpret_cast<VulkanProgram *>(program)->start(*run);
}

tacq_status_t *tacq::finishVulkanProgram(tacq_driver_program_t *program) {
  return reinterpret_cast<VulkanProgram *>(program)->finish();
}
