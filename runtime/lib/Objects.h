//===- Objects.h - What the handles of the C API stand for ------*- C++ -*-===//

#ifndef TACQ_LIB_OBJECTS_H
#define TACQ_LIB_OBJECTS_H

#include "Interpreter.h"
#include "tacq/ModuleView.h"
#include "tacq/driver.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace tacq {

/// Objects keep what they were created from alive by a count, so handles may be released in any
/// order.
template <typename Derived> struct Counted {
  std::atomic<int> references{1};

  Derived *retain() {
    references.fetch_add(1, std::memory_order_relaxed);
    return static_cast<Derived *>(this);
  }
  void release() {
    if (references.fetch_sub(1, std::memory_order_acq_rel) == 1)
      delete static_cast<Derived *>(this);
  }
};

/// Options from a caller that may have been compiled with a shorter struct.
template <typename Options> Error readOptions(const Options *from, Options &to) {
  if (!from)
    return success();
  if (from->struct_size < sizeof(size_t))
    return makeError(TACQ_INVALID_ARGUMENT, "struct_size of the options is not set");
  memcpy(static_cast<void *>(&to), from, std::min(from->struct_size, sizeof(Options)));
  return success();
}

/// The same the other way around.
template <typename Info> Error writeInfo(const Info &from, Info *to) {
  if (!to || to->struct_size < sizeof(size_t))
    return makeError(TACQ_INVALID_ARGUMENT, "struct_size of the result is not set");
  size_t size = std::min(to->struct_size, sizeof(Info));
  memcpy(reinterpret_cast<char *>(to) + sizeof(size_t),
         reinterpret_cast<const char *>(&from) + sizeof(size_t), size - sizeof(size_t));
  return success();
}

/// A declared tensor in the form that the C API hands out.
struct TensorDescription {
  std::string name;
  tacq_element_type_t type = TACQ_ELEMENT_NONE;
  std::vector<int64_t> dims; // -1: dynamic
  std::vector<const char *> dimTexts;
  int32_t state = -1;

  /// "input 'x' (i64[batch, 4])"
  std::string describe(const char *kind) const;
};

} // namespace tacq

struct tacq_runtime : tacq::Counted<tacq_runtime> {
  tacq_host_t host = {};
  std::mutex mutex; // of drivers
  std::vector<const tacq_driver_t *> drivers;

  const tacq_driver_t *findDriver(const std::string &name);
  void log(tacq_log_level_t level, const std::string &message) const {
    if (host.log)
      host.log(host.log_user, level, message.c_str());
  }
};

struct tacq_device : tacq::Counted<tacq_device> {
  tacq_runtime *runtime = nullptr;
  const tacq_driver_t *driver = nullptr;
  tacq_driver_device_t *handle = nullptr;

  ~tacq_device();
};

struct tacq_module : tacq::Counted<tacq_module> {
  tacq_runtime *runtime = nullptr;
  std::unique_ptr<tacq::ModuleView> view;
  std::unique_ptr<tacq::ProgramInfo> program;
  std::vector<tacq::TensorDescription> inputs, outputs;

  ~tacq_module();
};

namespace tacq {

inline const ModuleView &viewOf(const tacq_module_t *module) { return *module->view; }

} // namespace tacq

#endif // TACQ_LIB_OBJECTS_H
