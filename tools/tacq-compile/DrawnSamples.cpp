//===- DrawnSamples.cpp - More samples, by the model itself ---------------===//

#include "DrawnSamples.h"

#include "LanguageModel.h"
#include "Progress.h"
#include "TokenFiles.h"
#include "tacq/Compile.h"
#include "tacq/Tune/DrawToken.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"

#include <algorithm>

using namespace tacq;
using namespace tacq::tools;

/// Sequences that go through the model together.
static constexpr size_t batchSize = 32;
/// The part of a sample that is continued.
static constexpr size_t prefixPart = 5;

namespace {
/// One text: what it begins with, and up to what length it goes.
struct Text {
  std::vector<int64_t> tokens;
  size_t length;
  std::mt19937_64 random;
};
} // namespace

/// A piece of each sample; those of a batch are equally long.
static std::vector<Text> beginnings(const std::vector<TokenSequence> &samples, unsigned perSample,
                                    uint32_t seed) {
  std::vector<Text> texts;
  for (size_t i = 0; i < samples.size() * perSample; ++i)
    texts.push_back({samples[i % samples.size()].tokens, 0, std::mt19937_64(seedOf(seed, i))});
  // A batch takes as many steps as its longest text.
  std::stable_sort(texts.begin(), texts.end(),
                   [](const Text &a, const Text &b) { return a.tokens.size() < b.tokens.size(); });
  for (size_t first = 0; first < texts.size(); first += batchSize) {
    size_t length = std::max<size_t>(texts[first].tokens.size() / prefixPart, 1);
    for (size_t i = first; i < std::min(first + batchSize, texts.size()); ++i) {
      Text &text = texts[i];
      text.length = text.tokens.size();
      size_t places = text.length - length + 1;
      auto place = static_cast<ptrdiff_t>(drawUniform(text.random) * static_cast<double>(places));
      auto begin = text.tokens.begin() + place;
      text.tokens = std::vector<int64_t>(begin, begin + static_cast<ptrdiff_t>(length));
    }
  }
  return texts;
}

/// Texts that are long enough go on without being listened to until all are.
static Error continueTexts(LanguageModel &model, Text *texts, size_t count, size_t longest) {
  if (Error error = model.reset())
    return error;
  std::vector<int64_t> tokens;
  for (size_t i = 0; i < batchSize; ++i)
    tokens.insert(tokens.end(), texts[i % count].tokens.begin(), texts[i % count].tokens.end());
  for (size_t length = texts[0].tokens.size(); length < longest; ++length) {
    if (Error error = model.step(tokens))
      return error;
    tokens.assign(batchSize, 0);
    for (size_t i = 0; i < count; ++i) {
      llvm::ArrayRef logits(model.logits(model.rows() - 1, i), model.width());
      tokens[i] = drawToken(logits, drawUniform(texts[i].random));
      if (texts[i].tokens.size() < texts[i].length)
        texts[i].tokens.push_back(tokens[i]);
    }
  }
  return success();
}

Error tools::drawSamples(const DrawOptions &options, std::vector<std::vector<int64_t>> &drawn) {
  std::vector<TokenSequence> samples;
  for (const std::string &file : options.dataFiles) {
    std::vector<TokenSequence> some;
    if (Error error = readTokens(file, some))
      return error;
    samples.insert(samples.end(), some.begin(), some.end());
  }
  llvm::SmallString<128> path;
  if (std::error_code code = llvm::sys::fs::createTemporaryFile("tacq-unquantized", "tacq", path))
    return Error(TACQ_IO, "no temporary file can be made for the unquantized model: " +
                              code.message() + "; TMPDIR names the folder");
  llvm::FileRemover remover(path);
  CompileOptions compile;
  compile.output = path.str().str();
  compile.nextToken = false;
  if (Error error = compileModel(options.model, compile))
    return error;
  std::vector<Text> texts = beginnings(samples, options.perSample, options.seed);
  LanguageModelOptions modelOptions;
  modelOptions.device =
      options.threads ? "cpu:threads=" + std::to_string(options.threads) : std::string("cpu");
  modelOptions.batch = batchSize;
  modelOptions.capacity = static_cast<int64_t>(texts.back().length);
  std::unique_ptr<LanguageModel> model;
  if (Error error = LanguageModel::open(compile.output, modelOptions, model))
    return error;
  std::unique_ptr<Progress> progress;
  if (!options.quiet)
    progress = std::make_unique<Progress>("draw", texts.size(), "samples");
  for (size_t first = 0; first < texts.size(); first += batchSize) {
    size_t count = std::min(batchSize, texts.size() - first);
    size_t longest = texts[first + count - 1].length;
    if (Error error = continueTexts(*model, texts.data() + first, count, longest))
      return error;
    if (progress)
      progress->advance(count);
  }
  for (Text &text : texts)
    drawn.push_back(std::move(text.tokens));
  return success();
}
