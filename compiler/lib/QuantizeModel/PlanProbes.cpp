//===- PlanProbes.cpp - What a planner measures ---------------------------===//

#include "ModelPlanner.h"
#include <cmath>
#include <map>

using namespace mlir;
using namespace tacq;

/// A probe corrects an estimate by no more than this, beside what all are corrected by.
static constexpr double largestCorrection = 8;
/// How often a plan for a tolerated loss is made smaller or larger by its measurement.
static constexpr int mostAttempts = 3;

/// The decoded weights of a plan, in the order of the tensors.
Error ModelPlanner::quantize(const Plan &plan, std::vector<std::vector<float>> &decoded) {
  OwningOpRef<ModuleOp> original = model.module->clone();
  QuantizeModelOptions quantization;
  quantization.plan = plan;
  quantization.statistics = &statistics;
  quantization.threads = options.threads;
  quantization.file = options.file;
  llvm::StringMap<MixedWeight> weights;
  Error error = quantizeModel(model, quantization, weights);
  model.module = std::move(original);
  if (error)
    return error;
  decoded.clear();
  for (const PricedTensor &tensor : tensors) {
    auto found = weights.find(tensor.name);
    decoded.push_back(found == weights.end() ? tensor.elements().vec() : found->second.decode());
  }
  return Error();
}

Error ModelPlanner::measure(Candidate &candidate) {
  std::vector<std::vector<float>> decoded;
  if (Error error = quantize(candidate.plan, decoded))
    return error;
  for (auto [tensor, numbers] : llvm::zip(tensors, decoded))
    if (Error error = prober->replace(tensor.name, numbers))
      return error;
  double loss;
  if (Error error = prober->measure(loss))
    return error;
  candidate.measuredLoss = loss;
  return Error();
}

/// The candidate whose weights are probed: as the plan's will about be.
std::optional<size_t> ModelPlanner::probeBase() const {
  std::optional<size_t> base;
  for (auto [i, candidate] : llvm::enumerate(result.candidates)) {
    if (candidate.circuit > 0)
      continue;
    if (!base || (fits(candidate) &&
                  (!fits(result.candidates[*base]) ||
                   (byLoss() ? candidate.bytes < result.candidates[*base].bytes
                             : candidate.predictedLoss < result.candidates[*base].predictedLoss))))
      base = i;
  }
  return base;
}

/// Each tensor by itself, or neighbours of the same shape.
std::vector<std::vector<size_t>> ModelPlanner::probeGroups() const {
  size_t size = (tensors.size() + options.probes - 1) / options.probes;
  std::map<std::pair<int64_t, int64_t>, std::vector<size_t>> open;
  std::vector<std::vector<size_t>> probed;
  for (auto [t, tensor] : llvm::enumerate(tensors)) {
    std::vector<size_t> &group = open[{tensor.rows, tensor.columns}];
    group.push_back(t);
    if (group.size() == size)
      probed.push_back(std::exchange(group, {}));
  }
  for (auto &[shape, group] : open)
    if (!group.empty())
      probed.push_back(std::move(group));
  return probed;
}

/// The candidate of the same format with the next wider codes.
std::optional<size_t> ModelPlanner::widerThan(size_t candidate) const {
  const CandidateFormat &format = *result.candidates[candidate].format;
  std::optional<size_t> wider;
  for (auto [i, other] : llvm::enumerate(result.candidates)) {
    if (!other.format || other.circuit > 0 || other.format->bits <= format.bits ||
        other.format->group != format.group || other.format->codebook != format.codebook)
      continue;
    if (!wider || other.format->bits < result.candidates[*wider].format->bits)
      wider = i;
  }
  return wider;
}

/// Multiplies estimates by what was measured for what was predicted. Between two measurements of a
/// weight the factor is a power of the estimate; beyond them it is that of the nearer one.
void ModelPlanner::correct(const std::vector<std::vector<size_t>> &groups,
                           ArrayRef<Probed> probed) {
  struct Point {
    double predicted, factor;
  };
  std::vector<SmallVector<Point, 2>> points(tensors.size());
  for (const Probed &base : probed) {
    double allMeasured = 0, allPredicted = 0;
    for (auto [measured, predicted] : llvm::zip(base.measured, base.predicted)) {
      allMeasured += measured;
      allPredicted += predicted;
    }
    if (!(allPredicted > 0 && allMeasured > 0))
      continue;
    double common = allMeasured / allPredicted;
    for (auto [i, group] : llvm::enumerate(groups)) {
      if (!(base.predicted[i] > 0))
        continue;
      double factor = std::clamp(base.measured[i] / base.predicted[i], common / largestCorrection,
                                 common * largestCorrection);
      for (size_t t : group)
        points[t].push_back({base.predicted[i] / double(group.size()), factor});
    }
  }
  auto corrected = [&](size_t t, double loss) {
    ArrayRef<Point> known = points[t];
    if (known.empty() || !(loss > 0))
      return loss;
    Point low = known.front(), high = known.back();
    if (low.predicted > high.predicted)
      std::swap(low, high);
    if (!(low.predicted < high.predicted))
      return loss * high.factor;
    double place = std::log(loss / low.predicted) / std::log(high.predicted / low.predicted);
    return loss * low.factor * std::pow(high.factor / low.factor, std::clamp(place, 0.0, 1.0));
  };
  for (auto [t, tensor] : llvm::enumerate(result.tensors))
    for (TensorPlan &option : tensor.options)
      option.predictedLoss = corrected(t, option.predictedLoss);
  for (Candidate &candidate : result.candidates) {
    candidate.predictedLoss = 0;
    for (auto [t, planned] : llvm::enumerate(candidate.plan.tensors))
      candidate.predictedLoss += planned.predictedLoss = corrected(t, planned.predictedLoss);
  }
}

Error ModelPlanner::probe() {
  std::vector<std::string> names;
  for (const PricedTensor &tensor : tensors)
    names.push_back(tensor.name);
  // Spread over the sample: the data of several tasks follow one another.
  std::vector<size_t> chosen;
  size_t count = std::min<size_t>(options.probeSamples, options.samples->count);
  for (size_t i = 0; i < count; ++i)
    chosen.push_back((2 * i + 1) * options.samples->count / (2 * count));
  prober = std::make_unique<LossProbe>(model, *options.samples, options.threads, options.file);
  if (Error error = prober->prepare(names, chosen))
    return error;
  std::vector<std::vector<size_t>> groups = probeGroups();
  SmallVector<size_t, 2> bases = {*probeBase()};
  if (std::optional<size_t> wider = widerThan(bases[0]))
    bases.push_back(*wider);
  SmallVector<Probed, 2> probed(bases.size());
  for (auto [base, found] : llvm::zip(bases, probed))
    if (Error error = probeAt(result.candidates[base], groups, found))
      return error;
  correct(groups, probed);
  return Error();
}

Error ModelPlanner::probeAt(const Candidate &base, const std::vector<std::vector<size_t>> &groups,
                            Probed &probed) {
  std::vector<std::vector<float>> decoded;
  if (Error error = quantize(base.plan, decoded))
    return error;
  auto replace = [&](ArrayRef<size_t> group, bool quantized) {
    for (size_t t : group)
      if (Error error = prober->replace(tensors[t].name, quantized ? ArrayRef<float>(decoded[t])
                                                                   : tensors[t].elements()))
        return error;
    return Error();
  };
  probed.measured.assign(groups.size(), 0);
  for (const std::vector<size_t> &group : groups) {
    probed.predicted.push_back(0);
    for (size_t t : group)
      probed.predicted.back() += base.plan.tensors[t].predictedLoss;
  }
  for (bool others : {false, true}) {
    double reference = 0, loss;
    if (others) {
      for (const std::vector<size_t> &group : groups)
        if (Error error = replace(group, true))
          return error;
      if (Error error = prober->measure(reference))
        return error;
    }
    for (auto [i, group] : llvm::enumerate(groups)) {
      report("probe", i + (others ? groups.size() : 0), 2 * groups.size());
      if (Error error = replace(group, !others))
        return error;
      if (Error error = prober->measure(loss))
        return error;
      if (Error error = replace(group, others))
        return error;
      probed.measured[i] += std::fabs(loss - reference) / 2;
    }
  }
  report("probe", 2 * groups.size(), 2 * groups.size());
  for (const std::vector<size_t> &group : groups)
    if (Error error = replace(group, false))
      return error;
  return Error();
}

/// What is predicted to be best is measured, and so is the best of one format.
Error ModelPlanner::confirmSize() {
  std::optional<size_t> alike = best(/*alikeOnly=*/true);
  if (Error error = measure(result.candidates[result.chosen]))
    return error;
  if (!alike || *alike == result.chosen)
    return Error();
  if (Error error = measure(result.candidates[*alike]))
    return error;
  if (result.candidates[*alike].measuredLoss < result.candidates[result.chosen].measuredLoss)
    result.chosen = *alike;
  return Error();
}

/// Plans again for as much less, or more, as the measurement says.
Error ModelPlanner::confirmLoss() {
  double tolerated = options.budget.value * statistics.meanLoss(), limit = tolerated;
  if (Error error = measure(result.candidates[result.chosen]))
    return error;
  for (int attempt = 0; attempt < mostAttempts; ++attempt) {
    const Candidate &last = result.candidates[result.chosen];
    double ratio = tolerated / std::max(*last.measuredLoss, 1e-12);
    if (ratio >= 1 && (ratio < 1.1 || attempt > 0))
      break;
    limit = std::min(limit, last.predictedLoss) * std::clamp(0.98 * ratio, 0.1, 4.0);
    Candidate next;
    if (!mix(limit, next))
      break;
    if (Error error = measure(next))
      return error;
    if (!fits(next) && fits(last))
      break;
    result.candidates.push_back(std::move(next));
    result.chosen = result.candidates.size() - 1;
  }
  return Error();
}
