//===- tacq-plan.cpp - A plan for a budget --------------------------------===//

#include "CommandLine.h"
#include "Progress.h"
#include "mlir/IR/MLIRContext.h"
#include "tacq/Calibrate/InProcessModule.h"
#include "tacq/OutputFile.h"
#include "tacq/Quantize/Planner.h"
#include "tacq/Register.h"

#include <cstdio>

using namespace tacq;
using namespace tacq::tools;

namespace {
struct Options {
  std::string model, statistics, budget, lossIncrease, output, layout = "slots";
  unsigned threads = 0;
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
  std::printf("  %5s  %6s  %8s  %6s  %12s  %15s\n", "bits", "group", "circuit", "bpw", "bytes",
              "predicted loss");
  for (size_t i = 0; i < candidates.size(); ++i) {
    const Candidate &candidate = candidates[i];
    std::string bits = "mixed", group = "mixed";
    if (candidate.format) {
      bits = std::to_string(candidate.format->bits);
      group = candidate.format->codebook     ? "levels"
              : candidate.format->group == 0 ? "row"
                                             : std::to_string(candidate.format->group);
    }
    std::printf("%s %5s  %6s  %7.2f%%  %6.3f  %12llu  %+14.2f%%\n", i == chosen ? "*" : " ",
                bits.c_str(), group.c_str(), candidate.circuit * 100, candidate.bitsPerWeight,
                static_cast<unsigned long long>(candidate.bytes),
                100 * candidate.predictedLoss / baseLoss);
  }
}

/// The plan that was chosen, with what it was chosen from.
static Plan &choose(std::vector<Candidate> &candidates, size_t chosen, double baseLoss) {
  Plan &plan = candidates[chosen].plan;
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
    priced.chosen = i == chosen;
  }
  return plan;
}

static Error run(const Options &options) {
  PlannerOptions planner;
  if (Error error = readBudget(options, planner.budget))
    return error;
  if (Error error = checkOutputFile(options.output, OutputKind::Any))
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
  planner.circuitLayout = *parseCircuitLayout(options.layout);
  planner.threads = options.threads;
  planner.file = options.model;
  std::unique_ptr<Progress> progress;
  planner.progress = [&](unsigned done, unsigned total) {
    if (options.quiet)
      return;
    if (!progress)
      progress = std::make_unique<Progress>("plan", total, "formats");
    if (done > 0)
      progress->advance();
  };
  std::vector<Candidate> candidates;
  size_t chosen = 0;
  Error error = planModel(model, statistics, planner, candidates, chosen);
  progress.reset();
  if (error)
    return error;
  printTable(candidates, chosen, statistics.meanLoss());
  return writePlan(options.output, choose(candidates, chosen, statistics.meanLoss()));
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
                 "The smallest plan that is predicted to increase the sample's loss by no more")
      ->type_name("PERCENT");
  app.add_option("-o,--output", options.output, "The plan")->required()->type_name("PLAN.json");
  app.add_option("--circuit-layout", options.layout,
                 "slots, scattered, uniform, or none (default: slots)")
      ->check(CLI::IsMember({"slots", "scattered", "uniform", "none"}));
  app.add_option("--threads", options.threads, "Threads (default: all)");
  app.add_flag("--quiet", options.quiet, "Print no progress");
  describeTool(app, "  tacq-plan model.onnx --stats task.stats --budget 2.25bpw -o plan.json\n"
                    "  tacq-plan model.onnx --stats task.stats --max-loss-increase 2% -o "
                    "plan.json\n");
  return runTool(app, argc, argv, [&] { return run(options); });
}
