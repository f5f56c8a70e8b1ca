//===- Planner.cpp - A plan for a budget ----------------------------------===//

#include "../Quantize/Parallel.h"
#include "GraphSegments.h"
#include "ModelPlanner.h"
#include "tacq/Import/WeightElements.h"
#include "tacq/Quantize/Knapsack.h"
#include "tacq/Quantize/Slots.h"
#include "llvm/Support/Format.h"
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

using namespace mlir;
using namespace tacq;

/// By bits; circuits are chosen by fitted levels, the first of each width.
static constexpr CandidateFormat candidateFormats[] = {
    {2, 0, true},    {2, 0, false},   {2, 128, false}, {2, 64, false}, {3, 0, true},
    {3, 0, false},   {3, 128, false}, {3, 64, false},  {4, 0, true},   {4, 0, false},
    {4, 128, false}, {4, 64, false},  {8, 0, false},   {8, 128, false}};
static constexpr size_t formatCount = std::size(candidateFormats);
/// Circuits of all weights together, and of a weight by itself.
static constexpr double sharedCircuits[] = {0.0035, 0.01};
static constexpr double ownCircuits[] = {0.002, 0.005, 0.01, 0.02};
/// Wider codes leave a circuit nothing to save.
static constexpr unsigned widestWithCircuit = 4;
/// Tensors that a message names.
static constexpr size_t namedTensors = 3;

std::optional<Budget> tacq::parseBudget(llvm::StringRef text) {
  static const std::pair<llvm::StringRef, double> units[] = {
      {"GiB", 1024.0 * 1024 * 1024}, {"MiB", 1024.0 * 1024}, {"KiB", 1024.0}, {"B", 1.0}};
  Budget budget;
  double factor = 1;
  if (text.consume_back("bpw")) {
    budget.kind = Budget::Kind::BitsPerWeight;
  } else if (text.consume_back("%")) {
    budget.kind = Budget::Kind::LossIncrease;
    factor = 0.01;
  } else {
    budget.kind = Budget::Kind::Bytes;
    bool known = false;
    for (auto [unit, bytes] : units)
      if (text.consume_back(unit)) {
        factor = bytes;
        known = true;
        break;
      }
    if (!known)
      return std::nullopt;
  }
  double value;
  if (text.trim().getAsDouble(value) || !(value > 0) || !std::isfinite(value))
    return std::nullopt;
  budget.value = value * factor;
  return budget;
}

Error ModelPlanner::collect() {
  std::vector<std::string> names = quantizableWeights(*model.module);
  for (const LinearGroup &group :
       collectLinearGroups(mainFunction(*model.module),
                           [&](StringRef name) { return llvm::is_contained(names, name); })) {
    groups.emplace_back();
    for (LinearOp linear : group.linears) {
      std::string name = weightName(linear).str();
      const TensorStatistics *own = statistics.find(name);
      if (!own || own->gradient.empty())
        return Error(TACQ_INVALID_INPUT, "the statistics have no gradients of the tensor '" + name +
                                             "'; calibrate this model again");
      std::vector<float> weight;
      if (Error error = readWeight(model.parameters, linear, weight))
        return error;
      std::vector<double> &hessian = hessians[own->input];
      if (hessian.empty())
        statistics.inputs[own->input].expand(hessian);
      groups.back().push_back(tensors.size());
      tensors.emplace_back(name, statistics, *own).setWeight(std::move(weight));
      elements += double(own->rows) * double(own->columns);
    }
  }
  if (tensors.empty())
    return Error(TACQ_UNSUPPORTED,
                 "'" + options.file + "' has no linear layers with weights of their own to plan");
  losses.assign(tensors.size(), std::vector<double>(formatCount));
  for (const PricedTensor &tensor : tensors)
    result.tensors.push_back({tensor.name, {}});
  return Error();
}

/// What the quantizer loses of each tensor in each format.
Error ModelPlanner::predict() {
  for (auto [done, group] : llvm::enumerate(groups)) {
    report("predict", done, groups.size());
    const PricedTensor &first = tensors[group[0]];
    HessianFactor factor;
    if (Error error = HessianFactor::compute(hessianOf(first), first.columns, {}, factor))
      return Error(error.code(), "the input of tensor '" + first.name + "': " + error.message());
    for (size_t t : group)
      for (auto [f, format] : llvm::enumerate(candidateFormats))
        if (tensors[t].isPossible(format))
          if (Error error = tensors[t].predict(format, factor, hessianOf(first), options.threads,
                                               losses[t][f]))
            return error;
  }
  report("predict", groups.size(), groups.size());
  return Error();
}

void ModelPlanner::addOption(size_t t, const CandidateFormat &format, double circuit,
                             uint64_t bytes, double loss) {
  TensorPlan option;
  option.name = tensors[t].name;
  option.bits = format.bits;
  option.group = format.group;
  option.codebook = format.codebook;
  option.circuit = circuit;
  option.bytes = bytes;
  option.bitsPerWeight = double(bytes) * 8 / double(tensors[t].rows * tensors[t].columns);
  option.predictedLoss = loss;
  result.tensors[t].options.push_back(std::move(option));
}

/// Circuits of all tensors together and of each by itself, by the errors of a format that stands
/// for all of its width.
Error ModelPlanner::selectCircuits(const CandidateFormat &format) {
  std::vector<WeightView> saliency;
  for (PricedTensor &tensor : tensors) {
    if (Error error = tensor.round(format, hessianOf(tensor), options.threads))
      return error;
    saliency.push_back(tensor.saliency());
  }
  auto forEachTensor = [&](llvm::function_ref<void(size_t)> body) {
    forEachChunk(int64_t(tensors.size()), 1, options.threads, [&](int64_t t, int64_t) { body(t); });
  };
  shared.assign(std::size(sharedCircuits), std::vector<PricedCircuit>(tensors.size()));
  own.assign(std::size(ownCircuits), std::vector<PricedCircuit>(tensors.size()));
  auto price = [&](size_t t, CircuitMask &mask) {
    double left = tensors[t].partLeft(mask, hessianOf(tensors[t]));
    return PricedCircuit{std::move(mask), left};
  };
  std::vector<std::vector<CircuitMask>> together =
      tacq::selectCircuits(options.circuitLayout, saliency, sharedCircuits);
  forEachTensor([&](size_t t) {
    for (auto [masks, circuits] : llvm::zip(together, shared))
      circuits[t] = price(t, masks[t]);
    std::vector<std::vector<CircuitMask>> alone =
        tacq::selectCircuits(options.circuitLayout, saliency[t], ownCircuits);
    for (auto [masks, circuits] : llvm::zip(alone, own))
      circuits[t] = price(t, masks[0]);
  });
  return Error();
}

/// All weights in the same format, with circuits of all together.
Candidate ModelPlanner::priceAlike(size_t f, double circuit, ArrayRef<PricedCircuit> circuits) {
  const CandidateFormat &format = candidateFormats[f];
  Candidate candidate;
  candidate.format = format;
  candidate.circuit = circuit;
  candidate.plan.modelHash = statistics.modelHash;
  candidate.plan.circuitLayout = options.circuitLayout;
  candidate.plan.circuit = circuit;
  static const PricedCircuit none;
  for (size_t t = 0; t < tensors.size(); ++t) {
    const PricedTensor &tensor = tensors[t];
    const PricedCircuit &kept = circuits.empty() ? none : circuits[t];
    TensorPlan planned;
    planned.name = tensor.name;
    planned.bits = format.bits;
    planned.group = format.group;
    planned.codebook = format.codebook;
    planned.bytes =
        tensor.bytes(model.module->getContext(), format, options.circuitLayout, kept.mask);
    planned.bitsPerWeight = double(planned.bytes) * 8 / double(tensor.rows * tensor.columns);
    planned.predictedLoss = losses[t][f] * kept.lossLeft;
    candidate.bytes += planned.bytes;
    candidate.predictedLoss += planned.predictedLoss;
    candidate.plan.tensors.push_back(std::move(planned));
  }
  candidate.bitsPerWeight = double(candidate.bytes) * 8 / elements;
  return candidate;
}

/// Options of a tensor in the format.
void ModelPlanner::priceOwn(size_t t, size_t f, bool withCircuits) {
  const CandidateFormat &format = candidateFormats[f];
  const PricedTensor &tensor = tensors[t];
  MLIRContext *context = model.module->getContext();
  uint64_t without = tensor.bytes(context, format, options.circuitLayout, CircuitMask());
  addOption(t, format, 0, without, losses[t][f]);
  if (!withCircuits)
    return;
  for (size_t i = 0; i < std::size(ownCircuits); ++i) {
    const auto &[mask, lossLeft] = own[i][t];
    if (mask.empty())
      continue;
    // The circuit will be chosen again by what the quantizer leaves, and may then fill its bytes.
    auto entries = uint64_t(std::llround(ownCircuits[i] * double(tensor.rows * tensor.columns)));
    uint64_t bytes = std::max(tensor.bytes(context, format, options.circuitLayout, mask),
                              without + entries * entryBytes);
    addOption(t, format, ownCircuits[i], bytes, losses[t][f] * lossLeft);
  }
}

Error ModelPlanner::price() {
  unsigned bits = 0;
  for (size_t f = 0; f < formatCount; ++f) {
    const CandidateFormat &format = candidateFormats[f];
    report("plan", f, formatCount);
    bool withCircuits =
        options.circuitLayout != WeightFormat::Circuit::None && format.bits <= widestWithCircuit;
    if (withCircuits && std::exchange(bits, format.bits) != format.bits)
      if (Error error = selectCircuits(format))
        return error;
    bool isEverywhere = true;
    for (size_t t = 0; t < tensors.size(); ++t) {
      isEverywhere &= tensors[t].isPossible(format);
      if (tensors[t].isPossible(format))
        priceOwn(t, f, withCircuits);
    }
    if (!isEverywhere)
      continue;
    result.candidates.push_back(priceAlike(f, 0, {}));
    if (withCircuits)
      for (auto [circuit, circuits] : llvm::zip(sharedCircuits, shared))
        result.candidates.push_back(priceAlike(f, circuit, circuits));
  }
  for (auto [t, tensor] : llvm::enumerate(tensors))
    addOption(t, {16}, 0, tensor.denseBytes(), 0);
  report("plan", formatCount, formatCount);
  return Error();
}

/// Leaves the options of each tensor that no other one beats in both bytes and loss, by bytes.
void ModelPlanner::dropBeaten() {
  for (TensorOptions &tensor : result.tensors) {
    llvm::stable_sort(tensor.options, [](const TensorPlan &a, const TensorPlan &b) {
      return a.bytes != b.bytes ? a.bytes < b.bytes : a.predictedLoss < b.predictedLoss;
    });
    std::vector<TensorPlan> kept;
    for (TensorPlan &option : tensor.options)
      if (kept.empty() || option.predictedLoss < kept.back().predictedLoss)
        kept.push_back(std::move(option));
    tensor.options = std::move(kept);
  }
}

/// In units of the budget.
double ModelPlanner::sizeOf(const Candidate &candidate) const {
  switch (options.budget.kind) {
  case Budget::Kind::BitsPerWeight:
    return candidate.bitsPerWeight;
  case Budget::Kind::Bytes:
    return double(candidate.bytes);
  case Budget::Kind::LossIncrease:
    break;
  }
  return candidate.measuredLoss.value_or(candidate.predictedLoss) / statistics.meanLoss();
}

/// A format of its own for each weight within `limit`, of bytes or of predicted loss.
bool ModelPlanner::mix(double limit, Candidate &candidate) {
  std::vector<std::vector<KnapsackOption>> items;
  for (const TensorOptions &tensor : result.tensors) {
    auto &item = items.emplace_back();
    for (const TensorPlan &option : tensor.options)
      item.push_back({option.bytes, option.predictedLoss});
  }
  KnapsackFront front = KnapsackFront::solve(items);
  std::optional<size_t> best;
  for (auto [i, point] : llvm::enumerate(front.points())) {
    bool within = byLoss() ? point.loss <= limit : double(point.bytes) <= limit;
    // Bytes rise and losses fall: the first within a loss, the last within a size.
    if (within && (!byLoss() || !best))
      best = i;
  }
  if (!best)
    return false;
  candidate.plan.modelHash = statistics.modelHash;
  candidate.plan.circuitLayout = options.circuitLayout;
  for (auto [t, option] : llvm::enumerate(front.choice(*best)))
    candidate.plan.tensors.push_back(result.tensors[t].options[option]);
  candidate.bytes = front.points()[*best].bytes;
  candidate.bitsPerWeight = double(candidate.bytes) * 8 / elements;
  candidate.predictedLoss = front.points()[*best].loss;
  double kept = 0;
  for (auto [tensor, planned] : llvm::zip(tensors, candidate.plan.tensors))
    kept += planned.circuit.value_or(0) * double(tensor.rows * tensor.columns);
  candidate.circuit = kept / elements;
  return true;
}

/// The candidate that the budget allows and that loses least; of a tolerated loss, the smallest.
std::optional<size_t> ModelPlanner::best(bool alikeOnly) const {
  std::optional<size_t> found;
  for (auto [i, candidate] : llvm::enumerate(result.candidates)) {
    if (!fits(candidate) || (alikeOnly && !candidate.format))
      continue;
    if (!found || (byLoss() ? candidate.bytes < result.candidates[*found].bytes
                            : candidate.predictedLoss < result.candidates[*found].predictedLoss))
      found = i;
  }
  return found;
}

/// What the largest tensors take of a candidate.
static std::string largestTensors(const Candidate &candidate) {
  std::vector<const TensorPlan *> order;
  for (const TensorPlan &tensor : candidate.plan.tensors)
    order.push_back(&tensor);
  llvm::stable_sort(order, [](const TensorPlan *a, const TensorPlan *b) {
    return a->bitsPerWeight > b->bitsPerWeight;
  });
  std::string text;
  llvm::raw_string_ostream os(text);
  for (size_t i = 0; i < std::min(order.size(), namedTensors); ++i)
    os << (i ? ", '" : "'") << order[i]->name << "' "
       << llvm::format("%.3f", order[i]->bitsPerWeight) << " bpw";
  return text;
}

static Error tooSmall(ArrayRef<Candidate> candidates) {
  const Candidate &smallest =
      *std::min_element(candidates.begin(), candidates.end(),
                        [](const Candidate &a, const Candidate &b) { return a.bytes < b.bytes; });
  std::string text;
  llvm::raw_string_ostream os(text);
  os << "the budget is below the smallest candidate, which takes " << smallest.bytes << " bytes ("
     << llvm::format("%.3f", smallest.bitsPerWeight) << " bpw); most of it for their size take "
     << largestTensors(smallest);
  return Error(TACQ_INVALID_ARGUMENT, text);
}

/// Refuses a size that no formats fit into, before any work on losses.
Error ModelPlanner::checkSize() {
  std::vector<Candidate> alike;
  for (size_t f = 0; f < formatCount; ++f)
    alike.push_back(priceAlike(f, 0, {}));
  double least = 0;
  for (size_t t = 0; t < tensors.size(); ++t) {
    uint64_t bytes = std::numeric_limits<uint64_t>::max();
    for (const Candidate &candidate : alike)
      if (tensors[t].isPossible(*candidate.format))
        bytes = std::min(bytes, candidate.plan.tensors[t].bytes);
    least += double(bytes);
  }
  bool fits = options.budget.kind == Budget::Kind::Bytes
                  ? least <= options.budget.value
                  : least * 8 <= options.budget.value * elements;
  return fits ? Error() : tooSmall(alike);
}

Error ModelPlanner::noneFits() const {
  if (!byLoss())
    return tooSmall(result.candidates);
  // A measurement counts, not what was predicted before it.
  bool isMeasured = llvm::any_of(result.candidates, [](const Candidate &candidate) {
    return candidate.measuredLoss.has_value();
  });
  double least = std::numeric_limits<double>::max();
  for (const Candidate &candidate : result.candidates)
    if (!isMeasured || candidate.measuredLoss)
      least = std::min(least, candidate.measuredLoss.value_or(candidate.predictedLoss));
  std::string text;
  llvm::raw_string_ostream os(text);
  os << "no plan of '" << options.file << "' keeps the loss within the budget: the least increase "
     << (isMeasured ? "measured" : "predicted") << " is "
     << llvm::format("%.3g", 100 * least / statistics.meanLoss())
     << "%; allow more with --max-loss-increase"
     << (isMeasured ? ", or measure on more samples with --probe-samples" : "");
  return Error(TACQ_INVALID_ARGUMENT, text);
}

Error ModelPlanner::choose() {
  Candidate mixed;
  double limit = options.budget.value;
  if (options.budget.kind == Budget::Kind::BitsPerWeight)
    limit *= elements / 8;
  else if (byLoss())
    limit *= statistics.meanLoss();
  if (mix(limit, mixed))
    result.candidates.push_back(std::move(mixed));
  std::optional<size_t> found = best(/*alikeOnly=*/false);
  if (!found)
    return noneFits();
  result.chosen = *found;
  if (!prober)
    return Error();
  return byLoss() ? confirmLoss() : confirmSize();
}

Error ModelPlanner::run() {
  if (Error error = collect())
    return error;
  if (!byLoss())
    if (Error error = checkSize())
      return error;
  if (Error error = predict())
    return error;
  if (Error error = price())
    return error;
  if (options.samples)
    if (Error error = probe())
      return error;
  dropBeaten();
  if (Error error = choose())
    return error;
  std::vector<size_t> order(result.candidates.size());
  std::iota(order.begin(), order.end(), 0);
  llvm::stable_sort(order, [&](size_t a, size_t b) {
    return result.candidates[a].bytes < result.candidates[b].bytes;
  });
  std::vector<Candidate> sorted;
  size_t chosen = 0;
  for (size_t i : order) {
    if (i == result.chosen)
      chosen = sorted.size();
    sorted.push_back(std::move(result.candidates[i]));
  }
  result.candidates = std::move(sorted);
  result.chosen = chosen;
  return Error();
}

Error tacq::planModel(ImportedModel &model, const Statistics &statistics,
                      const PlannerOptions &options, PlanResult &result) {
  return ModelPlanner(model, statistics, options, result).run();
}
