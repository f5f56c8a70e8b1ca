//===- Generation.cpp - Greedy decoding -----------------------------------===//

#include "Generation.h"

#include <algorithm>
#include <chrono>

using namespace tacq;
using namespace tacq::tools;

using Clock = std::chrono::steady_clock;

static double secondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

static Error generateOne(LanguageModel &model, const TokenSequence &prompt,
                         const GenerationOptions &options, std::vector<int64_t> &result,
                         GenerationTimes &times) {
  if (Error error = model.reset())
    return error;
  Clock::time_point start = Clock::now();
  if (Error error = model.step(prompt.tokens))
    return error;
  times.promptSeconds += secondsSince(start);
  times.promptTokens += static_cast<int64_t>(prompt.tokens.size());
  start = Clock::now();
  auto accept = [&](int64_t token) {
    result.push_back(token);
    return std::find(options.stops.begin(), options.stops.end(), token) == options.stops.end();
  };
  if (Error error = model.generate(options.maxNew, accept))
    return error;
  // The first one is of the prompt.
  times.newTokens += static_cast<int64_t>(result.size()) - 1;
  times.newSeconds += secondsSince(start);
  return success();
}

Error tools::generate(LanguageModel &model, const std::string &file,
                      const std::vector<TokenSequence> &prompts, const GenerationOptions &options,
                      Progress &progress, std::vector<TokenSequence> &results,
                      GenerationTimes &times) {
  for (const TokenSequence &prompt : prompts)
    if (Error error = model.checkTokens(file, prompt))
      return error;
  results.assign(prompts.size(), {});
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (Error error = generateOne(model, prompts[i], options, results[i].tokens, times))
      return Error(error.code(), file + ": " + prompts[i].place + ": " + error.message());
    progress.advance();
  }
  progress.finish();
  return success();
}
