//===- StateTest.cpp - Key/value caches and other states ------------------===//
//
// The model under test appends x [B, S, 3] to its cache [B, past, 3] and returns the whole cache:
// what present has to be is what was given, in order.
//
//===----------------------------------------------------------------------===//

#include "CtsSupport.h"

using namespace tacq;
using namespace tacq::test;
using namespace tacq::format;

namespace {

constexpr int64_t kBatch = 2, kWidth = 3;

/// Both kinds of caches, in place or not, give the same results.
class States : public DeviceTest {
protected:
  /// Caches of one kind: blocks of copies for a batch of 2.
  void writeModule(bool inPlace) {
    TestModule m(modulePath());
    uint32_t sequence = m.symbol(), past = m.symbol(), total = m.symbol();
    uint32_t x = m.addInput("x", ElementType_F32,
                            {fixed(kBatch), dynamic(sequence, "sequence"), fixed(kWidth)});
    uint32_t pastInput =
        m.addInput("past", ElementType_F32, {fixed(kBatch), dynamic(past, "past"), fixed(kWidth)});
    uint32_t present =
        m.addOutput("present", ElementType_F32,
                    {fixed(kBatch), dynamic(total, "past + sequence"), fixed(kWidth)});
    uint32_t state = m.addState("cache", pastInput, present, 1, inPlace);
    uint32_t row = m.number(kWidth * 4);
    m.opInto(total, SymbolOpcode_Add, past, sequence);
    uint32_t xBytes = m.op(SymbolOpcode_Mul, sequence, row);
    uint32_t pastBytes = m.op(SymbolOpcode_Mul, past, row);
    // Rows of a batch are as far apart as the destination has room for.
    uint32_t room = inPlace ? m.op(SymbolOpcode_CacheCapacity, state) : total;
    uint32_t second = m.op(SymbolOpcode_Mul, room, row);
    uint32_t secondEnd = m.op(SymbolOpcode_Add, second, pastBytes);
    m.endPrologue();
    uint32_t xBuffer = m.addBuffer(BufferKind_Input, x);
    uint32_t cache =
        inPlace ? m.addBuffer(BufferKind_State, state) : m.addBuffer(BufferKind_Output, present);
    if (!inPlace) {
      uint32_t pastBuffer = m.addBuffer(BufferKind_Input, pastInput);
      m.copy(0, cache, pastBuffer, pastBytes);
      m.copy(0, cache, pastBuffer, pastBytes, second, pastBytes);
    }
    m.copy(0, cache, xBuffer, xBytes, pastBytes);
    m.copy(0, cache, xBuffer, xBytes, secondEnd, xBytes);
    m.finish();
  }

  /// Adds `length` new entries to the expectation and returns them as x.
  std::vector<float> append(int64_t length) {
    std::vector<float> x(static_cast<size_t>(kBatch * length * kWidth));
    for (int64_t b = 0; b < kBatch; ++b)
      for (int64_t i = 0; i < length * kWidth; ++i) {
        float value = counter++;
        x[static_cast<size_t>(b * length * kWidth + i)] = value;
        expected[b].push_back(value);
      }
    return x;
  }
  std::vector<float> everything() const {
    std::vector<float> all = expected[0];
    all.insert(all.end(), expected[1].begin(), expected[1].end());
    return all;
  }
  void keep(int64_t length) {
    for (std::vector<float> &rows : expected)
      rows.resize(static_cast<size_t>(length * kWidth));
  }
  int64_t length() const { return static_cast<int64_t>(expected[0].size()) / kWidth; }

  void step(int64_t count) {
    std::vector<float> x = append(count);
    ASSERT_STATUS_OK(set(0, TACQ_F32, {kBatch, count, kWidth}, x));
    ASSERT_STATUS_OK(run());
    EXPECT_EQ(shape(0), (std::vector<int64_t>{kBatch, length(), kWidth}));
    EXPECT_EQ(get<float>(0), everything());
  }

  std::vector<float> expected[kBatch];
  float counter = 1;
};
INSTANTIATE_TEST_SUITE_P(Devices, States, testing::ValuesIn(kDevices), deviceTestName);

TEST_P(States, CallerPassesThePast) {
  for (bool inPlace : {false, true}) {
    keep(0);
    writeModule(inPlace);
    open(/*stateful=*/0);
    std::vector<float> pastData;
    for (int64_t count : {3, 1, 1, 300, 2}) {
      int64_t before = length();
      ASSERT_STATUS_OK(set(1, TACQ_F32, {kBatch, before, kWidth}, pastData));
      step(count);
      pastData = everything();
      EXPECT_EQ(tacq_session_position(session.get()), 0);
    }
    // An unrelated past: the session remembers nothing.
    keep(0);
    std::vector<float> other = append(2);
    ASSERT_STATUS_OK(set(1, TACQ_F32, {kBatch, 2, kWidth}, other));
    step(2);
  }
}

TEST_P(States, SessionKeepsThePast) {
  for (bool inPlace : {false, true}) {
    keep(0);
    writeModule(inPlace);
    open(/*stateful=*/1, /*capacity=*/40);
    int64_t total = 0;
    for (int64_t count : {5, 1, 1, 0, 7, 1}) {
      EXPECT_EQ(tacq_session_position(session.get()), total);
      step(count);
      total += count;
    }
    EXPECT_EQ(tacq_session_position(session.get()), total);
    std::vector<float> data(6);
    EXPECT_STATUS(set(1, TACQ_F32, {kBatch, 1, kWidth}, data), TACQ_INVALID_ARGUMENT,
                  "kept by the session");
    ASSERT_STATUS_OK(tacq_session_reset(session.get()));
    EXPECT_EQ(tacq_session_position(session.get()), 0);
    keep(0);
    step(4);
    step(2);
    EXPECT_EQ(tacq_session_position(session.get()), 6);
  }
}

TEST_P(States, Rewind) {
  for (bool inPlace : {false, true}) {
    keep(0);
    writeModule(inPlace);
    open(/*stateful=*/1);
    step(9);
    step(1);
    ASSERT_STATUS_OK(tacq_session_rewind(session.get(), 4));
    EXPECT_EQ(tacq_session_position(session.get()), 4);
    keep(4);
    step(2);
    step(1);
    EXPECT_STATUS(tacq_session_rewind(session.get(), 8), TACQ_INVALID_ARGUMENT,
                  "position 8 is outside of 0 to 7");
    EXPECT_STATUS(tacq_session_rewind(session.get(), -1), TACQ_INVALID_ARGUMENT, "outside");
    ASSERT_STATUS_OK(tacq_session_rewind(session.get(), 0));
    keep(0);
    step(1);
  }
}

TEST_P(States, CapacityIsALimit) {
  writeModule(true);
  open(/*stateful=*/1, /*capacity=*/6);
  step(4);
  EXPECT_EQ(tacq_session_capacity(session.get()), 6);
  std::vector<float> x(kBatch * 3 * kWidth, 0.0f);
  ASSERT_STATUS_OK(set(0, TACQ_F32, {kBatch, 3, kWidth}, x));
  EXPECT_STATUS(run(), TACQ_CAPACITY, "the cache 'cache' holds 6 entries, this call needs 7");
  // Nothing is lost.
  EXPECT_EQ(tacq_session_position(session.get()), 4);
  step(2);
  EXPECT_STATUS(run(), TACQ_CAPACITY, "cache_capacity");
  open(/*stateful=*/0, /*capacity=*/6);
  std::vector<float> past(kBatch * 5 * kWidth, 0.0f);
  ASSERT_STATUS_OK(set(0, TACQ_F32, {kBatch, 3, kWidth}, x));
  ASSERT_STATUS_OK(set(1, TACQ_F32, {kBatch, 5, kWidth}, past));
  EXPECT_STATUS(run(), TACQ_CAPACITY, "needs 8");
}

TEST_P(States, CapacityGrowsByDoubling) {
  writeModule(true);
  open(/*stateful=*/1);
  EXPECT_EQ(tacq_session_capacity(session.get()), 256);
  step(200);
  EXPECT_EQ(tacq_session_capacity(session.get()), 256);
  uint64_t copied = counters().bytes_copied, allocations = counters().allocations;
  step(56);
  EXPECT_EQ(counters().allocations, allocations);
  step(1);
  EXPECT_EQ(tacq_session_capacity(session.get()), 512);
  EXPECT_GT(counters().bytes_copied, copied);
  step(1000);
  EXPECT_EQ(tacq_session_capacity(session.get()), 2048);
  EXPECT_EQ(tacq_session_position(session.get()), 1257);
}

TEST_P(States, KeptInPlaceMeansNoCopies) {
  writeModule(true);
  open(/*stateful=*/1, /*capacity=*/64);
  std::vector<float> x = append(1);
  ASSERT_STATUS_OK(set(0, TACQ_F32, {kBatch, 1, kWidth}, x));
  ASSERT_STATUS_OK(run());
  auto first = counters();
  for (int i = 0; i < 30; ++i)
    ASSERT_STATUS_OK(run());
  EXPECT_EQ(counters().allocations, first.allocations);
  // Devices without access to host memory upload x; the cache is never copied.
  EXPECT_LE(counters().bytes_copied - first.bytes_copied, 30u * kBatch * kWidth * 4);
}

TEST_P(States, OutputsOfKeptStatesStayValid) {
  for (bool inPlace : {false, true}) {
    keep(0);
    writeModule(inPlace);
    open(/*stateful=*/1);
    step(2);
    std::vector<float> before = everything();
    DLManagedTensor *held = nullptr;
    ASSERT_STATUS_OK(tacq_session_get_output(session.get(), 0, &held));
    step(1);
    step(1);
    step(1);
    EXPECT_TRUE(
        std::equal(before.begin(), before.end(), static_cast<float *>(held->dl_tensor.data)));
    held->deleter(held);
  }
}

/// A recurrent state: y = h, next h = x. Starts with zeros.
TEST_P(States, FixedShape) {
  TestModule m(modulePath());
  uint32_t x = m.addInput("x", ElementType_F32, {fixed(4)});
  uint32_t h = m.addInput("h", ElementType_F32, {fixed(4)});
  uint32_t y = m.addOutput("y", ElementType_F32, {fixed(4)});
  uint32_t next = m.addOutput("h_next", ElementType_F32, {fixed(4)});
  m.addState("h", h, next, -1, false);
  uint32_t bytes = m.number(16);
  m.endPrologue();
  m.copy(0, m.addBuffer(BufferKind_Output, y), m.addBuffer(BufferKind_Input, h), bytes);
  m.copy(0, m.addBuffer(BufferKind_Output, next), m.addBuffer(BufferKind_Input, x), bytes);
  m.finish();
  open(/*stateful=*/1);
  std::vector<float> before(4, 0.0f);
  auto cycle = [&](float value) {
    std::vector<float> data(4, value);
    ASSERT_STATUS_OK(set(0, TACQ_F32, {4}, data));
    ASSERT_STATUS_OK(run());
    EXPECT_EQ(get<float>(0), before);
    EXPECT_EQ(get<float>(1), data);
    before = data;
  };
  for (int i = 1; i < 5; ++i)
    cycle(static_cast<float>(i));
  EXPECT_STATUS(tacq_session_rewind(session.get(), 1), TACQ_INVALID_ARGUMENT, "outside of 0 to 0");
  ASSERT_STATUS_OK(tacq_session_reset(session.get()));
  before.assign(4, 0.0f);
  cycle(9);
  cycle(8);
}

/// The batch belongs to what is kept.
TEST_P(States, OtherBatchNeedsReset) {
  TestModule m(modulePath());
  uint32_t batch = m.symbol(), past = m.symbol(), total = m.symbol();
  m.addInput("x", ElementType_F32, {dynamic(batch, "batch"), fixed(1)});
  m.addInput("past", ElementType_F32, {dynamic(batch, "batch"), dynamic(past, "past")});
  m.addOutput("present", ElementType_F32, {dynamic(batch, "batch"), dynamic(total, "past + 1")});
  m.addState("cache", 1, 0, 1, true);
  uint32_t one = m.number(1);
  m.opInto(total, SymbolOpcode_Add, past, one);
  m.endPrologue();
  m.fill(0, m.addBuffer(BufferKind_State, 0), 0x3F800000, 4);
  m.finish();
  open(/*stateful=*/1);
  std::vector<float> x(3, 0.0f);
  ASSERT_STATUS_OK(set(0, TACQ_F32, {2, 1}, x));
  ASSERT_STATUS_OK(run());
  EXPECT_EQ(get<float>(0), std::vector<float>(2, 1.0f));
  ASSERT_STATUS_OK(set(0, TACQ_F32, {3, 1}, x));
  EXPECT_STATUS(run(), TACQ_INVALID_INPUT, "reset it before other shapes are used");
  EXPECT_EQ(tacq_session_position(session.get()), 1);
  ASSERT_STATUS_OK(tacq_session_reset(session.get()));
  ASSERT_STATUS_OK(run());
  EXPECT_EQ(get<float>(0), std::vector<float>(3, 1.0f));
}

// ---- runs that are started and finished -----------------------------------------------------

TEST_P(States, TwoRunsAtOnce) {
  for (bool inPlace : {false, true}) {
    for (std::vector<float> &rows : expected)
      rows.clear();
    writeModule(inPlace);
    open(/*stateful=*/1, /*capacity=*/inPlace ? 0 : 16);
    EXPECT_STATUS(tacq_session_finish(session.get()), TACQ_INVALID_ARGUMENT, "no run was started");
    std::vector<std::vector<float>> given, after;
    auto start = [&](int64_t count) {
      given.push_back(append(count));
      after.push_back(everything());
      ASSERT_STATUS_OK(set(0, TACQ_F32, {kBatch, count, kWidth}, given.back()));
      ASSERT_STATUS_OK(tacq_session_start(session.get()));
    };
    start(3);
    // The last one makes the cache grow while the one before is going on.
    for (int64_t count : {1, 2, 1, 300}) {
      start(count);
      EXPECT_STATUS(tacq_session_start(session.get()), TACQ_INVALID_ARGUMENT,
                    "two runs are started already");
      EXPECT_STATUS(run(), TACQ_INVALID_ARGUMENT, "is not finished");
      EXPECT_STATUS(tacq_session_reset(session.get()), TACQ_INVALID_ARGUMENT, "is not finished");
      ASSERT_STATUS_OK(tacq_session_finish(session.get()));
      EXPECT_EQ(get<float>(0).size(), after[after.size() - 2].size());
      if (!inPlace) {
        EXPECT_EQ(get<float>(0), after[after.size() - 2]);
      }
    }
    ASSERT_STATUS_OK(tacq_session_finish(session.get()));
    EXPECT_EQ(get<float>(0), after.back());
    EXPECT_EQ(tacq_session_position(session.get()), 307);
  }
}

/// y = x with its last element in front: what a run leaves is what the next one gets.
class Links : public DeviceTest {
protected:
  void writeModule(bool reads) {
    TestModule m(modulePath());
    uint32_t x = m.addInput("x", ElementType_I64, {fixed(4)});
    uint32_t y = m.addOutput("y", ElementType_I64, {fixed(4)});
    uint32_t eight = m.number(8), rest = m.number(24);
    uint32_t from = m.addBuffer(BufferKind_Input, x, ElementType_I64);
    if (reads)
      m.op(SymbolOpcode_Read, from, kNone, 0);
    m.endPrologue();
    uint32_t to = m.addBuffer(BufferKind_Output, y);
    m.copy(0, to, from, rest, eight);
    m.copy(0, to, from, eight, kNone, rest);
    m.finish();
  }
  static std::vector<int64_t> rotated(int64_t by) {
    std::vector<int64_t> result;
    for (int64_t i = 0; i < 4; ++i)
      result.push_back((i + 4 * by - by) % 4);
    return result;
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, Links, testing::ValuesIn(kDevices), deviceTestName);

TEST_P(Links, OutputsBecomeInputs) {
  writeModule(/*reads=*/false);
  open();
  EXPECT_STATUS(tacq_session_link(session.get(), 0, 1), TACQ_INVALID_ARGUMENT, "no output 0 or");
  ASSERT_STATUS_OK(tacq_session_link(session.get(), 0, 0));
  EXPECT_STATUS(run(), TACQ_INVALID_ARGUMENT, "no run has left one");
  std::vector<int64_t> x = rotated(0);
  ASSERT_STATUS_OK(set(0, TACQ_I64, {4}, x));
  ASSERT_STATUS_OK(run());
  EXPECT_EQ(get<int64_t>(0), rotated(1));
  ASSERT_STATUS_OK(tacq_session_link(session.get(), 0, 0));
  ASSERT_STATUS_OK(run());
  EXPECT_EQ(get<int64_t>(0), rotated(2));
  uint64_t copied = counters().bytes_copied, allocations = 0;
  ASSERT_STATUS_OK(tacq_session_start(session.get()));
  for (int64_t i = 3; i < 20; ++i) {
    ASSERT_STATUS_OK(tacq_session_start(session.get()));
    ASSERT_STATUS_OK(tacq_session_finish(session.get()));
    EXPECT_EQ(get<int64_t>(0), rotated(i));
    if (i == 8)
      allocations = counters().allocations;
  }
  // Two places for it are enough, and it never goes through the host.
  EXPECT_EQ(counters().allocations, allocations);
  EXPECT_LE(counters().bytes_copied - copied, 17u * 2 * 32);
  ASSERT_STATUS_OK(tacq_session_finish(session.get()));
  EXPECT_EQ(get<int64_t>(0), rotated(20));
  // Set, it is no longer linked.
  ASSERT_STATUS_OK(set(0, TACQ_I64, {4}, x));
  ASSERT_STATUS_OK(run());
  EXPECT_EQ(get<int64_t>(0), rotated(1));
}

TEST_P(Links, ShapesMustNotDependOnIt) {
  writeModule(/*reads=*/true);
  open();
  EXPECT_STATUS(tacq_session_link(session.get(), 0, 0), TACQ_INVALID_ARGUMENT,
                "shapes depend on its elements");
}

} // namespace
