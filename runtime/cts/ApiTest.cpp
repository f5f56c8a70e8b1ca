//===- ApiTest.cpp - Handles, options, devices, descriptions --------------===//

#include "CtsSupport.h"
#include "tacq/driver.h"

#include <atomic>
#include <cstring>
#include <map>
#include <mutex>

using namespace tacq;
using namespace tacq::test;
using namespace tacq::format;

namespace {

TEST(Api, Versions) {
  EXPECT_EQ(tacq_api_version(), static_cast<uint32_t>(TACQ_API_VERSION));
  EXPECT_STRNE(tacq_version_string(), "");
  EXPECT_EQ(tacq_status_code(nullptr), TACQ_OK);
  EXPECT_STREQ(tacq_status_message(nullptr), "");
  tacq_status_free(nullptr);
}

TEST(Api, ElementTypesAndDLPackAgree) {
  for (int i = TACQ_BOOL; i <= TACQ_F64; ++i) {
    auto type = static_cast<tacq_element_type_t>(i);
    EXPECT_EQ(tacq_element_from_dlpack(tacq_element_to_dlpack(type)), type);
    EXPECT_EQ(tacq_element_size(type), tacq_element_to_dlpack(type).bits / 8u);
  }
  EXPECT_EQ(tacq_element_from_dlpack({kDLComplex, 64, 1}), TACQ_ELEMENT_NONE);
  EXPECT_EQ(tacq_element_from_dlpack({kDLFloat, 32, 4}), TACQ_ELEMENT_NONE);
  EXPECT_EQ(tacq_element_size(static_cast<tacq_element_type_t>(15)), 0u);
  EXPECT_STREQ(tacq_element_name(TACQ_BF16), "bf16");
}

TEST(Api, DevicesAreListedAndOpened) {
  Handle<tacq_runtime_t> runtime = makeRuntime();
  tacq_device_info_t infos[4] = {};
  infos[0].struct_size = sizeof(infos[0]);
  size_t count = 0;
  ASSERT_STATUS_OK(tacq_runtime_list_devices(runtime.get(), infos, 4, &count));
  // And those of Vulkan, where there are any.
  ASSERT_GE(count, 3u);
  size_t all = count;
  EXPECT_STREQ(infos[0].name, "cpu");
  EXPECT_STREQ(infos[1].name, "null");
  ASSERT_STATUS_OK(tacq_runtime_list_devices(runtime.get(), nullptr, 0, &count));
  EXPECT_EQ(count, all);
  tacq_device_t *device = nullptr;
  EXPECT_STATUS(tacq_device_open(runtime.get(), "tpu", &device), TACQ_INVALID_ARGUMENT,
                "there is no device 'tpu'; this runtime has the drivers cpu, null, ");
  for (const char *name :
       {"cpu:threads=0", "cpu:threads=x", "cpu:threads=", "cpu:threads=99999", "cpu:turbo",
        "cpu:pin=2", "cpu:cores=1-", "cpu:cores=0,cores=0", "cpu:cores=60000", "cpu:node=4000",
        "cpu:pin=0,node=0", "cpu:threads=1000,pin=1", "null:x"})
    EXPECT_STATUS(tacq_device_open(runtime.get(), name, &device), TACQ_INVALID_ARGUMENT,
                  name[0] == 'n' ? "x" : "device 'cpu'");
  ASSERT_STATUS_OK(tacq_device_open(runtime.get(), "cpu:threads=3", &device));
  tacq_device_info_t info = {};
  EXPECT_STATUS(tacq_device_get_info(device, &info), TACQ_INVALID_ARGUMENT, "struct_size");
  info.struct_size = sizeof(info);
  ASSERT_STATUS_OK(tacq_device_get_info(device, &info));
  EXPECT_STREQ(info.name, "cpu:threads=3");
  tacq_device_release(device);
  ASSERT_STATUS_OK(tacq_device_open(runtime.get(), "cpu:threads=1,pin=1", &device));
  ASSERT_STATUS_OK(tacq_device_get_info(device, &info));
  EXPECT_STREQ(info.name, "cpu:threads=1");
  tacq_device_release(device);
}

TEST(Api, DriversAreChecked) {
  Handle<tacq_runtime_t> runtime = makeRuntime();
  tacq_driver_t driver = {};
  EXPECT_STATUS(tacq_runtime_register_driver(runtime.get(), &driver), TACQ_INVALID_ARGUMENT,
                "version");
  driver.struct_size = sizeof(driver);
  driver.version = TACQ_DRIVER_VERSION;
  driver.name = "a:b";
  EXPECT_STATUS(tacq_runtime_register_driver(runtime.get(), &driver), TACQ_INVALID_ARGUMENT,
                "'a:b' is no name");
  driver.name = "npu";
  EXPECT_STATUS(tacq_runtime_register_driver(runtime.get(), &driver), TACQ_INVALID_ARGUMENT,
                "not complete");
  EXPECT_STATUS(tacq_runtime_register_driver(runtime.get(), nullptr), TACQ_INVALID_ARGUMENT,
                "version");
}

TEST(Api, ModulesAreDescribed) {
  TemporaryDirectory directory;
  writeRichModule(directory.file("m.tacq"));
  Handle<tacq_runtime_t> runtime = makeRuntime();
  tacq_module_t *opened = nullptr;
  EXPECT_STATUS(tacq_module_open(runtime.get(), directory.file("x.tacq").c_str(), nullptr, &opened),
                TACQ_IO, "x.tacq");
  ASSERT_STATUS_OK(
      tacq_module_open(runtime.get(), directory.file("m.tacq").c_str(), nullptr, &opened));
  Handle<tacq_module_t> module(opened);
  EXPECT_EQ(tacq_module_input_count(opened), 3u);
  EXPECT_EQ(tacq_module_output_count(opened), 3u);
  EXPECT_EQ(tacq_module_state_count(opened), 2u);
  EXPECT_EQ(tacq_module_find_input(opened, "past_value"), 2);
  EXPECT_EQ(tacq_module_find_output(opened, "past_value"), -1);
  tacq_tensor_info_t info = {};
  info.struct_size = sizeof(info);
  ASSERT_STATUS_OK(tacq_module_input_info(opened, 1, &info));
  EXPECT_STREQ(info.name, "past_key");
  EXPECT_EQ(info.element_type, TACQ_F32);
  ASSERT_EQ(info.rank, 3);
  EXPECT_EQ(info.dims[0], -1);
  EXPECT_EQ(info.dims[2], 4);
  EXPECT_STREQ(info.dim_texts[1], "past");
  EXPECT_EQ(info.state, 0);
  ASSERT_STATUS_OK(tacq_module_output_info(opened, 0, &info));
  EXPECT_EQ(info.state, -1);
  EXPECT_STATUS(tacq_module_input_info(opened, 3, &info), TACQ_INVALID_ARGUMENT, "no input 3");
  EXPECT_STREQ(tacq_module_metadata(opened, "stop"), "10");
  EXPECT_STREQ(tacq_module_metadata(opened, "model_name"), "test model");
  EXPECT_EQ(tacq_module_metadata(opened, "other"), nullptr);
}

TEST(Api, ModulesFromMemory) {
  TemporaryDirectory directory;
  writeRichModule(directory.file("m.tacq"));
  AlignedBytes bytes(readFile(directory.file("m.tacq")));
  Handle<tacq_runtime_t> runtime = makeRuntime();
  tacq_module_t *opened = nullptr;
  ASSERT_STATUS_OK(
      tacq_module_open_memory(runtime.get(), bytes.data(), bytes.size(), "mine", nullptr, &opened));
  tacq_module_release(opened);
  EXPECT_STATUS(tacq_module_open_memory(runtime.get(), bytes.data() + 1, bytes.size() - 1, "mine",
                                        nullptr, &opened),
                TACQ_INVALID_ARGUMENT, "'mine'");
  bytes.data()[100 + 4096] ^= 1;
  EXPECT_STATUS(
      tacq_module_open_memory(runtime.get(), bytes.data(), bytes.size(), "mine", nullptr, &opened),
      TACQ_INVALID_MODULE, "checksum of the data section");
  tacq_module_options_t options = {};
  EXPECT_STATUS(
      tacq_module_open_memory(runtime.get(), bytes.data(), bytes.size(), "mine", &options, &opened),
      TACQ_INVALID_ARGUMENT, "struct_size");
  options.struct_size = sizeof(options);
  options.skip_data_checksum = 1;
  ASSERT_STATUS_OK(tacq_module_open_memory(runtime.get(), bytes.data(), bytes.size(), "mine",
                                           &options, &opened));
  tacq_module_release(opened);
}

/// Counts what is allocated, and refuses when told to.
struct CountingAllocator {
  std::mutex mutex;
  std::map<void *, size_t> live;
  size_t total = 0;
  std::atomic<bool> refuse{false};

  static void *allocate(void *user, size_t size, size_t alignment) {
    auto &self = *static_cast<CountingAllocator *>(user);
    if (self.refuse)
      return nullptr;
    void *memory = aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    std::lock_guard<std::mutex> lock(self.mutex);
    self.live[memory] = size;
    ++self.total;
    return memory;
  }
  static void release(void *user, void *memory, size_t size, size_t) {
    auto &self = *static_cast<CountingAllocator *>(user);
    std::lock_guard<std::mutex> lock(self.mutex);
    EXPECT_EQ(self.live.count(memory), 1u);
    EXPECT_EQ(self.live[memory], size);
    self.live.erase(memory);
    free(memory);
  }
};

TEST(Api, AllocatorOfTheCallerIsUsed) {
  TemporaryDirectory directory;
  {
    TestModule m(directory.file("m.tacq"));
    uint32_t n = m.symbol();
    m.addInput("x", ElementType_F32, {dynamic(n, "n")});
    m.addOutput("y", ElementType_F32, {dynamic(n, "n")});
    uint32_t bytes = m.op(SymbolOpcode_Mul, n, m.number(4));
    m.endPrologue();
    uint32_t transient = m.addBuffer(BufferKind_Transient, 0, ElementType_None, bytes);
    m.copy(0, transient, m.addBuffer(BufferKind_Input, 0), bytes);
    m.copy(0, m.addBuffer(BufferKind_Output, 0), transient, bytes);
    m.finish();
  }
  for (const char *name : {"cpu:threads=2", "null"}) {
    CountingAllocator counting;
    tacq_runtime_options_t options = {};
    options.struct_size = sizeof(options);
    options.allocator = {&counting, CountingAllocator::allocate, CountingAllocator::release};
    tacq_runtime_t *runtime = nullptr;
    tacq_device_t *device = nullptr;
    tacq_module_t *module = nullptr;
    tacq_session_t *session = nullptr;
    ASSERT_STATUS_OK(tacq_runtime_create(&options, &runtime));
    ASSERT_STATUS_OK(tacq_device_open(runtime, name, &device));
    ASSERT_STATUS_OK(tacq_module_open(runtime, directory.file("m.tacq").c_str(), nullptr, &module));
    ASSERT_STATUS_OK(tacq_session_create(module, device, nullptr, &session));
    std::vector<float> data(100, 2.0f);
    int64_t small = 10, large = 100;
    ASSERT_STATUS_OK(
        tacq_session_set_input_data(session, 0, TACQ_F32, &small, 1, data.data(), 400));
    ASSERT_STATUS_OK(tacq_session_run(session));
    EXPECT_GE(counting.total, 2u);
    // Without memory a run fails, and works again when there is some.
    ASSERT_STATUS_OK(
        tacq_session_set_input_data(session, 0, TACQ_F32, &large, 1, data.data(), 400));
    counting.refuse = true;
    EXPECT_STATUS(tacq_session_run(session), TACQ_OUT_OF_MEMORY, "400 bytes");
    counting.refuse = false;
    ASSERT_STATUS_OK(tacq_session_run(session));
    float out[100];
    ASSERT_STATUS_OK(tacq_session_copy_output(session, 0, out, sizeof(out)));
    EXPECT_EQ(out[99], 2.0f);
    // In any order.
    tacq_runtime_release(runtime);
    tacq_device_release(device);
    tacq_module_release(module);
    tacq_session_release(session);
    EXPECT_TRUE(counting.live.empty());
  }
}

TEST(Api, HalfAnAllocatorIsRefused) {
  tacq_runtime_options_t options = {};
  options.struct_size = sizeof(options);
  options.allocator.allocate = CountingAllocator::allocate;
  tacq_runtime_t *runtime = nullptr;
  EXPECT_STATUS(tacq_runtime_create(&options, &runtime), TACQ_INVALID_ARGUMENT, "both functions");
  options = {};
  EXPECT_STATUS(tacq_runtime_create(&options, &runtime), TACQ_INVALID_ARGUMENT, "struct_size");
}

TEST(Api, ShorterStructsOfOlderCallersWork) {
  // An older caller's options end before log; its garbage behind them is not read.
  tacq_runtime_options_t options;
  memset(&options, 0xAB, sizeof(options));
  options.struct_size = offsetof(tacq_runtime_options_t, log);
  options.allocator = {};
  tacq_runtime_t *runtime = nullptr;
  ASSERT_STATUS_OK(tacq_runtime_create(&options, &runtime));
  tacq_runtime_release(runtime);
}

} // namespace
