//===- Generation.h - Greedy decoding ---------------------------*- C++ -*-===//

#ifndef TACQ_TOOLS_GENERATION_H
#define TACQ_TOOLS_GENERATION_H

#include "LanguageModel.h"
#include "Progress.h"

namespace tacq::tools {

struct GenerationOptions {
  /// At most so many new tokens for a prompt.
  int64_t maxNew = 100;
  /// Tokens that end a text; they are part of the result.
  std::vector<int64_t> stops;
};

struct GenerationTimes {
  int64_t promptTokens = 0, newTokens = 0;
  double promptSeconds = 0, newSeconds = 0;
};

/// Continues each prompt by its most likely next token, one prompt after the other. `results` are
/// the new tokens. `file` is named in messages.
Error generate(LanguageModel &model, const std::string &file,
               const std::vector<TokenSequence> &prompts, const GenerationOptions &options,
               Progress &progress, std::vector<TokenSequence> &results, GenerationTimes &times);

} // namespace tacq::tools

#endif // TACQ_TOOLS_GENERATION_H
