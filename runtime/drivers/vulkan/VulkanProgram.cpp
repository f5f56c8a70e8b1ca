//===- VulkanProgram.cpp - Runs modules on a Vulkan device ----------------===//
//
// All commands of a run go into one command buffer, which is submitted at its end, and in between
// only where the host has to read what was computed. A barrier is recorded where a command touches
// bytes that a command since the last barrier has written, or writes bytes that one has read. Where
// the shaders do it, dispatches wait for each other by flags instead.
//
// A run first lists its commands. Where the list is that of the run before, as it is from token to
// token, its command buffer is submitted again: what changes are values of symbols, in a buffer.
//
//===----------------------------------------------------------------------===//

#include "VulkanProgram.h"
#include "Status.h"
#include "tacq/kernel_abi.h"

#include <algorithm>
#include <cstring>

using namespace tacq;

namespace {

/// Constants are put together in buffers of about this size.
constexpr int64_t kChunkBytes = int64_t(64) << 20;
/// What a thread copies at once.
constexpr int64_t kPieceBytes = int64_t(4) << 20;
constexpr uint32_t kSetsPerPool = 256, kBuffersPerPool = 4096;
/// What Vulkan promises along each axis of a grid.
constexpr int64_t kLargestGrid = 65535;
/// Of executables whose dispatches are ordered by flags: what stands in front of the symbols.
constexpr int64_t kSettings = 3;

} // namespace

bool Command::sameBindings(const Command &other) const {
  return kernel == other.kernel && buffers == other.buffers &&
         bindings.size() == other.bindings.size() &&
         std::equal(bindings.begin(), bindings.end(), other.bindings.begin(),
                    [](const VkDescriptorBufferInfo &a, const VkDescriptorBufferInfo &b) {
                      return a.buffer == b.buffer && a.offset == b.offset && a.range == b.range;
                    });
}

bool Command::operator==(const Command &other) const {
  return groups == other.groups && set == other.set && region.srcOffset == other.region.srcOffset &&
         region.dstOffset == other.region.dstOffset && region.size == other.region.size &&
         waits == other.waits && sameBindings(other);
}

VulkanProgram::~VulkanProgram() {
  // Whether what is still going on fails matters to nobody any more; what does not end keeps all.
  if (!device.queue.drain())
    return;
  for (Frame &each : frames)
    releaseFrame(each);
  for (VkDescriptorPool pool : pools)
    device.api.DestroyDescriptorPool(device.device, pool, nullptr);
  for (std::vector<VulkanBuffer> *buffers : {&slots, &chunks})
    for (VulkanBuffer &buffer : *buffers)
      device.release(buffer);
  device.release(flags);
}

Error VulkanProgram::load() {
  if (Error error = prepareFrame(frames[0]))
    return error;
  if (desc.executable >= 0) { // else a module without kernels
    const format::Executable &executable =
        *module.executables()->Get(static_cast<uint32_t>(desc.executable));
    std::string what =
        formatText("module '%s', executable '%s'", desc.name, executable.target()->c_str());
    std::vector<uint32_t> absent;
    if (executable.absent())
      absent.assign(executable.absent()->begin(), executable.absent()->end());
    if (Error error = shaders.load(static_cast<const uint8_t *>(desc.data) + executable.offset(),
                                   executable.size(), sizeOf(executable.kernels()), absent, what))
      return error;
    if (!absent.empty())
      if (Error error = hostKernels.require(absent))
        return error;
  }
  // The shaders are compiled meanwhile.
  if (Error error = uploadConstants())
    return error;
  if (shaders.areOrdered())
    if (Error error = device.allocate(kFlagBytes, VulkanDevice::Use::Device, flags))
      return error;
  return shaders.finish();
}

Error VulkanProgram::uploadConstants() {
  size_t count = sizeOf(module.constants());
  auto sizeOfConstant = [&](size_t i) {
    uint64_t size = module.constants()->Get(static_cast<uint32_t>(i))->size();
    return static_cast<int64_t>((size + 255) & ~uint64_t(255));
  };
  constants.resize(count);
  // Ranges are set when no chunk moves any more.
  std::vector<std::pair<size_t, int64_t>> places;
  for (size_t i = 0; i < count;) {
    int64_t bytes = 0;
    do {
      places.push_back({chunks.size(), bytes});
      bytes += sizeOfConstant(i++);
    } while (i < count && bytes + sizeOfConstant(i) <= kChunkBytes);
    VulkanBuffer chunk;
    if (Error error = device.allocate(bytes, VulkanDevice::Use::Constants, chunk))
      return error;
    chunks.push_back(std::move(chunk));
  }
  const auto *data = static_cast<const uint8_t *>(desc.data);
  bool isMapped = true;
  for (size_t i = 0; i < count; ++i) {
    const format::Constant &constant = *module.constants()->Get(static_cast<uint32_t>(i));
    VulkanBuffer &chunk = chunks[places[i].first];
    constants[i] = {&chunk, places[i].second,
                    places[i].second + static_cast<int64_t>(constant.size()),
                    data + constant.offset()};
    isMapped &= chunk.mapped != nullptr;
  }
  auto source = [&](size_t i) {
    return data + module.constants()->Get(static_cast<uint32_t>(i))->offset();
  };
  if (isMapped) {
    // A thread alone does not fill the bus, nor does it read the file as quickly as it could.
    std::vector<std::pair<size_t, int64_t>> pieces;
    for (size_t i = 0; i < count; ++i)
      for (int64_t at = 0; at < constants[i].end - constants[i].begin; at += kPieceBytes)
        pieces.push_back({i, at});
    Workers(pieces.size(), [&](size_t piece) {
      auto [i, at] = pieces[piece];
      int64_t size = std::min(constants[i].end - constants[i].begin - at, kPieceBytes);
      memcpy(constants[i].object->mapped + constants[i].begin + at, source(i) + at,
             static_cast<size_t>(size));
    }).wait();
    return success();
  }
  for (size_t i = 0; i < count; ++i)
    if (Error error = device.upload(*constants[i].object, constants[i].begin, source(i),
                                    constants[i].end - constants[i].begin))
      return error;
  return device.queue.waitForAll();
}

// ---- what the interpreter calls --------------------------------------------------------------

tacq_status_t *VulkanProgram::growSlot(uint32_t slot, int64_t bytes) {
  VulkanBuffer &current = slots[slot];
  if (current.buffer && current.size >= bytes)
    return nullptr;
  // Commands that use the old buffer may be listed already, or be going on.
  if (current.buffer) {
    if (tacq_status_t *failed = flushAndCheck())
      return failed;
    if (Error error = device.queue.waitForAll())
      return toStatus(error);
  }
  VulkanBuffer larger;
  if (Error error = device.allocate(bytes, VulkanDevice::Use::Device, larger))
    return toStatus(error);
  if (current.buffer)
    if (Error error = device.copy(larger, 0, current, 0, current.size)) {
      device.release(larger);
      return toStatus(error);
    }
  device.release(current);
  current = std::move(larger);
  ++*active->allocations;
  return nullptr;
}

tacq_status_t *VulkanProgram::reserveSlot(void *user, uint32_t slot, int64_t bytes) {
  return of(user).growSlot(slot, bytes);
}

tacq_status_t *VulkanProgram::bind(void *user, const tacq_binding_t *buffers, uint32_t count) {
  VulkanProgram &self = of(user);
  // The runtime may have replaced outputs that listed commands use.
  if (self.count)
    if (tacq_status_t *failed = self.flushAndCheck())
      return failed;
  self.bindings.assign(count, Range());
  for (uint32_t i = 0; i < count; ++i) {
    const tacq_binding_t &binding = buffers[i];
    Range &range = self.bindings[i];
    tacq_driver_buffer_t *object = nullptr;
    switch (binding.kind) {
    case TACQ_BUFFER_INPUT:
      object = self.active->inputs[binding.index];
      break;
    case TACQ_BUFFER_OUTPUT:
      object = self.active->outputs[binding.index];
      if (int64_t &bytes = self.outputBytes[binding.index]; binding.size >= 0)
        bytes = std::max(bytes, binding.offset + binding.size);
      break;
    case TACQ_BUFFER_STATE:
      object = self.active->states[binding.index];
      break;
    case TACQ_BUFFER_CONSTANT:
      range = self.constants[binding.index];
      range.onHost += binding.offset;
      break;
    case TACQ_BUFFER_TRANSIENT:
      range.object = &self.slots[binding.index];
      break;
    }
    if (object)
      range.object = VulkanBuffer::of(object);
    if (!range.object || !range.object->buffer || binding.size < 0) {
      range = Range();
      continue;
    }
    range.begin += binding.offset;
    range.end = range.begin + binding.size;
  }
  return nullptr;
}

/// Whether a command must wait for those since the last one that did.
bool VulkanProgram::mustWait(const std::vector<Range> &reads, const std::vector<Range> &writes) {
  auto meet = [](const std::vector<Range> &some, const std::vector<Range> &others) {
    return std::any_of(some.begin(), some.end(), [&](const Range &range) {
      return std::any_of(others.begin(), others.end(),
                         [&](const Range &other) { return range.overlaps(other); });
    });
  };
  bool waits =
      meet(reads, pendingWrites) || meet(writes, pendingWrites) || meet(writes, pendingReads);
  if (waits) {
    pendingReads.clear();
    pendingWrites.clear();
  }
  pendingReads.insert(pendingReads.end(), reads.begin(), reads.end());
  pendingWrites.insert(pendingWrites.end(), writes.begin(), writes.end());
  return waits;
}

/// Lets a dispatch that has to wait do so by a flag, instead of a barrier.
void VulkanProgram::order(Command &command) {
  // Variants do not know flags; barriers order them, as they do copies.
  bool isDispatch = command.set != VK_NULL_HANDLE && shaders[command.kernel].ordered;
  if (!isDispatch)
    command.waits |= dispatchedSinceBarrier;
  if (command.waits) {
    bool byFlag = isDispatch && !epoch.hasCopies && epoch.number + 1 < kFlags;
    epochBefore = byFlag ? epoch : Epoch();
    epoch = {std::min(epoch.number + 1, kFlags - 1), 0, false};
    command.waits = !byFlag;
    dispatchedSinceBarrier &= byFlag;
  }
  epoch.hasCopies |= !isDispatch;
  command.flag = -1;
  if (!isDispatch)
    return;
  if (epochBefore.groups) {
    command.flag = epochBefore.number;
    command.count = epochBefore.groups;
  }
  command.ownFlag = epoch.number;
  epoch.groups += static_cast<int32_t>(command.groups);
  dispatchedSinceBarrier = true;
}

void VulkanProgram::add(Command &command, const std::vector<Range> &reads,
                        const std::vector<Range> &writes) {
  for (const Range &range : writes)
    range.object->mirrored = 0;
  command.waits = mustWait(reads, writes);
  if (shaders.areOrdered())
    order(command);
  Segment &own = frame->segments[segment];
  if (isSame && count < own.recorded.size() && own.recorded[count] == command) {
    ++count;
    return;
  }
  if (isSame)
    listed.assign(own.recorded.begin(), own.recorded.begin() + static_cast<ptrdiff_t>(count));
  isSame = false;
  listed.push_back(command);
  ++count;
}

Error VulkanProgram::makeSet(const Shader &shader, VkDescriptorSet &set) {
  std::vector<VkDescriptorSet> &unused = freeSets[shader.setLayout];
  if (!unused.empty()) {
    set = unused.back();
    unused.pop_back();
    return success();
  }
  for (bool isNew = pools.empty();; isNew = true) {
    if (isNew) {
      VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                   std::max(kBuffersPerPool, shader.bindings())};
      VkDescriptorPoolCreateInfo info = {};
      info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO;
      info.maxSets = kSetsPerPool;
      info.poolSizeCount = 1;
      info.pPoolSizes = &size;
      VkDescriptorPool pool = VK_NULL_HANDLE;
      if (Error error =
              vulkanError(device.api.CreateDescriptorPool(device.device, &info, nullptr, &pool),
                          "make a descriptor pool"))
        return error;
      pools.push_back(pool);
    }
    VkDescriptorSetAllocateInfo info = {};
    info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO;
    info.descriptorPool = pools.back();
    info.descriptorSetCount = 1;
    info.pSetLayouts = &shader.setLayout;
    VkResult result = device.api.AllocateDescriptorSets(device.device, &info, &set);
    if (isNew || (result != VK_ERROR_OUT_OF_POOL_MEMORY && result != VK_ERROR_FRAGMENTED_POOL))
      return vulkanError(result, "make a descriptor set");
  }
}

/// The set of the command that was in this place before if it binds the same; else one with the new
/// buffers. A command buffer whose sets change is recorded anew.
Error VulkanProgram::setFor(const Shader &shader, Command &command) {
  Segment &own = frame->segments[segment];
  size_t place = count;
  if (place < own.recorded.size() && own.recorded[place].set &&
      own.recorded[place].sameBindings(command)) {
    command.set = own.recorded[place].set;
    return success();
  }
  if (Error error = makeSet(shader, command.set))
    return error;
  std::vector<VkWriteDescriptorSet> sets(command.bindings.size());
  for (uint32_t i = 0; i < sets.size(); ++i) {
    sets[i].sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
    sets[i].dstSet = command.set;
    sets[i].dstBinding = i;
    sets[i].descriptorCount = 1;
    sets[i].descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    sets[i].pBufferInfo = &command.bindings[i];
  }
  device.api.UpdateDescriptorSets(device.device, static_cast<uint32_t>(sets.size()), sets.data(), 0,
                                  nullptr);
  return success();
}

Error VulkanProgram::record(const tacq_dispatch_t &dispatch, const Shaders::Steps &steps) {
  for (const Shaders::Step &step : steps)
    if (step.tasks > 0)
      if (Error error = record(dispatch, step))
        return error;
  return success();
}

Error VulkanProgram::lacksBuffers() const {
  return makeError(TACQ_INVALID_MODULE,
                   "module '%s': a dispatch does not have the buffers or symbols of its shader",
                   desc.name);
}

Error VulkanProgram::record(const tacq_dispatch_t &dispatch, const Shaders::Step &step) {
  const Shader &shader = shaders[step.number];
  const tacq_vulkan_kernel &info = shader.info;
  // What is behind its buffers is of the same kernel for other devices.
  if (dispatch.buffer_count < info.buffer_count)
    return lacksBuffers();
  for (uint32_t i = 0; i < dispatch.symbol_count; ++i)
    if (dispatch.symbols[i] < INT32_MIN || dispatch.symbols[i] > INT32_MAX)
      return makeError(TACQ_UNSUPPORTED,
                       "module '%s': a kernel gets the number %lld; shaders count to 2^31 only",
                       desc.name, static_cast<long long>(dispatch.symbols[i]));
  const VkPhysicalDeviceLimits &limits = device.properties.limits;
  int64_t offset = 0, settings = shader.ordered ? kSettings : 0;
  int64_t symbolBytes = std::max<int64_t>(1, settings + dispatch.symbol_count) * 8;
  if (Error error = reserveArena(symbolBytes, offset))
    return error;
  if (dispatch.symbol_count)
    memcpy(frame->arena.mapped + offset + settings * 8, dispatch.symbols,
           dispatch.symbol_count * 8);

  reads.clear();
  writes.clear();
  Command &command = scratch;
  command.kernel = step.number;
  command.bindings.clear();
  command.buffers.clear();
  for (uint32_t i = 0; i < info.buffer_count; ++i) {
    const Range &range = bindings[dispatch.buffers[i]];
    // A buffer without bytes is never read, but has to be there.
    VulkanBuffer &object = range.object ? *range.object : frame->status;
    int64_t begin = range.object ? range.begin : 0;
    // To the end, so that what grows from call to call is bound as before.
    int64_t size = std::min<int64_t>(object.size - begin, limits.maxStorageBufferRange);
    command.buffers.push_back(object.number);
    command.bindings.push_back(
        {object.buffer, static_cast<VkDeviceSize>(begin), static_cast<VkDeviceSize>(size)});
    if (range.object)
      (i < info.read_count ? reads : writes).push_back(range);
  }
  command.bindings.push_back({frame->arena.buffer, static_cast<VkDeviceSize>(offset),
                              static_cast<VkDeviceSize>(symbolBytes)});
  command.bindings.push_back({frame->status.buffer, 0, kStatusBytes});
  if (shader.ordered)
    command.bindings.push_back({flags.buffer, 0, kFlagBytes});
  if (Error error = setFor(shader, command))
    return error;
  int64_t groups = (step.tasks - 1) / info.tasks_per_group + 1;
  command.groups = static_cast<uint32_t>(std::min(groups, kLargestGrid));
  command.from = command.to = VK_NULL_HANDLE;
  add(command, reads, writes);
  if (shader.ordered) {
    int64_t flag = command.flag < 0 ? -1 : command.flag * kFlagWords;
    const int64_t own[kSettings] = {flag, command.count, command.ownFlag * kFlagWords};
    memcpy(frame->arena.mapped + offset, own, sizeof(own));
  }
  return success();
}

/// Whether the device can bind all that the step needs. If not, the host will run the dispatch.
bool VulkanProgram::canBind(const tacq_dispatch_t &dispatch, const Shaders::Step &step) const {
  const VkPhysicalDeviceLimits &limits = device.properties.limits;
  uint32_t count = std::min(shaders[step.number].info.buffer_count, dispatch.buffer_count);
  return std::all_of(dispatch.buffers, dispatch.buffers + count, [&](uint32_t buffer) {
    const Range &range = bindings[buffer];
    if (!range.object)
      return true;
    // Shaders read whole words.
    int64_t size = std::max<int64_t>(4, (range.end - range.begin + 7) & ~int64_t(7));
    size = std::min(size, range.object->size - range.begin);
    return range.begin % static_cast<int64_t>(limits.minStorageBufferOffsetAlignment) == 0 &&
           static_cast<uint64_t>(size) <= limits.maxStorageBufferRange;
  });
}

/// By a shader, unless there is none or the device cannot bind its buffers.
tacq_status_t *VulkanProgram::execute(const tacq_dispatch_t &dispatch) {
  if (shaders[dispatch.kernel].isAbsent())
    return runOnHost(dispatch);
  std::optional<Shaders::Steps> steps =
      shaders.choose(dispatch.kernel, dispatch.symbols, dispatch.symbol_count);
  if (!steps)
    return toStatus(lacksBuffers());
  if (std::all_of(steps->begin(), steps->end(), [&](const Shaders::Step &step) {
        return step.tasks <= 0 || canBind(dispatch, step);
      }))
    return toStatus(record(dispatch, *steps));
  if (Error error = hostKernels.require({dispatch.kernel}))
    return toStatus(makeError(
        error.code(), "%s, and device '%s' binds no more than %u bytes, at multiples of %llu",
        error.message().c_str(), device.properties.deviceName,
        device.properties.limits.maxStorageBufferRange,
        static_cast<unsigned long long>(device.properties.limits.minStorageBufferOffsetAlignment)));
  return runOnHost(dispatch);
}

/// What is listed runs before, and so does what may be going on of the run before.
tacq_status_t *VulkanProgram::runOnHost(const tacq_dispatch_t &dispatch) {
  const tacq_vulkan_kernel &info = shaders[dispatch.kernel].info;
  if (dispatch.buffer_count < info.buffer_count)
    return toStatus(lacksBuffers());
  if (tacq_status_t *failed = flushAndCheck())
    return failed;
  if (Error error = device.queue.waitForAll())
    return toStatus(error);
  reads.clear();
  for (uint32_t i = 0; i < dispatch.buffer_count; ++i)
    reads.push_back(bindings[dispatch.buffers[i]]);
  return hostKernels.run(dispatch, reads, info.read_count, info.buffer_count, *active);
}

tacq_status_t *VulkanProgram::dispatch(void *user, const tacq_dispatch_t *dispatch) {
  VulkanProgram &self = of(user);
  if (!self.active->profile_ns)
    return self.execute(*dispatch);
  // A profiled dispatch runs alone.
  if (tacq_status_t *failed = self.flushAndCheck())
    return failed;
  uint64_t start = monotonicNanoseconds();
  tacq_status_t *failed = self.execute(*dispatch);
  if (!failed)
    failed = self.flushAndCheck();
  self.active->profile_ns[dispatch->ordinal] += monotonicNanoseconds() - start;
  ++self.active->profile_count[dispatch->ordinal];
  return failed;
}

tacq_status_t *VulkanProgram::copy(void *user, uint32_t dst, int64_t dstOffset, uint32_t src,
                                   int64_t srcOffset, int64_t size) {
  VulkanProgram &self = of(user);
  Range to = self.bindings[dst], from = self.bindings[src];
  to = {to.object, to.begin + dstOffset, to.begin + dstOffset + size};
  from = {from.object, from.begin + srcOffset, from.begin + srcOffset + size};
  if (to.overlaps(from)) {
    if (tacq_status_t *failed = self.flushAndCheck())
      return failed;
    return toStatus(self.device.copy(*to.object, to.begin, *from.object, from.begin, size));
  }
  self.addCopy(from, to);
  return nullptr;
}

void VulkanProgram::addCopy(const Range &from, const Range &to) {
  Command command;
  command.from = from.object->buffer;
  command.to = to.object->buffer;
  command.region = {static_cast<VkDeviceSize>(from.begin), static_cast<VkDeviceSize>(to.begin),
                    static_cast<VkDeviceSize>(to.end - to.begin)};
  command.buffers = {from.object->number, to.object->number};
  add(command, {from}, {to});
}

/// Vulkan fills words; this is for any place and width: the first bytes come from the arena, and
/// what is filled already is copied behind itself.
Error VulkanProgram::recordFill(Range target, uint64_t pattern, uint32_t width) {
  constexpr int64_t seedBytes = 4096;
  int64_t size = target.end - target.begin, offset = 0, seed = std::min(size, seedBytes);
  if (Error error = reserveArena(seed, offset))
    return error;
  for (int64_t i = 0; i < seed; i += width)
    memcpy(frame->arena.mapped + offset + i, &pattern, width);
  Range from{&frame->arena, offset, offset + seed};
  Range to{target.object, target.begin, target.begin + seed};
  for (;;) {
    addCopy(from, to);
    int64_t done = to.end - target.begin;
    if (done == size)
      return success();
    from = {target.object, target.begin, target.begin + std::min(done, size - done)};
    to = {target.object, target.begin + done, target.begin + std::min(2 * done, size)};
  }
}

tacq_status_t *VulkanProgram::fill(void *user, uint32_t dst, int64_t offset, int64_t size,
                                   uint64_t pattern, uint32_t width) {
  VulkanProgram &self = of(user);
  Range target = self.bindings[dst];
  target = {target.object, target.begin + offset, target.begin + offset + size};
  return toStatus(self.recordFill(target, pattern, width));
}

tacq_status_t *VulkanProgram::read(void *user, uint32_t buffer, int64_t offset, void *value,
                                   int64_t size) {
  VulkanProgram &self = of(user);
  if (tacq_status_t *failed = self.flushAndCheck())
    return failed;
  Range &range = self.bindings[buffer];
  return toStatus(self.device.read(value, *range.object, range.begin + offset, size));
}
