//===- CtsSupport.h - Parts of the conformance suite ------------*- C++ -*-===//
//
// To run the suite against another driver, add its registration to makeRuntime() and its device
// names to kDevices (kComputingDevices when the test kernels run on it, kShaderDevices when it runs
// SPIR-V).
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_CTS_CTSSUPPORT_H
#define TACQ_CTS_CTSSUPPORT_H

#include "TestModule.h"
#include "tacq/runtime.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace tacq::test {

/// "staged" is the null driver without access to host memory, as on a device with its own.
inline const char *const kDevices[] = {"cpu:threads=1", "cpu:threads=3", "null",
                                       "staged",        "vulkan:0",      "vulkan:0,staged"};
/// Those that take executables for the host's processor.
inline const char *const kHostDevices[] = {"cpu:threads=1", "cpu:threads=3", "null", "staged"};
/// Those that run the host's kernels: their own, or those that they have no shaders for.
inline const char *const kComputingDevices[] = {"cpu:threads=1", "cpu:threads=2", "cpu:threads=5",
                                                "vulkan:0,threads=2", "vulkan:0,staged,threads=3"};

/// Those that run shaders.
inline const char *const kShaderDevices[] = {"vulkan:0", "vulkan:0,staged"};

struct Releaser {
  void operator()(tacq_runtime_t *runtime) const { tacq_runtime_release(runtime); }
  void operator()(tacq_device_t *device) const { tacq_device_release(device); }
  void operator()(tacq_module_t *module) const { tacq_module_release(module); }
  void operator()(tacq_session_t *session) const { tacq_session_release(session); }
};
template <typename Object> using Handle = std::unique_ptr<Object, Releaser>;

/// Code and message of a status, which is freed.
struct Outcome {
  tacq_code_t code;
  std::string message;
  Outcome(tacq_status_t *status)
      : code(tacq_status_code(status)), message(tacq_status_message(status)) {
    tacq_status_free(status);
  }
  bool mentions(const std::string &part) const { return message.find(part) != std::string::npos; }
};

#define EXPECT_STATUS_OK(expression)                                                               \
  do {                                                                                             \
    ::tacq::test::Outcome outcome(expression);                                                     \
    EXPECT_EQ(outcome.code, TACQ_OK) << outcome.message;                                           \
  } while (false)
#define ASSERT_STATUS_OK(expression)                                                               \
  do {                                                                                             \
    ::tacq::test::Outcome outcome(expression);                                                     \
    ASSERT_EQ(outcome.code, TACQ_OK) << outcome.message;                                           \
  } while (false)
#define EXPECT_STATUS(expression, expected, part)                                                  \
  do {                                                                                             \
    ::tacq::test::Outcome outcome(expression);                                                     \
    EXPECT_EQ(outcome.code, expected) << outcome.message;                                          \
    EXPECT_TRUE(outcome.mentions(part)) << outcome.message;                                        \
  } while (false)

Handle<tacq_runtime_t> makeRuntime();

/// A test on one device with a module of its own.
class DeviceTest : public testing::TestWithParam<const char *> {
protected:
  void SetUp() override;

  std::string modulePath() const { return directory.file("m.tacq"); }
  /// Opens the module that was written to modulePath().
  void open(int32_t stateful = 0, int64_t capacity = 0, int32_t profile = 0);

  template <typename T>
  tacq_status_t *set(size_t index, tacq_element_type_t type, std::vector<int64_t> dims,
                     const std::vector<T> &data) {
    return tacq_session_set_input_data(session.get(), index, type, dims.data(), dims.size(),
                                       data.data(), data.size() * sizeof(T));
  }
  std::vector<int64_t> shape(size_t index);
  /// The output's elements, read in both ways that there are.
  template <typename T> std::vector<T> get(size_t index) {
    DLManagedTensor *tensor = nullptr;
    EXPECT_STATUS_OK(tacq_session_get_output(session.get(), index, &tensor));
    if (!tensor)
      return {};
    EXPECT_EQ(std::vector<int64_t>(tensor->dl_tensor.shape,
                                   tensor->dl_tensor.shape + tensor->dl_tensor.ndim),
              shape(index));
    size_t count = 1;
    for (int64_t extent : shape(index))
      count *= static_cast<size_t>(extent);
    std::vector<T> result(count), copied(count);
    if (count > 0)
      std::copy_n(static_cast<const T *>(tensor->dl_tensor.data), count, result.begin());
    tensor->deleter(tensor);
    EXPECT_STATUS_OK(
        tacq_session_copy_output(session.get(), index, copied.data(), count * sizeof(T)));
    EXPECT_EQ(result, copied);
    return result;
  }
  tacq_status_t *run() { return tacq_session_run(session.get()); }
  tacq_session_counters_t counters();

  TemporaryDirectory directory;
  Handle<tacq_runtime_t> runtime;
  Handle<tacq_device_t> device;
  Handle<tacq_module_t> module;
  Handle<tacq_session_t> session;
};

/// Names of parameterized tests.
inline std::string deviceTestName(const testing::TestParamInfo<const char *> &info) {
  std::string name = info.param;
  for (char &c : name)
    if (!isalnum(static_cast<unsigned char>(c)))
      c = '_';
  return name;
}

} // namespace tacq::test

#endif // TACQ_CTS_CTSSUPPORT_H
