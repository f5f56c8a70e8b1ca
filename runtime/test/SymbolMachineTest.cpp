//===- SymbolMachineTest.cpp - Arithmetic on dimensions -------------------===//

#include "SymbolMachine.h"
#include "TestModule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>

using namespace tacq;
using namespace tacq::test;
using namespace tacq::format;

namespace {

/// Holds one buffer of bytes.
class OneBuffer final : public SymbolSource {
public:
  std::vector<uint8_t> bytes;
  Error readElement(uint32_t, int64_t element, void *value, int64_t size) override {
    if (element < 0 || (element + 1) * size > static_cast<int64_t>(bytes.size()))
      return makeError(TACQ_INVALID_INPUT, "element %lld", static_cast<long long>(element));
    memcpy(value, bytes.data() + element * size, static_cast<size_t>(size));
    return success();
  }
};

/// Symbols 0, 1 and 2 hold values; the operation's result is symbol 3.
class Symbols : public testing::Test {
protected:
  Error evaluate(const std::function<void(TestModule &)> &build, std::vector<int64_t> values,
                 int64_t &result, ElementType type = ElementType_I64) {
    std::string path = directory.file("m.tacq");
    TestModule m(path);
    for (int i = 0; i < 4; ++i)
      m.symbol();
    m.addInput("x", ElementType_F32, {fixed(5), fixed(6)});
    m.addInput("past", ElementType_F32, {dynamic(0, "past")});
    m.addOutput("present", ElementType_F32, {dynamic(0, "past")});
    m.addState("cache", 1, 0, 0, true);
    m.addBuffer(BufferKind_Input, 0, type);
    build(m);
    uint32_t count = m.opCount();
    m.finish();
    std::unique_ptr<ModuleView> view;
    require(ModuleView::open(path, ModuleViewOptions(), view));
    values.resize(4);
    std::vector<std::vector<int64_t>> dims = {{5, 6}, {0}};
    std::vector<int64_t> capacities = {99};
    SymbolContext context;
    context.view = view.get();
    context.symbols = values.data();
    context.inputDims = &dims;
    context.capacities = &capacities;
    context.source = &buffer;
    Error error = executeSymbolOps(context, 0, count);
    result = values[3];
    return error;
  }

  int64_t value(SymbolOpcode code, int64_t a, int64_t b = 0, int64_t c = 0) {
    int64_t result = 0;
    Error error = evaluate(
        [&](TestModule &m) { m.opInto(3, code, 0, 1, code == SymbolOpcode_Select ? 2 : 0); },
        {a, b, c}, result);
    EXPECT_FALSE(error) << error.message();
    return result;
  }

  void expectFailure(SymbolOpcode code, int64_t a, int64_t b, const char *part) {
    int64_t result;
    Error error = evaluate([&](TestModule &m) { m.opInto(3, code, 0, 1); }, {a, b}, result);
    ASSERT_TRUE(error) << EnumNameSymbolOpcode(code);
    EXPECT_EQ(error.code(), TACQ_INVALID_INPUT);
    EXPECT_NE(error.message().find(part), std::string::npos) << error.message();
  }

  TemporaryDirectory directory;
  OneBuffer buffer;
};

TEST_F(Symbols, Arithmetic) {
  EXPECT_EQ(value(SymbolOpcode_Add, 7, -9), -2);
  EXPECT_EQ(value(SymbolOpcode_Sub, 7, -9), 16);
  EXPECT_EQ(value(SymbolOpcode_Mul, -7, 9), -63);
  EXPECT_EQ(value(SymbolOpcode_Min, -7, 9), -7);
  EXPECT_EQ(value(SymbolOpcode_Max, -7, 9), 9);
  EXPECT_EQ(value(SymbolOpcode_Neg, -7), 7);
  EXPECT_EQ(value(SymbolOpcode_Abs, -7), 7);
  EXPECT_EQ(value(SymbolOpcode_Abs, 7), 7);
  EXPECT_EQ(value(SymbolOpcode_Eq, 3, 3), 1);
  EXPECT_EQ(value(SymbolOpcode_Ne, 3, 3), 0);
  EXPECT_EQ(value(SymbolOpcode_Lt, 3, 3), 0);
  EXPECT_EQ(value(SymbolOpcode_Le, 3, 3), 1);
  EXPECT_EQ(value(SymbolOpcode_And, 2, 4), 1);
  EXPECT_EQ(value(SymbolOpcode_And, 2, 0), 0);
  EXPECT_EQ(value(SymbolOpcode_Or, 0, 4), 1);
  EXPECT_EQ(value(SymbolOpcode_Not, 4), 0);
  EXPECT_EQ(value(SymbolOpcode_Select, 1, 10, 20), 10);
  EXPECT_EQ(value(SymbolOpcode_Select, 0, 10, 20), 20);
}

TEST_F(Symbols, DivisionsRoundAsNamed) {
  for (int64_t a : {-9, -8, -7, -1, 0, 1, 7, 8, 9})
    for (int64_t b : {-4, -3, -1, 1, 3, 4}) {
      double quotient = static_cast<double>(a) / static_cast<double>(b);
      EXPECT_EQ(value(SymbolOpcode_FloorDiv, a, b), static_cast<int64_t>(std::floor(quotient)));
      EXPECT_EQ(value(SymbolOpcode_CeilDiv, a, b), static_cast<int64_t>(std::ceil(quotient)));
      EXPECT_EQ(value(SymbolOpcode_TruncDiv, a, b), static_cast<int64_t>(std::trunc(quotient)));
      EXPECT_EQ(value(SymbolOpcode_Mod, a, b), a - b * static_cast<int64_t>(std::floor(quotient)));
      EXPECT_EQ(value(SymbolOpcode_TruncMod, a, b),
                a - b * static_cast<int64_t>(std::trunc(quotient)));
    }
}

TEST_F(Symbols, OverflowAndDivisionByZeroAreErrors) {
  for (SymbolOpcode code : {SymbolOpcode_FloorDiv, SymbolOpcode_CeilDiv, SymbolOpcode_TruncDiv,
                            SymbolOpcode_Mod, SymbolOpcode_TruncMod})
    expectFailure(code, 5, 0, "division by zero");
  for (SymbolOpcode code : {SymbolOpcode_FloorDiv, SymbolOpcode_CeilDiv, SymbolOpcode_TruncDiv})
    expectFailure(code, INT64_MIN, -1, "overflows");
  EXPECT_EQ(value(SymbolOpcode_Mod, INT64_MIN, -1), 0);
  EXPECT_EQ(value(SymbolOpcode_TruncMod, INT64_MIN, -1), 0);
  expectFailure(SymbolOpcode_Add, INT64_MAX, 1, "overflows");
  expectFailure(SymbolOpcode_Sub, INT64_MIN, 1, "overflows");
  expectFailure(SymbolOpcode_Mul, INT64_MAX, 2, "overflows");
  expectFailure(SymbolOpcode_Neg, INT64_MIN, 0, "overflows");
  expectFailure(SymbolOpcode_Abs, INT64_MIN, 0, "overflows");
}

TEST_F(Symbols, OtherSources) {
  int64_t result;
  ASSERT_FALSE(
      evaluate([](TestModule &m) { m.opInto(3, SymbolOpcode_Const, 0, 0, -42); }, {}, result));
  EXPECT_EQ(result, -42);
  ASSERT_FALSE(
      evaluate([](TestModule &m) { m.opInto(3, SymbolOpcode_InputDim, 0, 1); }, {}, result));
  EXPECT_EQ(result, 6);
  ASSERT_FALSE(
      evaluate([](TestModule &m) { m.opInto(3, SymbolOpcode_CacheCapacity, 0); }, {}, result));
  EXPECT_EQ(result, 99);
}

TEST_F(Symbols, ReadConvertsAllTypes) {
  auto read = [&](ElementType type, const std::vector<uint8_t> &bytes, int64_t expected) {
    buffer.bytes = bytes;
    int64_t result;
    Error error = evaluate([](TestModule &m) { m.opInto(3, SymbolOpcode_Read, 0, 1, 0); }, {0, 1},
                           result, type);
    ASSERT_FALSE(error) << error.message();
    EXPECT_EQ(result, expected) << EnumNameElementType(type);
  };
  read(ElementType_Bool, {0, 7}, 1);
  read(ElementType_I8, {0, 0xFE}, -2);
  read(ElementType_U8, {0, 0xFE}, 254);
  read(ElementType_I16, {0, 0, 0xFE, 0xFF}, -2);
  read(ElementType_U16, {0, 0, 0xFE, 0xFF}, 65534);
  read(ElementType_I32, {0, 0, 0, 0, 0xFE, 0xFF, 0xFF, 0xFF}, -2);
  read(ElementType_U32, {0, 0, 0, 0, 0xFE, 0xFF, 0xFF, 0xFF}, 4294967294);
  read(ElementType_F16, {0, 0, 0x80, 0xC1}, -2);             // -2.75
  read(ElementType_BF16, {0, 0, 0x30, 0x40}, 2);             // 2.75
  read(ElementType_F32, {0, 0, 0, 0, 0, 0, 0x30, 0xC0}, -2); // -2.75
  read(ElementType_F64, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xF0, 0x3F}, 1);
  read(ElementType_I64, {0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x80}, INT64_MIN + 1);
}

TEST_F(Symbols, ReadRefusesWhatIsNoInteger) {
  auto refuse = [&](ElementType type, const std::vector<uint8_t> &bytes, int64_t element) {
    buffer.bytes = bytes;
    int64_t result;
    Error error =
        evaluate([&](TestModule &m) { m.opInto(3, SymbolOpcode_Read, 0, kNone, element); }, {},
                 result, type);
    EXPECT_EQ(error.code(), TACQ_INVALID_INPUT);
  };
  refuse(ElementType_F32, {0, 0, 0xC0, 0x7F}, 0); // NaN
  refuse(ElementType_F32, {0, 0, 0x80, 0x7F}, 0); // infinity
  refuse(ElementType_F16, {0, 0x7C}, 0);
  refuse(ElementType_U64, {0, 0, 0, 0, 0, 0, 0, 0x80}, 0);
  refuse(ElementType_I32, {0, 0, 0, 0}, 1);
  refuse(ElementType_I32, {0, 0, 0, 0}, -1);
}

TEST_F(Symbols, ChecksSayWhatIsWrong) {
  auto run = [&](SymbolOpcode code, int64_t a, int64_t b, const std::string &message,
                 int64_t v = 0) {
    int64_t result;
    Error error =
        evaluate([&](TestModule &m) { m.check(code, 0, 1, message, 2); }, {a, b, v}, result);
    EXPECT_TRUE(!error || error.code() == TACQ_INVALID_INPUT);
    return error.message();
  };
  EXPECT_EQ(run(SymbolOpcode_CheckEq, 4, 4, "m"), "");
  EXPECT_EQ(run(SymbolOpcode_CheckEq, 4, 5, "mask is {a} long, expected {b}"),
            "mask is 4 long, expected 5");
  EXPECT_EQ(run(SymbolOpcode_CheckEq, 4, 5, "m"), "m (4 and 5)");
  EXPECT_EQ(run(SymbolOpcode_CheckNe, 4, 5, "m"), "");
  EXPECT_EQ(run(SymbolOpcode_CheckNe, 4, 4, "m"), "m (4 and 4)");
  EXPECT_EQ(run(SymbolOpcode_CheckLe, 4, 4, "m"), "");
  EXPECT_EQ(run(SymbolOpcode_CheckLe, 5, 4, "m"), "m (5 and 4)");
  EXPECT_EQ(run(SymbolOpcode_CheckLt, 4, 4, "m"), "m (4 and 4)");
  EXPECT_EQ(run(SymbolOpcode_CheckRange, 1, 8, "m", 8), "");
  EXPECT_EQ(run(SymbolOpcode_CheckRange, 1, 8, "m", 9), "m (9, allowed are 1 to 8)");
  EXPECT_EQ(run(SymbolOpcode_CheckRange, 1, 8, "{v} not in {a}..{b}", 0), "0 not in 1..8");
}

} // namespace
