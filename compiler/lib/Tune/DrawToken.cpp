//===- DrawToken.cpp - A token by its probability -------------------------===//

#include "tacq/Tune/DrawToken.h"
#include <algorithm>
#include <cmath>
#include <vector>

using namespace tacq;

/// Sums are kept for so many tokens, so that no exponential is taken twice but for those of one.
static constexpr size_t blockTokens = 512;

int64_t tacq::drawToken(llvm::ArrayRef<float> logits, double uniform) {
  float largest = *std::max_element(logits.begin(), logits.end());
  auto weight = [&](size_t i) { return std::exp(double(logits[i]) - largest); };
  std::vector<double> blocks;
  double sum = 0;
  for (size_t begin = 0; begin < logits.size(); begin += blockTokens) {
    double block = 0;
    for (size_t i = begin, end = std::min(begin + blockTokens, logits.size()); i < end; ++i)
      block += weight(i);
    blocks.push_back(block);
    sum += block;
  }
  double rest = uniform * sum;
  size_t begin = 0;
  for (double block : blocks) {
    if (rest < block)
      break;
    rest -= block;
    begin += blockTokens;
  }
  for (size_t i = begin; i < logits.size(); ++i)
    if ((rest -= weight(i)) < 0)
      return int64_t(i);
  return std::max_element(logits.begin(), logits.end()) - logits.begin();
}
