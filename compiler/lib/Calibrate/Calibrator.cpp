//===- Calibrator.cpp - Statistics of a model, a sample at a time ---------===//

#include "tacq/Calibrate/Calibrator.h"
#include "Projection.h"
#include "SumContributions.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassManager.h"
#include "tacq/Calibration/Passes.h"
#include "tacq/Differentiate/DifferentiatePasses.h"
#include "tacq/Graph/GraphMatch.h"
#include "tacq/Import/WeightElements.h"
#include "tacq/Register.h"
#include "tacq/Reproducer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Threading.h"
#include <chrono>
#include <cmath>
#include <set>

using namespace mlir;
using namespace tacq;

static double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static func::FuncOp mainFunction(ModuleOp module) {
  return module.lookupSymbol<func::FuncOp>("main");
}

/// The result of that name, or null; `names` becomes the list of all.
static Value findResult(func::FuncOp function, StringRef wanted, std::string &names) {
  Value found;
  Operation *terminator = function.getBody().front().getTerminator();
  for (auto [i, value] : llvm::enumerate(terminator->getOperands())) {
    auto name = function.getResultAttrOfType<StringAttr>(i, "tacq.name");
    if (!name)
      continue;
    names += (names.empty() ? "" : ", ") + name.str();
    if (name == wanted)
      found = value;
  }
  return found;
}

/// Weights of projections into classes: the last one before the output, and those that are the
/// embedding as well.
static std::set<std::string> headWeights(func::FuncOp function, Value output) {
  std::set<std::string> heads;
  if (LinearOp last = projectionOf(output))
    for (Value weight : last.getWeights())
      if (auto param = weight.getDefiningOp<GetParamOp>())
        heads.insert(param.getParam().str());
  function.walk([&](GetParamOp param) {
    if (llvm::any_of(param->getUsers(), [](Operation *user) { return !isa<LinearOp>(user); }))
      heads.insert(param.getParam().str());
  });
  return heads;
}

/// Parameters that are weights of linear operations, in the order of the graph.
static std::vector<std::string> linearWeights(func::FuncOp function) {
  std::vector<std::string> names;
  for (auto linear : function.getBody().front().getOps<LinearOp>())
    for (Value weight : linear.getWeights())
      if (auto param = weight.getDefiningOp<GetParamOp>())
        if (!llvm::is_contained(names, param.getParam().str()))
          names.push_back(param.getParam().str());
  return names;
}

Calibrator::Calibrator() = default;
Calibrator::~Calibrator() {
  // The operations of the model go before their context.
  model.module = nullptr;
}

Error Calibrator::create(const std::string &path, const CalibratorOptions &options,
                         std::unique_ptr<Calibrator> &calibrator) {
  std::unique_ptr<Calibrator> made(new Calibrator());
  if (Error error = made->prepare(path, options))
    return error;
  calibrator = std::move(made);
  return Error();
}

Error Calibrator::prepare(const std::string &path, const CalibratorOptions &options) {
  double start = seconds();
  DialectRegistry registry;
  registerAllDialects(registry);
  context = std::make_unique<MLIRContext>(registry, MLIRContext::Threading::DISABLED);
  context->loadAllAvailableDialects();
  file = llvm::sys::path::filename(path).str();
  threads = options.threads ? options.threads : llvm::hardware_concurrency().compute_thread_count();
  if (Error error = calibrationGraph(path, *context, model))
    return error;
  sums.modelFile = file;
  sums.modelHash = model.parameters.contentHash();
  sums.settings = options.settings;
  if (Error error = differentiate(options))
    return error;
  findTaps();
  InProcessModule::Options runnerOptions;
  runnerOptions.threads = threads;
  runnerOptions.file = file;
  runnerOptions.profile = options.profile;
  if (Error error =
          InProcessModule::compile(*model.module, model.parameters, runnerOptions, runner))
    return error;
  spent.compile = seconds() - start;
  return Error();
}

Error Calibrator::differentiate(const CalibratorOptions &options) {
  const StatisticsSettings &settings = options.settings;
  func::FuncOp function = mainFunction(*model.module);
  std::string names;
  Value output = findResult(function, settings.output, names);
  if (!output)
    return Error(TACQ_INVALID_ARGUMENT, file + " has no output '" + settings.output +
                                            "' to compute a loss of; its outputs are " + names);
  std::optional<Dims> dims = dimsOf(output);
  bool crossEntropy = settings.loss == "cross-entropy";
  if (crossEntropy && (!dims || dims->size() != 3))
    return Error(TACQ_INVALID_ARGUMENT,
                 file + ": the output '" + settings.output +
                     "' is not [batch, sequence, classes], as the loss cross-entropy needs it");
  if (dims && !dims->empty())
    classCount = dims->back().constant().value_or(0);

  std::set<std::string> heads =
      settings.loss == "mse" ? std::set<std::string>() : headWeights(function, output);
  std::vector<std::string> weights;
  for (const std::string &name : linearWeights(function))
    if (options.head || !heads.count(name))
      weights.push_back(name);
  if (weights.empty())
    return Error(TACQ_UNSUPPORTED,
                 file +
                     " has no linear operation with a weight of its own besides the projection "
                     "into the classes of '" +
                     settings.output + "': there is nothing to calibrate");

  PassManager manager(context.get());
  if (settings.loss == "none") {
    TapInputsOptions taps;
    taps.parameters = weights;
    manager.addNestedPass<func::FuncOp>(createTapInputs(taps));
  } else {
    AppendLossOptions loss;
    loss.kind = settings.loss;
    loss.output = settings.output;
    manager.addPass(createAppendLoss(loss));
    DifferentiateOptions taps;
    taps.taps = true;
    taps.parameters = weights;
    manager.addPass(createDifferentiate(taps));
  }
  std::map<std::string, LinearOp> users;
  for (auto linear : function.getBody().front().getOps<LinearOp>())
    for (Value weight : linear.getWeights())
      if (auto param = weight.getDefiningOp<GetParamOp>())
        users.try_emplace(param.getParam().str(), linear);
  for (const std::string &name : weights) {
    TensorStatistics tensor;
    tensor.name = name;
    tensor.head = heads.count(name);
    if (settings.loss != "none")
      if (Error error = sketchWeight(users[name], tensor))
        return error;
    sums.tensors.push_back(std::move(tensor));
  }
  sums.hasFolds = settings.loss != "none";
  return runPasses(manager, *model.module, file);
}

/// Takes the rows of the weight that are sketched.
Error Calibrator::sketchWeight(Operation *user, TensorStatistics &tensor) {
  auto linear = cast<LinearOp>(user);
  std::vector<float> weight;
  if (Error error = readWeight(model.parameters, linear, weight))
    return Error(error.code(), file + ", '" + tensor.name + "': " + error.message());
  auto type = cast<ShapedType>(linear.getWeights()[0].getType());
  bool byRows =
      WeightOrder(cast<IntegerAttr>(linear.getWeightOrder()[0]).getInt()) == WeightOrder::NK;
  tensor.rows = type.getDimSize(byRows ? 0 : 1);
  tensor.columns = type.getDimSize(byRows ? 1 : 0);
  tensor.sketch = StatisticsSum::zeros(tensor.sketchedRows() * tensor.columns);
  double *to = tensor.sketch.mutableValues().data();
  for (int64_t i = 0; i < tensor.sketchedRows(); ++i)
    to = std::copy_n(weight.data() + tensor.sketchedRow(i) * tensor.columns, tensor.columns, to);
  tensor.foldGradients = StatisticsSum::zeros(sampleFolds * tensor.sketch.size());
  return Error();
}

/// Weights that read the same rows, at all of their uses, share a Hessian.
void Calibrator::findTaps() {
  tensorTaps.resize(sums.tensors.size());
  auto taps = mainFunction(*model.module)->getAttrOfType<ArrayAttr>("tacq.taps");
  for (auto tap : taps.getAsRange<DictionaryAttr>()) {
    auto text = [&](StringRef key) {
      auto value = tap.getAs<StringAttr>(key);
      return value ? value.str() : std::string();
    };
    const TensorStatistics *tensor = sums.find(text("parameter"));
    size_t number = tensor - sums.tensors.data();
    sums.tensors[number].rows = tap.getAs<IntegerAttr>("rows").getInt();
    sums.tensors[number].columns = tap.getAs<IntegerAttr>("columns").getInt();
    tensorTaps[number].push_back({text("input"), text("output_gradient")});
  }
  std::map<std::string, uint32_t> known;
  for (auto [tensor, uses] : llvm::zip(sums.tensors, tensorTaps)) {
    std::string key;
    for (const Tap &use : uses)
      key += use.input + "\n";
    auto [it, inserted] = known.try_emplace(key, uint32_t(sums.inputs.size()));
    tensor.input = it->second;
    if (inserted) {
      InputStatistics input;
      input.columns = tensor.columns;
      input.hessian = StatisticsSum::zeros(tensor.columns * (tensor.columns + 1) / 2);
      sums.inputs.push_back(std::move(input));
      inputTaps.push_back(uses);
    }
    if (sums.settings.loss != "none")
      tensor.gradient = StatisticsSum::zeros(tensor.rows * tensor.columns);
  }
}

Error Calibrator::add(const std::map<std::string, TensorView> &sample, uint64_t number,
                      SampleFacts &facts) {
  double start = seconds();
  if (Error error = runner->run(sample))
    return error;
  double ran = seconds();
  spent.run += ran - start;
  facts.loss = 0;
  if (sums.settings.loss != "none") {
    TensorView view;
    if (Error error = runner->output("loss", view))
      return error;
    facts.loss = view.floats()[0];
    if (!std::isfinite(facts.loss))
      return Error(TACQ_INVALID_INPUT, "the loss is not finite");
  }
  Error error = collect(number, facts.signature);
  spent.sums += seconds() - ran;
  return error;
}

/// Number i of a signature: a column of an input. All inputs take part in turn, with columns that
/// have nothing to do with each other.
static std::pair<size_t, int64_t> signaturePlace(int64_t i, const Statistics &sums) {
  auto inputs = int64_t(sums.inputs.size());
  auto input = size_t(inputs > signatureSize ? i * inputs / signatureSize : i % inputs);
  return {input, int64_t(uint64_t(i + 1) * 2654435761u % uint64_t(sums.inputs[input].columns))};
}

Error Calibrator::collect(uint64_t number, std::vector<double> &signature) {
  std::vector<GradientContribution> gradients;
  std::vector<HessianContribution> hessians;
  std::vector<std::vector<float>> diagonals(sums.inputs.size());
  auto rowsOf = [&](const Tap &tap, int64_t columns, bool gradient, TappedRows &rows) -> Error {
    TensorView view;
    if (Error error = runner->output(tap.input, view))
      return error;
    rows = {view.floats(), nullptr, view.elementCount() / columns};
    if (!gradient)
      return Error();
    if (Error error = runner->output(tap.outputGradient, view))
      return error;
    rows.outputGradient = view.floats();
    return Error();
  };
  bool withGradients = sums.settings.loss != "none";
  for (auto [tensor, taps] : llvm::zip(sums.tensors, tensorTaps)) {
    if (!withGradients)
      break;
    GradientContribution contribution{
        {}, tensor.rows, tensor.columns, tensor.gradient.mutableValues().data(), {}};
    if (sums.hasFolds) {
      int64_t rows = tensor.sketchedRows(), fold = int64_t(number % sampleFolds);
      for (int64_t i = 0; i < rows; ++i)
        contribution.sketchedRows.push_back(tensor.sketchedRow(i));
      contribution.sketchSum =
          tensor.foldGradients.mutableValues().data() + fold * rows * tensor.columns;
    }
    for (const Tap &tap : taps)
      if (Error error = rowsOf(tap, tensor.columns, true, contribution.uses.emplace_back()))
        return error;
    gradients.push_back(std::move(contribution));
  }
  std::vector<int64_t> tokens;
  for (auto [input, taps, diagonal] : llvm::zip(sums.inputs, inputTaps, diagonals)) {
    diagonal.resize(input.columns);
    HessianContribution contribution{
        {}, input.columns, input.hessian.mutableValues().data(), diagonal.data()};
    tokens.push_back(0);
    for (const Tap &tap : taps) {
      if (Error error = rowsOf(tap, input.columns, false, contribution.uses.emplace_back()))
        return error;
      tokens.back() += contribution.uses.back().tokens;
    }
    input.tokens += tokens.back();
    hessians.push_back(std::move(contribution));
  }
  NonFinite found = sumContributions(gradients, hessians, threads);
  // The input comes first: where it is not finite, no gradient can be.
  if (found.hessian >= 0) {
    auto reader = llvm::find_if(sums.tensors, [&](const TensorStatistics &tensor) {
      return tensor.input == found.hessian;
    });
    return Error(TACQ_INVALID_INPUT, "the input of '" + reader->name + "' is not finite");
  }
  if (found.gradient >= 0)
    return Error(TACQ_INVALID_INPUT,
                 "the gradient of '" + sums.tensors[found.gradient].name + "' is not finite");
  signature.clear();
  for (int64_t i = 0; sums.hasFolds && i < signatureSize; ++i) {
    auto [input, column] = signaturePlace(i, sums);
    double mean = diagonals[input][column] / double(std::max<int64_t>(tokens[input], 1));
    // Three digits say enough and keep files short.
    signature.push_back(std::round(1000 * std::log(1e-12 + mean)) / 1000);
  }
  return Error();
}
