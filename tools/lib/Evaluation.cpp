//===- Evaluation.cpp - How well a model predicts a text ------------------===//

#include "Evaluation.h"

#include <algorithm>
#include <cmath>

using namespace tacq;
using namespace tacq::tools;

/// ln Σ exp of a row.
static double logSum(const float *row, size_t width) {
  float top = *std::max_element(row, row + width);
  double sum = 0;
  for (size_t i = 0; i < width; ++i)
    sum += std::exp(static_cast<double>(row[i]) - top);
  return top + std::log(sum);
}

/// KL(base ‖ model) of two rows of logits.
static double divergence(const float *base, const float *row, size_t width) {
  double baseSum = logSum(base, width), rowSum = logSum(row, width), total = 0;
  for (size_t i = 0; i < width; ++i) {
    double logBase = base[i] - baseSum;
    double probability = std::exp(logBase);
    if (probability > 0)
      total += probability * (logBase - (row[i] - rowSum));
  }
  return std::max(total, 0.0);
}

static bool isScored(const TokenSequence &sequence, size_t position) {
  if (sequence.label(position) == kIgnoredLabel)
    return false;
  auto mask = sequence.inputs.find("attention_mask");
  return mask == sequence.inputs.end() ||
         (mask->second[position] != 0 && mask->second[position - 1] != 0);
}

static void scoreToken(const float *row, size_t width, int64_t label, Score &score,
                       double &sequenceLoss) {
  double loss = logSum(row, width) - row[label];
  score.loss += loss;
  sequenceLoss += loss;
  score.hits += argmax(row, width) == static_cast<size_t>(label);
  ++score.tokens;
}

Error tools::evaluate(LanguageModel &model, LanguageModel *base, const std::string &file,
                      const std::vector<TokenSequence> &sequences, Progress &progress, Score &score,
                      Score &baseScore, Comparison &comparison) {
  for (const TokenSequence &sequence : sequences)
    for (LanguageModel *each : {&model, base})
      if (each)
        if (Error error = each->checkTokens(file, sequence))
          return error;
  for (const TokenSequence &sequence : sequences) {
    for (LanguageModel *each : {&model, base})
      if (each)
        if (Error error = each->run(sequence))
          return Error(error.code(), file + ": " + sequence.place + ": " + error.message());
    if (base && base->width() != model.width())
      return makeError(TACQ_INVALID_INPUT, "%s has %zu logits per token, but %s has %zu",
                       model.path().c_str(), model.width(), base->path().c_str(), base->width());
    int64_t before = score.tokens;
    double loss = 0, baseLoss = 0;
    for (size_t position = 1; position < sequence.tokens.size(); ++position) {
      if (!isScored(sequence, position))
        continue;
      const float *row = model.logits(position - 1);
      scoreToken(row, model.width(), sequence.label(position), score, loss);
      if (!base)
        continue;
      const float *baseRow = base->logits(position - 1);
      scoreToken(baseRow, base->width(), sequence.label(position), baseScore, baseLoss);
      comparison.divergence += divergence(baseRow, row, model.width());
      comparison.agreements += argmax(row, model.width()) == argmax(baseRow, model.width());
    }
    double scored = static_cast<double>(score.tokens - before);
    score.sequenceLosses.push_back(scored > 0 ? loss / scored : NAN);
    if (base)
      baseScore.sequenceLosses.push_back(scored > 0 ? baseLoss / scored : NAN);
    progress.advance();
  }
  progress.finish();
  if (score.tokens == 0)
    return makeError(TACQ_INVALID_INPUT, "%s has no token with a label to score", file.c_str());
  return success();
}
