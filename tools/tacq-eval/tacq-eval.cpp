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
  std::string module, base, data, device = "cpu";
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

static Error run(const Options &options) {
  std::vector<TokenSequence> sequences;
  if (Error error = readTokens(options.data, sequences))
    return error;
  LanguageModelOptions modelOptions;
  modelOptions.device = options.device;
  std::unique_ptr<LanguageModel> model, base;
  if (Error error = LanguageModel::open(options.module, modelOptions, model))
    return error;
  if (!options.base.empty())
    if (Error error = LanguageModel::open(options.base, modelOptions, base))
      return error;
  Progress progress("evaluating", static_cast<int64_t>(sequences.size()), "sequences");
  Score score, baseScore;
  Comparison comparison;
  if (Error error = evaluate(*model, base.get(), options.data, sequences, progress, score,
                             baseScore, comparison))
    return error;
  double tokens = static_cast<double>(score.tokens);
  if (options.json) {
    ordered_json result;
    result["model"] = options.module;
    result["data"] = options.data;
    result["sequences"] = sequences.size();
    result["tokens"] = score.tokens;
    result.update(numbers(score));
    if (base) {
      result["base"] = numbers(baseScore);
      result["base"]["model"] = options.base;
      result["kl_divergence"] = comparison.divergence / tokens;
      result["top1_agreement"] = comparison.agreements / tokens;
    }
    std::printf("%s\n", result.dump(2).c_str());
    return success();
  }
  std::printf("%zu sequences, %lld scored tokens\n", sequences.size(),
              static_cast<long long>(score.tokens));
  print("model", score);
  if (base) {
    print("base", baseScore);
    std::printf("KL(base || model) %.6f nats, same top-1 token %.2f %%\n",
                comparison.divergence / tokens, 100 * comparison.agreements / tokens);
  }
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
                 "scored")
      ->required()
      ->type_name("D.jsonl|D.npz");
  app.add_option("--base", options.base,
                 "Compare with this module: mean KL divergence and same top-1 token")
      ->type_name("B.tacq");
  app.add_option("--device", options.device, "cpu or cpu:threads=N (default: cpu with all cores)")
      ->type_name("DEVICE");
  app.add_flag("--json", options.json, "Print JSON; with the loss of each text");
  describeTool(app, "  tacq-eval m.tacq --data dev.jsonl\n"
                    "  tacq-eval small.tacq --base full.tacq --data dev.jsonl --json\n");
  return runTool(app, argc, argv, [&] { return run(options); });
}
