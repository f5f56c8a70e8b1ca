//===- SessionApi.cpp - C API: sessions -----------------------------------===//

#include "Session.h"
#include "Status.h"

using namespace tacq;

tacq_status_t *tacq_session_create(tacq_module_t *module, tacq_device_t *device,
                                   const tacq_session_options_t *options,
                                   tacq_session_t **session) {
  if (!module || !device || !session)
    return tacq_status_create(TACQ_INVALID_ARGUMENT,
                              "tacq_session_create needs a module, a device and an address");
  *session = nullptr;
  tacq_session_options_t chosen = {};
  if (Error error = readOptions(options, chosen))
    return toStatus(error);
  return toStatus(tacq_session::create(module, device, chosen, session));
}

void tacq_session_release(tacq_session_t *session) { delete session; }

tacq_status_t *tacq_session_set_input_data(tacq_session_t *session, size_t index,
                                           tacq_element_type_t type, const int64_t *dims,
                                           size_t rank, const void *data, size_t size) {
  if (!session || (rank > 0 && !dims))
    return tacq_status_create(TACQ_INVALID_ARGUMENT, "the session or the dims are NULL");
  return toStatus(session->setInput(index, type, dims, rank, data, size));
}

tacq_status_t *tacq_session_set_input(tacq_session_t *session, size_t index,
                                      const DLTensor *tensor) {
  if (!session || !tensor)
    return tacq_status_create(TACQ_INVALID_ARGUMENT, "the session or the tensor is NULL");
  if (tensor->device.device_type != kDLCPU)
    return toStatus(makeError(TACQ_UNSUPPORTED,
                              "input %zu: the tensor is on device type %d, not on the host", index,
                              static_cast<int>(tensor->device.device_type)));
  if (tensor->ndim < 0 || (tensor->ndim > 0 && !tensor->shape))
    return toStatus(makeError(TACQ_INVALID_ARGUMENT, "input %zu: the tensor has no shape", index));
  // A stride matters only where there is more than one step of it.
  int64_t expected = 1;
  bool empty = false;
  for (int32_t axis = tensor->ndim - 1; axis >= 0; --axis)
    empty |= tensor->shape[axis] == 0;
  for (int32_t axis = tensor->ndim - 1; tensor->strides && !empty && axis >= 0; --axis) {
    if (tensor->shape[axis] != 1 && tensor->strides[axis] != expected)
      return toStatus(makeError(TACQ_INVALID_INPUT,
                                "input %zu: the tensor is not contiguous (stride %lld at axis %d, "
                                "expected %lld)",
                                index, static_cast<long long>(tensor->strides[axis]), axis,
                                static_cast<long long>(expected)));
    if (__builtin_mul_overflow(expected, tensor->shape[axis], &expected))
      return toStatus(
          makeError(TACQ_INVALID_INPUT, "input %zu: the shape of the tensor is too large", index));
  }
  const auto *data = static_cast<const char *>(tensor->data);
  return toStatus(session->setInput(index, tacq_element_from_dlpack(tensor->dtype), tensor->shape,
                                    static_cast<size_t>(tensor->ndim),
                                    data ? data + tensor->byte_offset : nullptr, SIZE_MAX));
}

tacq_status_t *tacq_session_run(tacq_session_t *session) {
  if (!session)
    return tacq_status_create(TACQ_INVALID_ARGUMENT, "the session is NULL");
  return toStatus(session->run());
}

tacq_status_t *tacq_session_start(tacq_session_t *session) {
  if (!session)
    return tacq_status_create(TACQ_INVALID_ARGUMENT, "the session is NULL");
  return toStatus(session->start());
}

tacq_status_t *tacq_session_finish(tacq_session_t *session) {
  if (!session)
    return tacq_status_create(TACQ_INVALID_ARGUMENT, "the session is NULL");
  return toStatus(session->finish());
}

tacq_status_t *tacq_session_link(tacq_session_t *session, size_t output, size_t input) {
  if (!session)
    return tacq_status_create(TACQ_INVALID_ARGUMENT, "the session is NULL");
  return toStatus(session->link(output, input));
}

tacq_status_t *tacq_session_output_shape(tacq_session_t *session, size_t index, int64_t *dims,
                                         size_t capacity, size_t *rank) {
  if (!session || !rank || (capacity > 0 && !dims))
    return tacq_status_create(TACQ_INVALID_ARGUMENT,
                              "tacq_session_output_shape needs a session, dims and a rank");
  const std::vector<int64_t> *shape;
  if (Error error = session->outputShape(index, shape))
    return toStatus(error);
  *rank = shape->size();
  std::copy_n(shape->begin(), std::min(capacity, shape->size()), dims);
  return nullptr;
}

tacq_status_t *tacq_session_get_output(tacq_session_t *session, size_t index,
                                       DLManagedTensor **tensor) {
  if (!session || !tensor)
    return tacq_status_create(TACQ_INVALID_ARGUMENT,
                              "tacq_session_get_output needs a session and an address");
  *tensor = nullptr;
  return toStatus(session->getOutput(index, tensor));
}

tacq_status_t *tacq_session_copy_output(tacq_session_t *session, size_t index, void *data,
                                        size_t size) {
  if (!session)
    return tacq_status_create(TACQ_INVALID_ARGUMENT, "the session is NULL");
  return toStatus(session->copyOutput(index, data, size));
}

tacq_status_t *tacq_session_reset(tacq_session_t *session) {
  return tacq_session_rewind(session, 0);
}

int64_t tacq_session_position(const tacq_session_t *session) { return session->position(); }

tacq_status_t *tacq_session_rewind(tacq_session_t *session, int64_t position) {
  if (!session)
    return tacq_status_create(TACQ_INVALID_ARGUMENT, "the session is NULL");
  return toStatus(session->rewind(position));
}

int64_t tacq_session_capacity(const tacq_session_t *session) { return session->capacity(); }

void tacq_session::getCounters(tacq_session_counters_t &result) const {
  result.runs = runs;
  result.dispatches = dispatches;
  result.commands = commands;
  result.allocations = allocations;
  result.bytes_transient = bytesTransient;
  result.bytes_copied = bytesCopied;
  result.run_ns = runNs;
  result.device_ns = deviceNs;
  for (const SessionState &state : states) {
    result.bytes_state += static_cast<uint64_t>(state.memory ? state.memory->size : 0);
    result.bytes_state += static_cast<uint64_t>(state.spare ? state.spare->size : 0);
  }
  auto add = [&](const std::vector<SessionOutput> &list) {
    for (size_t i = 0; i < list.size(); ++i)
      if (list[i].memory && !(options.stateful && module->outputs[i].state >= 0))
        result.bytes_output += static_cast<uint64_t>(list[i].memory->size);
  };
  add(outputs);
  add(results);
  for (const StartedRun &run : started)
    add(run.outputs);
}

tacq_status_t *tacq_session_get_counters(const tacq_session_t *session,
                                         tacq_session_counters_t *counters) {
  if (!session)
    return tacq_status_create(TACQ_INVALID_ARGUMENT, "the session is NULL");
  tacq_session_counters_t result = {};
  session->getCounters(result);
  return toStatus(writeInfo(result, counters));
}

Error tacq_session::profile(tacq_profile_fn fn, void *user) const {
  if (!options.profile)
    return makeError(TACQ_INVALID_ARGUMENT, "the session was created without the option profile");
  // Kernels have the same names in all executables, as far as people are concerned.
  const format::Executable *names =
      sizeOf(metadata->executables()) ? metadata->executables()->Get(0) : nullptr;
  uint32_t ordinal = 0;
  for (uint32_t b = 0; b < sizeOf(metadata->blocks()); ++b) {
    const format::Block &block = *metadata->blocks()->Get(b);
    for (uint32_t c = 0; c < sizeOf(block.commands()); ++c) {
      if (block.commands_type()->Get(c) != format::Command_Dispatch)
        continue;
      const format::Dispatch &dispatch = *block.commands()->GetAs<format::Dispatch>(c);
      uint32_t index = ordinal++;
      if (profileCount[index] == 0)
        continue;
      const format::NodeInfo *node =
          dispatch.node() == kNone ? nullptr : metadata->nodes()->Get(dispatch.node());
      tacq_profile_entry_t entry = {names ? names->kernels()->Get(dispatch.kernel())->c_str() : "",
                                    node ? textOf(node->name()) : "",
                                    node ? textOf(node->op()) : "", profileCount[index],
                                    profileNs[index]};
      fn(user, &entry);
    }
  }
  return success();
}

tacq_status_t *tacq_session_profile(const tacq_session_t *session, tacq_profile_fn fn, void *user) {
  if (!session || !fn)
    return tacq_status_create(TACQ_INVALID_ARGUMENT, "the session or the function is NULL");
  return toStatus(session->profile(fn, user));
}
