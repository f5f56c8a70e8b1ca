//===- VulkanProgram.h - Runs modules on a Vulkan device --------*- C++ -*-===//

#ifndef TACQ_DRIVERS_VULKAN_VULKANPROGRAM_H
#define TACQ_DRIVERS_VULKAN_VULKANPROGRAM_H

#include "Shaders.h"
#include "VulkanHostKernels.h"
#include "tacq/ModuleView.h"
#include "tacq/kernel_abi.h"

#include <array>
#include <deque>
#include <map>

namespace tacq {

inline constexpr int64_t kStatusBytes = TACQ_STATUS_WORDS * 4;
/// The word of the status in which shaders that order dispatches by flags say that one was late.
inline constexpr size_t kLateWord = 7;
/// Epochs that a submission may have before there are barriers again.
inline constexpr int32_t kFlags = 1024;
/// The words from one to the next: what waits for one must not slow down what counts at others.
inline constexpr int64_t kFlagWords = 64;
inline constexpr int64_t kFlagBytes = kFlags * kFlagWords * 4;

/// A dispatch, or a copy where it has no set.
struct Command {
  uint32_t kernel = 0, groups = 0;
  VkDescriptorSet set = VK_NULL_HANDLE;
  std::vector<VkDescriptorBufferInfo> bindings;
  std::vector<uint64_t> buffers; // VulkanBuffer::number, of a copy, too
  VkBuffer from = VK_NULL_HANDLE, to = VK_NULL_HANDLE;
  VkBufferCopy region = {};
  /// What was written before has to be there first: there is a barrier.
  bool waits = false;
  /// Where flags order the dispatches: which flag must have which count, and where it counts
  /// itself.
  int32_t flag = -1, count = 0, ownFlag = 0;

  bool sameBindings(const Command &other) const;
  bool operator==(const Command &other) const;
};

/// Commands that are submitted together.
struct Segment {
  VkCommandBuffer commands = VK_NULL_HANDLE;
  /// What the command buffer holds, if `isRecorded`; its sets are reused in any case.
  std::vector<Command> recorded;
  bool isRecorded = false;
};

/// What a run has for itself while it is going on.
struct Frame {
  VulkanBuffer arena, status;
  std::vector<Segment> segments;
  uint64_t submission = 0, submittedAt = 0;
  uint64_t *deviceTime = nullptr;
};

/// Of the clock that no one sets.
uint64_t monotonicNanoseconds();

class VulkanProgram {
public:
  VulkanProgram(VulkanDevice &device, const tacq_program_desc_t &desc)
      : device(device), desc(desc), module(*format::GetModule(desc.metadata)), shaders(device),
        hostKernels(device, desc), slots(module.slot_count()) {}
  ~VulkanProgram();

  Error load();
  tacq_status_t *run(tacq_run_t &activeRun);
  /// Returns when all is submitted. At most one run may be going on then.
  tacq_status_t *start(tacq_run_t &activeRun);
  /// Of the earliest run that was started.
  tacq_status_t *finish();

private:
  static VulkanProgram &of(void *user) { return *static_cast<VulkanProgram *>(user); }
  static tacq_status_t *reserveSlot(void *user, uint32_t slot, int64_t bytes);
  static tacq_status_t *bind(void *user, const tacq_binding_t *buffers, uint32_t count);
  static tacq_status_t *dispatch(void *user, const tacq_dispatch_t *dispatch);
  static tacq_status_t *copy(void *user, uint32_t dst, int64_t dstOffset, uint32_t src,
                             int64_t srcOffset, int64_t size);
  static tacq_status_t *fill(void *user, uint32_t dst, int64_t offset, int64_t size,
                             uint64_t pattern, uint32_t width);
  static tacq_status_t *read(void *user, uint32_t buffer, int64_t offset, void *value,
                             int64_t size);

  Error uploadConstants();
  Error prepareFrame(Frame &own);
  void releaseFrame(Frame &own);
  tacq_status_t *growSlot(uint32_t slot, int64_t bytes);
  Error record(const tacq_dispatch_t &dispatch, const Shaders::Steps &steps);
  Error record(const tacq_dispatch_t &dispatch, const Shaders::Step &step);
  bool canBind(const tacq_dispatch_t &dispatch, const Shaders::Step &step) const;
  tacq_status_t *execute(const tacq_dispatch_t &dispatch);
  tacq_status_t *runOnHost(const tacq_dispatch_t &dispatch);
  Error lacksBuffers() const;
  void addCopy(const Range &from, const Range &to);
  Error recordFill(Range target, uint64_t pattern, uint32_t width);
  Error makeSet(const Shader &shader, VkDescriptorSet &set);
  Error setFor(const Shader &shader, Command &command);
  void order(Command &command);
  void add(Command &command, const std::vector<Range> &reads, const std::vector<Range> &writes);
  Error recordSegment(Segment &segment);
  Error mirrorOutputs();
  Error reserveArena(int64_t bytes, int64_t &offset);
  bool mustWait(const std::vector<Range> &reads, const std::vector<Range> &writes);
  void startSegment();
  /// Runs what is listed; the host sees the results. Not yet an error: `words` of a kernel.
  Error flush();
  tacq_status_t *flushAndCheck();
  Error submit();
  tacq_status_t *check(const Frame &own) const;

  VulkanDevice &device;
  const tacq_program_desc_t desc;
  const format::Module &module;
  Shaders shaders;
  HostKernels hostKernels;
  std::vector<VulkanBuffer> slots;
  std::vector<VulkanBuffer> chunks;
  std::vector<Range> constants;
  VulkanBuffer flags;
  std::array<Frame, 2> frames;
  std::deque<Frame *> running;
  uint64_t lastEnd = 0;
  std::vector<VkDescriptorPool> pools;
  /// Sets that no command has any more.
  std::map<VkDescriptorSetLayout, std::vector<VkDescriptorSet>> freeSets;
  // Of the run that is being listed.
  Frame *frame = &frames[0];
  tacq_run_t *active = nullptr;
  std::vector<Range> bindings; // by buffer of the module
  std::vector<int64_t> outputBytes;
  size_t segment = 0;
  // Since the last submission.
  int64_t arenaUsed = 0;
  size_t count = 0;
  /// The commands so far are those that the segment has recorded; else they are in `listed`.
  bool isSame = true;
  std::vector<Command> listed;
  // Of the command that is being listed.
  Command scratch;
  std::vector<Range> reads, writes;
  // Since the last barrier, or the last command that waited for others by a flag.
  std::vector<Range> pendingReads, pendingWrites;
  /// What has a barrier's place where flags order the dispatches: a command that has to wait begins
  /// an epoch, and dispatches of an epoch wait for those of the one before.
  struct Epoch {
    int32_t number = 0, groups = 0;
    bool hasCopies = false;
  };
  Epoch epoch, epochBefore;
  /// There has been a dispatch since the last barrier.
  bool dispatchedSinceBarrier = false;
};

} // namespace tacq

#endif // TACQ_DRIVERS_VULKAN_VULKANPROGRAM_H
