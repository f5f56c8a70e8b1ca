//===- LossProbe.cpp - The loss with some weights changed -----------------===//

#include "LossProbe.h"
#include "GraphSegments.h"
#include "LossGraph.h"
#include "mlir/Pass/PassManager.h"
#include "tacq/Differentiate/DifferentiatePasses.h"
#include "tacq/Import/WeightElements.h"
#include "tacq/Reproducer.h"
#include <cmath>

using namespace mlir;
using namespace tacq;

Error LossProbe::run(InProcessModule &module, const Sample &sample) {
  Sample given;
  for (const TensorDeclaration &input : module.inputs())
    if (auto found = sample.find(input.name); found != sample.end())
      given.insert(*found);
  return module.run(given);
}

Error LossProbe::prepare(const std::vector<std::string> &weights, size_t count) {
  // Spread over the sample: the data of several tasks follow one another.
  count = std::min(count, samples.count);
  for (size_t i = 0; i < count; ++i)
    chosen.push_back((2 * i + 1) * samples.count / (2 * count));
  output = predictionsOf(model);
  if (output.empty())
    return Error(TACQ_UNSUPPORTED, file +
                                       " has no output 'logits', nor one alone of [batch, "
                                       "sequence, classes], to measure losses by: " +
                                       without);
  InProcessModule::Options options;
  options.threads = threads;
  options.file = file;
  // What is the same in both models is rounded the same, and adds nothing to their divergence.
  options.bf16 = true;
  {
    std::unique_ptr<InProcessModule> original;
    if (Error error = InProcessModule::compile(model, parameters, options, original))
      return error;
    for (size_t number : chosen) {
      Sample sample;
      TensorView view;
      if (Error error = samples.load(number, sample))
        return error;
      if (Error error = run(*original, sample))
        return error;
      if (Error error = original->output(output, view))
        return error;
      predictions.emplace_back(view.floats(), view.floats() + view.elementCount());
      classes.push_back(view.dims.back());
    }
  }

  OwningOpRef<ModuleOp> graph = model.clone();
  std::vector<std::vector<float>> elements;
  ParameterStore store;
  for (auto param : graph->getOps<ParamOp>())
    store.add(param.getSymName(), parameters.bytes(param.getSymName()));
  Error failure;
  mainFunction(model).walk([&](LinearOp linear) {
    std::string name = weightName(linear).str();
    if (failure || !llvm::is_contained(weights, name))
      return;
    failure = readWeight(parameters, linear, elements.emplace_back());
    store.add(name, ArrayRef(reinterpret_cast<const char *>(elements.back().data()),
                             elements.back().size() * sizeof(float)));
  });
  if (failure)
    return failure;
  readDecodedWeights(*graph, weights);
  PassManager manager(graph->getContext());
  AppendLossOptions loss;
  loss.kind = "kl";
  loss.output = output;
  manager.addPass(createAppendLoss(loss));
  if (Error error = runPasses(manager, *graph, file))
    return error;
  options.writable = true;
  return InProcessModule::compile(*graph, store, options, compiled);
}

Error LossProbe::replace(StringRef weight, ArrayRef<float> decoded) {
  return compiled->replaceParameter(weight, ArrayRef(reinterpret_cast<const char *>(decoded.data()),
                                                     decoded.size() * sizeof(float)));
}

Error LossProbe::measure(double &loss) {
  double sum = 0, weights = 0;
  for (auto [i, number] : llvm::enumerate(chosen)) {
    Sample sample;
    if (Error error = samples.load(number, sample))
      return error;
    TensorView &reference = sample["reference_logits"], view;
    reference.type = TACQ_F32;
    reference.dims = sample.at("labels").dims;
    reference.dims.push_back(classes[i]);
    reference.data = predictions[i].data();
    if (Error error = run(*compiled, sample))
      return error;
    if (Error error = compiled->output("loss", view))
      return error;
    sum += samples.weightOf(number) * view.floats()[0];
    weights += samples.weightOf(number);
  }
  loss = sum / weights;
  if (!std::isfinite(loss))
    return Error(TACQ_INVALID_INPUT,
                 file +
                     ": the loss is not finite with the quantized weights of a candidate; take "
                     "more bits, or " +
                     without);
  return Error();
}
