//===- tacq-plan.cpp - A plan for a budget --------------------------------===//

#include "CommandLine.h"
#include "Progress.h"
#include "SampleData.h"
#include "mlir/IR/MLIRContext.h"
#include "tacq/Calibrate/InProcessModule.h"
#include "tacq/OutputFile.h"
#include "tacq/Quantize/Planner.h"
#include "tacq/Register.h"
#include "tacq/TextFile.h"
#include "tacq/Tune/Tuner.h"

#include "llvm/Support/JSON.h"

#include <cstdio>

using namespace tacq;
using namespace tacq::tools;

namespace {
struct Options {
  std::string model, statistics, budget, lossIncrease, output, layout = "slots", candidates;
  std::vector<std::string> dataFiles;
  unsigned threads = 0, probes = 48, probeSamples = 4;
  bool quiet = false;
};
} // namespace

static Error readBudget(const Options &options, Budget &budget) {
  if (options.budget.empty() == options.lossIncrease.empty())
    return makeError(TACQ_INVALID_ARGUMENT, "give one of --budget and --max-loss-increase");
  const std::string &text = options.budget.empty() ? options.lossIncrease : options.budget;
  std::optional<Budget> parsed = parseBudget(text);
  bool isLoss = parsed && parsed->kind == Budget::Kind::LossIncrease;
  if (!parsed || isLoss == options.lossIncrease.empty())
    return makeError(TACQ_INVALID_ARGUMENT,
                     options.lossIncrease.empty()
                         ? "--budget takes a size such as 2.25bpw, 40MiB or 512KiB, not '%s'"
                         : "--max-loss-increase takes a part such as 2%%, not '%s'",
                     text.c_str());
  budget = *parsed;
  return success();
}

static void printTable(const std::vector<Candidate> &candidates, size_t chosen, double baseLoss) {
  bool isMeasured = llvm::any_of(
      candidates, [](const Candidate &candidate) { return candidate.measuredLoss.has_value(); });
  std::printf("  %5s  %6s  %8s  %6s  %12s  %15s%s\n", "bits", "group", "circuit", "bpw", "bytes",
              "predicted loss", isMeasured ? "        measured" : "");
  for (size_t i = 0; i < candidates.size(); ++i) {
    const Candidate &candidate = candidates[i];
    std::string bits = "mixed", group = "mixed";
    if (candidate.format) {
      bits = std::to_string(candidate.format->bits);
      group = candidate.format->codebook     ? "levels"
              : candidate.format->group == 0 ? "row"
                                             : std::to_string(candidate.format->group);
    }
    std::printf("%s %5s  %6s  %7.2f%%  %6.3f  %12llu  %+14.2f%%", i == chosen ? "*" : " ",
                bits.c_str(), group.c_str(), candidate.circuit * 100, candidate.bitsPerWeight,
                static_cast<unsigned long long>(candidate.bytes),
                100 * candidate.predictedLoss / baseLoss);
    if (candidate.measuredLoss)
      std::printf("  %+14.2f%%", 100 * *candidate.measuredLoss / baseLoss);
    std::printf("\n");
  }
}

/// What each weight could become, for scripts that draw plans of their own.
static Error writeOptions(const std::string &path, const std::vector<TensorOptions> &tensors) {
  return writeTextFile(path, [&](llvm::raw_ostream &os) {
    llvm::json::OStream stream(os, 1);
    stream.array([&] {
      for (const TensorOptions &tensor : tensors)
        stream.object([&] {
          stream.attribute("name", tensor.name);
          stream.attributeArray("options", [&] {
            for (const TensorPlan &option : tensor.options)
              stream.object([&] {
                stream.attribute("bits", int64_t(option.bits));
                stream.attribute("group", option.group);
                stream.attribute("codebook", option.codebook);
                stream.attribute("circuit", option.circuit.value_or(0));
                stream.attribute("bytes", int64_t(option.bytes));
                stream.attribute("predicted_loss", option.predictedLoss);
              });
          });
        });
    });
    os << "\n";
  });
}

/// The plan that was chosen, with what it was chosen from.
static Plan &choose(PlanResult &result, double baseLoss) {
  std::vector<Candidate> &candidates = result.candidates;
  Plan &plan = candidates[result.chosen].plan;
  plan.meanLoss = baseLoss;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const Candidate &candidate = candidates[i];
    PricedPlan &priced = plan.candidates.emplace_back();
    priced.mixed = !candidate.format;
    if (candidate.format) {
      priced.bits = candidate.format->bits;
      priced.group = candidate.format->group;
      priced.codebook = candidate.format->codebook;
    }
    priced.circuit = candidate.circuit;
    priced.bytes = candidate.bytes;
    priced.bitsPerWeight = candidate.bitsPerWeight;
    priced.predictedLoss = candidate.predictedLoss;
    priced.measuredLoss = candidate.measuredLoss;
    priced.chosen = i == result.chosen;
  }
  return plan;
}

/// Where what was measured of a plan is not what its weights lose, but that other activations are
/// rounded to other numbers, its size says nothing.
static void warnOfRounding(const std::vector<Candidate> &candidates, double tolerated,
                           double baseLoss) {
  constexpr double farMore = 10;
  const Candidate *hidden = nullptr;
  for (const Candidate &candidate : candidates)
    if (candidate.measuredLoss && *candidate.measuredLoss > tolerated * baseLoss &&
        *candidate.measuredLoss > farMore * candidate.predictedLoss &&
        (!hidden || *candidate.measuredLoss < *hidden->measuredLoss))
      hidden = &candidate;
  if (hidden)
    std::fprintf(
        stderr,
        "warning: a plan that is predicted to increase the loss by %.2g %% was measured at "
        "%.2g %%: measurements round what products multiply and hide so small a loss, so "
        "that this plan may be larger than need be; tolerate more than %.2g %%, or plan "
        "without --data\n",
        100 * hidden->predictedLoss / baseLoss, 100 * *hidden->measuredLoss / baseLoss,
        100 * *hidden->measuredLoss / baseLoss);
}

static Error run(const Options &options) {
  PlannerOptions planner;
  if (Error error = readBudget(options, planner.budget))
    return error;
  if (Error error = checkOutputFile(options.output, OutputKind::Any))
    return error;
  if (!options.candidates.empty())
    if (Error error = checkOutputFile(options.candidates, OutputKind::Any))
      return error;
  Statistics statistics;
  if (Error error = Statistics::read(options.statistics, statistics))
    return error;
  mlir::DialectRegistry registry;
  registerAllDialects(registry);
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  context.loadAllAvailableDialects();
  ImportedModel model;
  if (Error error = calibrationGraph(options.model, context, model))
    return error;
  if (statistics.modelHash != model.parameters.contentHash())
    return makeError(TACQ_INVALID_INPUT,
                     "the statistics '%s' were made of '%s' with other contents than '%s'; "
                     "calibrate this model",
                     options.statistics.c_str(), statistics.modelFile.c_str(),
                     options.model.c_str());
  if (std::string text = statistics.fewTokens(options.statistics); !text.empty() && !options.quiet)
    std::fprintf(stderr, "warning: %s\n", text.c_str());
  planner.circuitLayout = *parseCircuitLayout(options.layout);
  planner.threads = options.threads;
  planner.file = options.model;
  planner.probes = options.probes;
  planner.probeSamples = options.probeSamples;
  SampleData data;
  for (const std::string &file : options.dataFiles) {
    if (Error error = CalibrationData::open(file, data.emplace_back()))
      return error;
    if (Error error = data.back()->bind(tuningInputs(*model.module), vocabularyOf(*model.module),
                                        /*allTokens=*/false))
      return error;
  }
  SampleSource samples = samplesOf(data, statistics);
  if (std::string text = filesWithoutWeight(data, statistics, options.statistics);
      !text.empty() && !options.quiet)
    std::fprintf(stderr, "warning: %s\n", text.c_str());
  planner.samples = data.empty() ? nullptr : &samples;
  std::unique_ptr<Progress> progress;
  std::string current;
  planner.progress = [&](const std::string &stage, unsigned done, unsigned total) {
    if (options.quiet)
      return;
    if (stage != current) {
      progress = std::make_unique<Progress>(stage, total,
                                            stage == "predict" ? "layers"
                                            : stage == "plan"  ? "formats"
                                                               : "measurements");
      current = stage;
    }
    if (done > 0)
      progress->advance();
  };
  PlanResult result;
  Error error = planModel(model, statistics, planner, result);
  progress.reset();
  if (error)
    return error;
  printTable(result.candidates, result.chosen, statistics.meanLoss());
  if (!options.lossIncrease.empty() && !options.quiet)
    warnOfRounding(result.candidates, planner.budget.value, statistics.meanLoss());
  if (!options.candidates.empty())
    if (Error error = writeOptions(options.candidates, result.tensors))
      return error;
  return writePlan(options.output, choose(result, statistics.meanLoss()));
}

int main(int argc, char **argv) {
  CLI::App app("Finds formats for a model's weights within a budget: prices bits, groups and "
               "circuits, predicts what each costs in loss, and writes the best as a plan that "
               "tacq-compile takes and that may be edited.",
               "tacq-plan");
  Options options;
  app.add_option("model", options.model, "The model that was calibrated")
      ->required()
      ->type_name("MODEL.onnx");
  app.add_option("--stats", options.statistics, "Its statistics, by tacq-calibrate")
      ->required()
      ->type_name("S.stats");
  app.add_option("--budget", options.budget,
                 "Size of the projections' weights, all bytes counted: 2.25bpw, 40MiB, 512KiB")
      ->type_name("SIZE");
  app.add_option("--max-loss-increase", options.lossIncrease,
                 "The smallest plan found that increases the sample's loss by no more, as "
                 "measured on --data, or as predicted without it")
      ->type_name("PERCENT");
  app.add_option("-o,--output", options.output, "The plan")->required()->type_name("PLAN.json");
  app.add_option("--circuit-layout", options.layout,
                 "slots, scattered, uniform, or none (default: slots)")
      ->check(CLI::IsMember({"slots", "scattered", "uniform", "none"}));
  app.add_option("--data", options.dataFiles,
                 "The sample: predictions are corrected by measurements on it, and the plan is "
                 "measured. May be repeated")
      ->allow_extra_args(false)
      ->type_name("D.jsonl|D.npz");
  app.add_option("--probes", options.probes,
                 "Weights, or groups of neighbours, that are measured at most (default: 48)")
      ->check(CLI::Range(1, 1000000).description(""))
      ->type_name("N");
  app.add_option("--probe-samples", options.probeSamples, "Samples of a measurement (default: 4)")
      ->check(CLI::Range(1, 1000000).description(""))
      ->type_name("N");
  app.add_option("--candidates", options.candidates,
                 "Also write what each weight could become, with bytes and predicted losses")
      ->type_name("C.json");
  app.add_option("--threads", options.threads, "Threads (default: all)");
  app.add_flag("--quiet", options.quiet, "Print no progress");
  describeTool(app, "  tacq-plan model.onnx --stats task.stats --budget 2.25bpw -o plan.json\n"
                    "  tacq-plan model.onnx --stats task.stats --max-loss-increase 2% -o "
                    "plan.json\n");
  return runTool(app, argc, argv, [&] { return run(options); });
}
