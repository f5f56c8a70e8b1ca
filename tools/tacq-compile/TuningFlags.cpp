//===- TuningFlags.cpp - Flags of tacq-compile on tuning ------------------===//

#include "TuningFlags.h"

#include "DrawnSamples.h"
#include "Interruption.h"
#include "Progress.h"

#include <cstdio>
#include <sys/resource.h>
#include <unistd.h>

using namespace tacq;
using namespace tacq::tools;

void TuningFlags::addTo(CLI::App &app) {
  const char *group = "Tuning";
  app.add_option("--tune", effort,
                 "Tune levels, scales, circuit values and norms on the sample of --data: off, fast "
                 "(a few minutes for a small model), or best, with three times the steps "
                 "(default: off)")
      ->check(CLI::IsMember({"off", "fast", "best"}))
      ->group(group);
  app.add_option("--tune-loss", loss,
                 "What is to be small: kl, the divergence from the unquantized model's "
                 "probabilities, or labels, the cross-entropy of labels or next tokens (default: "
                 "kl)")
      ->check(CLI::IsMember({"kl", "labels"}))
      ->group(group);
  app.add_option("--tune-steps", steps, "Steps at most (default: as --tune says)")
      ->check(CLI::Range(1, 1000000).description(""))
      ->type_name("N")
      ->group(group);
  app.add_option("--tune-batch", batch, "Samples of a step (default: 4)")
      ->check(CLI::Range(1, 1000000).description(""))
      ->type_name("N")
      ->group(group);
  app.add_option("--tune-rate", rate,
                 "The first steps' size, as a part of the spacing of a row's levels (default: "
                 "0.01, less where the loss is small before)")
      ->check(CLI::Range(1e-6, 1.0).description(""))
      ->type_name("RATE")
      ->group(group);
  app.add_flag("--tune-codes", codes, "Codes follow the gradients, too (learned rounding)")
      ->group(group);
  app.add_option(
         "--tune-draw", drawnPerSample,
         "Samples that are drawn from the unquantized model for each of the sample, and that "
         "steps take as well, against overfitting (default: 2 with fast, 4 with best; 0 with "
         "--tune-loss labels)")
      ->check(CLI::Range(0, 1000).description(""))
      ->type_name("N")
      ->group(group);
  app.add_option("--tune-drawn", drawnFile, "Write the samples that were drawn to this file")
      ->type_name("FILE.jsonl")
      ->group(group);
  app.add_option(
         "--tune-resample", resample,
         "The part of the sample's tokens that steps draw anew from the unquantized model's "
         "predictions (default: 0.25 where no samples are drawn, else 0)")
      ->check(CLI::Range(0.0, 1.0).description(""))
      ->type_name("PART")
      ->group(group);
  app.add_option("--tune-products", products,
                 "What products multiply while tuning: bf16, rounded, where this machine has "
                 "matrix tiles for it, else f32; or f32 (default: bf16)")
      ->check(CLI::IsMember({"bf16", "f32"}))
      ->group(group);
  app.add_option("--tune-seed", seed,
                 "Another number, another order of samples and other drawn ones (default: 0)")
      ->type_name("N")
      ->group(group);
  app.add_flag("--resume", resume,
               "Go on with a tuning that was interrupted: it left OUTPUT.tuning")
      ->group(group);
}

TuneOptions TuningFlags::options() const {
  TuneOptions options;
  options.loss = loss == "kl" ? TuneOptions::Loss::Divergence : TuneOptions::Loss::Labels;
  options.codes = codes;
  options.seed = seed;
  options.bf16 = products == "bf16";
  if (batch > 0)
    options.batch = batch;
  options.steps = steps ? steps : effort == "best" ? 600 : 200;
  options.rate = rate;
  return options;
}

static void print(const TuneReport &report) {
  struct rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  std::fprintf(
      stderr,
      "tuned %zu numbers%s in %u steps%s, %.0f s, with %.0f MiB: the loss of the %zu samples "
      "held back fell from %.5f to %.5f (step %u), that of as many others from %.5f to "
      "%.5f\n",
      report.numbers,
      report.codesChanged ? (" and " + std::to_string(report.codesChanged) + " codes").c_str() : "",
      report.steps,
      report.lowered ? (" (rate lowered " + std::to_string(report.lowered) + " times)").c_str()
                     : "",
      report.seconds, static_cast<double>(usage.ru_maxrss) / 1024, report.held, report.heldBefore,
      report.heldAfter, report.bestStep, report.sampleBefore, report.sampleAfter);
}

/// Leaves `drawn` empty where the model is none that could be asked for more.
Error TuningFlags::draw(mlir::ModuleOp graph, const SampleSource &samples,
                        const std::vector<std::string> &files, const std::string &model,
                        unsigned threads, bool quiet, SampleData &drawn,
                        std::vector<double> &weights) const {
  unsigned perSample = drawnPerSample.value_or(loss != "kl" ? 0 : effort == "best" ? 4 : 2);
  if (perSample == 0)
    return success();
  auto goOn = [&](const std::string &why) {
    if (!quiet)
      std::fprintf(stderr, "note: no samples are drawn: %s\n", why.c_str());
    return success();
  };
  std::vector<TensorDeclaration> inputs = tuningInputs(graph);
  if (llvm::none_of(inputs, [](const TensorDeclaration &each) { return each.name == "input_ids"; }))
    return goOn(model + ": it has no input input_ids, of tokens");
  std::vector<TokenSequence> sequences;
  if (Error error = drawSamples({model, seed, threads, quiet, products == "bf16"}, samples, files,
                                perSample, sequences, weights))
    return error.code() == TACQ_UNSUPPORTED ? goOn(error.message()) : std::move(error);
  std::unique_ptr<CalibrationData> data;
  std::string lines = tokenLines(sequences);
  if (!drawnFile.empty())
    if (Error error = writeText(drawnFile, lines))
      return error;
  if (Error error = CalibrationData::ofLines("drawn samples", lines, data))
    return error;
  drawn.push_back(std::move(data));
  return drawn.back()->bind(inputs, /*classes=*/0, /*allTokens=*/false);
}

Error TuningFlags::tune(mlir::ModuleOp graph, const ParameterStore &parameters,
                        const SampleData &data, SampleSource samples,
                        const std::vector<std::string> &files, const std::string &model,
                        const std::string &output, unsigned threads, bool quiet,
                        QuantizedModel &quantized) const {
  TuneOptions tuning = options();
  SampleData drawnData;
  std::vector<double> drawnWeights;
  if (Error error = draw(graph, samples, files, model, threads, quiet, drawnData, drawnWeights))
    return error;
  SampleSource drawn = samplesOf(drawnData);
  size_t own = samples.count;
  tuning.ownSamples = own;
  tuning.resample = resample.value_or(drawn.count > 0 ? 0 : tuning.resample);
  samples.count += drawn.count;
  samples.load = [own, load = samples.load,
                  loadDrawn = drawn.load](size_t sample, std::map<std::string, TensorView> &views) {
    return sample < own ? load(sample, views) : loadDrawn(sample - own, views);
  };
  if (samples.weight)
    samples.weight = [own, weight = samples.weight, &drawnWeights](size_t sample) {
      return sample < own ? weight(sample) : drawnWeights[sample - own];
    };
  tuning.threads = threads;
  tuning.file = model;
  tuning.stateFile = output.empty() || output == "-" ? "" : output + ".tuning";
  tuning.resume = resume;
  tuning.place = [&](size_t sample) {
    return sample < own ? placeOf(data, sample) : placeOf(drawnData, sample - own);
  };
  bool hasState = access(tuning.stateFile.c_str(), F_OK) == 0;
  if (hasState && !resume)
    std::fprintf(stderr,
                 "warning: %s of an interrupted tuning is not used and will be replaced; --resume "
                 "would go on with it\n",
                 tuning.stateFile.c_str());
  if (resume && !hasState)
    std::fprintf(stderr,
                 "warning: there is no %s of an interrupted tuning for --resume, so tuning begins "
                 "anew\n",
                 tuning.stateFile.empty() ? "file" : tuning.stateFile.c_str());
  InterruptionGuard guard;
  tuning.interrupted = interrupted;
  std::unique_ptr<Progress> progress;
  unsigned done = 0;
  tuning.progress = [&](unsigned step, unsigned steps) {
    if (quiet)
      return;
    if (!progress)
      progress = std::make_unique<Progress>("tune", steps - step, "steps");
    else
      progress->advance(step - done);
    done = step;
  };
  tuning.looked = [&](unsigned step, double held) {
    if (quiet)
      return;
    const char *start = isatty(STDERR_FILENO) == 1 ? "\r\033[K" : "";
    std::fprintf(stderr, "%stuning: loss of the samples held back %.5f after %u steps\n", start,
                 held, step);
  };
  if (!quiet)
    std::fprintf(stderr, "tuning on %zu samples%s in up to %u steps\n", own,
                 drawn.count > 0 ? (" and " + std::to_string(drawn.count) + " drawn ones").c_str()
                                 : "",
                 tuning.steps);
  TuneReport report;
  Error error = tuneModel(graph, parameters, samples, tuning, quantized.weights,
                          quantized.parameters, report);
  progress.reset();
  if (error)
    return error;
  if (!quiet)
    print(report);
  return success();
}
