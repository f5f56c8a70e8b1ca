//===- ControlFlowTest.cpp - Copies, fills, branches, loops, sizes --------===//

#include "CtsSupport.h"

#include <cmath>
#include <cstring>
#include <numeric>

using namespace tacq;
using namespace tacq::test;
using namespace tacq::format;

namespace {

class ControlFlow : public DeviceTest {};
INSTANTIATE_TEST_SUITE_P(Devices, ControlFlow, testing::ValuesIn(kDevices), deviceTestName);

class HostControlFlow : public DeviceTest {};
INSTANTIATE_TEST_SUITE_P(Devices, HostControlFlow, testing::ValuesIn(kHostDevices), deviceTestName);

TEST_P(ControlFlow, CopyAndFill) {
  TestModule m(modulePath());
  uint32_t n = m.symbol();
  uint32_t x = m.addInput("x", ElementType_I32, {dynamic(n, "n")});
  uint32_t y = m.addOutput("y", ElementType_I32, {dynamic(n, "n")});
  uint32_t z = m.addOutput("z", ElementType_I32, {fixed(2), dynamic(n, "n")});
  uint32_t w = m.addOutput("w", ElementType_I32, {fixed(3)});
  uint32_t four = m.number(4), eight = m.number(8);
  uint32_t bytes = m.op(SymbolOpcode_Mul, n, four);
  m.endPrologue();
  uint32_t constant;
  const int32_t values[] = {100, 200, 300};
  require(m.output().addConstant("values", values, sizeof(values), constant));
  uint32_t xBuffer = m.addBuffer(BufferKind_Input, x);
  uint32_t yBuffer = m.addBuffer(BufferKind_Output, y);
  uint32_t zBuffer = m.addBuffer(BufferKind_Output, z);
  uint32_t wBuffer = m.addBuffer(BufferKind_Output, w);
  uint32_t constantBuffer = m.addBuffer(BufferKind_Constant, constant);
  uint32_t transient = m.addBuffer(BufferKind_Transient, 0, ElementType_None, bytes);
  // A view of the second row of z.
  uint32_t zSecond = m.addBuffer(BufferKind_Output, z, ElementType_None, bytes, bytes);
  m.copy(0, transient, xBuffer, bytes);
  m.copy(0, yBuffer, transient, bytes);
  m.fill(0, zBuffer, 0x01020304, 4);
  m.fill(0, zSecond, 0xFFFFFFFFFFFFFFFE, 2);
  m.copy(0, wBuffer, constantBuffer, eight, four, kNone); // overlaps nothing: w[1..2]
  m.copy(0, wBuffer, wBuffer, eight, kNone, four);        // overlaps itself: w[0..1] = w[1..2]
  m.finish();
  open();
  for (int64_t n2 : {5, 1, 300, 0, 7}) {
    std::vector<int32_t> data(static_cast<size_t>(n2));
    std::iota(data.begin(), data.end(), 10);
    ASSERT_STATUS_OK(set(0, TACQ_I32, {n2}, data));
    ASSERT_STATUS_OK(run());
    EXPECT_EQ(get<int32_t>(0), data);
    std::vector<int32_t> filled(static_cast<size_t>(2 * n2), 0x01020304);
    std::fill(filled.begin() + n2, filled.end(), static_cast<int32_t>(0xFFFEFFFE));
    EXPECT_EQ(get<int32_t>(1), filled);
    EXPECT_EQ(get<int32_t>(2), (std::vector<int32_t>{100, 200, 200}));
  }
}

TEST_P(ControlFlow, Branches) {
  TestModule m(modulePath());
  uint32_t x = m.addInput("x", ElementType_Bool, {fixed(2)});
  uint32_t y = m.addOutput("y", ElementType_I32, {});
  uint32_t xBuffer = m.addBuffer(BufferKind_Input, x, ElementType_Bool);
  uint32_t yBuffer = m.addBuffer(BufferKind_Output, y);
  uint32_t first = m.op(SymbolOpcode_Read, xBuffer, kNone, 0);
  m.endPrologue();
  uint32_t second = m.op(SymbolOpcode_Read, xBuffer, kNone, 1);
  uint32_t isTrue = m.addBlock(), isFalse = m.addBlock(), both = m.addBlock();
  m.fill(0, yBuffer, 0, 4);
  m.branch(0, first, isTrue, isFalse);
  m.fill(isTrue, yBuffer, 10, 4);
  m.eval(isTrue, 1, 1);
  m.branch(isTrue, second, both, kNone);
  m.fill(both, yBuffer, 11, 4);
  m.fill(isFalse, yBuffer, 1, 4);
  m.finish();
  open();
  for (uint8_t a : {0, 1})
    for (uint8_t b : {0, 1}) {
      std::vector<uint8_t> data = {a, b};
      ASSERT_STATUS_OK(set(0, TACQ_BOOL, {2}, data));
      ASSERT_STATUS_OK(run());
      EXPECT_EQ(get<int32_t>(0), std::vector<int32_t>{a ? 10 + b : 1});
    }
}

/// out[i] = i for i < count, by a loop that copies from a table; ends early when table[i] = stop.
TEST_P(ControlFlow, Loops) {
  TestModule m(modulePath());
  uint32_t x = m.addInput("limits", ElementType_I64, {fixed(2)}); // trip count, stop
  uint32_t n = m.symbol(), iteration = m.symbol(), goOn = m.symbol();
  uint32_t y = m.addOutput("y", ElementType_I64, {fixed(8)});
  uint32_t count = m.addOutput("count", ElementType_I64, {dynamic(n, "n"), fixed(0)});
  uint32_t xBuffer = m.addBuffer(BufferKind_Input, x, ElementType_I64);
  uint32_t yBuffer = m.addBuffer(BufferKind_Output, y, ElementType_I64);
  uint32_t trips = m.op(SymbolOpcode_Read, xBuffer, kNone, 0);
  uint32_t stop = m.op(SymbolOpcode_Read, xBuffer, kNone, 1);
  uint32_t eight = m.number(8);
  m.opInto(goOn, SymbolOpcode_Const, 0, 0, 1);
  m.endPrologue();
  (void)count;
  uint32_t begin = m.opCount();
  uint32_t offset = m.op(SymbolOpcode_Mul, iteration, eight);
  uint32_t next = m.op(SymbolOpcode_Add, iteration, goOn); // goOn is 1 inside
  m.opInto(goOn, SymbolOpcode_Ne, next, stop);
  uint32_t bodyOps = m.opCount() - begin;
  uint32_t after = m.opCount();
  m.opInto(n, SymbolOpcode_Add, iteration, m.symbol()); // + 0
  uint32_t body = m.addBlock();
  m.fill(0, yBuffer, 0, 8);
  m.loop(0, trips, goOn, iteration, body);
  m.eval(body, begin, bodyOps);
  m.fill(body, yBuffer, 7, 8, eight, offset);
  m.eval(0, after, 1);
  m.finish();
  open();
  for (std::vector<int64_t> limits :
       std::vector<std::vector<int64_t>>{{0, 100}, {5, 100}, {8, 100}, {8, 3}, {8, 1}, {-4, 100}}) {
    ASSERT_STATUS_OK(set(0, TACQ_I64, {2}, limits));
    ASSERT_STATUS_OK(run());
    int64_t expected = std::max<int64_t>(0, std::min(limits[0], limits[1]));
    std::vector<int64_t> values(8, 0);
    std::fill_n(values.begin(), expected, 7);
    EXPECT_EQ(get<int64_t>(0), values);
    EXPECT_EQ(shape(1), (std::vector<int64_t>{expected, 0}));
  }
  // Out of the buffer: refused, not written.
  std::vector<int64_t> limits = {9, 100};
  ASSERT_STATUS_OK(set(0, TACQ_I64, {2}, limits));
  EXPECT_STATUS(run(), TACQ_INTERNAL, "bytes [64, +8)");
}

/// Sizes that are known in the middle only: a slot and an output grow and keep what they hold.
TEST_P(ControlFlow, SizesFromData) {
  TestModule m(modulePath());
  uint32_t x = m.addInput("x", ElementType_F32, {});
  uint32_t n = m.symbol(), size = m.symbol();
  uint32_t y = m.addOutput("y", ElementType_U8, {dynamic(n, "n")});
  uint32_t xBuffer = m.addBuffer(BufferKind_Input, x, ElementType_F32);
  uint32_t yBuffer = m.addBuffer(BufferKind_Output, y);
  uint32_t transient = m.addBuffer(BufferKind_Transient, 0, ElementType_F32, size);
  uint32_t four = m.number(4);
  m.opInto(size, SymbolOpcode_Const, 0, 0, 4);
  m.opInto(n, SymbolOpcode_Const, 0, 0, 4);
  m.endPrologue();
  uint32_t begin = m.opCount();
  m.opInto(size, SymbolOpcode_Read, transient, kNone, 0);
  m.opInto(n, SymbolOpcode_Max, size, size);
  m.copy(0, transient, xBuffer, four);
  m.copy(0, yBuffer, transient, four);
  m.eval(0, begin, 2);
  m.copy(0, yBuffer, transient, four, four);
  m.finish();
  open();
  std::vector<float> data(1);
  for (float value : {16.5f, 100000.0f, 8.0f}) {
    data[0] = value;
    ASSERT_STATUS_OK(set(0, TACQ_F32, {}, data));
    ASSERT_STATUS_OK(run());
    std::vector<uint8_t> bytes = get<uint8_t>(0);
    ASSERT_EQ(bytes.size(), static_cast<size_t>(value));
    EXPECT_EQ(memcmp(bytes.data(), &value, 4), 0);     // written before the output grew
    EXPECT_EQ(memcmp(bytes.data() + 4, &value, 4), 0); // the slot's content after it grew
  }
  // Nothing grows any more: no allocations.
  uint64_t before = counters().allocations;
  for (int i = 0; i < 3; ++i)
    ASSERT_STATUS_OK(run());
  EXPECT_EQ(counters().allocations, before);
  data[0] = NAN; // borrowed: the session sees it
  EXPECT_STATUS(run(), TACQ_INVALID_INPUT, "is no 64-bit integer");
}

TEST_P(ControlFlow, OutputsOutliveRunsAndSessions) {
  TestModule m(modulePath());
  uint32_t x = m.addInput("x", ElementType_I32, {fixed(3)});
  uint32_t y = m.addOutput("y", ElementType_I32, {fixed(3)});
  uint32_t bytes = m.number(12);
  m.endPrologue();
  m.copy(0, m.addBuffer(BufferKind_Output, y), m.addBuffer(BufferKind_Input, x), bytes);
  m.finish();
  open();
  std::vector<int32_t> one = {1, 2, 3}, two = {4, 5, 6};
  DLManagedTensor *first = nullptr, *second = nullptr;
  ASSERT_STATUS_OK(set(0, TACQ_I32, {3}, one));
  ASSERT_STATUS_OK(run());
  ASSERT_STATUS_OK(tacq_session_get_output(session.get(), 0, &first));
  ASSERT_STATUS_OK(set(0, TACQ_I32, {3}, two));
  ASSERT_STATUS_OK(run());
  ASSERT_STATUS_OK(tacq_session_get_output(session.get(), 0, &second));
  session.reset();
  module.reset();
  device.reset();
  runtime.reset();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(static_cast<int32_t *>(first->dl_tensor.data)[i], one[static_cast<size_t>(i)]);
    EXPECT_EQ(static_cast<int32_t *>(second->dl_tensor.data)[i], two[static_cast<size_t>(i)]);
  }
  first->deleter(first);
  second->deleter(second);
}

TEST_P(HostControlFlow, DispatchesWithoutTasksAreSkipped) {
  TestModule m(modulePath());
  uint32_t zero = m.number(0);
  m.endPrologue();
  m.addHostExecutable({"add_f32"});
  m.dispatch(0, 0, {}, {}, zero);
  m.finish();
  open();
  ASSERT_STATUS_OK(run());
  EXPECT_EQ(counters().dispatches, 0u);
  EXPECT_EQ(counters().commands, 1u);
  EXPECT_EQ(counters().runs, 1u);
}

} // namespace
