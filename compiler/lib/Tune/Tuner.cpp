//===- Tuner.cpp - Levels that follow the unquantized model ---------------===//

#include "tacq/Tune/Tuner.h"
#include "../Calibrate/SumContributions.h"
#include "../Quantize/Parallel.h"
#include "../QuantizeModel/GraphSegments.h"
#include "ModelTuner.h"
#include "tacq/Half.h"
#include "tacq/Tune/DrawToken.h"
#include "llvm/Support/FileSystem.h"
#include <chrono>
#include <cmath>
#include <cstring>

using namespace mlir;
using namespace tacq;

/// Predictions of the unquantized model are kept if they take no more, else computed again.
static constexpr size_t keptPredictionsBytes = size_t(1) << 30;
/// The first steps are smaller, until the means of Adam are of more than a few gradients.
static constexpr unsigned mostWarmupSteps = 10;
/// What is much worse than the best, and what is kept of a rate that is too large.
static constexpr double muchWorse = 1.05, rateKept = 0.3;
static constexpr auto stateInterval = std::chrono::seconds(60);

using Clock = std::chrono::steady_clock;

static double elapsed(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

//===----------------------------------------------------------------------===//
// Steps
//===----------------------------------------------------------------------===//

Error ModelTuner::write(std::vector<float> TunedNumbers::*which) {
  std::vector<Error> errors(weights.size());
  forEachChunk(weights.size(), 1, threads, [&](int64_t i, int64_t) {
    TunedWeight &weight = weights[i].weight;
    weight.values = numbersOf(i).*which;
    if (options.codes)
      weight.assignCodes(wantedOf(i).*which);
    weight.round();
    std::vector<float> decoded = weight.weight().decode();
    errors[i] = student->replaceParameter(
        weights[i].name,
        ArrayRef(reinterpret_cast<const char *>(decoded.data()), decoded.size() * sizeof(float)));
  });
  for (const Error &error : errors)
    if (error)
      return error;
  for (auto [i, gain] : llvm::enumerate(gains)) {
    std::vector<float> &values = gainOf(i).*which;
    std::vector<char> bytes;
    for (float &value : values) {
      uint16_t half = halfFromFloat(value);
      const char *from = gain.element.isF32() ? reinterpret_cast<const char *>(&value)
                                              : reinterpret_cast<const char *>(&half);
      bytes.insert(bytes.end(), from, from + gain.element.getIntOrFloatBitWidth() / 8);
    }
    if (Error error = student->replaceParameter(gain.name, bytes))
      return error;
  }
  return Error();
}

static std::map<std::string, TensorView>
inputsFor(const InProcessModule &module, const std::map<std::string, TensorView> &sample) {
  std::map<std::string, TensorView> given;
  for (const TensorDeclaration &input : module.inputs())
    if (auto found = sample.find(input.name); found != sample.end())
      given.insert(*found);
  return given;
}

/// What the unquantized model predicts.
Error ModelTuner::predict(size_t number, const Sample &sample, TensorView &view) {
  std::vector<float> &kept = predictions[number];
  if (kept.empty()) {
    if (Error error = teacher->run(inputsFor(*teacher, sample)))
      return error;
    if (Error error = teacher->output(output, view))
      return error;
    size_t bytes = view.elementCount() * sizeof(float);
    if (bytes * samples.count > keptPredictionsBytes)
      return Error();
    kept.assign(view.floats(), view.floats() + view.elementCount());
  } else {
    int64_t classes = 0;
    for (const TensorDeclaration &declared : teacher->outputs())
      if (declared.name == output)
        classes = declared.dims.back();
    view.type = TACQ_F32;
    view.dims = sample.at("labels").dims;
    int64_t positions = view.elementCount();
    view.dims.push_back(classes > 0 ? classes : int64_t(kept.size()) / positions);
  }
  view.data = kept.data();
  return Error();
}

/// Draws a part of the tokens anew, and predicts what follows from them.
Error ModelTuner::resample(size_t number, Sample &sample) {
  TensorView &ids = sample.at("input_ids"), &reference = sample["reference_logits"];
  int64_t classes = reference.dims.back();
  tokens.assign(ids.integers(), ids.integers() + ids.elementCount());
  std::mt19937_64 random(seedOf(options.seed, uint64_t(state.step) * samples.count + number));
  for (size_t i = 1; i < tokens.size(); ++i)
    if (drawUniform(random) < options.resample)
      tokens[i] =
          drawToken(ArrayRef(reference.floats() + (i - 1) * classes, classes), drawUniform(random));
  ids.data = tokens.data();
  Sample inputs = inputsFor(*teacher, sample);
  if (Error error = teacher->run(inputs))
    return error;
  return teacher->output(output, reference);
}

/// `vary`: with tokens drawn anew, as the options ask for.
Error ModelTuner::runSample(size_t number, bool vary, double &loss) {
  Sample sample;
  if (Error error = samples.load(number, sample))
    return error;
  if (teacher) {
    if (Error error = predict(number, sample, sample["reference_logits"]))
      return error;
    auto ids = sample.find("input_ids");
    if (vary && options.resample > 0 && ids != sample.end() && ids->second.dims.size() == 2 &&
        ids->second.dims[0] == 1 && ids->second.type == TACQ_I64)
      if (Error error = resample(number, sample))
        return error;
  }
  if (Error error = student->run(inputsFor(*student, sample)))
    return error;
  TensorView view;
  if (Error error = student->output("loss", view))
    return error;
  loss = view.floats()[0];
  return Error();
}

/// Which tensor the numbers went wrong at.
Error ModelTuner::explain(size_t number, const std::string &when) {
  std::string where = "the predictions";
  auto taps = mainFunction(*tuning.module)->getAttrOfType<ArrayAttr>("tacq.taps");
  for (auto tap : taps.getAsRange<DictionaryAttr>()) {
    TensorView view;
    if (Error error = student->output(tap.getAs<StringAttr>("input").str(), view))
      return error;
    if (llvm::all_of(ArrayRef(view.floats(), view.elementCount()),
                     [](float value) { return std::isfinite(value); }))
      continue;
    where = "the input of tensor '" + tap.getAs<StringAttr>("parameter").str() + "'";
    break;
  }
  std::string place = options.place ? options.place(number) : "sample " + std::to_string(number);
  return Error(TACQ_INVALID_INPUT, "tuning, " + when + ": the loss of " + place +
                                       " is not finite, and " + where +
                                       " is the first that is not; tune with a smaller rate, or "
                                       "not at all");
}

/// Of the sample that was run, times its weight.
Error ModelTuner::addGradients(double weight) {
  std::vector<WeightGradient> gradients;
  std::vector<std::vector<float>> weighted;
  auto times = [&](const TensorView &view) {
    if (weight == 1)
      return view.floats();
    std::vector<float> &numbers =
        weighted.emplace_back(view.floats(), view.floats() + view.elementCount());
    for (float &number : numbers)
      number *= float(weight);
    return static_cast<const float *>(numbers.data());
  };
  for (WeightEntry &entry : weights) {
    int64_t rows = entry.weight.weight().rows, columns = entry.weight.weight().columns;
    WeightGradient gradient{{}, rows, columns, entry.gradient.data()};
    for (const WeightTap &tap : *entry.taps) {
      TensorView input, output;
      if (Error error = student->output(tap.input, input))
        return error;
      if (Error error = student->output(tap.outputGradient, output))
        return error;
      gradient.uses.push_back({input.floats(), times(output), input.elementCount() / columns});
    }
    gradients.push_back(std::move(gradient));
  }
  sumGradients(gradients, options.bf16, threads);
  for (GainEntry &gain : gains) {
    TensorView view;
    if (Error error = student->output("gradient:" + gain.name, view))
      return error;
    for (size_t i = 0; i < gain.gradient.size(); ++i)
      gain.gradient[i] += float(weight) * view.floats()[i];
  }
  return Error();
}

/// The mean loss of every eighth sample.
Error ModelTuner::look(size_t residue, double &loss) {
  double sum = 0, weights = 0;
  for (size_t i = residue; i < ownSamples(); i += heldOneIn) {
    double one = 0;
    if (Error error = runSample(i, /*vary=*/false, one))
      return error;
    if (!std::isfinite(one))
      return explain(i, state.step == 0 ? "before the first step"
                                        : "after step " + std::to_string(state.step));
    sum += samples.weightOf(i) * one;
    weights += samples.weightOf(i);
  }
  loss = sum / weights;
  return Error();
}

/// Goes through the samples in an order of each round's own.
std::vector<size_t> ModelTuner::batchOf(unsigned step) {
  std::vector<size_t> batch;
  size_t count = std::min<size_t>(options.batch, training.size()), round = ~size_t(0);
  std::vector<size_t> order;
  for (size_t i = step * count; i < (step + 1) * count; ++i) {
    if (i / training.size() != round) {
      round = i / training.size();
      order = training;
      std::mt19937_64 random(seedOf(options.seed, round));
      for (size_t j = order.size(); j > 1; --j)
        std::swap(order[j - 1], order[random() % j]);
    }
    batch.push_back(order[i % training.size()]);
  }
  return batch;
}

Error ModelTuner::step() {
  for (WeightEntry &entry : weights)
    std::fill(entry.gradient.begin(), entry.gradient.end(), 0.0f);
  for (GainEntry &gain : gains)
    std::fill(gain.gradient.begin(), gain.gradient.end(), 0.0f);
  if (Error error = write(&TunedNumbers::values))
    return error;
  for (size_t number : batchOf(state.step)) {
    double loss = 0;
    if (Error error = runSample(number, /*vary=*/true, loss))
      return error;
    if (!std::isfinite(loss))
      return explain(number, "step " + std::to_string(state.step + 1));
    if (Error error = addGradients(samples.weightOf(number)))
      return error;
  }
  forEachChunk(weights.size(), 1, threads, [&](int64_t i, int64_t) {
    weights[i].weight.reduce(weights[i].gradient, weights[i].reduced);
  });
  for (const WeightEntry &entry : weights)
    if (!llvm::all_of(entry.reduced, [](float value) { return std::isfinite(value); }))
      return Error(TACQ_INVALID_INPUT, "tuning, step " + std::to_string(state.step + 1) +
                                           ": the gradient of tensor '" + entry.name +
                                           "' is not finite");
  move();
  ++state.step;
  return success();
}

void ModelTuner::move() {
  double part = double(state.step) / options.steps;
  unsigned warmup = std::clamp(options.steps / 8, 1u, mostWarmupSteps);
  double factor =
      0.5 * (1 + std::cos(M_PI * part)) * std::min(1.0, double(state.step + 1) / warmup);
  AdamOptions adam, codes;
  double rate = options.rate > 0 ? options.rate : tuningRate(options.loss, state.heldBefore);
  rate *= std::pow(rateKept, state.lowered);
  adam.rate = rate * factor;
  codes.rate = options.codeRate * rate * factor;
  unsigned number = state.step + 1;
  forEachChunk(weights.size(), 1, threads, [&](int64_t i, int64_t) {
    WeightEntry &entry = weights[i];
    TunedNumbers &numbers = numbersOf(i);
    numbers.adam.step(number, entry.reduced, entry.weight.units, adam, numbers.values);
    if (options.codes)
      wantedOf(i).adam.step(number, entry.gradient, entry.weight.rowSizes, codes,
                            wantedOf(i).values);
  });
  for (auto [i, gain] : llvm::enumerate(gains))
    gainOf(i).adam.step(number, gain.gradient, gain.units, adam, gainOf(i).values);
  forEachChunk(state.numbers.size(), 1, threads, [&](int64_t i, int64_t) {
    TunedNumbers &numbers = state.numbers[i];
    moveAverage(number, options.average, numbers.values, numbers.average);
  });
}

bool tacq::isRateTooLarge(double held, double best, unsigned without, unsigned patience) {
  return held > muchWorse * best || 2 * without == patience;
}

/// The sizes of gradients stay known, their direction does not.
void ModelTuner::lowerRate() {
  ++state.lowered;
  for (TunedNumbers &numbers : state.numbers) {
    numbers.values = numbers.average = numbers.best;
    std::fill(numbers.adam.mean.begin(), numbers.adam.mean.end(), 0.0f);
  }
}

/// Looks at the samples held back.
Error ModelTuner::noteProgress() {
  if (Error error = write(&TunedNumbers::average))
    return error;
  double held = 0;
  if (Error error = look(heldOneIn - 1, held))
    return error;
  if (options.looked)
    options.looked(state.step, held);
  if (!(held < state.best)) {
    ++state.looksWithoutProgress;
    if (isRateTooLarge(held, state.best, state.looksWithoutProgress, options.patience))
      lowerRate();
    return Error();
  }
  state.best = held;
  state.bestStep = state.step;
  state.looksWithoutProgress = 0;
  for (TunedNumbers &numbers : state.numbers)
    numbers.best = numbers.average;
  return Error();
}

Error ModelTuner::save() {
  return options.stateFile.empty() ? Error() : writeTuningState(options.stateFile, state);
}

Error ModelTuner::run(TuneReport &report) {
  Clock::time_point start = Clock::now(), saved = start;
  bool resumed =
      options.resume && !options.stateFile.empty() && llvm::sys::fs::exists(options.stateFile);
  if (resumed)
    if (Error error = readTuningState(options.stateFile, state))
      return error;
  if (!resumed) {
    if (Error error = write(&TunedNumbers::values))
      return error;
    if (Error error = look(heldOneIn - 1, state.heldBefore))
      return error;
    if (Error error = look(measuredAt, state.sampleBefore))
      return error;
    state.best = state.heldBefore;
    if (options.looked)
      options.looked(0, state.best);
  }
  if (options.progress)
    options.progress(state.step, options.steps);
  while (state.step < options.steps && state.looksWithoutProgress < options.patience) {
    if (Error error = step())
      return error;
    if (state.step % options.interval == 0 || state.step == options.steps)
      if (Error error = noteProgress())
        return error;
    if (options.progress)
      options.progress(state.step, options.steps);
    bool stop = options.interrupted && options.interrupted() && state.step < options.steps;
    if (stop || Clock::now() - saved > stateInterval) {
      if (Error error = save())
        return error;
      saved = Clock::now();
    }
    if (stop)
      return Error(TACQ_IO, "tuning was interrupted after step " + std::to_string(state.step) +
                                " of " + std::to_string(options.steps) +
                                (options.stateFile.empty()
                                     ? std::string()
                                     : "; it stands in " + options.stateFile +
                                           ": the same command with --resume goes on"));
  }
  if (Error error = write(&TunedNumbers::best))
    return error;
  report.steps = state.step;
  report.bestStep = state.bestStep;
  report.lowered = state.lowered;
  report.heldBefore = state.heldBefore;
  report.heldAfter = state.best;
  report.sampleBefore = state.sampleBefore;
  if (Error error = look(measuredAt, report.sampleAfter))
    return error;
  report.held = ownSamples() / heldOneIn;
  report.seconds = elapsed(start);
  if (!options.stateFile.empty() && llvm::sys::fs::exists(options.stateFile))
    if (std::error_code code = llvm::sys::fs::remove(options.stateFile))
      return Error(TACQ_IO, options.stateFile + " cannot be removed: " + code.message());
  return Error();
}

void ModelTuner::takeResult(llvm::StringMap<MixedWeight> &mixed,
                            llvm::StringMap<std::vector<float>> &tunedGains, TuneReport &report) {
  for (auto [i, entry] : llvm::enumerate(weights)) {
    const MixedWeight &stored = entry.weight.weight();
    report.numbers += entry.weight.values.size();
    for (size_t k = 0; k < stored.codes.size(); ++k)
      report.codesChanged += stored.codes[k] != firstCodes[i][k];
    mixed[entry.name] = stored;
  }
  for (auto [i, gain] : llvm::enumerate(gains)) {
    report.numbers += gainOf(i).values.size();
    tunedGains[gain.name] = gainOf(i).best;
  }
}

double tacq::tuningRate(TuneOptions::Loss kind, double lossBefore) {
  constexpr double largestRate = 0.01, divergence = 0.0625;
  bool small = kind == TuneOptions::Loss::Divergence && lossBefore < divergence;
  return small ? largestRate * std::sqrt(std::max(lossBefore, 0.0) / divergence) : largestRate;
}

std::vector<TensorDeclaration> tacq::tuningInputs(ModuleOp graph) {
  std::vector<TensorDeclaration> inputs = sampleInputs(graph);
  inputs.push_back({"labels", TACQ_I64, {-1, -1}});
  return inputs;
}

Error tacq::tuneModel(ModuleOp graph, const ParameterStore &parameters, const SampleSource &samples,
                      const TuneOptions &options, llvm::StringMap<MixedWeight> &weights,
                      llvm::StringMap<std::vector<float>> &gains, TuneReport &report) {
  ModelTuner tuner(graph, parameters, samples, options);
  if (Error error = tuner.prepare(weights))
    return error;
  if (Error error = tuner.run(report))
    return error;
  tuner.takeResult(weights, gains, report);
  return Error();
}
