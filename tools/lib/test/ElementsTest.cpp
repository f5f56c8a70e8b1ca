//===- ElementsTest.cpp ---------------------------------------------------===//

#include "Elements.h"

#include <cmath>
#include <gtest/gtest.h>

using namespace tacq;
using namespace tacq::tools;

TEST(Elements, HalfPrecision) {
  const std::pair<uint16_t, double> known[] = {{0x0000, 0},        {0x3C00, 1},
                                               {0xC000, -2},       {0x7BFF, 65504},
                                               {0x0001, 0x1p-24},  {0x03FF, 1023 * 0x1p-24},
                                               {0x0400, 0x1p-14},  {0x3555, 0.333251953125},
                                               {0xFC00, -INFINITY}};
  for (const auto &[bits, value] : known)
    EXPECT_EQ(elementAsDouble(TACQ_F16, &bits, 0), value) << std::hex << bits;
  uint16_t nan = 0x7E00;
  EXPECT_TRUE(std::isnan(elementAsDouble(TACQ_F16, &nan, 0)));
  uint16_t zero = 0x8000;
  EXPECT_TRUE(std::signbit(elementAsDouble(TACQ_F16, &zero, 0)));
}

TEST(Elements, BrainFloat) {
  uint16_t values[] = {0x3F80, 0xC049, 0x7F80};
  EXPECT_EQ(elementAsDouble(TACQ_BF16, values, 0), 1);
  EXPECT_EQ(elementAsDouble(TACQ_BF16, values, 1), -3.140625);
  EXPECT_EQ(elementAsDouble(TACQ_BF16, values, 2), INFINITY);
}

TEST(Elements, Integers) {
  int8_t bytes[] = {-1, 127};
  EXPECT_EQ(elementAsDouble(TACQ_I8, bytes, 0), -1);
  EXPECT_EQ(elementAsDouble(TACQ_U8, bytes, 0), 255);
  EXPECT_EQ(elementAsDouble(TACQ_BOOL, bytes, 1), 1);
  int64_t wide = -(1ll << 40);
  EXPECT_EQ(elementAsDouble(TACQ_I64, &wide, 0), -0x1p40);
}

TEST(Elements, StoredValuesAreReadBack) {
  for (int type = TACQ_BOOL; type <= TACQ_F64; ++type) {
    char memory[32] = {};
    auto element = static_cast<tacq_element_type_t>(type);
    storeElement(element, memory, 0, 0);
    storeElement(element, memory, 2, 1);
    EXPECT_EQ(elementAsDouble(element, memory, 0), 0) << tacq_element_name(element);
    EXPECT_EQ(elementAsDouble(element, memory, 1), 0) << tacq_element_name(element);
    EXPECT_EQ(elementAsDouble(element, memory, 2), 1) << tacq_element_name(element);
    EXPECT_EQ(elementAsDouble(element, memory, 3), 0) << tacq_element_name(element);
  }
}
