//===- Planner.cpp - A plan for a budget ----------------------------------===//

#include "tacq/Quantize/Planner.h"
#include "GraphSegments.h"
#include "tacq/CPU/MixedPacking.h"
#include "tacq/Dialect/TACQ/MixedStorage.h"
#include "tacq/Import/WeightElements.h"
#include "tacq/Quantize/Knapsack.h"
#include "tacq/Quantize/Nearest.h"
#include "tacq/Quantize/NearestLevels.h"
#include "tacq/Quantize/PredictedLoss.h"
#include "tacq/Quantize/QuantizeModel.h"
#include "tacq/Quantize/Saliency.h"
#include "tacq/Quantize/Slots.h"
#include "llvm/Support/Format.h"
#include <cmath>

using namespace mlir;
using namespace tacq;

static constexpr CandidateFormat candidateFormats[] = {
    {2, 0, false},   {2, 0, true},    {2, 128, false}, {2, 64, false},  {3, 0, false},
    {3, 0, true},    {3, 128, false}, {3, 64, false},  {4, 0, false},   {4, 0, true},
    {4, 128, false}, {4, 64, false},  {8, 0, false},   {8, 128, false}, {8, 64, false}};
static constexpr size_t formatCount = std::size(candidateFormats);
static constexpr double candidateCircuits[] = {0, 0.0035, 0.01};
static constexpr size_t circuitCount = std::size(candidateCircuits);
/// How often the budget of a mixture is tightened.
static constexpr int mostAttempts = 8;
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

namespace {

struct PlannedTensor {
  std::string name;
  LinearOp linear;
  const TensorStatistics *statistics;
  const InputStatistics *input;
  int64_t rows, columns;
  std::vector<float> weight, quantized, saliency;
};

class ModelPlanner {
public:
  ModelPlanner(const ImportedModel &model, const Statistics &statistics,
               const PlannerOptions &options)
      : model(model), statistics(statistics), options(options) {}

  Error collect();
  Error priceAlike(std::vector<Candidate> &candidates);
  Error mix(double circuit, size_t circuitNumber, std::vector<Candidate> &candidates);
  double sizeOf(const Candidate &candidate) const;
  bool fits(const Candidate &candidate) const;

private:
  Error quantize(PlannedTensor &tensor, const CandidateFormat &format);
  double predictedLoss(const PlannedTensor &tensor, const CircuitMask &mask);
  void price(ArrayRef<CandidateFormat> formats, double circuit, Candidate &candidate);
  TensorPlan priceTensor(const PlannedTensor &tensor, const CandidateFormat &format,
                         const CircuitMask &mask);
  bool isPossible(const PlannedTensor &tensor, const CandidateFormat &format) const {
    return format.group <= tensor.columns;
  }

  const ImportedModel &model;
  const Statistics &statistics;
  const PlannerOptions &options;
  std::vector<PlannedTensor> tensors;
  llvm::DenseMap<uint32_t, std::vector<double>> hessians; // both triangles, by input
  /// Of each circuit and tensor, what each format costs where all tensors have it.
  std::vector<std::vector<KnapsackOption>> costs[circuitCount];
};

} // namespace

Error ModelPlanner::collect() {
  std::vector<std::string> names = quantizableWeights(*model.module);
  auto function = mainFunction(*model.module);
  for (const LinearGroup &group : collectLinearGroups(
           function, [&](StringRef name) { return llvm::is_contained(names, name); }))
    for (LinearOp linear : group.linears) {
      PlannedTensor tensor;
      tensor.name = weightName(linear).str();
      tensor.linear = linear;
      tensor.statistics = statistics.find(tensor.name);
      if (!tensor.statistics || tensor.statistics->gradient.empty())
        return Error(TACQ_INVALID_INPUT, "the statistics have no gradients of the tensor '" +
                                             tensor.name + "'; calibrate this model again");
      tensor.input = &statistics.inputs[tensor.statistics->input];
      tensor.rows = tensor.statistics->rows;
      tensor.columns = tensor.statistics->columns;
      if (Error error = readWeight(model.parameters, linear, tensor.weight))
        return error;
      std::vector<double> &hessian = hessians[tensor.statistics->input];
      if (hessian.empty())
        tensor.input->expand(hessian);
      tensors.push_back(std::move(tensor));
    }
  if (tensors.empty())
    return Error(TACQ_UNSUPPORTED,
                 "'" + options.file + "' has no linear layers with weights of their own to plan");
  return Error();
}

double ModelPlanner::predictedLoss(const PlannedTensor &tensor, const CircuitMask &mask) {
  std::vector<float> quantized = tensor.quantized;
  for (int64_t row = 0; row < tensor.rows; ++row)
    for (uint32_t column : mask.row(row)) {
      int64_t at = row * tensor.columns + column;
      quantized[at] = tensor.weight[at];
    }
  return secondOrderLoss({tensor.weight.data(), tensor.rows, tensor.columns}, quantized,
                         tensor.statistics->gradient.values(), hessians[tensor.statistics->input],
                         {statistics.sampleCount(), tensor.input->tokens});
}

/// The nearest numbers of a format, and the saliency of what is lost.
Error ModelPlanner::quantize(PlannedTensor &tensor, const CandidateFormat &format) {
  WeightView weight{tensor.weight.data(), tensor.rows, tensor.columns};
  if (format.bits == 16) {
    tensor.quantized = tensor.weight;
  } else if (format.codebook) {
    if (Error error = checkFinite(weight))
      return Error(error.code(), "tensor '" + tensor.name + "': " + error.message());
    tensor.quantized = nearestLevels(weight, format.bits, options.threads);
  } else {
    NearestOptions nearest;
    nearest.clip.steps = 10;
    nearest.clip.grid = 20;
    nearest.threads = options.threads;
    MixedWeight quantized;
    if (Error error = quantizeNearest(weight, {format.bits, format.group, false, {}}, CircuitMask(),
                                      nearest, quantized))
      return Error(error.code(), "tensor '" + tensor.name + "': " + error.message());
    tensor.quantized = quantized.decode();
  }
  tensor.saliency = computeSaliency(weight, tensor.quantized, tensor.statistics->gradient.values());
  return Error();
}

TensorPlan ModelPlanner::priceTensor(const PlannedTensor &tensor, const CandidateFormat &format,
                                     const CircuitMask &mask) {
  TensorPlan planned;
  planned.name = tensor.name;
  planned.bits = format.bits;
  planned.group = format.group;
  planned.codebook = format.codebook;
  auto elements = static_cast<double>(tensor.rows * tensor.columns);
  if (format.bits == 16) {
    planned.bytes = uint64_t(tensor.rows) * uint64_t(tensor.columns) * 2;
  } else {
    WeightFormat stored{format.bits, format.group, format.codebook,
                        mask.empty() ? WeightFormat::Circuit::None : options.circuitLayout};
    WeightView shape{nullptr, tensor.rows, tensor.columns};
    MixedType type =
        cpuMixedType(model.module.get().getContext(), makeMixedWeight(shape, stored, mask));
    LayoutAttr layout = cpuMixedLayout(type, /*sorted=*/!mask.order.empty());
    planned.bytes = storedBytes(type, layout).total();
    planned.predictedLoss = predictedLoss(tensor, mask);
  }
  planned.bitsPerWeight = double(planned.bytes) * 8 / elements;
  return planned;
}

/// Expects that the tensors were quantized in these formats.
void ModelPlanner::price(ArrayRef<CandidateFormat> formats, double circuit, Candidate &candidate) {
  std::vector<WeightView> saliency;
  for (auto [tensor, format] : llvm::zip(tensors, formats))
    if (format.bits != 16)
      saliency.push_back({tensor.saliency.data(), tensor.rows, tensor.columns});
  std::vector<CircuitMask> masks(saliency.size());
  if (circuit > 0 && !saliency.empty())
    masks = selectCircuit(options.circuitLayout, saliency, circuit);
  candidate.circuit = circuit;
  candidate.plan.modelHash = statistics.modelHash;
  candidate.plan.circuitLayout = options.circuitLayout;
  candidate.plan.circuit = circuit;
  static const CircuitMask none;
  auto mask = masks.begin();
  double elements = 0;
  for (auto [tensor, format] : llvm::zip(tensors, formats)) {
    TensorPlan planned = priceTensor(tensor, format, format.bits == 16 ? none : *mask++);
    candidate.bytes += planned.bytes;
    candidate.predictedLoss += planned.predictedLoss;
    elements += double(tensor.rows) * double(tensor.columns);
    candidate.plan.tensors.push_back(std::move(planned));
  }
  candidate.bitsPerWeight = double(candidate.bytes) * 8 / elements;
}

/// All weights in the same format, with all circuits.
Error ModelPlanner::priceAlike(std::vector<Candidate> &candidates) {
  for (auto &byTensor : costs)
    byTensor.resize(tensors.size());
  unsigned done = 0;
  for (const CandidateFormat &format : candidateFormats) {
    if (options.progress)
      options.progress(done++, formatCount + circuitCount);
    std::vector<CandidateFormat> formats(tensors.size(), format);
    for (PlannedTensor &tensor : tensors)
      if (Error error = quantize(tensor, format))
        return error;
    for (auto [i, circuit] : llvm::enumerate(candidateCircuits)) {
      if (circuit > 0 && options.circuitLayout == WeightFormat::Circuit::None)
        continue;
      Candidate candidate;
      candidate.format = format;
      price(formats, circuit, candidate);
      for (auto [tensor, planned] : llvm::enumerate(candidate.plan.tensors))
        costs[i][tensor].push_back({planned.bytes, planned.predictedLoss});
      if (llvm::all_of(tensors, [&](const auto &tensor) { return isPossible(tensor, format); }))
        candidates.push_back(std::move(candidate));
    }
  }
  return Error();
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
  return candidate.predictedLoss / statistics.meanLoss();
}

bool ModelPlanner::fits(const Candidate &candidate) const {
  return sizeOf(candidate) <= options.budget.value;
}

/// A format of its own for each weight, with this circuit; nothing is added if none fits.
Error ModelPlanner::mix(double circuit, size_t circuitNumber, std::vector<Candidate> &candidates) {
  std::vector<std::vector<KnapsackOption>> items;
  std::vector<std::vector<CandidateFormat>> meaning;
  double elements = 0;
  for (auto [tensor, priced] : llvm::zip(tensors, costs[circuitNumber])) {
    if (priced.empty())
      return Error();
    auto &item = items.emplace_back();
    auto &formats = meaning.emplace_back();
    for (auto [format, cost] : llvm::zip(candidateFormats, priced))
      if (isPossible(tensor, format)) {
        item.push_back(cost);
        formats.push_back(format);
      }
    item.push_back({uint64_t(tensor.rows) * uint64_t(tensor.columns) * 2, 0});
    formats.push_back({16});
    elements += double(tensor.rows) * double(tensor.columns);
  }
  KnapsackFront front = KnapsackFront::solve(items);
  bool byLoss = options.budget.kind == Budget::Kind::LossIncrease;
  double limit = options.budget.value;
  if (options.budget.kind == Budget::Kind::BitsPerWeight)
    limit *= elements / 8;
  else if (byLoss)
    limit *= statistics.meanLoss();
  for (int attempt = 0; attempt < mostAttempts; ++attempt) {
    std::optional<size_t> best;
    for (auto [i, point] : llvm::enumerate(front.points())) {
      bool within = byLoss ? point.loss <= limit : double(point.bytes) <= limit;
      // Bytes rise and losses fall: the first within a loss, the last within a size.
      if (within && (!byLoss || !best))
        best = i;
    }
    if (!best)
      return Error();
    std::vector<CandidateFormat> formats;
    for (auto [i, option] : llvm::enumerate(front.choice(*best)))
      formats.push_back(meaning[i][option]);
    for (auto [tensor, format] : llvm::zip(tensors, formats))
      if (Error error = quantize(tensor, format))
        return error;
    Candidate candidate;
    price(formats, circuit, candidate);
    if (fits(candidate)) {
      candidates.push_back(std::move(candidate));
      return Error();
    }
    double actual = byLoss ? candidate.predictedLoss : double(candidate.bytes);
    double expected = byLoss ? front.points()[*best].loss : double(front.points()[*best].bytes);
    limit = std::min(limit, expected) - std::max(actual - limit, 0.0);
  }
  return Error();
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

Error tacq::planModel(const ImportedModel &model, const Statistics &statistics,
                      const PlannerOptions &options, std::vector<Candidate> &candidates,
                      size_t &chosen) {
  ModelPlanner planner(model, statistics, options);
  if (Error error = planner.collect())
    return error;
  if (Error error = planner.priceAlike(candidates))
    return error;
  for (auto [i, circuit] : llvm::enumerate(candidateCircuits)) {
    if (options.progress)
      options.progress(formatCount + i, formatCount + circuitCount);
    if (Error error = planner.mix(circuit, i, candidates))
      return error;
  }
  if (options.progress)
    options.progress(formatCount + circuitCount, formatCount + circuitCount);
  llvm::stable_sort(candidates,
                    [](const Candidate &a, const Candidate &b) { return a.bytes < b.bytes; });
  const Budget &budget = options.budget;
  std::optional<size_t> best;
  for (auto [i, candidate] : llvm::enumerate(candidates)) {
    if (!planner.fits(candidate))
      continue;
    // Candidates are ordered by size: the first that keeps the loss is the smallest.
    if (budget.kind == Budget::Kind::LossIncrease && best)
      break;
    if (!best || candidate.predictedLoss < candidates[*best].predictedLoss)
      best = i;
  }
  if (!best) {
    std::string text;
    llvm::raw_string_ostream os(text);
    const Candidate &end =
        budget.kind == Budget::Kind::LossIncrease ? candidates.back() : candidates.front();
    if (budget.kind == Budget::Kind::LossIncrease)
      os << "no candidate keeps the predicted loss within the budget: the largest, "
         << end.format->bits << " bits, is predicted to increase it by "
         << llvm::format("%.3g", 100 * end.predictedLoss / statistics.meanLoss()) << "%";
    else
      os << "the budget is below the smallest candidate, which takes " << end.bytes << " bytes ("
         << llvm::format("%.3f", end.bitsPerWeight) << " bpw); most of it for their size take "
         << largestTensors(end);
    return Error(TACQ_INVALID_ARGUMENT, text);
  }
  chosen = *best;
  return Error();
}
