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
  void addNode(TestModule &m) {
    auto node = std::make_unique<NodeInfoT>();
    node->name = "/model/embed/Gather";
    node->op = "Gather";
    node->file = "model.onnx";
    m.module().nodes.push_back(std::move(node));
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, Kernels, testing::ValuesIn(kComputingDevices), deviceTestName);

TEST_P(Kernels, AddThroughATransient) {
  TestModule m(modulePath());
  uint32_t n = m.symbol();
  uint32_t a = m.addInput("a", ElementType_F32, {dynamic(n, "n")});
  uint32_t b = m.addInput("b", ElementType_F32, {dynamic(n, "n")});
  uint32_t y = m.addOutput("y", ElementType_F32, {dynamic(n, "n")});
  uint32_t bytes = m.op(SymbolOpcode_Mul, n, m.number(4));
  m.endPrologue();
  m.addHostExecutable({"add_f32"});
  uint32_t aBuffer = m.addBuffer(BufferKind_Input, a), bBuffer = m.addBuffer(BufferKind_Input, b);
  uint32_t transient = m.addBuffer(BufferKind_Transient, 0, ElementType_None, bytes);
  uint32_t yBuffer = m.addBuffer(BufferKind_Output, y);
  m.dispatch(0, 0, {aBuffer, bBuffer, transient}, {}, n);
  m.dispatch(0, 0, {transient, bBuffer, yBuffer}, {}, n);
  finish(m);
  open(0, 0, /*profile=*/1);
  for (int64_t count : {1, 2, 1000, 3, 100000}) {
    std::vector<float> left, right, expected;
    for (int64_t i = 0; i < count; ++i) {
      left.push_back(static_cast<float>(i));
      right.push_back(static_cast<float>(i % 17) * 0.5f);
      expected.push_back(left.back() + right.back() + right.back());
    }
    ASSERT_STATUS_OK(set(0, TACQ_F32, {count}, left));
    ASSERT_STATUS_OK(set(1, TACQ_F32, {count}, right));
    ASSERT_STATUS_OK(run());
    EXPECT_EQ(get<float>(0), expected);
  }
  EXPECT_EQ(counters().dispatches, 10u);
  EXPECT_GE(counters().bytes_transient, 400000u);
  int lines = 0;
  EXPECT_STATUS_OK(tacq_session_profile(
      session.get(),
      [](void *user, const tacq_profile_entry_t *entry) {
        ++*static_cast<int *>(user);
        EXPECT_STREQ(entry->kernel, "add_f32");
        EXPECT_EQ(entry->count, 5u);
      },
      &lines));
  EXPECT_EQ(lines, 2);
}

TEST_P(Kernels, InPlaceBetweenCopies) {
  TestModule m(modulePath());
  uint32_t a = m.addInput("a", ElementType_F32, {fixed(48)});
  uint32_t b = m.addInput("b", ElementType_F32, {fixed(48)});
  uint32_t y = m.addOutput("y", ElementType_F32, {fixed(48)});
  uint32_t z = m.addOutput("z", ElementType_F32, {fixed(48)});
  uint32_t half = m.number(24), all = m.number(48), bytes = m.number(192), front = m.number(96);
  uint32_t behind = m.number(64), most = m.number(128);
  m.endPrologue();
  m.addHostExecutable({"add_f32"});
  uint32_t aBuffer = m.addBuffer(BufferKind_Input, a), bBuffer = m.addBuffer(BufferKind_Input, b);
  uint32_t yBuffer = m.addBuffer(BufferKind_Output, y), zBuffer = m.addBuffer(BufferKind_Output, z);
  uint32_t begin = m.addBuffer(BufferKind_Output, y, ElementType_None, front);
  uint32_t rest = m.addBuffer(BufferKind_Output, y, ElementType_None, most, behind);
  m.copy(0, yBuffer, aBuffer, bytes);
  m.dispatch(0, 0, {yBuffer, bBuffer, yBuffer}, {}, all);
  m.copy(0, zBuffer, yBuffer, bytes);
  // Ranges of one object that overlap: elements 0 to 24 and from 16 on.
  m.dispatch(0, 0, {begin, begin, rest}, {}, half);
  finish(m);
  open();
  std::vector<float> left, right, sums;
  for (int i = 0; i < 48; ++i) {
    left.push_back(static_cast<float>(i));
    right.push_back(static_cast<float>(1000 * i));
    sums.push_back(left.back() + right.back());
  }
  ASSERT_STATUS_OK(set(0, TACQ_F32, {48}, left));
  ASSERT_STATUS_OK(set(1, TACQ_F32, {48}, right));
  ASSERT_STATUS_OK(run());
  EXPECT_EQ(get<float>(1), sums);
  std::vector<float> result = get<float>(0);
  // What the kernel reads after it has written it depends on the order of its tasks.
  for (size_t i = 0; i < 48; ++i)
    if (i < 16 || i >= 40)
      EXPECT_EQ(result[i], sums[i]);
    else if (i < 32)
      EXPECT_EQ(result[i], 2 * sums[i - 16]);
}

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

TEST_P(Kernels, DataErrorsNameTheNode) {
  TestModule m(modulePath());
  uint32_t n = m.symbol();
  uint32_t index = m.addInput("index", ElementType_I64, {dynamic(n, "n")});
  uint32_t y = m.addOutput("y", ElementType_F32, {dynamic(n, "n"), fixed(4)});
  uint32_t rows = m.number(3), node = m.number(0);
  m.endPrologue();
  std::vector<float> table(12);
  for (size_t i = 0; i < table.size(); ++i)
    table[i] = static_cast<float>(i);
  uint32_t constant;
  require(m.output().addConstant("table", table.data(), 48, constant));
  addNode(m);
  m.addHostExecutable({"gather"});
  m.dispatch(0, 0,
             {m.addBuffer(BufferKind_Constant, constant), m.addBuffer(BufferKind_Input, index),
              m.addBuffer(BufferKind_Output, y)},
             {rows, node}, n, 0);
  finish(m);
  open();
  std::vector<int64_t> good = {2, 0, 2, 1}, bad = {2, 0, 999, 1000}, huge = {-5000000000};
  ASSERT_STATUS_OK(set(0, TACQ_I64, {4}, good));
  ASSERT_STATUS_OK(run());
  EXPECT_EQ(get<float>(0),
            (std::vector<float>{8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7}));
  ASSERT_STATUS_OK(set(0, TACQ_I64, {4}, bad));
  for (int i = 0; i < 20; ++i) // the first error wins, whoever is faster
    EXPECT_STATUS(run(), TACQ_INVALID_INPUT,
                  "Gather node '/model/embed/Gather' (model.onnx): index 999 is out of range for "
                  "an axis of extent 3");
  ASSERT_STATUS_OK(set(0, TACQ_I64, {1}, huge));
  EXPECT_STATUS(run(), TACQ_INVALID_INPUT, "index -5000000000 is");
  ASSERT_STATUS_OK(set(0, TACQ_I64, {4}, good));
  EXPECT_STATUS_OK(run());
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
