//===- CpuProgram.cpp - Runs modules on the host's cores ------------------===//

#include "CpuKernels.h"
#include "Status.h"

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
      : device(device), desc(desc), module(*format::GetModule(desc.metadata)), kernels(device),
        slots(module.slot_count()) {}
  ~CpuProgram() {
    for (CpuBuffer &slot : slots)
      device.release(slot);
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

  CpuDevice &device;
  const tacq_program_desc_t desc;
  const format::Module &module;
  CpuKernels kernels;
  std::vector<CpuBuffer> slots;
  // Of the current run.
  tacq_run_t *active = nullptr;
  std::vector<uint8_t *> pointers; // by buffer of the module
  std::vector<void *> bindings;    // of the dispatch
};

Error CpuProgram::load() {
  if (desc.executable < 0) // a module without kernels
    return success();
  return kernels.load(desc, *module.executables()->Get(static_cast<uint32_t>(desc.executable)));
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

tacq_status_t *CpuProgram::dispatch(void *user, const tacq_dispatch_t *dispatch) {
  CpuProgram &self = of(user);
  uint64_t start = self.active->profile_ns ? now() : 0;
  self.bindings.resize(dispatch->buffer_count);
  for (uint32_t i = 0; i < dispatch->buffer_count; ++i)
    self.bindings[i] = self.pointers[dispatch->buffers[i]];
  tacq_status_t *failed =
      self.kernels.run(*dispatch, self.bindings.data(), *self.active, self.desc.module);
  if (self.active->profile_ns) {
    self.active->profile_ns[dispatch->ordinal] += now() - start;
    ++self.active->profile_count[dispatch->ordinal];
  }
  return failed;
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
  uint64_t held = static_cast<uint64_t>(kernels.scratchBytes());
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
