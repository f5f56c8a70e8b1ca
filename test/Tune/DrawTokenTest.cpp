//===- DrawTokenTest.cpp - Tokens by their probabilities ------------------===//

#include "tacq/Tune/DrawToken.h"
#include "gtest/gtest.h"
#include <cmath>
#include <vector>

using namespace tacq;

/// At the borders between the sums of probabilities, the next token begins.
TEST(DrawToken, takesWhereProbabilitiesSumUp) {
  std::vector<float> logits;
  for (double probability : {0.125, 0.5, 0.375})
    logits.push_back(float(std::log(probability) + 50));
  for (auto [uniform, token] : std::vector<std::pair<double, int64_t>>{
           {0, 0}, {0.12, 0}, {0.13, 1}, {0.62, 1}, {0.63, 2}, {0.999999, 2}})
    EXPECT_EQ(drawToken(logits, uniform), token) << uniform;
}

/// What is drawn often enough has the probabilities, to four standard errors.
TEST(DrawToken, drawsByProbability) {
  std::vector<float> logits = {2, -1, 0.5f, 1, -30};
  double sum = 0;
  for (float logit : logits)
    sum += std::exp(logit);
  std::vector<int> counts(logits.size());
  std::mt19937_64 random(1);
  constexpr int draws = 20000;
  for (int i = 0; i < draws; ++i)
    ++counts[drawToken(logits, drawUniform(random))];
  for (size_t i = 0; i < logits.size(); ++i) {
    double p = std::exp(logits[i]) / sum;
    EXPECT_NEAR(counts[i] / double(draws), p, 4 * std::sqrt(p * (1 - p) / draws) + 1e-9) << i;
  }
}
