//===- PrepareTuner.cpp - What is tuned, and by what ----------------------===//

#include "../Quantize/Parallel.h"
#include "../QuantizeModel/GraphSegments.h"
#include "../QuantizeModel/LossGraph.h"
#include "ModelTuner.h"
#include "tacq/Half.h"
#include "tacq/Import/WeightElements.h"
#include "llvm/Support/Threading.h"
#include "llvm/Support/xxhash.h"
#include <cstring>

using namespace mlir;
using namespace tacq;

ModelTuner::ModelTuner(ModuleOp graph, const ParameterStore &parameters,
                       const SampleSource &samples, const TuneOptions &options)
    : graph(graph), parameters(parameters), samples(samples), options(options),
      threads(options.threads ? options.threads
                              : llvm::hardware_concurrency().compute_thread_count()) {}

Error ModelTuner::prepare(llvm::StringMap<MixedWeight> &mixed) {
  if (ownSamples() < fewestTuningSamples)
    return Error(TACQ_INVALID_INPUT, "tuning holds one sample in " + std::to_string(heldOneIn) +
                                         " back to tell whether it helps: it needs " +
                                         std::to_string(fewestTuningSamples) +
                                         " samples or more, and there are " +
                                         std::to_string(ownSamples()));
  for (size_t i = 0; i < samples.count; ++i)
    if (i >= ownSamples() || !isHeldBack(i))
      training.push_back(i);
  output = predictionsOf(graph);
  if (output.empty())
    return Error(TACQ_UNSUPPORTED, options.file + " has no output 'logits', nor one alone of "
                                                  "[batch, sequence, classes], to tune by");
  collectWeights(mixed);
  if (Error error = compile())
    return error;
  if (Error error = collectGains())
    return error;
  if (options.codes)
    if (Error error = collectCodes())
      return error;
  for (TunedNumbers &numbers : state.numbers) {
    numbers.average = numbers.best = numbers.values;
    numbers.adam.mean.resize(numbers.values.size());
    numbers.adam.square.resize(numbers.values.size());
  }
  return computeFingerprint();
}

void ModelTuner::collectWeights(llvm::StringMap<MixedWeight> &mixed) {
  std::vector<std::string> names;
  for (const auto &entry : mixed)
    names.push_back(entry.first().str());
  llvm::sort(names);
  for (const std::string &name : names) {
    WeightEntry entry{name, TunedWeight(std::move(mixed[name])), {}, {}, nullptr};
    const MixedWeight &stored = entry.weight.weight();
    entry.gradient.resize(stored.rows * stored.columns);
    entry.reduced.resize(entry.weight.values.size());
    firstCodes.push_back(stored.codes);
    TunedNumbers numbers;
    numbers.values = entry.weight.values;
    state.numbers.push_back(std::move(numbers));
    weights.push_back(std::move(entry));
  }
}

/// The numbers whose nearest levels are the codes, from the original weights.
Error ModelTuner::collectCodes() {
  llvm::StringMap<LinearOp> linears;
  mainFunction(graph).walk([&](LinearOp linear) {
    if (StringRef name = weightName(linear); !name.empty())
      linears.try_emplace(name, linear);
  });
  for (WeightEntry &entry : weights) {
    std::vector<float> original;
    if (Error error = readWeight(parameters, linears[entry.name], original))
      return error;
    TunedNumbers wanted;
    wanted.values = entry.weight.numbersBehind(original);
    state.numbers.push_back(std::move(wanted));
  }
  return Error();
}

Error ModelTuner::compile() {
  std::vector<std::string> names;
  for (const WeightEntry &entry : weights)
    names.push_back(entry.name);
  bool divergence = options.loss == TuneOptions::Loss::Divergence;
  if (Error error = buildTuningGraph(graph, names, divergence ? "kl" : "cross-entropy", output,
                                     options.file, tuning))
    return error;
  ParameterStore store;
  for (auto param : tuning.module->getOps<ParamOp>())
    store.add(param.getSymName(), parameters.bytes(param.getSymName()));
  std::vector<std::vector<float>> decoded;
  for (WeightEntry &entry : weights) {
    const std::vector<float> &elements = decoded.emplace_back(entry.weight.weight().decode());
    store.add(entry.name, ArrayRef(reinterpret_cast<const char *>(elements.data()),
                                   elements.size() * sizeof(float)));
    entry.taps = &tuning.taps[entry.name];
  }
  InProcessModule::Options runnerOptions;
  runnerOptions.threads = threads;
  runnerOptions.file = options.file;
  runnerOptions.writable = true;
  runnerOptions.bf16 = options.bf16;
  if (Error error = InProcessModule::compile(*tuning.module, store, runnerOptions, student))
    return error;
  if (!divergence)
    return Error();
  runnerOptions.writable = false;
  predictions.resize(samples.count);
  return InProcessModule::compile(graph, parameters, runnerOptions, teacher);
}

static Error readGain(const ParameterStore &parameters, ParamOp param, std::vector<float> &values) {
  auto type = cast<RankedTensorType>(param.getType());
  ArrayRef<char> bytes = parameters.bytes(param.getSymName());
  bool isWide = type.getElementType().isF32();
  if (!isWide && !type.getElementType().isF16())
    return Error(TACQ_UNSUPPORTED, "gains of this element type are not tuned");
  for (int64_t i = 0; i < type.getNumElements(); ++i) {
    uint16_t half = 0;
    float value = 0;
    if (isWide)
      std::memcpy(&value, bytes.data() + i * sizeof(value), sizeof(value));
    else
      std::memcpy(&half, bytes.data() + i * sizeof(half), sizeof(half));
    values.push_back(isWide ? value : floatFromHalf(half));
  }
  return Error();
}

Error ModelTuner::collectGains() {
  for (const std::string &name : tuning.gains) {
    auto param = cast<ParamOp>(tuning.module->lookupSymbol(name));
    TunedNumbers numbers;
    // What cannot be tuned stays.
    if (readGain(parameters, param, numbers.values))
      continue;
    double sum = 0;
    for (float value : numbers.values)
      sum += double(value) * value;
    GainEntry gain{name, cast<RankedTensorType>(param.getType()).getElementType(), {}, {}};
    gain.gradient.resize(numbers.values.size());
    gain.units.push_back(float(std::sqrt(sum / double(numbers.values.size()))));
    gains.push_back(std::move(gain));
    state.numbers.push_back(std::move(numbers));
  }
  return Error();
}

/// Of the weights, the samples and the settings.
Error ModelTuner::computeFingerprint() {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << int(options.loss) << ' ' << options.steps << ' ' << options.batch << ' ' << options.rate
     << ' ' << options.average << ' ' << options.resample << ' ' << options.codes << ' '
     << options.codeRate << ' ' << options.interval << ' ' << options.patience << ' '
     << samples.count << ' ' << ownSamples() << ' ' << options.seed << ' ' << options.bf16 << '\n';
  auto add = [&](const void *data, size_t size) {
    os << llvm::xxh3_64bits(ArrayRef(static_cast<const uint8_t *>(data), size)) << '\n';
  };
  for (const WeightEntry &entry : weights) {
    const MixedWeight &stored = entry.weight.weight();
    os << entry.name << '\n';
    add(stored.codes.data(), stored.codes.size());
    add(stored.scales.data(), stored.scales.size() * sizeof(stored.scales[0]));
    add(stored.levels.data(), stored.levels.size());
    add(stored.values.data(), stored.values.size() * sizeof(uint16_t));
  }
  for (size_t i = 0; i < samples.count; ++i) {
    Sample sample;
    if (Error error = samples.load(i, sample))
      return error;
    for (const auto &[name, view] : sample)
      add(view.data, view.elementCount() * tacq_element_size(view.type));
    if (samples.weight)
      os << samples.weight(i) << '\n';
  }
  state.fingerprint = llvm::xxh3_64bits(llvm::arrayRefFromStringRef(os.str()));
  return Error();
}
