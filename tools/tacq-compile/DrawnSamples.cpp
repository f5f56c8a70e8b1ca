//===- DrawnSamples.cpp - More samples, by the model itself ---------------===//

#include "DrawnSamples.h"

#include "DrawnTexts.h"
#include "LanguageModel.h"
#include "Progress.h"
#include "tacq/Compile.h"
#include "tacq/Tune/DrawToken.h"
#include "tacq/Tune/Tuner.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"

#include <algorithm>

using namespace tacq;
using namespace tacq::tools;

/// Sequences that go through the model together.
static constexpr size_t batchSize = 32;
/// Each step gives every text its next token. Texts that are done go on without being listened to
/// until all are.
static Error continueTexts(LanguageModel &model, llvm::MutableArrayRef<DrawnText> texts) {
  if (Error error = model.reset())
    return error;
  size_t common = texts.front().beginning().size();
  for (const DrawnText &text : texts)
    common = std::min({common, text.beginning().size(), text.length()});
  std::vector<int64_t> tokens;
  for (size_t i = 0; i < batchSize; ++i) {
    auto begin = texts[i % texts.size()].beginning().begin();
    tokens.insert(tokens.end(), begin, begin + static_cast<ptrdiff_t>(common));
  }
  for (DrawnText &text : texts)
    for (size_t i = 0; i < common; ++i)
      text.append(text.given());
  while (llvm::any_of(texts, [](const DrawnText &text) { return !text.done(); })) {
    if (Error error = model.step(tokens))
      return error;
    tokens.assign(batchSize, 0);
    for (auto [i, text] : llvm::enumerate(texts)) {
      if (text.done())
        continue;
      llvm::ArrayRef logits(model.logits(model.rows() - 1, i), model.width());
      tokens[i] = text.draws() ? drawToken(logits, drawUniform(text.random())) : text.given();
      text.append(tokens[i]);
    }
  }
  return success();
}

Error tools::drawSamples(const DrawOptions &options, std::vector<TokenSequence> &drawn) {
  std::vector<TokenSequence> samples;
  for (const std::string &file : options.dataFiles) {
    std::vector<TokenSequence> some;
    if (Error error = readTokens(file, some))
      return error;
    samples.insert(samples.end(), some.begin(), some.end());
  }
  size_t number = 0;
  llvm::erase_if(samples, [&](const TokenSequence &) { return isHeldBack(number++); });
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
  std::vector<DrawnText> texts = textsToDraw(samples, options.perSample, options.seed);
  LanguageModelOptions modelOptions;
  modelOptions.device =
      options.threads ? "cpu:threads=" + std::to_string(options.threads) : std::string("cpu");
  modelOptions.batch = batchSize;
  modelOptions.capacity = static_cast<int64_t>(texts.back().length());
  std::unique_ptr<LanguageModel> model;
  if (Error error = LanguageModel::open(compile.output, modelOptions, model))
    return error;
  std::unique_ptr<Progress> progress;
  if (!options.quiet)
    progress = std::make_unique<Progress>("draw", texts.size(), "samples");
  for (size_t first = 0; first < texts.size(); first += batchSize) {
    size_t count = std::min(batchSize, texts.size() - first);
    if (Error error = continueTexts(*model, llvm::MutableArrayRef(texts).slice(first, count)))
      return error;
    if (progress)
      progress->advance(count);
  }
  for (DrawnText &text : texts)
    drawn.push_back(text.take());
  return success();
}
