//===- Evaluation.h - How well a model predicts a text ----------*- C++ -*-===//

#ifndef TACQ_TOOLS_EVALUATION_H
#define TACQ_TOOLS_EVALUATION_H

#include "LanguageModel.h"
#include "Progress.h"

namespace tacq::tools {

struct Score {
  /// Scored tokens: those with a label, from the second position on.
  int64_t tokens = 0;
  /// Sums over the scored tokens: cross-entropy in nats; hits of the most likely token.
  double loss = 0;
  int64_t hits = 0;
  /// Mean cross-entropy of each sequence, NaN for one without a scored token.
  std::vector<double> sequenceLosses;

  double meanLoss() const { return loss / static_cast<double>(tokens); }
  double top1() const { return static_cast<double>(hits) / static_cast<double>(tokens); }
};

/// A model beside a base model, summed over the scored tokens.
struct Comparison {
  /// Σ KL(base ‖ model) in nats.
  double divergence = 0;
  /// Tokens for which both find the same token most likely.
  int64_t agreements = 0;
};

/// Scores `model` and, unless null, `base` on the same positions.
Error evaluate(LanguageModel &model, LanguageModel *base, const std::string &file,
               const std::vector<TokenSequence> &sequences, Progress &progress, Score &score,
               Score &baseScore, Comparison &comparison);

} // namespace tacq::tools

#endif // TACQ_TOOLS_EVALUATION_H
