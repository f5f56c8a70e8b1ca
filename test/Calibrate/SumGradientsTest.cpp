//===- SumGradientsTest.cpp - Sums of products of gradients and rows ------===//

#include "../../compiler/lib/Calibrate/TileGradients.h"
#include "gtest/gtest.h"
#include <cmath>
#include <cstring>
#include <random>

using namespace tacq;

namespace {

/// To the nearest number of bf16, of two the even one.
float roundedToBf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000;
  std::memcpy(&value, &bits, sizeof(bits));
  return value;
}

std::vector<float> drawn(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float &value : values)
    value = normal(random);
  return values;
}

/// A weight that is used twice, with so many tokens each time.
struct Case {
  int64_t rows, columns, tokens[2];
  std::vector<float> inputs[2], gradients[2], sum;

  Case(int64_t rows, int64_t columns, int64_t first, int64_t second)
      : rows(rows), columns(columns), tokens{first, second}, sum(drawn(rows * columns, 9)) {
    for (int i = 0; i < 2; ++i) {
      inputs[i] = drawn(tokens[i] * columns, 1 + i);
      gradients[i] = drawn(tokens[i] * rows, 3 + i);
    }
  }

  bool hasTiles() const { return hasGradientTiles() && rows % 32 == 0 && columns % 32 == 0; }

  std::vector<float> summed(bool bf16, unsigned threads) const {
    std::vector<float> result = sum;
    WeightGradient gradient{{}, rows, columns, result.data()};
    for (int i = 0; i < 2; ++i)
      gradient.uses.push_back({inputs[i].data(), gradients[i].data(), tokens[i]});
    sumGradients(gradient, bf16, threads);
    return result;
  }

  void check(bool bf16) const {
    std::vector<float> result = summed(bf16, 1);
    EXPECT_EQ(result, summed(bf16, 3));
    bool rounded = bf16 && hasTiles();
    auto factor = [&](float value) { return double(rounded ? roundedToBf16(value) : value); };
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t column = 0; column < columns; ++column) {
        double expected = sum[row * columns + column], size = std::fabs(expected);
        for (int i = 0; i < 2; ++i)
          for (int64_t token = 0; token < tokens[i]; ++token) {
            double term = factor(gradients[i][token * rows + row]) *
                          factor(inputs[i][token * columns + column]);
            expected += term;
            size += std::fabs(term);
          }
        ASSERT_NEAR(result[row * columns + column], expected, 1e-6 * size)
            << "row " << row << ", column " << column;
      }
  }
};

} // namespace

TEST(SumGradientsTest, WholeTiles) {
  Case example(64, 96, 128, 64);
  example.check(/*bf16=*/false);
  example.check(/*bf16=*/true);
}

TEST(SumGradientsTest, TokensThatFillNoStep) {
  Case example(32, 64, 33, 7);
  example.check(/*bf16=*/false);
  example.check(/*bf16=*/true);
}

TEST(SumGradientsTest, WeightsThatAreNoTiles) {
  Case example(48, 40, 32, 5);
  example.check(/*bf16=*/false);
  example.check(/*bf16=*/true);
}
