//===- QuantizeModel.cpp - All weights of a model by a plan ---------------===//

#include "tacq/Quantize/QuantizeModel.h"
#include "SequentialPass.h"
#include "WeightElements.h"
#include "tacq/Quantize/Codebook.h"
#include "tacq/Quantize/Nearest.h"
#include "tacq/Quantize/RandomCircuit.h"
#include "tacq/Quantize/Saliency.h"
#include "tacq/Quantize/Slots.h"

using namespace mlir;
using namespace tacq;

/// Weights that only linear operations read: those of the head, or all others.
static std::vector<std::string> weightsOf(const ImportedModel &model, bool head) {
  auto function = mainFunction(model);
  llvm::StringMap<unsigned> readers;
  function.walk([&](GetParamOp get) {
    for (Operation *user : get.getResult().getUsers())
      if (!isa<LinearOp>(user))
        ++readers[get.getParam()];
  });
  Operation *terminator = function.getBody().front().getTerminator();
  auto isHead = [&](LinearOp linear) {
    return llvm::is_contained(linear.getResults()[0].getUsers(), terminator);
  };
  std::vector<std::string> names;
  for (const LinearGroup &group :
       collectLinearGroups(function, [&](StringRef name) { return !readers.contains(name); }))
    for (LinearOp linear : group.linears)
      if (isHead(linear) == head && !llvm::is_contained(names, weightName(linear)))
        names.push_back(weightName(linear).str());
  return names;
}

std::vector<std::string> tacq::quantizableWeights(const ImportedModel &model) {
  return weightsOf(model, /*head=*/false);
}

std::vector<std::string> tacq::quantizableHeads(const ImportedModel &model) {
  return weightsOf(model, /*head=*/true);
}

static tacq_element_type_t elementTypeOf(Type type) {
  Type element = cast<ShapedType>(type).getElementType();
  if (element.isF32())
    return TACQ_F32;
  if (element.isInteger(64))
    return TACQ_I64;
  if (element.isInteger(32))
    return TACQ_I32;
  return element.isInteger(1) ? TACQ_BOOL : TACQ_ELEMENT_NONE;
}

std::vector<TensorDeclaration> tacq::sampleInputs(const ImportedModel &model) {
  func::FuncOp function = mainFunction(model);
  std::vector<TensorDeclaration> inputs;
  for (BlockArgument argument : function.getArguments()) {
    if (argument.use_empty())
      continue;
    TensorDeclaration input{
        argumentName(function, argument).str(), elementTypeOf(argument.getType()), {}};
    for (const Sym &dim : *dimsOf(argument))
      input.dims.push_back(dim.constant().value_or(-1));
    inputs.push_back(std::move(input));
  }
  return inputs;
}

int64_t tacq::vocabularyOf(const ImportedModel &model) {
  func::FuncOp function = mainFunction(model);
  for (Value result : function.getBody().front().getTerminator()->getOperands())
    if (std::optional<Dims> dims = dimsOf(result); dims && dims->size() == 3)
      return dims->back().constant().value_or(0);
  return 0;
}

std::vector<CircuitMask> tacq::selectCircuit(WeightFormat::Circuit layout,
                                             ArrayRef<WeightView> saliency, double fraction) {
  std::vector<CircuitMask> masks = selectScattered(saliency, fraction);
  if (layout != WeightFormat::Circuit::Slots && layout != WeightFormat::Circuit::Uniform)
    return masks;
  std::vector<SlotCircuit> circuits = layout == WeightFormat::Circuit::Slots
                                          ? selectSlots(saliency, masks, SlotOptions())
                                          : selectUniform(saliency, masks, SlotOptions());
  for (auto [mask, circuit] : llvm::zip(masks, circuits))
    mask = std::move(circuit.mask);
  return masks;
}

namespace {

/// A weight of the plan.
struct Entry {
  const TensorPlan *plan;
  LinearOp linear;
  int64_t rows, columns;
  const TensorStatistics *statistics = nullptr;
  std::vector<float> saliency;
  CircuitMask mask;
};

class ModelQuantizer {
public:
  ModelQuantizer(const ImportedModel &model, const QuantizeModelOptions &options,
                 llvm::StringMap<MixedWeight> &weights)
      : model(model), options(options), weights(weights), function(mainFunction(model)) {}

  Error run();

private:
  Error collect();
  Error checkStatistics();
  bool hasCircuit(const Entry &entry) const {
    return options.plan.circuitLayout != WeightFormat::Circuit::None &&
           entry.plan->circuit.value_or(options.plan.circuit) > 0;
  }
  /// Goes through all groups and hands out each weight with its input's Hessian.
  Error quantizeAll(const char *stage, llvm::function_ref<Error(Entry &, MixedWeight &&)> take,
                    bool withCircuit);
  Error quantizeGroup(const LinearGroup &group, ArrayRef<double> hessian, bool withCircuit,
                      llvm::function_ref<Error(Entry &, MixedWeight &&)> take,
                      llvm::StringMap<std::vector<float>> *decoded);
  Error quantizeOne(Entry &entry, const HessianFactor &factor, ArrayRef<double> hessian,
                    bool withCircuit, MixedWeight &result);
  Error chooseCircuits();
  void drawCircuits();
  static Error inNode(Entry &entry, const Error &error) {
    return Error(error.code(), "tensor '" + entry.plan->name + "' (node '" +
                                   entry.linear.getNodeName().str() + "'): " + error.message());
  }

  const ImportedModel &model;
  const QuantizeModelOptions &options;
  llvm::StringMap<MixedWeight> &weights;
  func::FuncOp function;
  llvm::StringMap<Entry> entries;
  SmallVector<LinearGroup> groups;
  std::vector<std::string> order; // names in the order of the graph
};

} // namespace

Error ModelQuantizer::collect() {
  std::vector<std::string> known = quantizableWeights(model);
  llvm::append_range(known, quantizableHeads(model));
  for (const TensorPlan &tensor : options.plan.tensors)
    if (tensor.bits != 16 && !llvm::is_contained(known, tensor.name))
      return Error(TACQ_INVALID_INPUT, "the plan names the tensor '" + tensor.name +
                                           "', which is no weight of an attention or MLP "
                                           "projection or of an untied head in '" +
                                           options.file + "'; tacq-plan lists those that are");
  groups = collectLinearGroups(function, [&](StringRef name) {
    const TensorPlan *plan = options.plan.find(name.str());
    return plan && plan->bits != 16;
  });
  for (const LinearGroup &group : groups)
    for (LinearOp linear : group.linears) {
      std::string name = weightName(linear).str();
      if (entries.contains(name))
        continue;
      std::optional<int64_t> n = dimsOf(linear.getResults()[0])->back().constant();
      std::optional<int64_t> k = dimsOf(linear.getX())->back().constant();
      if (!n || !k)
        return Error(TACQ_UNSUPPORTED, "tensor '" + name + "' has no fixed shape");
      Entry entry{options.plan.find(name), linear, *n, *k, nullptr, {}, {}};
      if (entry.plan->group > *k)
        return Error(TACQ_INVALID_INPUT, "tensor '" + name + "': a group of " +
                                             std::to_string(entry.plan->group) +
                                             " columns is wider than its " + std::to_string(*k) +
                                             " inputs; take a smaller one, or 0 for whole rows");
      entries[name] = std::move(entry);
      order.push_back(name);
    }
  return checkStatistics();
}

Error ModelQuantizer::checkStatistics() {
  bool circuits =
      !options.randomCircuitSeed &&
      llvm::any_of(order, [&](const std::string &name) { return hasCircuit(entries[name]); });
  bool hessians = options.method == QuantizeMethod::Gptq && !options.samples;
  if (!circuits && !hessians)
    return Error();
  if (!options.statistics)
    return Error(TACQ_INVALID_ARGUMENT,
                 circuits ? "a circuit is chosen by the gradients of a sample: give the statistics "
                            "of tacq-calibrate with --stats, or --circuit 0; to measure speed, "
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
    if (circuits && entry.statistics->gradient.empty())
      return Error(TACQ_INVALID_INPUT,
                   "the statistics have no gradients, which a circuit is chosen "
                   "by; calibrate with a loss");
  }
  return Error();
}

Error ModelQuantizer::quantizeOne(Entry &entry, const HessianFactor &factor,
                                  ArrayRef<double> hessian, bool withCircuit, MixedWeight &result) {
  std::vector<float> elements;
  if (Error error = readWeight(model, entry.linear, elements))
    return inNode(entry, error);
  WeightView weight{elements.data(), entry.rows, entry.columns};
  static const CircuitMask noCircuit;
  const CircuitMask &mask = withCircuit ? entry.mask : noCircuit;
  WeightFormat format;
  format.bits = entry.plan->bits;
  format.group = entry.plan->group;
  format.circuit = mask.empty() ? WeightFormat::Circuit::None : options.plan.circuitLayout;
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

Error ModelQuantizer::quantizeGroup(const LinearGroup &group, ArrayRef<double> hessian,
                                    bool withCircuit,
                                    llvm::function_ref<Error(Entry &, MixedWeight &&)> take,
                                    llvm::StringMap<std::vector<float>> *decoded) {
  HessianFactor factor;
  if (options.method == QuantizeMethod::Gptq) {
    int64_t columns = entries[weightName(group.linears[0])].columns;
    if (Error error = HessianFactor::compute(hessian, columns, options.hessian, factor))
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
    if (Error error = quantizeOne(entry, factor, hessian, withCircuit, weight))
      return error;
    if (decoded)
      (*decoded)[entry.plan->name] = weight.decode();
    if (Error error = take(entry, std::move(weight)))
      return error;
  }
  return Error();
}

Error ModelQuantizer::quantizeAll(const char *stage,
                                  llvm::function_ref<Error(Entry &, MixedWeight &&)> take,
                                  bool withCircuit) {
  auto report = [&](unsigned done, unsigned total) {
    if (options.progress)
      options.progress(stage, done, total);
  };
  if (options.samples) {
    SequentialPassOptions pass;
    pass.threads = options.threads;
    pass.file = options.file;
    pass.progress = report;
    return runSequentialPass(model, groups, *options.samples, pass,
                             [&](const LinearGroup &group, ArrayRef<double> hessian,
                                 llvm::StringMap<std::vector<float>> &decoded) {
                               return quantizeGroup(group, hessian, withCircuit, take, &decoded);
                             });
  }
  for (auto [i, group] : llvm::enumerate(groups)) {
    report(i, groups.size());
    std::vector<double> hessian;
    if (options.method == QuantizeMethod::Gptq) {
      const Entry &first = entries[weightName(group.linears[0])];
      expandHessian(options.statistics->inputs[first.statistics->input], hessian);
    }
    if (Error error = quantizeGroup(group, hessian, withCircuit, take, nullptr))
      return error;
  }
  report(groups.size(), groups.size());
  return Error();
}

/// Weights with a part of their own are chosen by themselves, all others together.
Error ModelQuantizer::chooseCircuits() {
  WeightFormat::Circuit layout = options.plan.circuitLayout;
  std::vector<WeightView> shared;
  std::vector<Entry *> sharing;
  for (const std::string &name : order) {
    Entry &entry = entries[name];
    if (entry.saliency.empty())
      continue;
    WeightView view{entry.saliency.data(), entry.rows, entry.columns};
    if (!entry.plan->circuit) {
      shared.push_back(view);
      sharing.push_back(&entry);
      continue;
    }
    entry.mask = std::move(selectCircuit(layout, view, *entry.plan->circuit)[0]);
  }
  if (!shared.empty()) {
    std::vector<CircuitMask> masks = selectCircuit(layout, shared, options.plan.circuit);
    for (auto [entry, mask] : llvm::zip(sharing, masks))
      entry->mask = std::move(mask);
  }
  for (const std::string &name : order)
    entries[name].saliency = {};
  return Error();
}

void ModelQuantizer::drawCircuits() {
  uint64_t seed = *options.randomCircuitSeed;
  for (const std::string &name : order) {
    Entry &entry = entries[name];
    if (hasCircuit(entry))
      entry.mask =
          randomCircuit(entry.rows, entry.columns, options.plan.circuitLayout,
                        entry.plan->circuit.value_or(options.plan.circuit), seed++);
  }
}

Error ModelQuantizer::run() {
  if (Error error = collect())
    return error;
  bool circuits =
      llvm::any_of(order, [&](const std::string &name) { return hasCircuit(entries[name]); });
  if (circuits && options.randomCircuitSeed) {
    drawCircuits();
  } else if (circuits) {
    auto takeSaliency = [&](Entry &entry, MixedWeight &&weight) {
      if (!hasCircuit(entry))
        return Error();
      std::vector<float> elements;
      if (Error error = readWeight(model, entry.linear, elements))
        return inNode(entry, error);
      entry.saliency = computeSaliency({elements.data(), entry.rows, entry.columns},
                                       weight.decode(), entry.statistics->gradient.values());
      return Error();
    };
    if (Error error = quantizeAll("saliency", takeSaliency, /*withCircuit=*/false))
      return error;
    if (Error error = chooseCircuits())
      return error;
  }
  auto takeWeight = [&](Entry &entry, MixedWeight &&weight) {
    weights[entry.plan->name] = std::move(weight);
    return Error();
  };
  return quantizeAll("quantize", takeWeight, /*withCircuit=*/true);
}

Error tacq::quantizeModel(const ImportedModel &model, const QuantizeModelOptions &options,
                          llvm::StringMap<MixedWeight> &weights) {
  return ModelQuantizer(model, options, weights).run();
}
