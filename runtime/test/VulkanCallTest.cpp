//===- VulkanCallTest.cpp - Every call of Vulkan that may fail ------------===//
//
// A device is opened, weights and an input are uploaded, a shader runs and its result is read, on a
// device whose memory the host does not see. Each call of each function fails once: that is a
// status with a message, or makes no difference; what was made until then is given back, and the
// process goes on with the cpu. Needs any Vulkan device.
//
//===----------------------------------------------------------------------===//

#include "TestModule.h"
#include "vulkan/VulkanApi.h"

#include <array>
#include <atomic>
#include <cstring>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <map>
#include <string>
#include <tuple>
#include <utility>

using namespace tacq;
using namespace tacq::format;
using namespace tacq::test;

#ifdef TACQ_SHADER_DIR

// Those that make objects, with what destroys them, and others.
#define TACQ_MADE_OBJECTS(X)                                                                       \
  X(CreateInstance, DestroyInstance)                                                               \
  X(CreateDevice, DestroyDevice)                                                                   \
  X(CreateBuffer, DestroyBuffer)                                                                   \
  X(AllocateMemory, FreeMemory)                                                                    \
  X(CreateCommandPool, DestroyCommandPool)                                                         \
  X(CreateSemaphore, DestroySemaphore)                                                             \
  X(CreateFence, DestroyFence)                                                                     \
  X(CreateShaderModule, DestroyShaderModule)                                                       \
  X(CreateDescriptorSetLayout, DestroyDescriptorSetLayout)                                         \
  X(CreatePipelineLayout, DestroyPipelineLayout)                                                   \
  X(CreatePipelineCache, DestroyPipelineCache)                                                     \
  X(CreateComputePipelines, DestroyPipeline)                                                       \
  X(CreateDescriptorPool, DestroyDescriptorPool)
#define TACQ_OTHER_CALLS(X)                                                                        \
  X(EnumeratePhysicalDevices)                                                                      \
  X(BindBufferMemory)                                                                              \
  X(MapMemory)                                                                                     \
  X(AllocateCommandBuffers)                                                                        \
  X(ResetCommandBuffer)                                                                            \
  X(BeginCommandBuffer)                                                                            \
  X(EndCommandBuffer)                                                                              \
  X(QueueSubmit)                                                                                   \
  X(GetSemaphoreCounterValue)                                                                      \
  X(WaitSemaphores)                                                                                \
  X(ResetFences)                                                                                   \
  X(WaitForFences)                                                                                 \
  X(GetFenceStatus)                                                                                \
  X(AllocateDescriptorSets)                                                                        \
  X(ResetDescriptorPool)                                                                           \
  X(GetPipelineCacheData)

namespace {

enum Call : size_t {
#define X(make, destroy) k##make, k##destroy,
  TACQ_MADE_OBJECTS(X)
#undef X
#define X(name) k##name,
      TACQ_OTHER_CALLS(X)
#undef X
          kCalls
};

constexpr size_t kNone = kCalls;

/// Pipelines are made by several threads.
struct {
  Call call = Call(kNone);
  VkResult result = VK_SUCCESS;
  std::atomic<int> after = 0;
  std::atomic<bool> struck = false;
} fault;
/// Of the call that makes them; and a function that the device does not have.
std::array<std::atomic<int>, kCalls> living;
const char *missing = "";
/// Whoever asks how far the device is learns nothing before he has waited.
bool slow = false, waited = false;

std::array<PFN_vkVoidFunction, kCalls> reals;
PFN_vkGetInstanceProcAddr realInstanceAddress = nullptr;
PFN_vkGetDeviceProcAddr realDeviceAddress = nullptr;
PFN_vkDeviceWaitIdle realIdle = nullptr;
VkDevice opened = VK_NULL_HANDLE;

bool strikes(size_t call) {
  if (call != fault.call || fault.after.fetch_sub(1) != 0)
    return false;
  fault.struck = true;
  // A device that is lost runs nothing any more.
  if (fault.result == VK_ERROR_DEVICE_LOST && opened)
    realIdle(opened);
  return true;
}

template <typename Function, size_t N, bool makes> struct Hook;

template <size_t N, bool makes, typename... A> struct Hook<VkResult(VKAPI_PTR *)(A...), N, makes> {
  static VKAPI_ATTR VkResult VKAPI_CALL call(A... arguments) {
    if (strikes(N))
      return fault.result;
    if constexpr (N == kGetSemaphoreCounterValue)
      if (slow)
        return *std::get<2>(std::tuple(arguments...)) = 0, VK_SUCCESS;
    if constexpr (N == kGetFenceStatus)
      if (slow && !std::exchange(waited, false))
        return VK_NOT_READY;
    // Other threads call other functions meanwhile.
    if constexpr (N == kWaitForFences)
      waited = true;
    VkResult result = reinterpret_cast<VkResult(VKAPI_PTR *)(A...)>(reals[N])(arguments...);
    if (makes && result == VK_SUCCESS)
      ++living[N];
    if constexpr (N == kCreateDevice)
      opened = result == VK_SUCCESS ? *std::get<3>(std::tuple(arguments...)) : VK_NULL_HANDLE;
    return result;
  }
};

/// `N` is the call that made the object, which is the last argument but one.
template <size_t N, bool makes, typename... A> struct Hook<void(VKAPI_PTR *)(A...), N, makes> {
  static VKAPI_ATTR void VKAPI_CALL call(A... arguments) {
    if (std::get<sizeof...(A) - 2>(std::tuple(arguments...)))
      --living[N];
    if constexpr (N == kCreateDevice)
      opened = VK_NULL_HANDLE;
    reinterpret_cast<void(VKAPI_PTR *)(A...)>(reals[N + 1])(arguments...);
  }
};

PFN_vkVoidFunction hookOf(const char *name, PFN_vkVoidFunction real) {
  struct Entry {
    Call call;
    PFN_vkVoidFunction hook;
  };
  static const std::map<std::string, Entry> hooks = {
#define X(make, destroy)                                                                           \
  {"vk" #make, {k##make, PFN_vkVoidFunction(Hook<PFN_vk##make, k##make, true>::call)}},            \
      {"vk" #destroy,                                                                              \
       {k##destroy, PFN_vkVoidFunction(Hook<PFN_vk##destroy, k##make, true>::call)}},
      TACQ_MADE_OBJECTS(X)
#undef X
#define X(name)                                                                                    \
  {"vk" #name, {k##name, PFN_vkVoidFunction(Hook<PFN_vk##name, k##name, false>::call)}},
          TACQ_OTHER_CALLS(X)
#undef X
  };
  if (!strcmp(name, missing))
    return nullptr;
  if (!strcmp(name, "vkDeviceWaitIdle"))
    realIdle = PFN_vkDeviceWaitIdle(real);
  auto found = hooks.find(name);
  if (!real || found == hooks.end())
    return real;
  reals[found->second.call] = real;
  return found->second.hook;
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL deviceAddress(VkDevice device, const char *name) {
  return hookOf(name, realDeviceAddress(device, name));
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL instanceAddress(VkInstance instance, const char *name) {
  PFN_vkVoidFunction real = realInstanceAddress(instance, name);
  if (strcmp(name, "vkGetDeviceProcAddr") != 0)
    return hookOf(name, real);
  realDeviceAddress = PFN_vkGetDeviceProcAddr(real);
  return PFN_vkVoidFunction(deviceAddress);
}

class VulkanCalls : public testing::TestWithParam<VkResult> {
protected:
  void SetUp() override {
    void *library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(library, nullptr);
    realInstanceAddress = PFN_vkGetInstanceProcAddr(dlsym(library, "vkGetInstanceProcAddr"));
    VulkanInstanceApi::replacement = instanceAddress;
    setenv("XDG_CACHE_HOME", directory.file("cache").c_str(), 1);
    ASSERT_EQ(tacq_runtime_create(nullptr, &runtime), nullptr);
    writeModule();
  }
  void TearDown() override {
    tacq_runtime_release(runtime);
    unsetenv("XDG_CACHE_HOME");
    VulkanInstanceApi::replacement = nullptr;
    fault.call = Call(kNone);
    missing = "";
    slow = false;
  }

  /// y = x + w + w.
  void writeModule() {
    TestModule m(directory.file("m.tacq"));
    uint32_t n = m.symbol(), constant;
    uint32_t x = m.addInput("x", ElementType_F32, {dynamic(n, "n")});
    uint32_t y = m.addOutput("y", ElementType_F32, {dynamic(n, "n")});
    std::vector<float> w(kCount, 3);
    require(m.output().addConstant("w", w.data(), kCount * sizeof(float), constant));
    m.endPrologue();
    uint32_t from = m.addBuffer(BufferKind_Input, x), to = m.addBuffer(BufferKind_Output, y);
    uint32_t weight = m.addBuffer(BufferKind_Constant, constant);
    m.dispatch(0, 0, {from, weight, to}, {n}, n);
    m.dispatch(0, 0, {to, weight, to}, {n}, n);
    m.addHostExecutable({"add_f32"});
    m.addShaderExecutable({"add_f32"}, TACQ_SHADER_DIR, 0, "vulkan");
    m.finish();
  }

  /// Twice, as what is recorded for the first run is used again.
  tacq_status_t *use(tacq_device_t *device, tacq_module_t *module, tacq_session_t *session) {
    std::vector<float> x(kCount, 1), y(kCount);
    auto extent = static_cast<int64_t>(kCount);
    for (int i = 0; i < 2; ++i) {
      tacq_status_t *status = tacq_session_set_input_data(session, 0, TACQ_F32, &extent, 1,
                                                          x.data(), kCount * sizeof(float));
      status = status ? status : tacq_session_run(session);
      status =
          status ? status : tacq_session_copy_output(session, 0, y.data(), kCount * sizeof(float));
      if (status)
        return status;
      EXPECT_EQ(y, std::vector<float>(kCount, 7));
    }
    return nullptr;
  }

  tacq_status_t *tryDevice(const char *name) {
    tacq_device_t *device = nullptr;
    tacq_module_t *module = nullptr;
    tacq_session_t *session = nullptr;
    tacq_status_t *status = tacq_device_open(runtime, name, &device);
    if (!status)
      status = tacq_module_open(runtime, directory.file("m.tacq").c_str(), nullptr, &module);
    if (!status)
      status = tacq_session_create(module, device, nullptr, &session);
    if (!status)
      status = use(device, module, session);
    tacq_session_release(session);
    tacq_module_release(module);
    tacq_device_release(device);
    return status;
  }

  static void expectNothingLeft(const std::string &what) {
    for (const auto &[call, name] : {
#define X(make, destroy) std::pair(k##make, #make),
             TACQ_MADE_OBJECTS(X)
#undef X
         })
      EXPECT_EQ(living[call], 0) << what << ": " << name;
  }

  /// Fails the calls of a function one after the other, until there are none, or `most` of those
  /// that poll; returns how many.
  int failEach(Call call, const char *name) {
    int most = call == kGetSemaphoreCounterValue || call == kGetFenceStatus ? 5 : 100;
    for (int count = 0; count < most; ++count) {
      fault.call = call;
      fault.result = GetParam();
      fault.after = count;
      fault.struck = false;
      tacq_status_t *status = tryDevice("vulkan:0,staged");
      std::string what = std::string(name) + ", call " + std::to_string(count);
      fault.call = Call(kNone);
      if (fault.struck && status) {
        bool isLost = GetParam() == VK_ERROR_DEVICE_LOST;
        EXPECT_EQ(tacq_status_code(status), isLost ? TACQ_DEVICE_FAILURE : TACQ_OUT_OF_MEMORY)
            << what << ": " << tacq_status_message(status);
        EXPECT_NE(strstr(tacq_status_message(status), isLost ? "device is lost" : "out of"),
                  nullptr)
            << what << ": " << tacq_status_message(status);
        ++failures;
      } else {
        EXPECT_EQ(status, nullptr) << what << ": " << tacq_status_message(status);
      }
      tacq_status_free(status);
      expectNothingLeft(what);
      if (!fault.struck)
        return count;
    }
    EXPECT_LT(most, 100) << name << " has no end of calls";
    return most;
  }

  void expectGood(const char *name) {
    tacq_status_t *status = tryDevice(name);
    EXPECT_EQ(status, nullptr) << tacq_status_message(status);
    tacq_status_free(status);
  }

  static constexpr size_t kCount = 1000;
  TemporaryDirectory directory;
  tacq_runtime_t *runtime = nullptr;
  int failures = 0;
};

TEST_P(VulkanCalls, EachFailsOnce) {
  expectGood("vulkan:0,staged");
  expectNothingLeft("no fault");
  std::map<std::string, int> calls;
#define X(make, destroy) calls[#make] = failEach(k##make, #make);
  TACQ_MADE_OBJECTS(X)
#undef X
#define X(name) calls[#name] = failEach(k##name, #name);
  TACQ_OTHER_CALLS(X)
#undef X
  for (const char *name :
       {"CreateInstance", "EnumeratePhysicalDevices", "CreateDevice", "CreateBuffer",
        "AllocateMemory", "BindBufferMemory", "MapMemory", "AllocateCommandBuffers",
        "BeginCommandBuffer", "EndCommandBuffer", "QueueSubmit", "GetSemaphoreCounterValue",
        "CreateShaderModule", "CreateComputePipelines", "CreateDescriptorPool"})
    EXPECT_GT(calls[name], 0) << name;
  EXPECT_GT(failures, 30);
  expectGood("cpu:threads=2");
  expectGood("vulkan:0,staged");
}

/// The device is waited for: with a timeline, and with fences where it has none.
TEST_P(VulkanCalls, WaitsFail) {
  slow = true;
  EXPECT_GT(failEach(kWaitSemaphores, "WaitSemaphores"), 3);
  missing = "vkWaitSemaphores";
  EXPECT_GT(failEach(kWaitForFences, "WaitForFences"), 3);
  EXPECT_GT(failEach(kCreateFence, "CreateFence"), 0);
  EXPECT_GT(failEach(kResetFences, "ResetFences"), 0);
  slow = false;
  EXPECT_GT(failEach(kGetFenceStatus, "GetFenceStatus"), 3);
  EXPECT_GT(failures, 10);
  expectGood("cpu:threads=2");
}

INSTANTIATE_TEST_SUITE_P(Results, VulkanCalls,
                         testing::Values(VK_ERROR_OUT_OF_HOST_MEMORY, VK_ERROR_DEVICE_LOST),
                         [](const auto &info) {
                           return info.param == VK_ERROR_DEVICE_LOST ? "Lost" : "OutOfMemory";
                         });

using VulkanFunctions = VulkanCalls;

TEST_F(VulkanFunctions, AreAbsent) {
  auto expectMissing = [&](const char *name, const char *text) {
    missing = name;
    tacq_status_t *status = tryDevice("vulkan:0,staged");
    EXPECT_EQ(tacq_status_code(status), TACQ_UNSUPPORTED) << name;
    EXPECT_NE(strstr(tacq_status_message(status), text), nullptr) << tacq_status_message(status);
    tacq_status_free(status);
    expectNothingLeft(name);
  };
  expectMissing("vkCreateInstance", "is no Vulkan loader");
  for (const char *name : {"vkEnumeratePhysicalDevices", "vkCreateDevice"})
    expectMissing(name, "needs a loader for Vulkan 1.1");
  for (const char *name : {"vkCreateBuffer", "vkQueueSubmit", "vkCmdPipelineBarrier"})
    expectMissing(name, (std::string("has no function ") + name).c_str());
  // Fences do it without.
  missing = "vkWaitSemaphores";
  expectGood("vulkan:0,staged");
  expectNothingLeft(missing);
  expectGood("cpu:threads=2");
}

} // namespace

#endif
