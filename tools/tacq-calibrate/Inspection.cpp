//===- Inspection.cpp - Statistics for people and scripts -----------------===//

#include "Inspection.h"

#include "Comparison.h"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

using namespace tacq;
using namespace tacq::tools;
using nlohmann::ordered_json;

namespace {
struct Norms {
  double sum = 0, l2 = 0;
};
} // namespace

static Norms normsOf(const StatisticsSum &gradient) {
  double sum = 0, squares = 0;
  for (double value : gradient.values()) {
    sum += value;
    squares += value * value;
  }
  return {sum, std::sqrt(squares)};
}

static double frobenius(const InputStatistics &input) {
  double squares = 0;
  const double *value = input.hessian.values().data();
  for (int64_t i = 0; i < input.columns; ++i)
    for (int64_t j = 0; j <= i; ++j, ++value)
      squares += (i == j ? 1 : 2) * *value * *value;
  return std::sqrt(squares);
}

static ordered_json toJson(const Statistics &statistics) {
  ordered_json result;
  result["model"] = statistics.modelFile;
  result["model_hash"] = statistics.modelHash;
  result["settings"] = {{"loss", statistics.settings.loss},
                        {"output", statistics.settings.output},
                        {"labels", statistics.settings.labels},
                        {"hessians", statistics.settings.hessians}};
  uint64_t samples = statistics.sampleCount();
  bool gradients = statistics.settings.loss != "none";
  result["samples"] = samples;
  result["mean_loss"] = gradients ? ordered_json(statistics.meanLoss()) : ordered_json();
  ordered_json data = ordered_json::array();
  for (const auto &[hash, ranges] : statistics.covered)
    for (const SampleRange &range : ranges)
      data.push_back({{"data_hash", hash},
                      {"begin", range.begin},
                      {"end", range.end},
                      {"weight", range.weight},
                      {"losses", gradients ? ordered_json(range.losses) : ordered_json()}});
  result["covered"] = data;
  ordered_json tensors = ordered_json::array();
  for (const TensorStatistics &tensor : statistics.tensors) {
    const InputStatistics &input = statistics.inputs[tensor.input];
    ordered_json entry;
    entry["name"] = tensor.name;
    entry["shape"] = {tensor.rows, tensor.columns};
    Norms norms = normsOf(tensor.gradient);
    entry["abs_gradient_sum"] = gradients ? ordered_json(norms.sum) : ordered_json();
    entry["abs_gradient_l2"] = gradients ? ordered_json(norms.l2) : ordered_json();
    entry["hessian_trace"] = input.trace();
    entry["hessian_frobenius"] = frobenius(input);
    entry["input"] = tensor.input;
    entry["tokens"] = input.tokens;
    entry["samples"] = samples;
    entry["head"] = tensor.head;
    tensors.push_back(entry);
  }
  result["tensors"] = tensors;
  return result;
}

Error tools::inspect(const std::string &file, const StabilityOptions &options, bool json) {
  Statistics statistics;
  if (Error error = Statistics::read(file, statistics))
    return error;
  // Small samples and Hessians alone are fine here; then there is nothing to say of the circuit.
  std::optional<CircuitStability> stability;
  if (statistics.hasFolds && statistics.sampleCount() >= uint64_t(sampleFolds)) {
    stability.emplace();
    if (Error error = circuitStability(statistics, file, options, *stability))
      return error;
  }
  if (json) {
    ordered_json result = ::toJson(statistics);
    result["stability"] = stability ? tools::toJson(*stability) : ordered_json();
    std::printf("%s\n", result.dump(2, ' ', false, ordered_json::error_handler_t::replace).c_str());
    return success();
  }
  std::printf("%s, %llu samples, mean loss %.6f, %s\n", statistics.modelFile.c_str(),
              static_cast<unsigned long long>(statistics.sampleCount()), statistics.meanLoss(),
              statistics.settings.str().c_str());
  std::printf("%-44s %12s %13s %13s %13s %10s\n", "tensor", "shape", "sum |G|", "l2 |G|", "trace H",
              "tokens");
  for (const TensorStatistics &tensor : statistics.tensors) {
    const InputStatistics &input = statistics.inputs[tensor.input];
    Norms norms = normsOf(tensor.gradient);
    std::string shape = std::to_string(tensor.rows) + " x " + std::to_string(tensor.columns);
    std::printf("%-44s %12s %13.6g %13.6g %13.6g %10llu%s\n", tensor.name.c_str(), shape.c_str(),
                norms.sum, norms.l2, input.trace(), static_cast<unsigned long long>(input.tokens),
                tensor.head ? "  head" : "");
  }
  if (stability)
    std::printf("%s", toText(*stability).c_str());
  else
    std::printf("the circuit's stability takes gradients of at least %lld samples\n",
                static_cast<long long>(sampleFolds));
  return success();
}
