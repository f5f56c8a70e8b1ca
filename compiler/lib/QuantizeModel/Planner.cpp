//===- Planner.cpp - A plan for a budget ----------------------------------===//

#include "tacq/Quantize/Planner.h"
#include "GraphSegments.h"
#include "tacq/CPU/MixedPacking.h"
#include "tacq/Dialect/TACQ/MixedStorage.h"
#include "tacq/Import/WeightElements.h"
#include "tacq/Quantize/Nearest.h"
#include "tacq/Quantize/PredictedLoss.h"
#include "tacq/Quantize/QuantizeModel.h"
#include "tacq/Quantize/Saliency.h"
#include "tacq/Quantize/Slots.h"
#include "llvm/Support/Format.h"
#include <cmath>

using namespace mlir;
using namespace tacq;

static constexpr unsigned candidateBits[] = {2, 3, 4, 8};
static constexpr int64_t candidateGroups[] = {0, 128, 64};
static constexpr double candidateCircuits[] = {0, 0.0035, 0.01};

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
  Error price(unsigned bits, int64_t group, std::vector<Candidate> &candidates);

private:
  double predictedLoss(const PlannedTensor &tensor, const CircuitMask &mask);

  const ImportedModel &model;
  const Statistics &statistics;
  const PlannerOptions &options;
  std::vector<PlannedTensor> tensors;
  llvm::DenseMap<uint32_t, std::vector<double>> hessians; // both triangles, by input
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

/// All circuits for these bits and groups.
Error ModelPlanner::price(unsigned bits, int64_t group, std::vector<Candidate> &candidates) {
  WeightFormat format;
  format.bits = bits;
  format.group = group;
  for (PlannedTensor &tensor : tensors) {
    WeightView weight{tensor.weight.data(), tensor.rows, tensor.columns};
    NearestOptions nearest;
    nearest.clip.steps = 10;
    nearest.clip.grid = 20;
    nearest.threads = options.threads;
    MixedWeight quantized;
    if (Error error = quantizeNearest(weight, format, CircuitMask(), nearest, quantized))
      return Error(error.code(), "tensor '" + tensor.name + "': " + error.message());
    std::vector<float> decoded = quantized.decode();
    tensor.saliency = computeSaliency(weight, decoded, tensor.statistics->gradient.values());
    tensor.quantized = std::move(decoded);
  }
  std::vector<WeightView> saliency;
  for (const PlannedTensor &tensor : tensors)
    saliency.push_back({tensor.saliency.data(), tensor.rows, tensor.columns});
  MLIRContext &context = *model.module.get().getContext();
  for (double circuit : candidateCircuits) {
    if (circuit > 0 && options.circuitLayout == WeightFormat::Circuit::None)
      continue;
    std::vector<CircuitMask> masks(tensors.size());
    if (circuit > 0)
      masks = selectCircuit(options.circuitLayout, saliency, circuit);
    Candidate candidate{bits, group, circuit, {}};
    candidate.plan.modelHash = statistics.modelHash;
    candidate.plan.circuitLayout = options.circuitLayout;
    candidate.plan.circuit = circuit;
    double elements = 0;
    for (auto [tensor, mask] : llvm::zip(tensors, masks)) {
      format.circuit = mask.empty() ? WeightFormat::Circuit::None : options.circuitLayout;
      WeightView shape{nullptr, tensor.rows, tensor.columns};
      MixedType type = cpuMixedType(&context, makeMixedWeight(shape, format, mask));
      LayoutAttr layout = cpuMixedLayout(type, /*sorted=*/!mask.order.empty());
      TensorPlan planned;
      planned.name = tensor.name;
      planned.bits = bits;
      planned.group = group;
      planned.bytes = storedBytes(type, layout).total();
      planned.bitsPerWeight = bitsPerWeight(type, layout);
      planned.predictedLoss = predictedLoss(tensor, mask);
      candidate.bytes += planned.bytes;
      candidate.predictedLoss += planned.predictedLoss;
      elements += double(tensor.rows) * double(tensor.columns);
      candidate.plan.tensors.push_back(std::move(planned));
    }
    candidate.bitsPerWeight = double(candidate.bytes) * 8 / elements;
    candidates.push_back(std::move(candidate));
  }
  return Error();
}

Error tacq::planModel(const ImportedModel &model, const Statistics &statistics,
                      const PlannerOptions &options, std::vector<Candidate> &candidates,
                      size_t &chosen) {
  ModelPlanner planner(model, statistics, options);
  if (Error error = planner.collect())
    return error;
  unsigned done = 0, total = std::size(candidateBits) * std::size(candidateGroups);
  for (unsigned bits : candidateBits)
    for (int64_t group : candidateGroups) {
      if (options.progress)
        options.progress(done++, total);
      if (Error error = planner.price(bits, group, candidates))
        return error;
    }
  if (options.progress)
    options.progress(total, total);
  llvm::stable_sort(candidates,
                    [](const Candidate &a, const Candidate &b) { return a.bytes < b.bytes; });
  const Budget &budget = options.budget;
  auto fits = [&](const Candidate &candidate) {
    switch (budget.kind) {
    case Budget::Kind::BitsPerWeight:
      return candidate.bitsPerWeight <= budget.value;
    case Budget::Kind::Bytes:
      return double(candidate.bytes) <= budget.value;
    case Budget::Kind::LossIncrease:
      return candidate.predictedLoss <= budget.value * statistics.meanLoss();
    }
    return false;
  };
  std::optional<size_t> best;
  for (auto [i, candidate] : llvm::enumerate(candidates)) {
    if (!fits(candidate))
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
      os << "no candidate keeps the predicted loss within the budget: the largest, " << end.bits
         << " bits, is predicted to increase it by "
         << llvm::format("%.3g", 100 * end.predictedLoss / statistics.meanLoss()) << "%";
    else
      os << "the budget is below the smallest candidate, which takes " << end.bytes << " bytes ("
         << llvm::format("%.3f", end.bitsPerWeight) << " bpw)";
    return Error(TACQ_INVALID_ARGUMENT, text);
  }
  chosen = *best;
  return Error();
}
