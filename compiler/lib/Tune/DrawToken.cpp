//===- DrawToken.cpp - A token by its probability -------------------------===//

#include "tacq/Tune/DrawToken.h"
#include <algorithm>
#include <cmath>

using namespace tacq;

int64_t tacq::drawToken(llvm::ArrayRef<float> logits, double uniform) {
  float largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float logit : logits)
    sum += std::exp(double(logit) - largest);
  double rest = uniform * sum;
  for (size_t i = 0; i < logits.size(); ++i)
    if ((rest -= std::exp(double(logits[i]) - largest)) < 0)
      return int64_t(i);
  return std::max_element(logits.begin(), logits.end()) - logits.begin();
}
