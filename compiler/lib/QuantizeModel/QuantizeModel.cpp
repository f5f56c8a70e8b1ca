//===- QuantizeModel.cpp - All weights of a model by a plan ---------------===//

#include "tacq/Quantize/QuantizeModel.h"
#include "../Calibrate/Projection.h"
#include "GraphSegments.h"
#include "mlir/Pass/PassManager.h"
#include "tacq/Quantize/Passes.h"
#include "tacq/Reproducer.h"

using namespace mlir;
using namespace tacq;

std::optional<SaliencyKind> tacq::parseSaliencyKind(const std::string &name) {
  if (name == "automatic")
    return SaliencyKind::Automatic;
  if (name == "gradient")
    return SaliencyKind::Gradient;
  return name == "curvature" ? std::optional(SaliencyKind::Curvature) : std::nullopt;
}

/// The logits of a language model: the first result of three dimensions, or null.
static Value logitsOf(ModuleOp model) {
  for (Value result : mainFunction(model).getBody().front().getTerminator()->getOperands())
    if (std::optional<Dims> dims = dimsOf(result); dims && dims->size() == 3)
      return result;
  return nullptr;
}

/// Weights that only linear operations read: those of the head, or all others. A head is what
/// results are of directly, and what logits are of after scaling and capping, too.
static std::vector<std::string> weightsOf(ModuleOp model, bool ofHead) {
  auto function = mainFunction(model);
  llvm::StringMap<unsigned> readers;
  function.walk([&](GetParamOp get) {
    for (Operation *user : get.getResult().getUsers())
      if (!isa<LinearOp>(user))
        ++readers[get.getParam()];
  });
  Operation *terminator = function.getBody().front().getTerminator();
  Value logits = logitsOf(model);
  LinearOp head = logits ? projectionOf(logits) : nullptr;
  auto isHead = [&](LinearOp linear) {
    return linear == head || llvm::is_contained(linear.getResults()[0].getUsers(), terminator);
  };
  std::vector<std::string> names;
  for (const LinearGroup &group :
       collectLinearGroups(function, [&](StringRef name) { return !readers.contains(name); }))
    for (LinearOp linear : group.linears)
      if (isHead(linear) == ofHead && !llvm::is_contained(names, weightName(linear)))
        names.push_back(weightName(linear).str());
  return names;
}

std::vector<std::string> tacq::quantizableWeights(ModuleOp model) {
  return weightsOf(model, /*ofHead=*/false);
}

std::vector<std::string> tacq::quantizableHeads(ModuleOp model) {
  return weightsOf(model, /*ofHead=*/true);
}

std::vector<TensorPlan> tacq::planAlike(ModuleOp model, TensorPlan format) {
  std::vector<TensorPlan> tensors;
  for (std::string &name : quantizableWeights(model)) {
    format.name = std::move(name);
    tensors.push_back(format);
  }
  return tensors;
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

std::vector<TensorDeclaration> tacq::sampleInputs(ModuleOp model) {
  func::FuncOp function = mainFunction(model);
  std::vector<TensorDeclaration> inputs;
  for (BlockArgument argument : function.getArguments()) {
    if (argument.use_empty())
      continue;
    TensorDeclaration input{
        argumentName(function, argument).str(), elementTypeOf(argument.getType()), {}};
    Dims dims = *dimsOf(argument);
    for (const Sym &dim : dims)
      input.dims.push_back(dim.constant().value_or(-1));
    inputs.push_back(std::move(input));
  }
  return inputs;
}

int64_t tacq::vocabularyOf(ModuleOp model) {
  Value logits = logitsOf(model);
  return logits ? dimsOf(logits)->back().constant().value_or(0) : 0;
}

Error tacq::quantizeModel(ImportedModel &model, const QuantizeModelOptions &options,
                          llvm::StringMap<MixedWeight> &weights) {
  QuantizationContext context{&model.parameters, &options, &weights, Error()};
  PassManager manager(model.module->getContext());
  manager.addPass(createPlanWeights(context));
  if (options.randomCircuitSeed) {
    manager.addPass(createDrawCircuit(context));
  } else {
    manager.addPass(createEstimateSaliency(context));
    manager.addPass(createSelectCircuit(context));
  }
  manager.addPass(createQuantizeWeights(context));
  Error error = runPasses(manager, *model.module, options.file);
  return context.error ? context.error : error;
}
