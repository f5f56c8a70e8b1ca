//===- SharedKernelTest.cpp - Kernels that all kinds of devices have ------===//
//
// The same tests for compiled C (runtime/test/kernels.c) on the cpu driver, for shaders that our
// compiler makes of shaders.mlir, and for the C beside devices that lack the shaders.
//
//===----------------------------------------------------------------------===//

#include "CtsSupport.h"

#include <algorithm>
#include <cstring>

using namespace tacq;
using namespace tacq::test;
using namespace tacq::format;

namespace {

class SharedKernels : public DeviceTest {
protected:
  bool hasShaders() const {
    return strncmp(GetParam(), "vulkan", 6) == 0 && !strstr(GetParam(), "threads=");
  }
  void addKernels(TestModule &m, const std::vector<std::string> &names) {
#ifdef TACQ_SHADER_DIR
    if (hasShaders())
      return m.addShaderExecutable(names, TACQ_SHADER_DIR);
#endif
    m.addHostExecutable(names);
  }
  /// Behind the dispatches.
  void finish(TestModule &m) {
    if (strncmp(GetParam(), "vulkan", 6) == 0 && !hasShaders())
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
INSTANTIATE_TEST_SUITE_P(Devices, SharedKernels, testing::ValuesIn(kComputingDevices),
                         deviceTestName);
#ifdef TACQ_SHADER_DIR
INSTANTIATE_TEST_SUITE_P(Shaders, SharedKernels, testing::ValuesIn(kShaderDevices), deviceTestName);
#endif

TEST_P(SharedKernels, AddThroughATransient) {
  TestModule m(modulePath());
  uint32_t n = m.symbol();
  uint32_t a = m.addInput("a", ElementType_F32, {dynamic(n, "n")});
  uint32_t b = m.addInput("b", ElementType_F32, {dynamic(n, "n")});
  uint32_t y = m.addOutput("y", ElementType_F32, {dynamic(n, "n")});
  uint32_t bytes = m.op(SymbolOpcode_Mul, n, m.number(4));
  m.endPrologue();
  addKernels(m, {"add_f32"});
  uint32_t aBuffer = m.addBuffer(BufferKind_Input, a), bBuffer = m.addBuffer(BufferKind_Input, b);
  uint32_t transient = m.addBuffer(BufferKind_Transient, 0, ElementType_None, bytes);
  uint32_t yBuffer = m.addBuffer(BufferKind_Output, y);
  m.dispatch(0, 0, {aBuffer, bBuffer, transient}, {n}, n);
  m.dispatch(0, 0, {transient, bBuffer, yBuffer}, {n}, n);
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

TEST_P(SharedKernels, InPlaceBetweenCopies) {
  TestModule m(modulePath());
  uint32_t a = m.addInput("a", ElementType_F32, {fixed(48)});
  uint32_t b = m.addInput("b", ElementType_F32, {fixed(48)});
  uint32_t y = m.addOutput("y", ElementType_F32, {fixed(48)});
  uint32_t z = m.addOutput("z", ElementType_F32, {fixed(48)});
  uint32_t half = m.number(24), all = m.number(48), bytes = m.number(192), front = m.number(96);
  uint32_t behind = m.number(64), most = m.number(128);
  m.endPrologue();
  addKernels(m, {"add_f32"});
  uint32_t aBuffer = m.addBuffer(BufferKind_Input, a), bBuffer = m.addBuffer(BufferKind_Input, b);
  uint32_t yBuffer = m.addBuffer(BufferKind_Output, y), zBuffer = m.addBuffer(BufferKind_Output, z);
  uint32_t begin = m.addBuffer(BufferKind_Output, y, ElementType_None, front);
  uint32_t rest = m.addBuffer(BufferKind_Output, y, ElementType_None, most, behind);
  m.copy(0, yBuffer, aBuffer, bytes);
  m.dispatch(0, 0, {yBuffer, bBuffer, yBuffer}, {all}, all);
  m.copy(0, zBuffer, yBuffer, bytes);
  // Ranges of one object that overlap: elements 0 to 24 and from 16 on.
  m.dispatch(0, 0, {begin, begin, rest}, {half}, half);
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

TEST_P(SharedKernels, DataErrorsNameTheNode) {
  TestModule m(modulePath());
  uint32_t n = m.symbol();
  uint32_t index = m.addInput("index", ElementType_I64, {dynamic(n, "n")});
  uint32_t y = m.addOutput("y", ElementType_F32, {dynamic(n, "n"), fixed(4)});
  uint32_t rows = m.number(3), node = m.number(0),
           elements = m.op(SymbolOpcode_Mul, n, m.number(4));
  m.endPrologue();
  std::vector<float> table(12);
  for (size_t i = 0; i < table.size(); ++i)
    table[i] = static_cast<float>(i);
  uint32_t constant;
  require(m.output().addConstant("table", table.data(), 48, constant));
  addNode(m);
  addKernels(m, {"gather"});
  m.dispatch(0, 0,
             {m.addBuffer(BufferKind_Constant, constant), m.addBuffer(BufferKind_Input, index),
              m.addBuffer(BufferKind_Output, y)},
             {n, rows, node, elements}, n, 0);
  finish(m);
  open();
  std::vector<int64_t> good = {2, 0, 2, 1}, bad = {2, 0, 999, 1000};
  ASSERT_STATUS_OK(set(0, TACQ_I64, {4}, good));
  ASSERT_STATUS_OK(run());
  EXPECT_EQ(get<float>(0),
            (std::vector<float>{8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7}));
  ASSERT_STATUS_OK(set(0, TACQ_I64, {4}, bad));
  for (int i = 0; i < 20; ++i) {
    Outcome outcome(run());
    EXPECT_EQ(outcome.code, TACQ_INVALID_INPUT);
    EXPECT_TRUE(outcome.mentions("Gather node '/model/embed/Gather' (model.onnx): index "));
    EXPECT_TRUE(outcome.mentions(" is out of range for an axis of extent 3"));
    // The first error wins on the CPU, whoever is faster; shaders report one that there is.
    EXPECT_TRUE(outcome.mentions("index 999") || (hasShaders() && outcome.mentions("index 1000")))
        << outcome.message;
  }
  // Shaders count to 2^31, and say that of what is beyond; it must not become a place that there
  // is.
  for (int64_t index : {-5000000000, int64_t(1) << 32, (int64_t(1) << 32) + 2}) {
    int64_t said = hasShaders() ? std::clamp<int64_t>(index, INT32_MIN, INT32_MAX) : index;
    std::vector<int64_t> one = {index};
    ASSERT_STATUS_OK(set(0, TACQ_I64, {1}, one));
    EXPECT_STATUS(run(), TACQ_INVALID_INPUT,
                  formatText("index %lld is", static_cast<long long>(said)));
  }
  ASSERT_STATUS_OK(set(0, TACQ_I64, {4}, good));
  EXPECT_STATUS_OK(run());
}

#ifdef TACQ_SHADER_DIR

class ShaderKernels : public SharedKernels {};
INSTANTIATE_TEST_SUITE_P(Devices, ShaderKernels, testing::ValuesIn(kShaderDevices), deviceTestName);

TEST_P(ShaderKernels, BestSupportedExecutableIsChosen) {
  TestModule m(modulePath());
  uint32_t n = m.symbol();
  uint32_t x = m.addInput("x", ElementType_F32, {dynamic(n, "n")});
  uint32_t y = m.addOutput("y", ElementType_F32, {dynamic(n, "n")});
  m.endPrologue();
  uint32_t from = m.addBuffer(BufferKind_Input, x), to = m.addBuffer(BufferKind_Output, y);
  m.dispatch(0, 0, {from, from, to}, {n}, n);
  // Of those that the device can run; the other two have no code.
  m.addShaderlessExecutable("vulkan", {"warp-drive"}, 9);
  m.addShaderExecutable({"add_f32"}, TACQ_SHADER_DIR, 5);
  m.addHostExecutable({"add_f32"});
  m.finish();
  open();
  std::vector<float> data = {1, 2, -3};
  ASSERT_STATUS_OK(set(0, TACQ_F32, {3}, data));
  ASSERT_STATUS_OK(run());
  EXPECT_EQ(get<float>(0), (std::vector<float>{2, 4, -6}));
}

#endif

} // namespace
