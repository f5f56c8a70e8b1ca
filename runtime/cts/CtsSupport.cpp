//===- CtsSupport.cpp - Parts of the conformance suite --------------------===//

#include "CtsSupport.h"
#include "Drivers.h"
#include "tacq/driver.h"

using namespace tacq;
using namespace tacq::test;

/// The null driver as a vendor would register it, on a device whose memory the host cannot see.
static const tacq_driver_t *stagedDriver() {
  static const tacq_driver_t driver = [] {
    tacq_driver_t table = *nullDriver();
    table.name = "staged";
    table.wrap_host = nullptr;
    table.host_pointer = nullptr;
    return table;
  }();
  return &driver;
}

Handle<tacq_runtime_t> test::makeRuntime() {
  tacq_runtime_t *runtime = nullptr;
  EXPECT_STATUS_OK(tacq_runtime_create(nullptr, &runtime));
  EXPECT_STATUS_OK(tacq_runtime_register_driver(runtime, stagedDriver()));
  return Handle<tacq_runtime_t>(runtime);
}

void DeviceTest::SetUp() {
  runtime = makeRuntime();
  tacq_device_t *opened = nullptr;
  if (std::string(GetParam()).rfind("vulkan", 0) == 0) {
    // Built without the driver, or on a machine without a device.
    Outcome outcome(tacq_device_open(runtime.get(), GetParam(), &opened));
    if (outcome.code == TACQ_UNSUPPORTED || outcome.mentions("there is no device"))
      GTEST_SKIP() << outcome.message;
    ASSERT_EQ(outcome.code, TACQ_OK) << outcome.message;
    device.reset(opened);
    return;
  }
  ASSERT_STATUS_OK(tacq_device_open(runtime.get(), GetParam(), &opened));
  device.reset(opened);
}

void DeviceTest::open(int32_t stateful, int64_t capacity, int32_t profile) {
  session.reset();
  tacq_module_t *openedModule = nullptr;
  ASSERT_STATUS_OK(tacq_module_open(runtime.get(), modulePath().c_str(), nullptr, &openedModule));
  module.reset(openedModule);
  tacq_session_options_t options = {};
  options.struct_size = sizeof(options);
  options.stateful = stateful;
  options.cache_capacity = capacity;
  options.profile = profile;
  tacq_session_t *created = nullptr;
  ASSERT_STATUS_OK(tacq_session_create(module.get(), device.get(), &options, &created));
  session.reset(created);
}

std::vector<int64_t> DeviceTest::shape(size_t index) {
  int64_t dims[16];
  size_t rank = 0;
  EXPECT_STATUS_OK(tacq_session_output_shape(session.get(), index, dims, 16, &rank));
  return std::vector<int64_t>(dims, dims + rank);
}

tacq_session_counters_t DeviceTest::counters() {
  tacq_session_counters_t result = {};
  result.struct_size = sizeof(result);
  EXPECT_STATUS_OK(tacq_session_get_counters(session.get(), &result));
  return result;
}
