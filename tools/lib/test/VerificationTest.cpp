//===- VerificationTest.cpp -----------------------------------------------===//

#include "Verification.h"

#include <cmath>
#include <gtest/gtest.h>

using namespace tacq;
using namespace tacq::tools;

static Difference compareFloats(std::vector<float> values, std::vector<float> references,
                                Tolerance tolerance) {
  return compare(TACQ_F32, values.data(), TACQ_F32, references.data(), values.size(), tolerance);
}

TEST(Verification, ReportsTheLargestErrorsAndTheFirstFailure) {
  Difference difference = compareFloats({1, 2.5f, 3, -8}, {1, 2, 3, -4}, {0.1, 0.1});
  EXPECT_EQ(difference.failures, 2u);
  EXPECT_EQ(difference.firstFailure, 1u);
  EXPECT_EQ(difference.value, 2.5);
  EXPECT_EQ(difference.reference, 2);
  EXPECT_EQ(difference.maxAbsolute, 4);
  EXPECT_EQ(difference.maxRelative, 1);
}

TEST(Verification, ToleranceIsTheSumOfBothParts) {
  EXPECT_EQ(compareFloats({10.75f}, {10}, {0.25, 0.05}).failures, 0u);
  EXPECT_EQ(compareFloats({10.8125f}, {10}, {0.25, 0.05}).failures, 1u);
}

TEST(Verification, SpecialValues) {
  EXPECT_EQ(compareFloats({NAN, INFINITY, -INFINITY}, {NAN, INFINITY, -INFINITY}, {}).failures, 0u);
  EXPECT_EQ(compareFloats({NAN}, {0}, {1, 1}).failures, 1u);
  EXPECT_EQ(compareFloats({0}, {NAN}, {1, 1}).failures, 1u);
  EXPECT_EQ(compareFloats({INFINITY}, {-INFINITY}, {1, 1}).failures, 1u);
  EXPECT_EQ(compareFloats({1e30f}, {INFINITY}, {1, 1}).failures, 1u);
}

TEST(Verification, IntegersAreExact) {
  int64_t values[] = {(1ll << 60) + 1}, references[] = {1ll << 60};
  EXPECT_EQ(compare(TACQ_I64, values, TACQ_I64, references, 1, {10, 10}).failures, 1u);
  EXPECT_EQ(compare(TACQ_I64, values, TACQ_I64, values, 1, {}).failures, 0u);
  int32_t narrow[] = {7};
  int64_t wide[] = {7};
  EXPECT_EQ(compare(TACQ_I32, narrow, TACQ_I64, wide, 1, {}).failures, 0u);
}
