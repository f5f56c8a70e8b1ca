//===- VulkanSessionTest.cpp - Sessions on a device that fails ------------===//
//
// Through the C API: each fault is a status with a message, and the process goes on with the cpu.
// The driver is that of Vulkan, but for a table of functions that a test reaches into. Needs any
// Vulkan device.
//
//===----------------------------------------------------------------------===//

#include "Drivers.h"
#include "TestModule.h"
#include "tacq/driver.h"
#include "vulkan/VulkanDevice.h"

#include <algorithm>
#include <dirent.h>
#include <functional>
#include <gtest/gtest.h>
#include <string>

using namespace tacq;
using namespace tacq::format;
using namespace tacq::test;

namespace {

/// The device that was opened last.
VulkanDevice *lastOpened = nullptr;

const tacq_driver_t *faultyDriver() {
  static const tacq_driver_t driver = [] {
    tacq_driver_t table = *vulkanDriver();
    table.name = "faulty";
    table.open_device = [](const tacq_driver_t *self, const tacq_host_t *host, const char *options,
                           tacq_driver_device_t **device) {
      tacq_status_t *status = vulkanDriver()->open_device(self, host, options, device);
      if (!status)
        lastOpened = VulkanDevice::of(*device);
      return status;
    };
    return table;
  }();
  return &driver;
}

VKAPI_ATTR VkResult VKAPI_CALL lose(VkQueue, uint32_t, const VkSubmitInfo *, VkFence) {
  return VK_ERROR_DEVICE_LOST;
}
VKAPI_ATTR VkResult VKAPI_CALL noMemory(VkDevice, const VkMemoryAllocateInfo *,
                                        const VkAllocationCallbacks *, VkDeviceMemory *) {
  return VK_ERROR_OUT_OF_DEVICE_MEMORY;
}
VKAPI_ATTR VkResult VKAPI_CALL notReached(VkDevice, VkSemaphore, uint64_t *value) {
  *value = 0;
  return VK_SUCCESS;
}
PFN_vkBeginCommandBuffer realBegin = nullptr;
int recordings = 0;
VKAPI_ATTR VkResult VKAPI_CALL countRecording(VkCommandBuffer commands,
                                              const VkCommandBufferBeginInfo *info) {
  ++recordings;
  return realBegin(commands, info);
}
PFN_vkCmdPipelineBarrier realBarrier = nullptr;
int barriers = 0;
VKAPI_ATTR void VKAPI_CALL countBarrier(VkCommandBuffer commands, VkPipelineStageFlags from,
                                        VkPipelineStageFlags to, VkDependencyFlags flags,
                                        uint32_t memory, const VkMemoryBarrier *memoryBarriers,
                                        uint32_t buffers,
                                        const VkBufferMemoryBarrier *bufferBarriers,
                                        uint32_t images,
                                        const VkImageMemoryBarrier *imageBarriers) {
  ++barriers;
  realBarrier(commands, from, to, flags, memory, memoryBarriers, buffers, bufferBarriers, images,
              imageBarriers);
}

PFN_vkWaitSemaphores realWait = nullptr;
VKAPI_ATTR VkResult VKAPI_CALL waitShortly(VkDevice device, const VkSemaphoreWaitInfo *info,
                                           uint64_t) {
  return realWait(device, info, 1000000);
}
VKAPI_ATTR VkResult VKAPI_CALL waitInVain(VkDevice, const VkSemaphoreWaitInfo *, uint64_t) {
  return VK_TIMEOUT;
}

PFN_vkQueueSubmit realSubmit = nullptr;
int submissions = 0;
VKAPI_ATTR VkResult VKAPI_CALL countSubmission(VkQueue queue, uint32_t count,
                                               const VkSubmitInfo *infos, VkFence fence) {
  ++submissions;
  return realSubmit(queue, count, infos, fence);
}

class VulkanSessions : public testing::Test {
protected:
  void SetUp() override {
    ASSERT_EQ(tacq_runtime_create(nullptr, &runtime), nullptr);
    ASSERT_EQ(tacq_runtime_register_driver(runtime, faultyDriver()), nullptr);
    setenv("XDG_CACHE_HOME", directory.file("cache").c_str(), 1);
  }
  void TearDown() override {
    close();
    tacq_runtime_release(runtime);
    unsetenv("XDG_CACHE_HOME");
  }

  void close() {
    tacq_session_release(session);
    tacq_module_release(module);
    tacq_device_release(device);
    session = nullptr;
    module = nullptr;
    device = nullptr;
  }

  /// y = x with its last element in front.
  std::string writeModule(const std::vector<std::string> &features = {}) {
    std::string path = directory.file("m.tacq");
    TestModule m(path);
    uint32_t n = m.symbol();
    uint32_t x = m.addInput("x", ElementType_F32, {dynamic(n, "n")});
    uint32_t y = m.addOutput("y", ElementType_F32, {dynamic(n, "n")});
    uint32_t four = m.number(4), bytes = m.op(SymbolOpcode_Mul, n, four);
    uint32_t rest = m.op(SymbolOpcode_Sub, bytes, four);
    m.endPrologue();
    uint32_t from = m.addBuffer(BufferKind_Input, x), to = m.addBuffer(BufferKind_Output, y);
    m.copy(0, to, from, rest, four);
    m.copy(0, to, from, four, kNone, rest);
    if (!features.empty()) {
      ExecutableT executable;
      executable.driver = "faulty";
      executable.target = "starship";
      executable.format = "spirv";
      executable.features = features;
      executable.kernels = {"k"};
      m.module().kernel_count = 1;
      uint32_t index;
      require(m.output().addExecutable(executable, "0123456789abcdef01234567", 24, index));
    }
    m.finish();
    return path;
  }

  /// y = x + x. `addExecutables` adds those of the kernel add_f32.
  std::string writeSumModule(const std::function<void(TestModule &)> &addExecutables,
                             int times = 1) {
    std::string path = directory.file("sum.tacq");
    TestModule m(path);
    uint32_t n = m.symbol();
    uint32_t x = m.addInput("x", ElementType_F32, {dynamic(n, "n")});
    uint32_t y = m.addOutput("y", ElementType_F32, {dynamic(n, "n")});
    m.endPrologue();
    uint32_t from = m.addBuffer(BufferKind_Input, x), to = m.addBuffer(BufferKind_Output, y);
    for (int i = 0; i < times; ++i)
      m.dispatch(0, 0, {from, from, to}, {n}, n);
    addExecutables(m);
    m.finish();
    return path;
  }

  static void expect(tacq_status_t *status, tacq_code_t code, const char *text) {
    EXPECT_EQ(tacq_status_code(status), code) << tacq_status_message(status);
    EXPECT_NE(std::string(tacq_status_message(status)).find(text), std::string::npos)
        << tacq_status_message(status);
    tacq_status_free(status);
  }

  tacq_status_t *open(const char *name, const std::string &path) {
    tacq_status_t *status = tacq_device_open(runtime, name, &device);
    if (!status)
      status = tacq_module_open(runtime, path.c_str(), nullptr, &module);
    return status ? status : tacq_session_create(module, device, nullptr, &session);
  }

  tacq_status_t *run(size_t count) {
    data.resize(count);
    for (size_t i = 0; i < count; ++i)
      data[i] = static_cast<float>(i);
    auto extent = static_cast<int64_t>(count);
    if (tacq_status_t *status = tacq_session_set_input_data(session, 0, TACQ_F32, &extent, 1,
                                                            data.data(), count * sizeof(float)))
      return status;
    return tacq_session_run(session);
  }

  void expectOutput(size_t count, const std::function<float(size_t)> &expected) {
    tacq_status_t *status = run(count);
    ASSERT_EQ(status, nullptr) << tacq_status_message(status);
    std::vector<float> y(count);
    ASSERT_EQ(tacq_session_copy_output(session, 0, y.data(), count * sizeof(float)), nullptr);
    for (size_t i = 0; i < count; ++i)
      ASSERT_EQ(y[i], expected(i));
  }
  void expectResult(size_t count) {
    expectOutput(count, [&](size_t i) { return data[(i + count - 1) % count]; });
  }
  void expectSum(size_t count) {
    expectOutput(count, [&](size_t i) { return 2 * data[i]; });
  }

  /// The same work in the same process.
  void expectCpuGoesOn() {
    close();
    tacq_status_t *status = open("cpu:threads=2", writeModule());
    ASSERT_EQ(status, nullptr) << tacq_status_message(status);
    expectResult(1000);
  }

  /// The files in the folder of the pipeline cache.
  std::vector<std::string> cacheFiles() {
    std::vector<std::string> files;
    std::string folder = directory.file("cache/tacq");
    if (DIR *open = opendir(folder.c_str())) {
      while (dirent *entry = readdir(open))
        if (entry->d_name[0] != '.')
          files.push_back(folder + "/" + entry->d_name);
      closedir(open);
    }
    return files;
  }

  TemporaryDirectory directory;
  tacq_runtime_t *runtime = nullptr;
  tacq_device_t *device = nullptr;
  tacq_module_t *module = nullptr;
  tacq_session_t *session = nullptr;
  std::vector<float> data;
};

TEST_F(VulkanSessions, NoDevice) {
  expect(open("faulty:99", writeModule()), TACQ_UNSUPPORTED, "no device 'vulkan:99'");
  expectCpuGoesOn();
}

TEST_F(VulkanSessions, UnknownOptions) {
  for (const char *name : {"faulty:timeout=0", "faulty:timeout=x", "faulty:0,fast"})
    expect(open(name, writeModule()), TACQ_INVALID_ARGUMENT, "has no option");
  expectCpuGoesOn();
}

TEST_F(VulkanSessions, LostDevice) {
  ASSERT_EQ(open("faulty:0", writeModule()), nullptr);
  expectResult(1000);
  lastOpened->api.QueueSubmit = lose;
  expect(run(1000), TACQ_DEVICE_FAILURE, "the device is lost");
  expect(run(1000), TACQ_DEVICE_FAILURE, "the device is lost");
  expectCpuGoesOn();
}

/// What a token costs: runs that feed each other, while the host reads a few bytes of each.
TEST_F(VulkanSessions, OneSubmissionForARun) {
  for (const char *name : {"faulty:0", "faulty:0,staged"}) {
    ASSERT_EQ(open(name, writeModule()), nullptr);
    expectResult(3);
    ASSERT_EQ(tacq_session_link(session, 0, 0), nullptr);
    realSubmit = lastOpened->api.QueueSubmit;
    lastOpened->api.QueueSubmit = countSubmission;
    std::vector<float> expected = {2, 0, 1}, y(3);
    auto goOn = [&](int runs) {
      submissions = 0;
      ASSERT_EQ(tacq_session_start(session), nullptr);
      for (int i = 0; i < runs; ++i) {
        // The next one begins before the host has seen what this one has left.
        if (i + 1 < runs)
          ASSERT_EQ(tacq_session_start(session), nullptr);
        ASSERT_EQ(tacq_session_finish(session), nullptr);
        ASSERT_EQ(tacq_session_copy_output(session, 0, y.data(), 12), nullptr);
        std::rotate(expected.begin(), expected.end() - 1, expected.end());
        ASSERT_EQ(y, expected);
      }
    };
    // Memory of outputs and of the second run is made meanwhile.
    goOn(4);
    goOn(10);
    EXPECT_EQ(submissions, 10) << name;
    close();
  }
}

TEST_F(VulkanSessions, LostDeviceBesideTheHost) {
  std::string path = writeSumModule([](TestModule &m) {
    m.addHostExecutable({"add_f32"});
    m.addShaderlessExecutable("faulty");
  });
  ASSERT_EQ(open("faulty:0,staged", path), nullptr);
  expectSum(1000);
  lastOpened->api.QueueSubmit = lose;
  expect(run(1000), TACQ_DEVICE_FAILURE, "the device is lost");
  expectCpuGoesOn();
}

#ifdef TACQ_SHADER_DIR
/// What a device cannot bind is left to the host, call by call.
TEST_F(VulkanSessions, BuffersBeyondTheLimit) {
  for (const char *name : {"faulty:0", "faulty:0,staged"}) {
    std::string path = writeSumModule([](TestModule &m) {
      m.addHostExecutable({"add_f32"});
      m.addShaderExecutable({"add_f32"}, TACQ_SHADER_DIR, 0, "faulty");
    });
    ASSERT_EQ(open(name, path), nullptr);
    expectSum(1000);
    lastOpened->properties.limits.maxStorageBufferRange = 1024;
    expectSum(1000);
    expectSum(100);
    expectSum(2000);
    close();
  }
  // Only the shader is there.
  ASSERT_EQ(open("faulty:0", writeSumModule([](TestModule &m) {
                   m.addShaderExecutable({"add_f32"}, TACQ_SHADER_DIR, 0, "faulty");
                 })),
            nullptr);
  expectSum(1000);
  lastOpened->properties.limits.maxStorageBufferRange = 1024;
  expect(run(1000), TACQ_UNSUPPORTED, "binds no more than 1024 bytes");
  expectSum(100);
  // Shaders read whole words.
  lastOpened->properties.limits.maxStorageBufferRange = 1022;
  expect(run(255), TACQ_UNSUPPORTED, "binds no more than 1022 bytes");
}
#endif

TEST_F(VulkanSessions, Timeout) {
  ASSERT_EQ(open("faulty:0,timeout=1", writeModule()), nullptr);
  expectResult(1000);
  auto reached = lastOpened->api.GetSemaphoreCounterValue;
  auto wait = lastOpened->api.WaitSemaphores;
  lastOpened->api.GetSemaphoreCounterValue = notReached;
  lastOpened->api.WaitSemaphores = waitInVain;
  expect(run(1000), TACQ_DEVICE_FAILURE, "did not finish in time");
  lastOpened->api.GetSemaphoreCounterValue = reached;
  lastOpened->api.WaitSemaphores = wait;
  expectCpuGoesOn();
}

#ifdef TACQ_SHADER_DIR
/// Runs of the same sizes submit what was recorded once for each frame.
TEST_F(VulkanSessions, RecordedOnce) {
  std::string path = writeSumModule(
      [](TestModule &m) { m.addShaderExecutable({"add_f32"}, TACQ_SHADER_DIR, 0, "faulty"); });
  ASSERT_EQ(open("faulty:0", path), nullptr);
  for (int i = 0; i < 3; ++i)
    expectSum(1000);
  realBegin = lastOpened->api.BeginCommandBuffer;
  lastOpened->api.BeginCommandBuffer = countRecording;
  recordings = 0;
  for (int i = 0; i < 5; ++i)
    expectSum(1000);
  EXPECT_EQ(recordings, 0);
  expectSum(1001);
  EXPECT_GT(recordings, 0);
}

/// Dispatches that read and write other bytes need none between them.
TEST_F(VulkanSessions, BarriersBetweenDependents) {
  auto barriersOf = [&](bool chained) {
    std::string path = directory.file("pair.tacq");
    TestModule m(path);
    uint32_t n = m.symbol();
    uint32_t x = m.addInput("x", ElementType_F32, {dynamic(n, "n")});
    uint32_t y = m.addOutput("y", ElementType_F32, {dynamic(n, "n")});
    uint32_t z = m.addOutput("z", ElementType_F32, {dynamic(n, "n")});
    m.endPrologue();
    uint32_t from = m.addBuffer(BufferKind_Input, x), first = m.addBuffer(BufferKind_Output, y);
    uint32_t second = m.addBuffer(BufferKind_Output, z);
    m.dispatch(0, 0, {from, from, first}, {n}, n);
    m.dispatch(0, 0, {chained ? first : from, from, second}, {n}, n);
    m.addShaderExecutable({"add_f32"}, TACQ_SHADER_DIR, 0, "faulty");
    m.finish();
    tacq_status_t *status = open("faulty:0", path);
    EXPECT_EQ(status, nullptr) << tacq_status_message(status);
    realBarrier = lastOpened->api.CmdPipelineBarrier;
    lastOpened->api.CmdPipelineBarrier = countBarrier;
    barriers = 0;
    expectSum(1000);
    close();
    return barriers;
  };
  int independent = barriersOf(false);
  EXPECT_EQ(barriersOf(true), independent + 1);
}

/// What is closed while the device works is left to it.
TEST_F(VulkanSessions, WorkThatGoesOn) {
  for (const char *name : {"faulty:0", "faulty:0,staged"}) {
    std::string path = writeSumModule(
        [](TestModule &m) { m.addShaderExecutable({"add_f32"}, TACQ_SHADER_DIR, 0, "faulty"); },
        /*times=*/100);
    ASSERT_EQ(open(name, path), nullptr);
    expectSum(1000);
    realWait = lastOpened->api.WaitSemaphores;
    lastOpened->api.WaitSemaphores = waitShortly;
    expect(run(size_t(4) << 20), TACQ_DEVICE_FAILURE, "did not finish in time");
    expectCpuGoesOn();
    close();
    // Nobody has waited for this one.
    ASSERT_EQ(open(name, path), nullptr);
    ASSERT_EQ(run(size_t(4) << 20), nullptr);
    realWait = lastOpened->api.WaitSemaphores;
    lastOpened->api.WaitSemaphores = waitShortly;
    ASSERT_EQ(tacq_session_start(session), nullptr);
    expectCpuGoesOn();
    close();
  }
}
#endif

TEST_F(VulkanSessions, OutOfMemory) {
  ASSERT_EQ(open("faulty:0", writeModule()), nullptr);
  expectResult(1000);
  auto real = lastOpened->api.AllocateMemory;
  lastOpened->api.AllocateMemory = noMemory;
  expect(run(100000), TACQ_OUT_OF_MEMORY, "out of device memory");
  lastOpened->api.AllocateMemory = real;
  expectResult(100000);
  expectCpuGoesOn();
}

TEST_F(VulkanSessions, AbsentFeatures) {
  expect(open("faulty:0", writeModule({"int64", "warp-drive", "buffers=4000000000"})),
         TACQ_UNSUPPORTED, "'starship' needs warp-drive, buffers=4000000000; the device is");
  expectCpuGoesOn();
}

TEST_F(VulkanSessions, DamagedPipelineCache) {
  ASSERT_EQ(open("faulty:0", writeModule()), nullptr);
  lastOpened->savePipelineCache();
  close();
  std::vector<std::string> files = cacheFiles();
  ASSERT_EQ(files.size(), 1u);
  std::vector<uint8_t> whole = readFile(files[0]);
  std::vector<uint8_t> damaged = whole;
  damaged.back() ^= 1;
  for (const std::vector<uint8_t> &bytes :
       {damaged, std::vector<uint8_t>(whole.begin(), whole.begin() + 20), std::vector<uint8_t>()}) {
    writeFile(files[0], bytes.data(), bytes.size());
    ASSERT_EQ(open("faulty:0", writeModule()), nullptr);
    expectResult(1000);
    // It is written again.
    lastOpened->savePipelineCache();
    close();
    EXPECT_EQ(readFile(files[0]), whole);
  }
}

TEST_F(VulkanSessions, ManipulatedShaders) {
  std::string path = writeModule({"int64"});
  std::vector<uint8_t> bytes = readFile(path);
  std::string text(bytes.begin(), bytes.end());
  size_t at = text.find("0123456789abcdef");
  ASSERT_NE(at, std::string::npos);
  bytes[at + 3] ^= 1;
  writeFile(path, bytes.data(), bytes.size());
  expect(open("faulty:0", path), TACQ_INVALID_MODULE, "checksum");
  // With checksums that fit, the code itself is checked.
  close();
  ASSERT_TRUE(fixChecksums(bytes.data(), bytes.size()));
  writeFile(path, bytes.data(), bytes.size());
  expect(open("faulty:0", path), TACQ_INVALID_MODULE, "the shaders are of another version");
  expectCpuGoesOn();
}

} // namespace
