//===- ModelQuantizer.cpp - The weights of a planned model ----------------===//

#include "tacq/Quantize/ModelQuantizer.h"
#include "LossProbe.h"
#include "SequentialPass.h"
#include "tacq/Import/WeightElements.h"
#include "tacq/Quantize/Codebook.h"
#include "tacq/Quantize/Nearest.h"
#include "tacq/Quantize/PlanAttributes.h"
#include "tacq/Quantize/RandomCircuit.h"
#include "tacq/Quantize/Saliency.h"
#include "tacq/Quantize/Slots.h"
#include <limits>

using namespace mlir;
using namespace tacq;

HessianOptions tacq::hessianVariant(HessianOptions options, unsigned i) {
  static constexpr double dampings[] = {1, 1.0 / 3, 3, 9};
  static_assert(2 * std::size(dampings) == mostVariants);
  options.damping *= dampings[i / 2];
  options.activationOrder ^= i % 2 == 1;
  return options;
}

bool tacq::hasCircuit(const Plan &plan, const TensorPlan &tensor) {
  return plan.circuitLayout != WeightFormat::Circuit::None &&
         tensor.circuit.value_or(plan.circuit) > 0;
}

bool tacq::hasCircuit(const Plan &plan) {
  return llvm::any_of(plan.tensors,
                      [&](const TensorPlan &tensor) { return hasCircuit(plan, tensor); });
}

namespace {

/// A weight of the plan.
struct Entry {
  const TensorPlan *plan;
  LinearOp linear;
  int64_t rows, columns;
  const TensorStatistics *statistics = nullptr;
  const CircuitMask *mask = nullptr; // none: without a circuit
};

/// A weight and what became of it.
struct QuantizedEntry {
  Entry *entry;
  MixedWeight weight;
};

using TakeWeightFn = llvm::function_ref<Error(Entry &, MixedWeight &&)>;

class ModelQuantizer {
public:
  ModelQuantizer(ModuleOp module, const ParameterStore &parameters,
                 const QuantizeModelOptions &options)
      : module(module), parameters(parameters), options(options), function(mainFunction(module)) {}

  /// Finds the weights of the plan and what the statistics say of them.
  Error collect(const llvm::StringMap<CircuitMask> *circuits);
  /// Goes through all groups and hands out each weight, quantized.
  Error quantizeAll(const char *stage, TakeWeightFn take);
  Error read(Entry &entry, std::vector<float> &elements);

  /// Has quantizeAll() choose between variants, if there are to be several.
  Error prepareVariants();

  Plan plan;

private:
  Error checkStatistics(bool gradients);
  Error quantizeGroup(const LinearGroup &group, ArrayRef<double> hessian, TakeWeightFn take,
                      llvm::StringMap<std::vector<float>> *decoded);
  /// The weights of the group, but those that another group has quantized.
  Error quantizeAs(const HessianOptions &how, const LinearGroup &group, ArrayRef<double> hessian,
                   std::vector<QuantizedEntry> &result);
  Error chooseVariant(const LinearGroup &group, ArrayRef<double> hessian,
                      std::vector<QuantizedEntry> &best);
  Error quantizeOne(Entry &entry, const HessianOptions &how, const HessianFactor &factor,
                    ArrayRef<double> hessian, MixedWeight &result);
  static Error inNode(Entry &entry, const Error &error) {
    return Error(error.code(), "tensor '" + entry.plan->name + "' (node '" +
                                   entry.linear.getNodeName().str() + "'): " + error.message());
  }

  ModuleOp module;
  const ParameterStore &parameters;
  const QuantizeModelOptions &options;
  func::FuncOp function;
  llvm::StringMap<Entry> entries;
  SmallVector<LinearGroup> groups;
  std::vector<std::string> order;    // names in the order of the graph
  std::unique_ptr<LossProbe> prober; // none: each group is quantized in one way
};

} // namespace

Error ModelQuantizer::collect(const llvm::StringMap<CircuitMask> *circuits) {
  if (Error error = planOf(module, plan))
    return error;
  groups = collectLinearGroups(function,
                               [&](StringRef name) { return plan.find(name.str()) != nullptr; });
  for (const LinearGroup &group : groups)
    for (LinearOp linear : group.linears) {
      std::string name = weightName(linear).str();
      if (entries.contains(name))
        continue;
      std::optional<int64_t> n = dimsOf(linear.getResults()[0])->back().constant();
      std::optional<int64_t> k = dimsOf(linear.getX())->back().constant();
      if (!n || !k)
        return Error(TACQ_UNSUPPORTED, "tensor '" + name + "' has no fixed shape");
      Entry entry{plan.find(name), linear, *n, *k, nullptr, nullptr};
      if (circuits)
        if (auto mask = circuits->find(name); mask != circuits->end() && !mask->second.empty())
          entry.mask = &mask->second;
      if (entry.plan->group > *k)
        return Error(TACQ_INVALID_INPUT, "tensor '" + name + "': a group of " +
                                             std::to_string(entry.plan->group) +
                                             " columns is wider than its " + std::to_string(*k) +
                                             " inputs; take a smaller one, or 0 for whole rows");
      entries[name] = entry;
      order.push_back(name);
    }
  return checkStatistics(/*gradients=*/!circuits && hasCircuit(plan));
}

Error ModelQuantizer::checkStatistics(bool gradients) {
  bool hessians = options.method == QuantizeMethod::Gptq && !options.samples;
  if (!gradients && !hessians)
    return Error();
  if (!options.statistics)
    return Error(TACQ_INVALID_ARGUMENT,
                 gradients
                     ? "a circuit is chosen by the gradients of a sample: give the statistics of "
                       "tacq-calibrate with --stats, or --circuit 0; to measure speed, "
                       "--circuit-from random"
                     : "GPTQ needs a sample of the data: give --stats or --data, or choose "
                       "--method nearest");
  for (const std::string &name : order) {
    Entry &entry = entries[name];
    entry.statistics = options.statistics->find(name);
    if (!entry.statistics || entry.statistics->rows != entry.rows ||
        entry.statistics->columns != entry.columns)
      return Error(TACQ_INVALID_INPUT, "the statistics have no tensor '" + name + "' of shape [" +
                                           std::to_string(entry.rows) + ", " +
                                           std::to_string(entry.columns) +
                                           "]; calibrate this model again");
    if (gradients && entry.statistics->gradient.empty())
      return Error(TACQ_INVALID_INPUT,
                   "the statistics have no gradients, which a circuit is chosen "
                   "by; calibrate with a loss");
  }
  return Error();
}

Error ModelQuantizer::read(Entry &entry, std::vector<float> &elements) {
  Error error = readWeight(parameters, entry.linear, elements);
  return error ? inNode(entry, error) : Error();
}

Error ModelQuantizer::quantizeOne(Entry &entry, const HessianOptions &how,
                                  const HessianFactor &factor, ArrayRef<double> hessian,
                                  MixedWeight &result) {
  std::vector<float> elements;
  if (Error error = read(entry, elements))
    return error;
  WeightView weight{elements.data(), entry.rows, entry.columns};
  static const CircuitMask noCircuit;
  const CircuitMask &mask = entry.mask ? *entry.mask : noCircuit;
  WeightFormat format;
  format.bits = entry.plan->bits;
  format.group = entry.plan->group;
  format.circuit = mask.empty() ? WeightFormat::Circuit::None : plan.circuitLayout;
  Error error;
  if (options.method == QuantizeMethod::Nearest) {
    NearestOptions nearest;
    nearest.clip = options.gptq.clip;
    nearest.threads = options.threads;
    error = quantizeNearest(weight, format, mask, nearest, result);
  } else {
    GptqOptions gptq = options.gptq;
    gptq.threads = options.threads;
    error = quantizeGptq(weight, factor, format, mask, gptq, result);
  }
  if (!error && entry.plan->codebook) {
    CodebookOptions codebook;
    codebook.damping = how.damping;
    codebook.circuitValues = options.gptq.circuitValues;
    codebook.threads = options.threads;
    MixedWeight fitted;
    std::vector<double> identity;
    if (hessian.empty()) {
      // Each weight by itself: the levels of least squares.
      identity.resize(entry.columns * entry.columns);
      for (int64_t k = 0; k < entry.columns; ++k)
        identity[k * (entry.columns + 1)] = 1;
      hessian = identity;
    }
    error = fitCodebook(weight, hessian, result, codebook, fitted);
    result = std::move(fitted);
  }
  return error ? inNode(entry, error) : Error();
}

Error ModelQuantizer::quantizeAs(const HessianOptions &how, const LinearGroup &group,
                                 ArrayRef<double> hessian, std::vector<QuantizedEntry> &result) {
  HessianFactor factor;
  if (options.method == QuantizeMethod::Gptq) {
    int64_t columns = entries[weightName(group.linears[0])].columns;
    if (Error error = HessianFactor::compute(hessian, columns, how, factor))
      return Error(error.code(), "the input of node '" +
                                     LinearOp(group.linears[0]).getNodeName().str() +
                                     "': " + error.message());
  }
  for (LinearOp linear : group.linears) {
    Entry &entry = entries[weightName(linear)];
    // A weight that two inputs share is quantized for the first.
    if (entry.linear != linear)
      continue;
    MixedWeight weight;
    if (Error error = quantizeOne(entry, how, factor, hessian, weight))
      return error;
    result.push_back({&entry, std::move(weight)});
  }
  return Error();
}

/// Quantizes the group in all ways and keeps the best.
Error ModelQuantizer::chooseVariant(const LinearGroup &group, ArrayRef<double> hessian,
                                    std::vector<QuantizedEntry> &best) {
  auto replace = [&](ArrayRef<QuantizedEntry> weights) {
    for (const auto &[entry, weight] : weights)
      if (Error error = prober->replace(entry->plan->name, weight.decode()))
        return error;
    return Error();
  };
  double least = std::numeric_limits<double>::infinity();
  for (unsigned i = 0; i < options.variants; ++i) {
    std::vector<QuantizedEntry> variant;
    double loss;
    if (Error error = quantizeAs(hessianVariant(options.hessian, i), group, hessian, variant)) {
      // Less damping than is asked for may be too little.
      if (i > 0)
        continue;
      return error;
    }
    if (Error error = replace(variant))
      return error;
    if (Error error = prober->measure(loss))
      return error;
    if (loss < least) {
      least = loss;
      best = std::move(variant);
    }
  }
  return replace(best);
}

Error ModelQuantizer::quantizeGroup(const LinearGroup &group, ArrayRef<double> hessian,
                                    TakeWeightFn take,
                                    llvm::StringMap<std::vector<float>> *decoded) {
  std::vector<QuantizedEntry> quantized;
  if (Error error = prober ? chooseVariant(group, hessian, quantized)
                           : quantizeAs(options.hessian, group, hessian, quantized))
    return error;
  for (auto &[entry, weight] : quantized) {
    if (decoded)
      (*decoded)[entry->plan->name] = weight.decode();
    if (Error error = take(*entry, std::move(weight)))
      return error;
  }
  return Error();
}

Error ModelQuantizer::prepareVariants() {
  if (options.variants < 2)
    return Error();
  if (!options.samples || options.method != QuantizeMethod::Gptq)
    return Error(TACQ_INVALID_ARGUMENT,
                 "variants are of GPTQ and are measured on samples: give both, or ask for one");
  prober = std::make_unique<LossProbe>(module, parameters, *options.samples, options.threads,
                                       options.file, "compile without --variants");
  return prober->prepare(order, options.variantSamples);
}

Error ModelQuantizer::quantizeAll(const char *stage, TakeWeightFn take) {
  auto report = [&](unsigned done, unsigned total) {
    if (options.progress)
      options.progress(stage, done, total);
  };
  if (options.samples) {
    SequentialPassOptions pass;
    pass.threads = options.threads;
    pass.file = options.file;
    pass.progress = report;
    return runSequentialPass(module, parameters, groups, *options.samples, pass,
                             [&](const LinearGroup &group, ArrayRef<double> hessian,
                                 llvm::StringMap<std::vector<float>> &decoded) {
                               return quantizeGroup(group, hessian, take, &decoded);
                             });
  }
  for (auto [i, group] : llvm::enumerate(groups)) {
    report(i, groups.size());
    std::vector<double> hessian;
    if (options.method == QuantizeMethod::Gptq) {
      const Entry &first = entries[weightName(group.linears[0])];
      options.statistics->inputs[first.statistics->input].expand(hessian);
    }
    if (Error error = quantizeGroup(group, hessian, take, nullptr))
      return error;
  }
  report(groups.size(), groups.size());
  return Error();
}

/// With evenly spaced numbers of whole rows TaCQ's saliency finds better circuits; where levels are
/// fitted, what a circuit saves is the better guide.
static bool usesCurvature(const Plan &plan, const QuantizeModelOptions &options) {
  if (options.saliency != SaliencyKind::Automatic)
    return options.saliency == SaliencyKind::Curvature;
  return llvm::any_of(plan.tensors, [](const TensorPlan &tensor) { return tensor.codebook; });
}

Error tacq::estimateSaliency(ModuleOp module, const ParameterStore &parameters,
                             const QuantizeModelOptions &options, QuantizationState &state) {
  ModelQuantizer quantizer(module, parameters, options);
  if (Error error = quantizer.collect(nullptr))
    return error;
  return quantizer.quantizeAll("saliency", [&](Entry &entry, MixedWeight &&weight) {
    if (!hasCircuit(quantizer.plan, *entry.plan))
      return Error();
    std::vector<float> elements;
    if (Error error = quantizer.read(entry, elements))
      return error;
    WeightView view{elements.data(), entry.rows, entry.columns};
    ArrayRef<double> gradient = entry.statistics->gradient.values();
    std::vector<float> saliency;
    if (usesCurvature(quantizer.plan, options)) {
      std::vector<double> hessian;
      options.statistics->inputs[entry.statistics->input].expand(hessian);
      saliency = computeCurvatureSaliency(view, weight.decode(), gradient, hessian);
    } else {
      saliency = computeSaliency(view, weight.decode(), gradient);
    }
    state.saliency.push_back({entry.plan->name, entry.rows, entry.columns, std::move(saliency)});
    return Error();
  });
}

Error tacq::chooseCircuits(const Plan &plan, QuantizationState &state) {
  llvm::StringMap<CircuitMask> circuits;
  std::vector<WeightView> shared;
  std::vector<std::string> sharing;
  for (const QuantizationState::Saliency &saliency : state.saliency) {
    WeightView view{saliency.values.data(), saliency.rows, saliency.columns};
    const TensorPlan *tensor = plan.find(saliency.name);
    if (tensor->circuit) {
      circuits[saliency.name] =
          std::move(selectCircuit(plan.circuitLayout, view, *tensor->circuit)[0]);
      continue;
    }
    shared.push_back(view);
    sharing.push_back(saliency.name);
  }
  if (!shared.empty()) {
    std::vector<CircuitMask> masks = selectCircuit(plan.circuitLayout, shared, plan.circuit);
    for (auto [name, mask] : llvm::zip(sharing, masks))
      circuits[name] = std::move(mask);
  }
  for (const TensorPlan &tensor : plan.tensors)
    if (hasCircuit(plan, tensor) && !circuits.contains(tensor.name))
      return Error(TACQ_INVALID_ARGUMENT, "the saliency of tensor '" + tensor.name +
                                              "' is not known: run tacq-estimate-saliency before "
                                              "tacq-select-circuit");
  state.saliency.clear();
  state.circuits = std::move(circuits);
  return Error();
}

Error tacq::drawCircuits(ModuleOp module, uint64_t seed, QuantizationState &state) {
  Plan plan;
  if (Error error = planOf(module, plan))
    return error;
  llvm::StringMap<CircuitMask> circuits;
  for (auto linear : mainFunction(module).getBody().front().getOps<LinearOp>()) {
    StringRef name = weightName(linear);
    const TensorPlan *tensor = name.empty() ? nullptr : plan.find(name.str());
    if (!tensor || !hasCircuit(plan, *tensor) || circuits.contains(name))
      continue;
    std::optional<int64_t> n = dimsOf(linear.getResults()[0])->back().constant();
    std::optional<int64_t> k = dimsOf(linear.getX())->back().constant();
    if (n && k)
      circuits[name] =
          randomCircuit(*n, *k, plan.circuitLayout, tensor->circuit.value_or(plan.circuit), seed++);
  }
  state.circuits = std::move(circuits);
  return Error();
}

Error tacq::quantizeWeights(ModuleOp module, const ParameterStore &parameters,
                            const QuantizeModelOptions &options, const QuantizationState &state,
                            llvm::StringMap<MixedWeight> &weights) {
  ModelQuantizer quantizer(module, parameters, options);
  if (Error error = quantizer.collect(state.circuits ? &*state.circuits : nullptr))
    return error;
  if (!state.circuits && hasCircuit(quantizer.plan))
    return Error(TACQ_INVALID_ARGUMENT, "the plan's circuits are not chosen: run "
                                        "tacq-select-circuit before tacq-quantize-weights");
  if (Error error = quantizer.prepareVariants())
    return error;
  return quantizer.quantizeAll("quantize", [&](Entry &entry, MixedWeight &&weight) {
    weights[entry.plan->name] = std::move(weight);
    return Error();
  });
}
