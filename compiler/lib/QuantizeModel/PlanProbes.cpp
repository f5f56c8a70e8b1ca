//===- PlanProbes.cpp - What a planner measures ---------------------------===//

#include "ModelPlanner.h"
#include <cmath>
#include <map>

using namespace mlir;
using namespace tacq;

/// A probe corrects an estimate by no more than this, beside what all are corrected by.
static constexpr double largestCorrection = 8;
/// A candidate whose predicted loss is so many times that of the chosen one is not measured, too.
static constexpr double clearlyWorse = 1.5;
/// How often a plan for a tolerated loss is made smaller or larger by its measurement.
static constexpr int mostAttempts = 10;
/// After so many the next one is to lose no more than half of what was aimed at.
static constexpr int closeAttempts = 3;

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

/// Multiplies each tensor's estimates by a factor.
void ModelPlanner::correct(const std::vector<double> &factors) {
  for (auto [t, tensor] : llvm::enumerate(result.tensors))
    for (TensorPlan &option : tensor.options)
      option.predictedLoss *= factors[t];
  for (Candidate &candidate : result.candidates) {
    candidate.predictedLoss = 0;
    for (auto [t, planned] : llvm::enumerate(candidate.plan.tensors))
      candidate.predictedLoss += planned.predictedLoss *= factors[t];
  }
}

Error ModelPlanner::probe() {
  std::vector<std::string> names;
  for (const PricedTensor &tensor : tensors)
    names.push_back(tensor.name);
  prober = std::make_unique<LossProbe>(*model.module, model.parameters, *options.samples,
                                       options.threads, options.file, "plan without --data");
  if (Error error = prober->prepare(names, options.probeSamples))
    return error;
  const Candidate &base = result.candidates[*probeBase()];
  std::vector<std::vector<float>> decoded;
  if (Error error = quantize(base.plan, decoded))
    return error;
  auto replace = [&](ArrayRef<size_t> group, bool quantized) {
    for (size_t t : group)
      if (Error error = prober->replace(names[t], quantized ? ArrayRef<float>(decoded[t])
                                                            : tensors[t].elements()))
        return error;
    return Error();
  };
  std::vector<std::vector<size_t>> probed = probeGroups();
  std::vector<double> grown(probed.size());
  for (bool others : {false, true}) {
    double reference = 0, loss;
    if (others) {
      for (const std::vector<size_t> &group : probed)
        if (Error error = replace(group, true))
          return error;
      if (Error error = prober->measure(reference))
        return error;
    }
    for (auto [i, group] : llvm::enumerate(probed)) {
      report("probe", i + (others ? probed.size() : 0), 2 * probed.size());
      if (Error error = replace(group, !others))
        return error;
      if (Error error = prober->measure(loss))
        return error;
      if (Error error = replace(group, others))
        return error;
      grown[i] += std::fabs(loss - reference) / 2;
    }
  }
  report("probe", 2 * probed.size(), 2 * probed.size());
  double allMeasured = 0, allPredicted = 0;
  std::vector<double> predicted(probed.size());
  for (auto [i, group] : llvm::enumerate(probed)) {
    for (size_t t : group)
      predicted[i] += base.plan.tensors[t].predictedLoss;
    allMeasured += grown[i];
    allPredicted += predicted[i];
  }
  if (!(allPredicted > 0 && allMeasured > 0))
    return Error();
  double common = allMeasured / allPredicted;
  std::vector<double> factors(tensors.size(), common);
  for (auto [i, group] : llvm::enumerate(probed))
    for (size_t t : group)
      if (predicted[i] > 0)
        factors[t] = std::clamp(grown[i] / predicted[i], common / largestCorrection,
                                common * largestCorrection);
  correct(factors);
  return Error();
}

/// What is predicted to be best is measured, and so is the best of one format if it may be better.
Error ModelPlanner::confirmSize() {
  std::optional<size_t> alike = best(/*alikeOnly=*/true);
  if (Error error = measure(result.candidates[result.chosen]))
    return error;
  if (!alike || *alike == result.chosen ||
      result.candidates[*alike].predictedLoss >
          clearlyWorse * result.candidates[result.chosen].predictedLoss)
    return Error();
  if (Error error = measure(result.candidates[*alike]))
    return error;
  if (result.candidates[*alike].measuredLoss < result.candidates[result.chosen].measuredLoss)
    result.chosen = *alike;
  return Error();
}

/// The measured candidate of the fewest bytes within the tolerated loss.
std::optional<size_t> ModelPlanner::smallestMeasured() const {
  std::optional<size_t> found;
  for (auto [i, candidate] : llvm::enumerate(result.candidates))
    if (candidate.measuredLoss && fits(candidate) &&
        (!found || candidate.bytes < result.candidates[*found].bytes))
      found = i;
  return found;
}

/// Plans again for as much less, or more, as the measurement says.
Error ModelPlanner::confirmLoss() {
  double tolerated = options.budget.value * statistics.meanLoss(), limit = tolerated;
  size_t last = result.chosen;
  if (Error error = measure(result.candidates[last]))
    return error;
  for (int attempt = 0; attempt < mostAttempts; ++attempt) {
    const Candidate &tried = result.candidates[last];
    double ratio = tolerated / std::max(*tried.measuredLoss, 1e-12);
    // Where the first one fits by far, one smaller plan is tried.
    bool within = fits(tried);
    if (within ? attempt > 0 || ratio < 1.1 : tried.predictedLoss == 0)
      break;
    limit = std::min(limit, tried.predictedLoss) *
            std::clamp(0.98 * ratio, 0.1, attempt < closeAttempts ? 4.0 : 0.5);
    Candidate next;
    if (!mix(limit, next) || (within && next.bytes >= tried.bytes))
      break;
    if (Error error = measure(next))
      return error;
    last = result.candidates.size();
    result.candidates.push_back(std::move(next));
    if (within)
      break;
  }
  std::optional<size_t> found = smallestMeasured();
  if (!found)
    return noneFits();
  result.chosen = *found;
  return Error();
}
