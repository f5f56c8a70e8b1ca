//===- tacq-eval.cpp - How well a module predicts a text ------------------===//

#include "CommandLine.h"
#include "Evaluation.h"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

using namespace tacq;
using namespace tacq::tools;
using nlohmann::ordered_json;

namespace {
struct Options {
  std::string module, base, device = "cpu";
  std::vector<std::string> data;
  bool json = false;
};
} // namespace

static ordered_json numbers(const Score &score) {
  ordered_json result;
  result["loss"] = score.meanLoss();
  result["perplexity"] = std::exp(score.meanLoss());
  result["bits_per_token"] = score.meanLoss() / std::log(2.0);
  result["top1"] = score.top1();
  // NaN, a sequence without a label, becomes null.
  result["sequence_losses"] = score.sequenceLosses;
  return result;
}

static void print(const char *name, const Score &score) {
  std::printf("%-6s loss %.6f, perplexity %.4f, bits/token %.4f, top-1 %.2f %%\n", name,
              score.meanLoss(), std::exp(score.meanLoss()), score.meanLoss() / std::log(2.0),
              100 * score.top1());
}

namespace {
/// One file's texts, and how they were predicted.
struct Result {
  std::string data;
  std::vector<TokenSequence> sequences;
  Score score, base;
  Comparison comparison;
};
} // namespace

static ordered_json numbers(const Options &options, const Result &result) {
  ordered_json json;
  json["model"] = options.module;
  json["data"] = result.data;
  json["sequences"] = result.sequences.size();
  json["tokens"] = result.score.tokens;
  json.update(numbers(result.score));
  if (!options.base.empty()) {
    double tokens = static_cast<double>(result.score.tokens);
    json["base"] = numbers(result.base);
    json["base"]["model"] = options.base;
    json["kl_divergence"] = result.comparison.divergence / tokens;
    json["top1_agreement"] = result.comparison.agreements / tokens;
  }
  return json;
}

static void print(const Options &options, const Result &result) {
  if (options.data.size() > 1)
    std::printf("%s: ", result.data.c_str());
  std::printf("%zu sequences, %lld scored tokens\n", result.sequences.size(),
              static_cast<long long>(result.score.tokens));
  print("model", result.score);
  if (options.base.empty())
    return;
  double tokens = static_cast<double>(result.score.tokens);
  print("base", result.base);
  std::printf("KL(base || model) %.6f nats, same top-1 token %.2f %%\n",
              result.comparison.divergence / tokens,
              100 * static_cast<double>(result.comparison.agreements) / tokens);
}

static Error run(const Options &options) {
  std::vector<Result> results(options.data.size());
  int64_t sequences = 0;
  for (size_t i = 0; i < results.size(); ++i) {
    results[i].data = options.data[i];
    if (Error error = readTokens(options.data[i], results[i].sequences))
      return error;
    sequences += static_cast<int64_t>(results[i].sequences.size());
  }
  LanguageModelOptions modelOptions;
  modelOptions.device = options.device;
  std::unique_ptr<LanguageModel> model, base;
  if (Error error = LanguageModel::open(options.module, modelOptions, model))
    return error;
  if (!options.base.empty())
    if (Error error = LanguageModel::open(options.base, modelOptions, base))
      return error;
  Progress progress("evaluating", sequences, "sequences");
  for (Result &result : results)
    if (Error error = evaluate(*model, base.get(), result.data, result.sequences, progress,
                               result.score, result.base, result.comparison))
      return error;
  if (!options.json) {
    for (const Result &result : results)
      print(options, result);
    return success();
  }
  ordered_json json;
  if (results.size() == 1) {
    json = numbers(options, results[0]);
  } else {
    for (const Result &result : results)
      json.push_back(numbers(options, result));
  }
  std::printf("%s\n", json.dump(2).c_str());
  return success();
}

int main(int argc, char **argv) {
  CLI::App app("Measures how well a compiled language model predicts given texts: mean "
               "cross-entropy of the next token (loss, in nats), perplexity, bits per token and "
               "how often the most likely token is right (top-1).",
               "tacq-eval");
  Options options;
  app.add_option("module", options.module, "The module, as tacq-compile wrote it")
      ->required()
      ->type_name("M.tacq");
  app.add_option("--data", options.data,
                 "Texts: .jsonl with a line {\"tokens\":[...], \"labels\":[...]} each, or .npz "
                 "with input_ids and labels [texts, tokens]. Labels are optional; -100 is not "
                 "scored. May be repeated: each file gets scores of its own")
      ->required()
      ->allow_extra_args(false)
      ->type_name("D.jsonl|D.npz");
  app.add_option("--base", options.base,
                 "Compare with this module: mean KL divergence and same top-1 token")
      ->type_name("B.tacq");
  app.add_option("--device", options.device, "cpu or cpu:threads=N (default: cpu with all cores)")
      ->type_name("DEVICE");
  app.add_flag("--json", options.json,
               "Print JSON, a list for several files; with the loss of each text");
  describeTool(app, "  tacq-eval m.tacq --data dev.jsonl\n"
                    "  tacq-eval m.tacq --data math.jsonl --data sql.jsonl\n"
                    "  tacq-eval small.tacq --base full.tacq --data dev.jsonl --json\n");
  return runTool(app, argc, argv, [&] { return run(options); });
}
