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
#include "llvm/Support/Parallel.h"

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
  std::vector<std::vector<float>> logits(texts.size());
  while (llvm::any_of(texts, [](const DrawnText &text) { return !text.done(); })) {
    if (Error error = model.step(tokens))
      return error;
    tokens.assign(batchSize, 0);
    for (auto [i, text] : llvm::enumerate(texts))
      if (!text.done() && text.draws()) {
        const float *row = model.logits(model.rows() - 1, i);
        logits[i].assign(row, row + model.width());
      }
    llvm::parallelFor(0, texts.size(), [&](size_t i) {
      DrawnText &text = texts[i];
      if (text.done())
        return;
      tokens[i] = text.draws() ? drawToken(logits[i], drawUniform(text.random())) : text.given();
      text.append(tokens[i]);
    });
  }
  return success();
}

/// The unquantized model, compiled for this machine.
static Error openUnquantized(const DrawOptions &options, size_t longest,
                             std::unique_ptr<LanguageModel> &model) {
  llvm::SmallString<128> path;
  if (std::error_code code = llvm::sys::fs::createTemporaryFile("tacq-unquantized", "tacq", path))
    return Error(TACQ_IO, "no temporary file can be made for the unquantized model: " +
                              code.message() + "; TMPDIR names the folder");
  llvm::FileRemover remover(path);
  CompileOptions compile;
  compile.output = path.str().str();
  compile.nextToken = false;
  compile.bf16Products = options.bf16;
  if (Error error = compileModel(options.model, compile))
    return error;
  LanguageModelOptions modelOptions;
  modelOptions.device =
      options.threads ? "cpu:threads=" + std::to_string(options.threads) : std::string("cpu");
  modelOptions.batch = batchSize;
  modelOptions.capacity = static_cast<int64_t>(longest);
  Error error = LanguageModel::open(compile.output, modelOptions, model);
  if (!error)
    return success();
  // The user knows nothing of the temporary file.
  std::string text = error.message();
  if (size_t at = text.find(compile.output); at != std::string::npos)
    text.replace(at, compile.output.size(), options.model);
  return Error(error.code(), text);
}

/// `texts` are sorted by length.
static Error write(const DrawOptions &options, LanguageModel &model,
                   llvm::MutableArrayRef<DrawnText> texts, std::vector<TokenSequence> &drawn) {
  llvm::parallel::strategy = llvm::hardware_concurrency(options.threads);
  std::unique_ptr<Progress> progress;
  if (!options.quiet)
    progress = std::make_unique<Progress>("draw", texts.size(), "samples");
  for (size_t first = 0; first < texts.size(); first += batchSize) {
    size_t count = std::min(batchSize, texts.size() - first);
    if (Error error = continueTexts(model, texts.slice(first, count)))
      return error;
    if (progress)
      progress->advance(count);
  }
  for (DrawnText &text : texts)
    drawn.push_back(text.take());
  return success();
}

Error tools::drawSamples(const DrawOptions &options, const SampleSource &samples,
                         const std::vector<std::string> &dataFiles, unsigned perSample,
                         std::vector<TokenSequence> &drawn, std::vector<double> &weights) {
  std::vector<TokenSequence> given;
  std::vector<double> givenWeights;
  size_t number = 0;
  for (const std::string &file : dataFiles) {
    std::vector<TokenSequence> some;
    if (Error error = readTokens(file, some))
      return error;
    for (TokenSequence &sample : some) {
      if (!isHeldBack(number)) {
        given.push_back(std::move(sample));
        givenWeights.push_back(samples.weightOf(number));
      }
      ++number;
    }
  }
  std::vector<DrawnText> texts = textsToDraw(given, givenWeights, perSample, options.seed);
  if (texts.empty())
    return success();
  for (const DrawnText &text : texts)
    weights.push_back(text.weight);
  std::unique_ptr<LanguageModel> model;
  if (Error error = openUnquantized(options, texts.back().length(), model))
    return error;
  return write(options, *model, texts, drawn);
}

Error tools::drawOwnTexts(const DrawOptions &options, const OwnTexts &own,
                          std::vector<TokenSequence> &drawn) {
  std::unique_ptr<LanguageModel> model;
  if (Error error = openUnquantized(options, own.length, model))
    return error;
  int64_t vocabulary = model->vocabulary();
  if (!own.begin && vocabulary == 0)
    return Error(TACQ_UNSUPPORTED, options.model + ": the number of its logits is not fixed, so no "
                                                   "token can be drawn to begin with; --begin "
                                                   "names one");
  if (own.begin && vocabulary > 0 && *own.begin >= vocabulary)
    return makeError(TACQ_INVALID_ARGUMENT, "--begin %lld: the vocabulary of %s ends at %lld",
                     static_cast<long long>(*own.begin), options.model.c_str(),
                     static_cast<long long>(vocabulary - 1));
  std::vector<DrawnText> texts =
      ownTexts(own.count, own.length, own.begin, vocabulary, options.seed);
  return write(options, *model, texts, drawn);
}
