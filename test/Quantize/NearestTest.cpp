//===- NearestTest.cpp - Numbers, fits, rounding to nearest ---------------===//

#include "tacq/Quantize/Nearest.h"
#include "Reference.h"
#include "tacq/Half.h"
#include "gtest/gtest.h"

#include <cmath>
#include <limits>

using namespace tacq;
using namespace tacq::test;

TEST(Half, everyNumberComesBack) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    float value = floatFromHalf(static_cast<uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(floatFromHalf(halfFromFloat(value))));
      continue;
    }
    EXPECT_EQ(halfFromFloat(value), bits);
    EXPECT_EQ(halfFromDouble(value), bits);
  }
}

TEST(Half, roundsToNearestEven) {
  for (uint32_t bits = 0; bits < 0x7BFF; ++bits) {
    double low = floatFromHalf(static_cast<uint16_t>(bits));
    double high = floatFromHalf(static_cast<uint16_t>(bits + 1)), middle = (low + high) / 2;
    EXPECT_EQ(halfFromFloat(static_cast<float>(middle)), bits + (bits & 1));
    EXPECT_EQ(halfFromDouble(std::nextafter(middle, 1e9)), bits + 1);
    EXPECT_EQ(halfFromDouble(-std::nextafter(middle, -1e9)), bits | 0x8000);
  }
  EXPECT_EQ(halfFromFloat(65519.9f), 0x7BFF);
  EXPECT_EQ(halfFromFloat(65520), 0x7C00);
  EXPECT_EQ(halfFromDouble(std::numeric_limits<double>::infinity()), 0x7C00);
}

/// The search of the reference code, in double precision.
static AffineFit plainFit(const std::vector<float> &values, unsigned bits, const ClipSearch &clip) {
  double low = 0, high = 0, least = std::numeric_limits<double>::infinity();
  for (double value : values) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  AffineFit best;
  for (unsigned i = 0; i < std::max(1u, clip.steps); ++i) {
    double shrink = 1 - double(i) / clip.grid;
    AffineFit fit;
    fit.maxCode = (1u << bits) - 1;
    fit.scaleBits = halfFromDouble(shrink * (high - low) / fit.maxCode);
    fit.scale = floatFromHalf(fit.scaleBits);
    fit.zero = static_cast<uint8_t>(
        std::clamp<double>(std::nearbyint(-shrink * low / fit.scale), 0, fit.maxCode));
    double error = 0;
    for (double value : values) {
      double code =
          std::clamp<double>(std::nearbyint(value / fit.scale) + fit.zero, 0, fit.maxCode);
      error += std::pow(std::fabs(value - fit.scale * (code - fit.zero)), clip.norm);
    }
    if (error < least) {
      least = error;
      best = fit;
    }
  }
  return best;
}

TEST(AffineFit, findsTheBestRange) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  int differing = 0, total = 0;
  for (unsigned bits : {2, 3, 4, 8})
    for (size_t count : {1, 5, 64, 67, 300})
      for (double norm : {2.0, 2.4}) {
        std::vector<float> values(count);
        for (float &value : values)
          value = 0.02f * normal(random) + 0.005f;
        ClipSearch clip{80, 100, norm};
        AffineFit fit = fitAffine(values, bits, clip), expected = plainFit(values, bits, clip);
        EXPECT_EQ(fit.maxCode, expected.maxCode);
        // Candidates of nearly the same error may be ranked either way.
        differing += fit.scaleBits != expected.scaleBits || fit.zero != expected.zero;
        ++total;
        clip.steps = 0;
        EXPECT_EQ(fitAffine(values, bits, clip).scaleBits, plainFit(values, bits, clip).scaleBits);
      }
  EXPECT_LE(differing, total / 10);
}

TEST(AffineFit, unusualValues) {
  EXPECT_EQ(fitAffine({}, 2, {}).scale, 0);
  EXPECT_EQ(fitAffine({0, 0}, 2, {}).codeOf(1), 0);
  AffineFit huge = fitAffine({-3e38f, 3e38f}, 2, {});
  EXPECT_EQ(huge.scale, largestHalf);
  EXPECT_LE(huge.codeOf(3e38), 3);
  AffineFit tiny = fitAffine({1e-30f, -1e-30f}, 3, {});
  EXPECT_EQ(tiny.valueOf(tiny.codeOf(1e-30)), 0);
  AffineFit positive = fitAffine({1, 2, 3}, 2, {0, 100, 2});
  EXPECT_EQ(positive.zero, 0);
  EXPECT_EQ(positive.codeOf(2), 2);
  AffineFit negative = fitAffine({-1, -2, -3}, 2, {0, 100, 2});
  EXPECT_EQ(negative.zero, 3);
  EXPECT_EQ(negative.codeOf(-3), 0);
}

TEST(Nearest, everyWeightGetsTheNearestCode) {
  for (unsigned bits : {2, 3, 4, 8})
    for (int64_t group : {0, 1, 32, 64, 77})
      for (int64_t columns : {77, 128, 130}) {
        Layer layer = randomLayer(7, columns, bits);
        CircuitMask mask = randomMask(7, columns, 0.05, bits + 1);
        WeightFormat format{bits, group, false, WeightFormat::Circuit::Scattered};
        MixedWeight result;
        ASSERT_FALSE(quantizeNearest(layer.view(), format, mask, {}, result));
        std::vector<float> decoded = result.decode();
        for (int64_t n = 0; n < 7; ++n)
          for (int64_t k = 0; k < columns; ++k) {
            int64_t i = n * columns + k, g = n * result.groups() + k / result.groupColumns();
            float scale = floatFromHalf(result.scales[g]);
            bool kept = std::binary_search(mask.row(n).begin(), mask.row(n).end(), k);
            float best = std::numeric_limits<float>::infinity();
            for (int code = 0; code < 1 << bits; ++code)
              best = std::min(best,
                              std::fabs(layer.weight[i] - scale * float(code - result.zeros[g])));
            EXPECT_LE(std::fabs(layer.weight[i] - decoded[i]), kept ? 0 : best * 1.0001f);
            if (kept) {
              EXPECT_EQ(result.codes[i], result.zeros[g]);
            }
          }
      }
}

TEST(Nearest, circuitIsLeftOutOfTheFit) {
  std::vector<float> weight = {1, -1, 0.5f, 1000, 0.25f, -0.5f};
  CircuitMask mask;
  mask.starts = {0, 1};
  mask.positions = {3};
  MixedWeight result;
  NearestOptions options;
  options.clip.steps = 0;
  WeightFormat format{8, 0, false, WeightFormat::Circuit::Scattered};
  ASSERT_FALSE(quantizeNearest({weight.data(), 1, 6}, format, mask, options, result));
  EXPECT_LT(floatFromHalf(result.scales[0]), 0.01f);
  EXPECT_EQ(result.decode()[3], 1000);
}
