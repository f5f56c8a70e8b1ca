//===- NullDriver.cpp - A driver whose kernels do nothing -----------------===//
//
// The skeleton for a new device: a complete driver in one file that uses public headers only. Each
// function says what a real device would do in its place. Memory is host memory; copies, fills and
// control flow work; a dispatch does nothing, so what only kernels write stays zero.
//
//===----------------------------------------------------------------------===//

#include "Drivers.h"
#include "tacq/ModuleView.h"

#include <cstdio>
#include <cstring>
#include <new>
#include <vector>

namespace {

// ---- the driver's own objects --------------------------------------------------------------

struct NullDevice {
  tacq_host_t host;
};

struct NullBuffer {
  uint8_t *memory;
  int64_t size;
  bool owned; // false: the caller's memory
};

struct NullProgram {
  NullDevice *device;
  const tacq_program_desc_t desc;
  const tacq::format::Module *module;
  std::vector<NullBuffer> slots;
  // Of the current run.
  tacq_run_t *run = nullptr;
  std::vector<uint8_t *> pointers; // by buffer of the module
};

NullDevice *deviceOf(tacq_driver_device_t *device) {
  return reinterpret_cast<NullDevice *>(device);
}
NullBuffer *bufferOf(tacq_driver_buffer_t *buffer) {
  return reinterpret_cast<NullBuffer *>(buffer);
}
NullProgram *programOf(void *program) { return static_cast<NullProgram *>(program); }

constexpr size_t kAlignment = 64;

tacq_status_t *allocate(NullDevice *device, int64_t size, NullBuffer &buffer) {
  size_t bytes = size > 0 ? static_cast<size_t>(size) : 1;
  const tacq_allocator_t &allocator = device->host.allocator;
  auto *memory = static_cast<uint8_t *>(allocator.allocate(allocator.user, bytes, kAlignment));
  if (!memory) {
    char text[96];
    snprintf(text, sizeof(text), "device 'null' cannot allocate %zu bytes", bytes);
    return tacq_status_create(TACQ_OUT_OF_MEMORY, text);
  }
  memset(memory, 0, bytes);
  buffer = {memory, static_cast<int64_t>(bytes), true};
  return nullptr;
}

void release(NullDevice *device, NullBuffer &buffer) {
  if (buffer.memory && buffer.owned)
    device->host.allocator.release(device->host.allocator.user, buffer.memory,
                                   static_cast<size_t>(buffer.size), kAlignment);
  buffer = {nullptr, 0, true};
}

// ---- devices -------------------------------------------------------------------------------

// A real driver enumerates its hardware here: "vendor:0", "vendor:1", ...
tacq_status_t *listDevices(const tacq_driver_t *, tacq_device_info_t *infos, size_t capacity,
                           size_t *count) {
  *count = 1;
  if (capacity > 0) {
    snprintf(infos[0].name, sizeof(infos[0].name), "null");
    snprintf(infos[0].description, sizeof(infos[0].description),
             "executes everything but kernels; for tests and as a skeleton");
  }
  return nullptr;
}

// A real driver parses the options and opens the device that they name.
tacq_status_t *openDevice(const tacq_driver_t *, const tacq_host_t *host, const char *options,
                          tacq_driver_device_t **device) {
  if (*options) {
    char text[160];
    snprintf(text, sizeof(text), "device 'null' has no option '%.100s'", options);
    return tacq_status_create(TACQ_INVALID_ARGUMENT, text);
  }
  *device = reinterpret_cast<tacq_driver_device_t *>(new NullDevice{*host});
  return nullptr;
}

void closeDevice(tacq_driver_device_t *device) { delete deviceOf(device); }

tacq_status_t *describeDevice(tacq_driver_device_t *, tacq_device_info_t *info) {
  size_t count;
  return listDevices(nullptr, info, 1, &count);
}

// A real driver compares format and features with what the device has.
int32_t supports(tacq_driver_device_t *, const tacq_executable_desc_t *, char *, size_t) {
  return 1;
}

// ---- memory --------------------------------------------------------------------------------

tacq_status_t *createBuffer(tacq_driver_device_t *device, int64_t size,
                            tacq_driver_buffer_t **buffer) {
  NullBuffer result;
  if (tacq_status_t *status = allocate(deviceOf(device), size, result))
    return status;
  *buffer = reinterpret_cast<tacq_driver_buffer_t *>(new NullBuffer(result));
  return nullptr;
}

// A device with its own memory sets this and hostPointer to NULL in the table.
tacq_status_t *wrapHost(tacq_driver_device_t *, const void *memory, int64_t size,
                        tacq_driver_buffer_t **buffer) {
  auto *bytes = const_cast<uint8_t *>(static_cast<const uint8_t *>(memory));
  *buffer = reinterpret_cast<tacq_driver_buffer_t *>(new NullBuffer{bytes, size, false});
  return nullptr;
}

void destroyBuffer(tacq_driver_device_t *device, tacq_driver_buffer_t *buffer) {
  release(deviceOf(device), *bufferOf(buffer));
  delete bufferOf(buffer);
}

void *hostPointer(tacq_driver_device_t *, tacq_driver_buffer_t *buffer) {
  return bufferOf(buffer)->memory;
}

void copyRows(uint8_t *dst, tacq_region_t to, const uint8_t *src, tacq_region_t from,
              int64_t rowBytes, int64_t rows) {
  if (rowBytes > 0)
    for (int64_t i = 0; i < rows; ++i)
      memcpy(dst + to.offset + i * to.pitch, src + from.offset + i * from.pitch,
             static_cast<size_t>(rowBytes));
}

tacq_status_t *writeBuffer(tacq_driver_device_t *, tacq_driver_buffer_t *dst, tacq_region_t to,
                           const void *src, tacq_region_t from, int64_t rowBytes, int64_t rows) {
  copyRows(bufferOf(dst)->memory, to, static_cast<const uint8_t *>(src), from, rowBytes, rows);
  return nullptr;
}

tacq_status_t *readBuffer(tacq_driver_device_t *, void *dst, tacq_region_t to,
                          tacq_driver_buffer_t *src, tacq_region_t from, int64_t rowBytes,
                          int64_t rows) {
  copyRows(static_cast<uint8_t *>(dst), to, bufferOf(src)->memory, from, rowBytes, rows);
  return nullptr;
}

tacq_status_t *copyBuffer(tacq_driver_device_t *, tacq_driver_buffer_t *dst, tacq_region_t to,
                          tacq_driver_buffer_t *src, tacq_region_t from, int64_t rowBytes,
                          int64_t rows) {
  copyRows(bufferOf(dst)->memory, to, bufferOf(src)->memory, from, rowBytes, rows);
  return nullptr;
}

// ---- programs ------------------------------------------------------------------------------

// A real driver uploads the constants, loads the executable's kernels, and may record the blocks
// of commands (desc->metadata) for replay.
tacq_status_t *createProgram(tacq_driver_device_t *device, const tacq_program_desc_t *desc,
                             tacq_driver_program_t **program) {
  auto *result = new NullProgram{
      deviceOf(device), *desc, tacq::format::GetModule(desc->metadata), {}, nullptr, {}};
  result->slots.assign(result->module->slot_count(), NullBuffer{nullptr, 0, true});
  *program = reinterpret_cast<tacq_driver_program_t *>(result);
  return nullptr;
}

void destroyProgram(tacq_driver_program_t *handle) {
  NullProgram *program = programOf(handle);
  for (NullBuffer &slot : program->slots)
    release(program->device, slot);
  delete program;
}

tacq_status_t *reserveSlot(void *user, uint32_t slot, int64_t bytes) {
  NullProgram *program = programOf(user);
  NullBuffer &current = program->slots[slot];
  if (current.memory && current.size >= bytes)
    return nullptr;
  NullBuffer larger;
  if (tacq_status_t *status = allocate(program->device, bytes, larger))
    return status;
  if (current.memory)
    memcpy(larger.memory, current.memory, static_cast<size_t>(current.size));
  release(program->device, current);
  current = larger;
  ++*program->run->allocations;
  return nullptr;
}

tacq_status_t *bindBuffers(void *user, const tacq_binding_t *buffers, uint32_t count) {
  NullProgram *program = programOf(user);
  program->pointers.resize(count);
  const auto *data = static_cast<const uint8_t *>(program->desc.data);
  for (uint32_t i = 0; i < count; ++i) {
    const tacq_binding_t &binding = buffers[i];
    tacq_driver_buffer_t *object = nullptr;
    uint8_t *start = nullptr;
    switch (binding.kind) {
    case TACQ_BUFFER_INPUT:
      object = program->run->inputs[binding.index];
      break;
    case TACQ_BUFFER_OUTPUT:
      object = program->run->outputs[binding.index];
      break;
    case TACQ_BUFFER_STATE:
      object = program->run->states[binding.index];
      break;
    case TACQ_BUFFER_CONSTANT:
      start =
          const_cast<uint8_t *>(data) + program->module->constants()->Get(binding.index)->offset();
      break;
    case TACQ_BUFFER_TRANSIENT:
      start = program->slots[binding.index].memory;
      break;
    }
    if (object)
      start = bufferOf(object)->memory;
    program->pointers[i] = start && binding.size >= 0 ? start + binding.offset : nullptr;
  }
  return nullptr;
}

// A real driver binds the buffers and symbols and starts the kernel.
tacq_status_t *dispatchNothing(void *, const tacq_dispatch_t *) { return nullptr; }

tacq_status_t *copyBytes(void *user, uint32_t dst, int64_t dstOffset, uint32_t src,
                         int64_t srcOffset, int64_t size) {
  NullProgram *program = programOf(user);
  memmove(program->pointers[dst] + dstOffset, program->pointers[src] + srcOffset,
          static_cast<size_t>(size));
  return nullptr;
}

tacq_status_t *fillBytes(void *user, uint32_t dst, int64_t offset, int64_t size, uint64_t pattern,
                         uint32_t width) {
  uint8_t *start = programOf(user)->pointers[dst] + offset;
  for (int64_t i = 0; i < size; i += width)
    memcpy(start + i, &pattern, width);
  return nullptr;
}

tacq_status_t *readBytes(void *user, uint32_t buffer, int64_t offset, void *value, int64_t size) {
  memcpy(value, programOf(user)->pointers[buffer] + offset, static_cast<size_t>(size));
  return nullptr;
}

tacq_status_t *runProgram(tacq_driver_program_t *handle, tacq_run_t *run) {
  static const tacq_interpreter_ops_t ops = {sizeof(ops), reserveSlot, bindBuffers, dispatchNothing,
                                             copyBytes,   fillBytes,   readBytes};
  NullProgram *program = programOf(handle);
  program->run = run;
  tacq_status_t *status = tacq_interpret(run, &ops, program);
  uint64_t held = 0;
  for (const NullBuffer &slot : program->slots)
    held += static_cast<uint64_t>(slot.size);
  *run->bytes_transient = held;
  program->run = nullptr;
  return status;
}

} // namespace

const tacq_driver_t *tacq::nullDriver() {
  static const tacq_driver_t driver = {
      sizeof(tacq_driver_t),
      TACQ_DRIVER_VERSION,
      "null",
      /*user=*/nullptr,
      listDevices,
      openDevice,
      closeDevice,
      describeDevice,
      supports,
      /*needs_no_executable=*/1,
      createBuffer,
      wrapHost,
      destroyBuffer,
      hostPointer,
      writeBuffer,
      readBuffer,
      copyBuffer,
      createProgram,
      destroyProgram,
      runProgram,
      /*start=*/nullptr,
      /*finish=*/nullptr,
  };
  return &driver;
}
