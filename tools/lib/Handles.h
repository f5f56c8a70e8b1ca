//===- Handles.h - The runtime's handles as owning C++ values ---*- C++ -*-===//

#ifndef TACQ_TOOLS_HANDLES_H
#define TACQ_TOOLS_HANDLES_H

#include "tacq/Error.h"
#include "tacq/runtime.h"

#include <memory>
#include <string>

namespace tacq::tools {

template <auto release> struct Release {
  template <typename T> void operator()(T *handle) const { release(handle); }
};
using Runtime = std::unique_ptr<tacq_runtime_t, Release<tacq_runtime_release>>;
using Device = std::unique_ptr<tacq_device_t, Release<tacq_device_release>>;
using Module = std::unique_ptr<tacq_module_t, Release<tacq_module_release>>;
using Session = std::unique_ptr<tacq_session_t, Release<tacq_session_release>>;

inline void releaseTensor(DLManagedTensor *tensor) { tensor->deleter(tensor); }
using Output = std::unique_ptr<DLManagedTensor, Release<releaseTensor>>;

/// Takes the status over.
inline Error take(tacq_status_t *status) {
  if (!status)
    return success();
  Error error(tacq_status_code(status), tacq_status_message(status));
  tacq_status_free(status);
  return error;
}

/// A module that is loaded for a device.
struct Loaded {
  Runtime runtime;
  Device device;
  Module module;
};

/// Makes a runtime whose warnings go to stderr.
Error createRuntime(Runtime &runtime);
/// From now on what runtimes note goes to stderr, too: which code of a module was taken, and why.
void showNotes();

/// Opens device and module. An unknown device is an error of usage.
Error load(const std::string &path, const std::string &device, Loaded &loaded);

Error inputInfo(const tacq_module_t *module, size_t index, tacq_tensor_info_t &info);
Error outputInfo(const tacq_module_t *module, size_t index, tacq_tensor_info_t &info);

/// Fetches output `index` of the last run.
Error fetch(tacq_session_t *session, size_t index, Output &output);
/// The number of elements.
int64_t elementCount(const DLTensor &tensor);
/// Address of the first element.
inline const char *dataOf(const DLTensor &tensor) {
  return static_cast<const char *>(tensor.data) + tensor.byte_offset;
}

/// "f32[batch,4,past + sequence,32]"
std::string describeType(const tacq_tensor_info_t &info);

} // namespace tacq::tools

#endif // TACQ_TOOLS_HANDLES_H
