//===- Session.cpp - Inputs, runs and outputs -----------------------------===//

#include "Session.h"
#include "Status.h"

#include <utility>

using namespace tacq;

bool tacq::shapeBytes(const std::vector<int64_t> &dims, size_t elementBytes, int64_t &bytes) {
  bytes = static_cast<int64_t>(elementBytes);
  bool zero = false;
  for (int64_t extent : dims) {
    zero |= extent == 0;
    if (extent > 0 && __builtin_mul_overflow(bytes, extent, &bytes))
      return false;
  }
  if (zero)
    bytes = 0;
  return true;
}

std::string tacq::shapeText(const std::vector<int64_t> &dims) {
  std::string text = "[";
  for (size_t i = 0; i < dims.size(); ++i)
    text += (i ? ", " : "") + std::to_string(dims[i]);
  return text + "]";
}

Error DeviceMemory::create(tacq_device *device, int64_t size,
                           std::shared_ptr<DeviceMemory> &result) {
  tacq_driver_buffer_t *buffer = nullptr;
  if (tacq_status_t *status = device->driver->create_buffer(device->handle, size, &buffer))
    return fromStatus(status);
  result.reset(new DeviceMemory(device, buffer, size));
  return success();
}

DeviceMemory::~DeviceMemory() {
  device->driver->destroy_buffer(device->handle, buffer);
  device->release();
}

// ---- creation ------------------------------------------------------------------------------

Error tacq_session::create(tacq_module *module, tacq_device *device,
                           const tacq_session_options_t &options, tacq_session **result) {
  if (options.cache_capacity < 0)
    return makeError(TACQ_INVALID_ARGUMENT, "cache_capacity is negative");
  std::unique_ptr<tacq_session> session(new tacq_session());
  session->module = module->retain();
  session->device = device->retain();
  session->options = options;
  const ModuleView &view = *module->view;
  session->metadata = &view.metadata();

  tacq_program_desc_t desc = {};
  desc.struct_size = sizeof(desc);
  desc.module = module;
  desc.name = view.name().c_str();
  desc.metadata = view.metadataBytes();
  desc.metadata_size = view.header().metadataSize;
  desc.data = view.data();
  desc.data_size = view.dataSize();
  if (Error error = session->selectExecutable(desc.executable))
    return error;
  if (tacq_status_t *status =
          device->driver->create_program(device->handle, &desc, &session->program))
    return fromStatus(status);

  const format::Module &metadata = *session->metadata;
  session->context.view = &view;
  session->context.program = module->program.get();
  session->context.symbols.resize(metadata.symbol_count());
  session->context.inputDims.resize(module->inputs.size());
  session->context.capacities.assign(sizeOf(metadata.states()), options.cache_capacity > 0
                                                                    ? options.cache_capacity
                                                                    : kFirstCapacity);
  session->context.isUnused.resize(metadata.slot_count());
  if (desc.executable >= 0) {
    const format::Executable &executable =
        *metadata.executables()->Get(static_cast<uint32_t>(desc.executable));
    for (uint32_t i = 0; i < sizeOf(executable.unused_slots()); ++i)
      session->context.isUnused[executable.unused_slots()->Get(i)] = 1;
  }
  session->inputs.resize(module->inputs.size());
  session->outputs.resize(module->outputs.size());
  session->results.resize(module->outputs.size());
  session->states.resize(sizeOf(metadata.states()));
  session->inputBuffers.resize(session->inputs.size());
  session->inputSizes.resize(session->inputs.size());
  session->outputBuffers.resize(session->outputs.size());
  session->outputSizes.resize(session->outputs.size());
  session->stateBuffers.resize(session->states.size());
  session->stateSizes.resize(session->states.size());
  if (options.profile) {
    session->profileNs.resize(module->program->dispatchCount);
    session->profileCount.resize(module->program->dispatchCount);
  }
  *result = session.release();
  return success();
}

tacq_session::~tacq_session() {
  if (program)
    device->driver->destroy_program(program);
  for (SessionInput &input : inputs)
    if (input.wrapped)
      device->driver->destroy_buffer(device->handle, input.wrapped);
  inputs.clear();
  outputs.clear();
  results.clear();
  started.clear();
  states.clear();
  device->release();
  module->release();
}

/// Says which executable was taken, and what kept others from it.
void tacq_session::noteChoice(int32_t index, const std::string &reasons) const {
  const format::Executable &taken = *metadata->executables()->Get(static_cast<uint32_t>(index));
  std::string text = formatText(
      "module '%s' runs its code for '%s' on %s, the first of the highest rank (%d) that the "
      "device supports",
      module->view->name().c_str(), taken.target()->c_str(), device->driver->name, taken.rank());
  if (!reasons.empty())
    text += "; " + reasons;
  device->runtime->log(TACQ_LOG_INFO, text);
}

/// Takes the executable of highest rank that the device supports.
Error tacq_session::selectExecutable(int32_t &index) const {
  index = -1;
  if (device->driver->needs_no_executable || metadata->kernel_count() == 0)
    return success();
  std::string reasons;
  int32_t best = 0;
  for (uint32_t i = 0; i < sizeOf(metadata->executables()); ++i) {
    const format::Executable &executable = *metadata->executables()->Get(i);
    if (executable.driver()->str() != device->driver->name)
      continue;
    std::vector<const char *> features;
    for (uint32_t f = 0; f < sizeOf(executable.features()); ++f)
      features.push_back(executable.features()->Get(f)->c_str());
    tacq_executable_desc_t desc = {sizeof(desc),
                                   executable.target()->c_str(),
                                   executable.format()->c_str(),
                                   features.data(),
                                   features.size(),
                                   executable.rank()};
    char reason[256] = "";
    if (!device->driver->supports(device->handle, &desc, reason, sizeof(reason)))
      reasons += formatText("%s'%s' %s", reasons.empty() ? "" : "; ", executable.target()->c_str(),
                            reason);
    else if (index < 0 || executable.rank() > best) {
      index = static_cast<int32_t>(i);
      best = executable.rank();
    }
  }
  if (index >= 0) {
    noteChoice(index, reasons);
    return success();
  }
  tacq_device_info_t info = {};
  tacq_status_free(device->driver->describe_device(device->handle, &info));
  if (reasons.empty())
    return makeError(TACQ_UNSUPPORTED,
                     "module '%s' has no code for the driver '%s'; compile the model for it",
                     module->view->name().c_str(), device->driver->name);
  return makeError(TACQ_UNSUPPORTED,
                   "module '%s' has no code that this device can run: %s; the device is %s; "
                   "compile the model for this target",
                   module->view->name().c_str(), reasons.c_str(), info.description);
}

// ---- inputs --------------------------------------------------------------------------------

Error tacq_session::setInput(size_t index, tacq_element_type_t type, const int64_t *dims,
                             size_t rank, const void *data, size_t size) {
  if (index >= inputs.size())
    return makeError(TACQ_INVALID_ARGUMENT, "there is no input %zu; the module has %zu", index,
                     inputs.size());
  const TensorDescription &declared = module->inputs[index];
  auto refuse = [&](const std::string &reason) {
    return makeError(TACQ_INVALID_INPUT, "%s: %s", declared.describe("input").c_str(),
                     reason.c_str());
  };
  if (isKept(index))
    return makeError(TACQ_INVALID_ARGUMENT,
                     "%s is kept by the session, which is stateful; it cannot be set",
                     declared.describe("input").c_str());
  if (type != declared.type)
    return refuse(formatText("the tensor has element type %s", tacq_element_name(type)));
  if (rank != declared.dims.size())
    return refuse(formatText("the tensor has rank %zu, expected %zu", rank, declared.dims.size()));
  std::vector<int64_t> shape(dims, dims + rank);
  for (size_t axis = 0; axis < rank; ++axis) {
    if (shape[axis] < 0)
      return refuse(formatText("the tensor has the negative extent %lld at axis %zu",
                               static_cast<long long>(shape[axis]), axis));
    if (declared.dims[axis] >= 0 && shape[axis] != declared.dims[axis])
      return refuse(formatText("the tensor has shape %s, but axis %zu must be %lld",
                               shapeText(shape).c_str(), axis,
                               static_cast<long long>(declared.dims[axis])));
  }
  int64_t bytes;
  if (!shapeBytes(shape, tacq_element_size(type), bytes))
    return refuse(formatText("the shape %s is too large", shapeText(shape).c_str()));
  if (static_cast<uint64_t>(bytes) > size)
    return refuse(formatText("the shape %s needs %lld bytes, but the data has %zu",
                             shapeText(shape).c_str(), static_cast<long long>(bytes), size));
  if (bytes > 0 && !data)
    return refuse("the data pointer is NULL");
  if (reinterpret_cast<uintptr_t>(data) % tacq_element_size(type) != 0)
    return refuse(formatText("the data is not aligned to the %zu bytes of an element",
                             tacq_element_size(type)));

  SessionInput &input = inputs[index];
  tacq_driver_buffer_t *wrapped = nullptr;
  if (device->driver->wrap_host)
    if (tacq_status_t *status = device->driver->wrap_host(device->handle, data, bytes, &wrapped))
      return fromStatus(status);
  if (input.wrapped)
    device->driver->destroy_buffer(device->handle, input.wrapped);
  input.wrapped = wrapped;
  input.data = data;
  input.bytes = bytes;
  input.dims = std::move(shape);
  input.set = true;
  input.link = -1;
  input.linked.reset();
  return success();
}

/// Makes the input's tensors known to the driver for this run.
Error tacq_session::prepareInputs() {
  for (size_t i = 0; i < inputs.size(); ++i) {
    SessionInput &input = inputs[i];
    inputBuffers[i] = nullptr;
    inputSizes[i] = 0;
    int32_t state = module->inputs[i].state;
    if (state >= 0 && stateOf(state).in_place())
      continue;
    if (isKept(i)) {
      inputBuffers[i] = states[state].memory->buffer;
      if (!shapeBytes(context.inputDims[i], tacq_element_size(module->inputs[i].type),
                      inputSizes[i]))
        return makeError(TACQ_INTERNAL, "%s overflows",
                         module->inputs[i].describe("state").c_str());
      continue;
    }
    inputSizes[i] = input.bytes;
    if (input.wrapped && !input.linked) {
      inputBuffers[i] = input.wrapped;
      continue;
    }
    if (input.linked) {
      inputBuffers[i] = input.linked->buffer;
      continue;
    }
    std::shared_ptr<DeviceMemory> &memory = input.uploaded[side];
    if (!memory || memory->size < input.bytes) {
      memory.reset();
      if (Error error = DeviceMemory::create(device, input.bytes, memory))
        return error;
      ++allocations;
    }
    if (input.bytes > 0)
      if (tacq_status_t *status = device->driver->write(device->handle, memory->buffer, {0, 0},
                                                        input.data, {0, 0}, input.bytes, 1))
        return fromStatus(status);
    bytesCopied += static_cast<uint64_t>(input.bytes);
    inputBuffers[i] = memory->buffer;
  }
  return success();
}

// ---- outputs -------------------------------------------------------------------------------

Error tacq_session::outputShape(size_t index, const std::vector<int64_t> *&dims) const {
  if (index >= outputs.size())
    return makeError(TACQ_INVALID_ARGUMENT, "there is no output %zu; the module has %zu", index,
                     outputs.size());
  if (!hasOutputs)
    return makeError(TACQ_INVALID_ARGUMENT,
                     "there are no outputs: the session has not run, or the last run failed");
  dims = &results[index].dims;
  return success();
}

/// Copies an output to the host.
Error tacq_session::readOutput(size_t index, void *data) {
  const SessionOutput &output = results[index];
  if (output.bytes == 0)
    return success();
  int32_t state = module->outputs[index].state;
  size_t elementBytes = tacq_element_size(module->outputs[index].type);
  bytesCopied += static_cast<uint64_t>(output.bytes);
  if (state < 0 || !stateOf(state).in_place())
    return fromStatus(device->driver->read(device->handle, data, {0, 0}, output.memory->buffer,
                                           {0, 0}, output.bytes, 1));
  int32_t axis = stateOf(state).axis();
  AxisRows rows = axisRows(output.dims, axis, elementBytes);
  int64_t rowBytes = rows.inner * output.dims[axis];
  return fromStatus(
      device->driver->read(device->handle, data, {0, rowBytes}, states[state].memory->buffer,
                           {0, rows.inner * states[state].dims[axis]}, rowBytes, rows.rows));
}

namespace {

/// What a DLManagedTensor of ours owns: either device memory that the host can read, or memory.
struct ExportedTensor {
  DLManagedTensor tensor = {};
  std::vector<int64_t> shape;
  std::shared_ptr<DeviceMemory> shared;
  tacq_runtime *runtime = nullptr;
  void *memory = nullptr;
  size_t size = 0;

  ~ExportedTensor() {
    const tacq_allocator_t &allocator = runtime->host.allocator;
    if (memory)
      allocator.release(allocator.user, memory, size, 64);
    shared.reset();
    runtime->release();
  }
};

} // namespace

Error tacq_session::getOutput(size_t index, DLManagedTensor **tensor) {
  const std::vector<int64_t> *dims = nullptr;
  if (Error error = outputShape(index, dims))
    return error;
  const SessionOutput &output = results[index];
  auto exported = std::make_unique<ExportedTensor>();
  exported->runtime = module->runtime->retain();
  exported->shape = *dims;
  DLTensor &view = exported->tensor.dl_tensor;

  int32_t state = module->outputs[index].state;
  bool inPlace = state >= 0 && stateOf(state).in_place();
  if (!inPlace && output.memory && device->driver->host_pointer) {
    view.data = device->driver->host_pointer(device->handle, output.memory->buffer);
    if (view.data)
      exported->shared = output.memory;
  }
  if (!view.data) {
    const tacq_allocator_t &allocator = module->runtime->host.allocator;
    exported->size = static_cast<size_t>(std::max<int64_t>(output.bytes, 1));
    exported->memory = allocator.allocate(allocator.user, exported->size, 64);
    if (!exported->memory)
      return makeError(TACQ_OUT_OF_MEMORY, "%zu bytes for %s cannot be allocated", exported->size,
                       module->outputs[index].describe("output").c_str());
    view.data = exported->memory;
    if (Error error = readOutput(index, view.data))
      return error;
  }
  view.device = {kDLCPU, 0};
  view.ndim = static_cast<int32_t>(exported->shape.size());
  view.dtype = tacq_element_to_dlpack(module->outputs[index].type);
  view.shape = exported->shape.data();
  exported->tensor.manager_ctx = exported.get();
  exported->tensor.deleter = [](DLManagedTensor *self) {
    if (self)
      delete static_cast<ExportedTensor *>(self->manager_ctx);
  };
  *tensor = &exported.release()->tensor;
  return success();
}

Error tacq_session::copyOutput(size_t index, void *data, size_t size) {
  const std::vector<int64_t> *dims = nullptr;
  if (Error error = outputShape(index, dims))
    return error;
  if (size != static_cast<uint64_t>(results[index].bytes) || (size > 0 && !data))
    return makeError(TACQ_INVALID_ARGUMENT, "%s has shape %s and %lld bytes, the memory has %zu",
                     module->outputs[index].describe("output").c_str(), shapeText(*dims).c_str(),
                     static_cast<long long>(results[index].bytes), size);
  return readOutput(index, data);
}
