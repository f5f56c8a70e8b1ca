//===- QuantizationFlags.cpp - Flags of tacq-compile on weights -----------===//

#include "QuantizationFlags.h"

#include "CalibrationData.h"
#include "Progress.h"
#include "mlir/IR/MLIRContext.h"
#include "tacq/Calibrate/TaskDrift.h"
#include "tacq/OutputFile.h"
#include "tacq/Register.h"

#include <cerrno>
#include <cmath>
#include <cstdlib>

using namespace tacq;
using namespace tacq::tools;

std::optional<double> tacq::tools::parsePart(const std::string &text) {
  if (text.empty())
    return std::nullopt;
  char *end = nullptr;
  errno = 0;
  double value = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || errno != 0)
    return std::nullopt;
  if (*end == '%') {
    value /= 100;
    ++end;
  }
  if (*end != 0 || !(value >= 0 && value <= 1))
    return std::nullopt;
  return value;
}

void QuantizationFlags::addTo(CLI::App &app) {
  const char *group = "Quantization";
  app.add_option("--stats", statisticsFile, "Statistics of tacq-calibrate for this model")
      ->type_name("S.stats")
      ->group(group);
  app.add_option("--data", dataFiles,
                 "The sample itself: layers are quantized in order, each on what the quantized "
                 "layers before it produce. Without it the statistics' Hessians serve. May be "
                 "repeated: the samples of several tasks")
      ->allow_extra_args(false)
      ->type_name("D.jsonl|D.npz")
      ->group(group);
  CLI::Option *planOption =
      app.add_option("--plan", planFile, "A plan of tacq-plan: bits, groups and circuit by tensor")
          ->type_name("P.json")
          ->group(group);
  app.add_option("--bits", bits, "All projections in so many bits: 2, 3, 4 or 8")
      ->check(CLI::IsMember({2, 3, 4, 8}))
      ->excludes(planOption)
      ->group(group);
  app.add_option("--group", this->group,
                 "Columns that share a scale: 32, 64, 128 or 256; 0 for whole rows (default: 0)")
      ->check(CLI::IsMember({0, 32, 64, 128, 256}))
      ->excludes(planOption)
      ->group(group);
  app.add_flag("--codebook", codebook,
               "Levels fitted for each row instead of evenly spaced ones (2 to 4 bits, whole rows)")
      ->excludes(planOption)
      ->group(group);
  app.add_option("--circuit", circuitText,
                 "Part of the weights that is kept in fp16, 4 bytes an entry (default: 0.35% with "
                 "--stats or --circuit-from random, else 0)")
      ->type_name("PERCENT")
      ->group(group);
  app.add_option("--circuit-layout", layoutText,
                 "How the circuit is laid out in the same bytes: slots, scattered or uniform "
                 "(default: slots)")
      ->check(CLI::IsMember({"slots", "scattered", "uniform"}))
      ->group(group);
  app.add_option("--circuit-from", circuitSource,
                 "What chooses the circuit: statistics, or random positions, spread over tiles as "
                 "in a language model, to measure speed without a sample (default: statistics)")
      ->check(CLI::IsMember({"statistics", "random"}))
      ->group(group);
  app.add_option("--saliency", saliency,
                 "What the circuit is chosen by: gradient, as TaCQ does, or curvature, the loss "
                 "that a weight's rounding costs to second order (default: curvature with fitted "
                 "levels, else gradient)")
      ->check(CLI::IsMember({"automatic", "gradient", "curvature"}))
      ->group(group);
  app.add_option("--head-bits", headBits,
                 "The projection into the vocabulary in so many bits, with the same groups and no "
                 "circuit: 2, 3, 4 or 8 (default: it stays dense)")
      ->check(CLI::IsMember({2, 3, 4, 8}))
      ->excludes(planOption)
      ->group(group);
  app.add_option("--method", method,
                 "gptq (errors compensated) or nearest (each weight by itself) (default: gptq)")
      ->check(CLI::IsMember({"gptq", "nearest"}))
      ->group(group);
  app.add_option("--circuit-values", circuitValues,
                 "What the circuit keeps: the compensated weight, or the original one (default: "
                 "compensated)")
      ->check(CLI::IsMember({"compensated", "original"}))
      ->group(group);
  app.add_flag("--no-clip", noClip, "Scales cover the whole range of a group: no clip search")
      ->group(group);
  app.add_flag("--act-order", activationOrder, "Quantize the columns of large inputs first")
      ->group(group);
  app.add_option("--variants", variants,
                 "Ways to quantize the layers of an input, of which the one stays after which the "
                 "model's predictions on --data diverge least: orders of columns and dampings "
                 "(default: 1)")
      ->check(CLI::Range(1U, mostVariants))
      ->type_name("N")
      ->group(group);
  app.add_option("--variant-samples", variantSamples,
                 "Samples that variants are measured on (default: 16)")
      ->check(CLI::PositiveNumber)
      ->type_name("N")
      ->group(group);
  app.add_option("--damping", damping, "Damping of the Hessians, part of their mean diagonal")
      ->check(CLI::Range(0.0, 1.0))
      ->group(group);
  app.add_option("--dense", dense,
                 "Storage of f32 matrices that are not quantized: f16, or keep (default: f16 if "
                 "anything is quantized)")
      ->check(CLI::IsMember({"auto", "f16", "keep"}))
      ->group(group);
  app.add_option("--activations", activations,
                 "What is multiplied with quantized weights: int8, with a scale for each group; "
                 "int16, whose products take about twice as long; f32, which is exact and several "
                 "times slower; or auto: int16 where all weights of an operation have less than "
                 "2^20 elements, and int8 elsewhere (default: auto)")
      ->check(CLI::IsMember({"auto", "int8", "int16", "f32"}))
      ->group(group);
  app.add_option("--tune-kernels", tunedPlan,
                 "Measure on this machine how kernels best go through the weights, and write the "
                 "plan with what was found; --plan P.json then gives the same module without "
                 "measuring")
      ->type_name("P.json")
      ->group(group);
  app.add_option("--threads", threads, "Threads for running the sample (default: all)")
      ->group(group);
  tuning.addTo(app);
}

Error QuantizationFlags::checkFlags() {
  if (codebook && (group != 0 || bits == 8))
    return makeError(TACQ_INVALID_ARGUMENT,
                     "--codebook is for whole rows (--group 0) of 2, 3 or 4 bits");
  if (bits == 0 && planFile.empty()) {
    for (auto [given, flag] : {std::pair{!statisticsFile.empty(), "--stats"},
                               {!dataFiles.empty(), "--data"},
                               {!circuitText.empty(), "--circuit"},
                               {codebook, "--codebook"},
                               {headBits != 0, "--head-bits"},
                               {activations != "auto", "--activations"},
                               {!tunedPlan.empty(), "--tune-kernels"},
                               {tuning.isOn(), "--tune"},
                               {variants > 1, "--variants"},
                               {group != 0, "--group"}})
      if (given)
        return makeError(TACQ_INVALID_ARGUMENT, "%s needs --bits or --plan beside it", flag);
    return success();
  }
  if (tuning.isOn() && dataFiles.empty())
    return makeError(TACQ_INVALID_ARGUMENT, "--tune needs the sample to tune on: give --data");
  if (variants > 1 && dataFiles.empty())
    return makeError(TACQ_INVALID_ARGUMENT,
                     "--variants needs a sample to measure them on: give --data");
  if (variants > 1 && method != "gptq")
    return makeError(TACQ_INVALID_ARGUMENT,
                     "--variants are ways to compensate errors: leave --method %s out",
                     method.c_str());
  if (!planFile.empty() && !circuitText.empty())
    return makeError(TACQ_INVALID_ARGUMENT,
                     "--plan says how large the circuit is; leave --circuit out or edit the plan");
  return success();
}

Error QuantizationFlags::apply(const std::string &model, bool quiet, CompileOptions &options) {
  if (Error error = checkFlags())
    return error;
  bool quantized = bits != 0 || !planFile.empty();
  options.activations = activations;
  options.narrowDense = dense == "f16" || (dense == "auto" && quantized);
  if (!quantized)
    return success();
  if (!statisticsFile.empty())
    if (Error error = Statistics::read(statisticsFile, statistics))
      return error;
  if (!planFile.empty()) {
    if (Error error = readPlan(planFile, plan))
      return error;
  } else {
    uniform = true;
    bool hasSource = !statisticsFile.empty() || circuitSource == "random";
    std::string text = circuitText.empty() ? (hasSource ? "0.35%" : "0") : circuitText;
    std::optional<double> part = parsePart(text);
    if (!part)
      return makeError(TACQ_INVALID_ARGUMENT,
                       "--circuit takes a part of the weights such as 0.35%% or 0.0035, not '%s'",
                       text.c_str());
    plan.circuit = *part;
    plan.circuitLayout = *parseCircuitLayout(layoutText);
  }
  options.tilings = plan.kernels;
  if (!tunedPlan.empty()) {
    if (Error error = checkOutputFile(tunedPlan, OutputKind::RegularFile))
      return error;
    options.recordTilings = [this](const std::vector<KernelTiling> &measured) {
      plan.kernels = measured;
      return writePlan(tunedPlan, plan);
    };
  }
  options.quantize = [this, model, quiet, output = options.output](QuantizedModel &quantized) {
    return quantize(model, output, quiet, quantized);
  };
  return success();
}

Error QuantizationFlags::quantize(const std::string &model, const std::string &output, bool quiet,
                                  QuantizedModel &quantized) {
  mlir::DialectRegistry registry;
  registerAllDialects(registry);
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  context.loadAllAvailableDialects();
  ImportedModel graph;
  if (Error error = calibrationGraph(model, context, graph))
    return error;
  std::string hash = graph.parameters.contentHash();
  if (!statisticsFile.empty() && statistics.modelHash != hash)
    return makeError(TACQ_INVALID_INPUT,
                     "the statistics '%s' were made of '%s' with other contents than '%s'; "
                     "calibrate this model",
                     statisticsFile.c_str(), statistics.modelFile.c_str(), model.c_str());
  if (!uniform && !plan.modelHash.empty() && plan.modelHash != hash)
    return makeError(TACQ_INVALID_INPUT,
                     "the plan '%s' was made for a model with other contents than '%s'; plan this "
                     "model, or remove \"model\" from the plan to use it all the same",
                     planFile.c_str(), model.c_str());
  if (uniform) {
    plan.modelHash = hash;
    TensorPlan format;
    format.bits = unsigned(bits);
    format.group = group;
    format.codebook = codebook;
    plan.tensors = planAlike(*graph.module, format);
  }
  if (uniform && headBits != 0) {
    std::vector<std::string> heads = quantizableHeads(*graph.module);
    if (heads.empty())
      return makeError(TACQ_UNSUPPORTED,
                       "'%s' has no head with a weight of its own; leave --head-bits out: a matrix "
                       "that is the embedding as well stays dense",
                       model.c_str());
    for (const std::string &name : heads) {
      TensorPlan tensor;
      tensor.name = name;
      tensor.bits = unsigned(headBits);
      tensor.group = group;
      tensor.circuit = 0;
      plan.tensors.push_back(tensor);
    }
  }
  if (plan.tensors.empty())
    return makeError(TACQ_UNSUPPORTED, "'%s' has no linear layers with weights to quantize",
                     model.c_str());

  bool measures = tuning.isOn() || variants > 1;
  SampleData data;
  for (const std::string &file : dataFiles) {
    if (Error error = CalibrationData::open(file, data.emplace_back()))
      return error;
    if (Error error =
            data.back()->bind(measures ? tuningInputs(*graph.module) : sampleInputs(*graph.module),
                              vocabularyOf(*graph.module), /*allTokens=*/!measures))
      return error;
  }
  SampleSource samples = samplesOf(data, statistics);
  if (std::string text = filesWithoutWeight(data, statistics, statisticsFile);
      !text.empty() && !quiet)
    std::fprintf(stderr, "warning: %s\n", text.c_str());
  if (data.empty() && method == "gptq" && !quiet)
    std::fprintf(stderr, "note: without --data, Hessians are those of the unquantized model\n");
  if (std::string text = statistics.fewTokens(statisticsFile);
      !text.empty() && method == "gptq" && !quiet)
    std::fprintf(stderr, "warning: %s\n", text.c_str());

  QuantizeModelOptions options;
  options.plan = plan;
  options.method = method == "gptq" ? QuantizeMethod::Gptq : QuantizeMethod::Nearest;
  options.hessian.damping = damping;
  options.hessian.activationOrder = activationOrder;
  options.gptq.circuitValues =
      circuitValues == "original" ? CircuitSource::Original : CircuitSource::Compensated;
  if (noClip)
    options.gptq.clip.steps = 0;
  if (circuitSource == "random")
    options.randomCircuitSeed = 0;
  options.saliency = *parseSaliencyKind(saliency);
  options.statistics = statisticsFile.empty() ? nullptr : &statistics;
  options.samples = data.empty() ? nullptr : &samples;
  options.variants = variants;
  options.variantSamples = variantSamples;
  options.threads = threads;
  options.file = model;
  std::unique_ptr<Progress> progress;
  std::string current;
  options.progress = [&](const std::string &stage, unsigned done, unsigned total) {
    if (quiet)
      return;
    if (stage != current) {
      progress = std::make_unique<Progress>(stage, total, "layers");
      current = stage;
    } else if (done > 0) {
      progress->advance();
    }
  };
  // Quantization changes the graph.
  mlir::OwningOpRef<mlir::ModuleOp> original;
  if (tuning.isOn())
    original = graph.module->clone();
  if (options.statistics && statistics.hasFolds)
    storeSignatures(taskSignatures(statistics), quantized.metadata);
  if (Error error = quantizeModel(graph, options, quantized.weights))
    return error;
  progress.reset();
  if (!tuning.isOn())
    return success();
  return tuning.tune(*original, graph.parameters, data, samples, dataFiles, model, output, threads,
                     quiet, quantized);
}
