//===- CpuProgram.cpp - Runs modules on the host's cores ------------------===//

#include "CpuDevice.h"
#include "ElfLoader.h"
#include "Status.h"
#include "tacq/ModuleView.h"
#include "tacq/kernel_abi.h"

#include <algorithm>
#include <cfenv>
#include <cstring>
#include <ctime>
#include <memory>
#include <vector>

using namespace tacq;

namespace {

uint64_t now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1000000000u + static_cast<uint64_t>(time.tv_nsec);
}

class CpuProgram {
public:
  CpuProgram(CpuDevice &device, const tacq_program_desc_t &desc)
      : device(device), desc(desc), module(*format::GetModule(desc.metadata)),
        slots(module.slot_count()) {}
  ~CpuProgram() {
    for (CpuBuffer &slot : slots)
      device.release(slot);
    device.release(scratch);
  }

  Error load();
  tacq_status_t *run(tacq_run_t &activeRun);

private:
  static CpuProgram &of(void *user) { return *static_cast<CpuProgram *>(user); }
  static tacq_status_t *reserveSlot(void *user, uint32_t slot, int64_t bytes);
  static tacq_status_t *bind(void *user, const tacq_binding_t *buffers, uint32_t count);
  static tacq_status_t *dispatch(void *user, const tacq_dispatch_t *dispatch);
  static tacq_status_t *copy(void *user, uint32_t dst, int64_t dstOffset, uint32_t src,
                             int64_t srcOffset, int64_t size);
  static tacq_status_t *fill(void *user, uint32_t dst, int64_t offset, int64_t size,
                             uint64_t pattern, uint32_t width);
  static tacq_status_t *read(void *user, uint32_t buffer, int64_t offset, void *value,
                             int64_t size);
  int32_t workersFor(const tacq_dispatch_t &dispatch) const;

  CpuDevice &device;
  const tacq_program_desc_t desc;
  const format::Module &module;
  std::unique_ptr<LoadedElf> code;
  std::vector<tacq_kernel_fn> kernels;
  std::vector<CpuBuffer> slots;
  CpuBuffer scratch;
  // Of the current run.
  tacq_run_t *active = nullptr;
  std::vector<uint8_t *> pointers; // by buffer of the module
  std::vector<void *> bindings;    // of the dispatch
};

Error CpuProgram::load() {
  if (desc.executable < 0) // a module without kernels
    return success();
  const format::Executable &executable =
      *module.executables()->Get(static_cast<uint32_t>(desc.executable));
  std::string what =
      formatText("module '%s', executable '%s'", desc.name, executable.target()->c_str());
  if (Error error = LoadedElf::load(static_cast<const uint8_t *>(desc.data) + executable.offset(),
                                    executable.size(), what, code))
    return error;
  for (size_t i = 0; i < sizeOf(executable.kernels()); ++i) {
    const char *name = executable.kernels()->Get(static_cast<uint32_t>(i))->c_str();
    void *address = code->function(name);
    if (!address)
      return makeError(TACQ_INVALID_MODULE, "%s: the code exports no function '%s'", what.c_str(),
                       name);
    kernels.push_back(reinterpret_cast<tacq_kernel_fn>(address));
  }
  return success();
}

tacq_status_t *CpuProgram::reserveSlot(void *user, uint32_t slot, int64_t bytes) {
  CpuProgram &self = of(user);
  CpuBuffer &current = self.slots[slot];
  if (current.memory && current.size >= bytes)
    return nullptr;
  CpuBuffer larger;
  // Zero, so that what a kernel does not write is at least the same in every run.
  if (Error error = self.device.allocate(bytes, true, larger))
    return toStatus(error);
  if (current.memory)
    memcpy(larger.memory, current.memory, static_cast<size_t>(current.size));
  self.device.release(current);
  current = larger;
  ++*self.active->allocations;
  return nullptr;
}

tacq_status_t *CpuProgram::bind(void *user, const tacq_binding_t *buffers, uint32_t count) {
  CpuProgram &self = of(user);
  self.pointers.resize(count);
  auto *data = const_cast<uint8_t *>(static_cast<const uint8_t *>(self.desc.data));
  for (uint32_t i = 0; i < count; ++i) {
    const tacq_binding_t &binding = buffers[i];
    tacq_driver_buffer_t *object = nullptr;
    uint8_t *start = nullptr;
    switch (binding.kind) {
    case TACQ_BUFFER_INPUT:
      object = self.active->inputs[binding.index];
      break;
    case TACQ_BUFFER_OUTPUT:
      object = self.active->outputs[binding.index];
      break;
    case TACQ_BUFFER_STATE:
      object = self.active->states[binding.index];
      break;
    case TACQ_BUFFER_CONSTANT:
      start = data + self.module.constants()->Get(binding.index)->offset();
      break;
    case TACQ_BUFFER_TRANSIENT:
      start = self.slots[binding.index].memory;
      break;
    }
    if (object)
      start = CpuBuffer::of(object)->memory;
    self.pointers[i] = start && binding.size >= 0 ? start + binding.offset : nullptr;
  }
  return nullptr;
}

int32_t CpuProgram::workersFor(const tacq_dispatch_t &dispatch) const {
  int64_t workers = std::min<int64_t>(device.pool.size(), dispatch.tasks);
  // What a worker takes over must be worth the barrier, and the lines that move to its cache.
  int64_t leastWork = 2 * device.pool.barrierCost();
  if (dispatch.cost > 0)
    workers = std::min(workers, std::max<int64_t>(1, dispatch.cost / leastWork));
  return static_cast<int32_t>(workers);
}

/// One dispatch in flight, on the caller's stack.
struct Job {
  tacq_kernel_fn kernel;
  tacq_kernel_args args; // status and scratch are each worker's own
  uint8_t *scratch;
  int64_t scratchStride;
  int64_t tasks;
  const uint16_t *shares;
  uint32_t shareCount;
  int32_t workers;
  int32_t failed; // lowest worker with an error; INT32_MAX: none
  int32_t words[TACQ_STATUS_WORDS];
  std::mutex failure;
};

void runWorker(void *context, int32_t worker) {
  Job &job = *static_cast<Job *>(context);
  int64_t begin, end;
  if (job.shareCount > 0)
    splitByShares(job.shares, job.shareCount, job.tasks, job.workers, worker, begin, end);
  else
    splitTasks(job.tasks, job.workers, worker, begin, end);
  if (begin == end)
    return;
  alignas(64) int32_t status[TACQ_STATUS_WORDS] = {};
  tacq_kernel_args args = job.args;
  args.status = status;
  if (job.scratch)
    args.scratch = job.scratch + worker * job.scratchStride;
  job.kernel(&args, begin, end, worker);
  if (status[0] == 0)
    return;
  // The error of the first tasks wins, so that messages do not depend on timing.
  std::lock_guard<std::mutex> lock(job.failure);
  if (worker < job.failed) {
    job.failed = worker;
    memcpy(job.words, status, sizeof(status));
  }
}

tacq_status_t *CpuProgram::dispatch(void *user, const tacq_dispatch_t *dispatch) {
  CpuProgram &self = of(user);
  uint64_t start = self.active->profile_ns ? now() : 0;
  self.bindings.resize(dispatch->buffer_count);
  for (uint32_t i = 0; i < dispatch->buffer_count; ++i)
    self.bindings[i] = self.pointers[dispatch->buffers[i]];

  Job job = {};
  job.kernel = self.kernels[dispatch->kernel];
  job.tasks = dispatch->tasks;
  job.shares = dispatch->shares;
  job.shareCount = dispatch->share_count;
  job.workers = self.workersFor(*dispatch);
  job.failed = INT32_MAX;
  job.args.bindings = self.bindings.data();
  job.args.symbols = dispatch->symbols;
  job.args.scratch_size = dispatch->scratch;
  if (dispatch->scratch > 0) {
    int64_t padded, total;
    if (__builtin_add_overflow(dispatch->scratch, int64_t(63), &padded) ||
        __builtin_mul_overflow(padded & ~int64_t(63), int64_t(job.workers), &total))
      return tacq_status_create(TACQ_OUT_OF_MEMORY, "scratch memory of a dispatch overflows");
    job.scratchStride = padded & ~int64_t(63);
    if (self.scratch.size < total) {
      self.device.release(self.scratch);
      if (Error error = self.device.allocate(total, false, self.scratch))
        return toStatus(error);
      ++*self.active->allocations;
    }
    job.scratch = self.scratch.memory;
  }
  self.device.pool.run(job.workers, runWorker, &job);
  if (self.active->profile_ns) {
    self.active->profile_ns[dispatch->ordinal] += now() - start;
    ++self.active->profile_count[dispatch->ordinal];
  }
  if (job.failed != INT32_MAX)
    return tacq_kernel_error(self.desc.module, job.words);
  return nullptr;
}

tacq_status_t *CpuProgram::copy(void *user, uint32_t dst, int64_t dstOffset, uint32_t src,
                                int64_t srcOffset, int64_t size) {
  CpuProgram &self = of(user);
  memmove(self.pointers[dst] + dstOffset, self.pointers[src] + srcOffset,
          static_cast<size_t>(size));
  return nullptr;
}

tacq_status_t *CpuProgram::fill(void *user, uint32_t dst, int64_t offset, int64_t size,
                                uint64_t pattern, uint32_t width) {
  uint8_t *start = of(user).pointers[dst] + offset;
  if (width == 1) {
    memset(start, static_cast<int>(pattern & 255), static_cast<size_t>(size));
    return nullptr;
  }
  for (int64_t i = 0; i < size; i += width)
    memcpy(start + i, &pattern, width);
  return nullptr;
}

tacq_status_t *CpuProgram::read(void *user, uint32_t buffer, int64_t offset, void *value,
                                int64_t size) {
  memcpy(value, of(user).pointers[buffer] + offset, static_cast<size_t>(size));
  return nullptr;
}

tacq_status_t *CpuProgram::run(tacq_run_t &activeRun) {
  static const tacq_interpreter_ops_t ops = {sizeof(ops), reserveSlot, bind, dispatch,
                                             copy,        fill,        read};
  active = &activeRun;
  // The application may have other rounding or flush denormals; the pool's threads do not.
  fenv_t environment;
  fegetenv(&environment);
  fesetenv(FE_DFL_ENV);
  tacq_status_t *status = tacq_interpret(&activeRun, &ops, this);
  fesetenv(&environment);
  uint64_t held = static_cast<uint64_t>(scratch.size);
  for (const CpuBuffer &slot : slots)
    held += static_cast<uint64_t>(slot.size);
  *activeRun.bytes_transient = held;
  active = nullptr;
  return status;
}

} // namespace

tacq_status_t *tacq::createCpuProgram(tacq_driver_device_t *device, const tacq_program_desc_t *desc,
                                      tacq_driver_program_t **program) {
  auto result = std::make_unique<CpuProgram>(*CpuDevice::of(device), *desc);
  if (Error error = result->load())
    return toStatus(error);
  *program = reinterpret_cast<tacq_driver_program_t *>(result.release());
  return nullptr;
}

void tacq::destroyCpuProgram(tacq_driver_program_t *program) {
  delete reinterpret_cast<CpuProgram *>(program);
}

tacq_status_t *tacq::runCpuProgram(tacq_driver_program_t *program, tacq_run_t *run) {
  return reinterpret_cast<CpuProgram *>(program)->run(*run);
}
