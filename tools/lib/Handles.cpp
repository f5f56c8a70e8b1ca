//===- Handles.cpp - The runtime's handles as owning C++ values -----------===//

#include "Handles.h"

#include <atomic>
#include <cstdio>
#include <thread>
#include <utility>

using namespace tacq;
using namespace tacq::tools;

static std::atomic<bool> notesShown{false};

void tools::showNotes() { notesShown = true; }

static void logToStderr(void *, tacq_log_level_t level, const char *message) {
  if (level >= TACQ_LOG_WARNING)
    std::fprintf(stderr, "%s: %s\n", level == TACQ_LOG_ERROR ? "error" : "warning", message);
  else if (level == TACQ_LOG_INFO && notesShown)
    std::fprintf(stderr, "note: %s\n", message);
}

Error tools::createRuntime(Runtime &runtime) {
  tacq_runtime_options_t options = {};
  options.struct_size = sizeof(options);
  options.log = logToStderr;
  tacq_runtime_t *created = nullptr;
  Error error = take(tacq_runtime_create(&options, &created));
  runtime.reset(created);
  return error;
}

Error tools::load(const std::string &path, const std::string &device, Loaded &loaded) {
  if (Error error = createRuntime(loaded.runtime))
    return error;
  tacq_runtime_t *runtime = loaded.runtime.get();
  // A GPU's driver takes a while to be there, and so does a large module to be verified.
  tacq_module_t *module = nullptr;
  Error moduleError;
  std::thread opening(
      [&] { moduleError = take(tacq_module_open(runtime, path.c_str(), nullptr, &module)); });
  tacq_device_t *opened = nullptr;
  Error error = take(tacq_device_open(runtime, device.c_str(), &opened));
  opening.join();
  loaded.device.reset(opened);
  loaded.module.reset(module);
  return error ? std::move(error) : std::move(moduleError);
}

Error tools::inputInfo(const tacq_module_t *module, size_t index, tacq_tensor_info_t &info) {
  info = {};
  info.struct_size = sizeof(info);
  return take(tacq_module_input_info(module, index, &info));
}

Error tools::outputInfo(const tacq_module_t *module, size_t index, tacq_tensor_info_t &info) {
  info = {};
  info.struct_size = sizeof(info);
  return take(tacq_module_output_info(module, index, &info));
}

Error tools::fetch(tacq_session_t *session, size_t index, Output &output) {
  DLManagedTensor *tensor = nullptr;
  if (Error error = take(tacq_session_get_output(session, index, &tensor)))
    return error;
  output.reset(tensor);
  return success();
}

int64_t tools::elementCount(const DLTensor &tensor) {
  int64_t count = 1;
  for (int32_t axis = 0; axis < tensor.ndim; ++axis)
    count *= tensor.shape[axis];
  return count;
}

std::string tools::describeType(const tacq_tensor_info_t &info) {
  std::string text = tacq_element_name(info.element_type);
  text += "[";
  for (int32_t axis = 0; axis < info.rank; ++axis) {
    if (axis)
      text += ",";
    text += info.dim_texts[axis];
  }
  return text + "]";
}
