//===- KernelTest.cpp - Dispatches on devices that compute ----------------===//

#include "CtsSupport.h"

#include <cmath>
#include <cstring>
#include <set>

using namespace tacq;
using namespace tacq::test;
using namespace tacq::format;

namespace {

class Kernels : public DeviceTest {
protected:
  /// On other devices the kernels run beside them.
  void finish(TestModule &m) {
    if (std::string(GetParam()).rfind("cpu", 0) != 0)
      m.addShaderlessExecutable();
    m.finish();
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, Kernels, testing::ValuesIn(kComputingDevices), deviceTestName);

TEST_P(Kernels, TasksAreSplitAndSymbolsArrive) {
  TestModule m(modulePath());
  uint32_t y = m.addOutput("y", ElementType_I64, {fixed(11)});
  uint32_t tasks = m.number(11), first = m.number(-3), second = m.number(1234567890123);
  m.endPrologue();
  m.addHostExecutable({"who"});
  m.dispatch(0, 0, {m.addBuffer(BufferKind_Output, y)}, {second, first}, tasks);
  finish(m);
  open();
  ASSERT_STATUS_OK(run());
  std::vector<int64_t> values = get<int64_t>(0);
  int64_t workers = atoi(strchr(GetParam(), '=') + 1);
  int64_t previous = 0;
  std::set<int64_t> seen;
  for (size_t i = 0; i < values.size(); ++i) {
    int64_t worker = values[i] - (i % 2 ? -3000 : 1234567890123000);
    EXPECT_GE(worker, previous); // contiguous ranges in order
    EXPECT_LT(worker, workers);
    previous = worker;
    seen.insert(worker);
  }
  EXPECT_EQ(seen.size(), static_cast<size_t>(workers));
}

TEST_P(Kernels, CheapDispatchesStayOnTheCaller) {
  TestModule m(modulePath());
  uint32_t y = m.addOutput("y", ElementType_I64, {fixed(11)});
  uint32_t tasks = m.number(11), zero = m.number(0), cost = m.number(110); // ns
  m.endPrologue();
  m.addHostExecutable({"who"});
  m.dispatch(0, 0, {m.addBuffer(BufferKind_Output, y)}, {zero, zero}, tasks);
  m.module().blocks[0]->commands[0].AsDispatch()->cost = cost;
  finish(m);
  open();
  ASSERT_STATUS_OK(run());
  EXPECT_EQ(get<int64_t>(0), std::vector<int64_t>(11, 0));
}

TEST_P(Kernels, ExpensivePartsHaveFewerTasks) {
  TestModule m(modulePath());
  uint32_t y = m.addOutput("y", ElementType_I64, {fixed(40)});
  uint32_t tasks = m.number(40), zero = m.number(0);
  m.endPrologue();
  m.addHostExecutable({"who"});
  m.dispatch(0, 0, {m.addBuffer(BufferKind_Output, y)}, {zero, zero}, tasks);
  format::DispatchT &dispatch = *m.module().blocks[0]->commands[0].AsDispatch();
  dispatch.shares = {300, 100, 0, 200};
  dispatch.share_tasks = 40;
  finish(m);
  open();
  ASSERT_STATUS_OK(run());
  std::vector<int64_t> workers = get<int64_t>(0);
  // All tasks are done by workers in order, and of two workers the first has done what costs half.
  EXPECT_TRUE(std::is_sorted(workers.begin(), workers.end()));
  if (workers.back() == 1) {
    EXPECT_EQ(std::count(workers.begin(), workers.end(), 0), 10);
  }
}

TEST_P(Kernels, ImportsAndRelocations) {
  TestModule m(modulePath());
  uint32_t n = m.symbol();
  uint32_t x = m.addInput("x", ElementType_F32, {dynamic(n, "n")});
  uint32_t y = m.addOutput("y", ElementType_F32, {dynamic(n, "n")});
  uint32_t exponential = m.number(2);
  m.endPrologue();
  m.addHostExecutable({"apply"});
  m.dispatch(0, 0, {m.addBuffer(BufferKind_Input, x), m.addBuffer(BufferKind_Output, y)},
             {exponential}, n);
  finish(m);
  open();
  std::vector<float> data = {-1, 0, 0.5f, 3, 10};
  ASSERT_STATUS_OK(set(0, TACQ_F32, {5}, data));
  ASSERT_STATUS_OK(run());
  std::vector<float> result = get<float>(0);
  for (size_t i = 0; i < data.size(); ++i)
    EXPECT_NEAR(result[i], std::exp(data[i]), 1e-5 * std::exp(data[i]));
}

TEST_P(Kernels, ScratchBelongsToTheWorker) {
  TestModule m(modulePath());
  uint32_t y = m.addOutput("y", ElementType_I64, {fixed(40)});
  uint32_t tasks = m.number(40), bytes = m.number(1001);
  m.endPrologue();
  m.addHostExecutable({"use_scratch"});
  m.dispatch(0, 0, {m.addBuffer(BufferKind_Output, y)}, {}, tasks, kNone, bytes);
  finish(m);
  open();
  for (int i = 0; i < 20; ++i) {
    ASSERT_STATUS_OK(run());
    EXPECT_EQ(get<int64_t>(0), std::vector<int64_t>(40, 1));
  }
}

// ---- choice of the executable --------------------------------------------------------------

TEST_P(Kernels, BestSupportedExecutableIsChosen) {
  TestModule m(modulePath());
  uint32_t y = m.addOutput("y", ElementType_I64, {fixed(1)});
  uint32_t one = m.number(1);
  m.endPrologue();
  m.addHostExecutable({"add_f32"}, {}, 1, "plain");
  m.addHostExecutable({"use_scratch"}, {}, 5, "better"); // writes 1 when scratch is 0 bytes
  m.addHostExecutable({"add_f32"}, {"warp-drive"}, 9, "future");
  m.dispatch(0, 0, {m.addBuffer(BufferKind_Output, y)}, {}, one);
  finish(m);
  open();
  ASSERT_STATUS_OK(run());
  EXPECT_EQ(get<int64_t>(0), std::vector<int64_t>{1});
}

TEST_P(Kernels, MissingFeaturesAreNamed) {
  TestModule m(modulePath());
  m.endPrologue();
  m.addHostExecutable({"add_f32"}, {"warp-drive", "flux"}, 1, "starship");
  finish(m);
  tacq_module_t *opened = nullptr;
  ASSERT_STATUS_OK(tacq_module_open(runtime.get(), modulePath().c_str(), nullptr, &opened));
  module.reset(opened);
  tacq_session_t *created = nullptr;
  Outcome outcome(tacq_session_create(opened, device.get(), nullptr, &created));
  EXPECT_EQ(outcome.code, TACQ_UNSUPPORTED);
  EXPECT_TRUE(outcome.mentions("'starship' needs warp-drive, flux; the")) << outcome.message;
  EXPECT_EQ(created, nullptr);
}

TEST_P(Kernels, BrokenCodeIsReported) {
  for (const char *file : {"kernels_import", "kernels_tls"}) {
    TestModule m(modulePath());
    m.endPrologue();
    m.addHostExecutable({"add_f32"}, {}, 0, "host",
                        std::string(TACQ_TEST_KERNEL_DIR "/") + file + ".so");
    finish(m);
    tacq_module_t *opened = nullptr;
    ASSERT_STATUS_OK(tacq_module_open(runtime.get(), modulePath().c_str(), nullptr, &opened));
    module.reset(opened);
    tacq_session_t *created = nullptr;
    EXPECT_STATUS(tacq_session_create(opened, device.get(), nullptr, &created), TACQ_INVALID_MODULE,
                  "executable 'host'");
  }
  TestModule m(modulePath());
  m.endPrologue();
  m.addHostExecutable({"no_such_kernel"});
  finish(m);
  tacq_module_t *opened = nullptr;
  ASSERT_STATUS_OK(tacq_module_open(runtime.get(), modulePath().c_str(), nullptr, &opened));
  module.reset(opened);
  tacq_session_t *created = nullptr;
  EXPECT_STATUS(tacq_session_create(opened, device.get(), nullptr, &created), TACQ_INVALID_MODULE,
                "exports no function 'no_such_kernel'");
}

} // namespace
