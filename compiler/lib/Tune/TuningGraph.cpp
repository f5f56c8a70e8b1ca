//===- TuningGraph.cpp - A model with gradients of its weights ------------===//

#include "TuningGraph.h"
#include "../QuantizeModel/GraphSegments.h"
#include "../QuantizeModel/LossGraph.h"
#include "mlir/Pass/PassManager.h"
#include "tacq/Differentiate/DifferentiatePasses.h"
#include "tacq/Graph/GraphMatch.h"
#include "tacq/Reproducer.h"

using namespace mlir;
using namespace tacq;

/// Parameters that are nothing but gains, possibly cast, of norms.
static std::vector<std::string> gainsOf(func::FuncOp function) {
  llvm::StringMap<bool> onlyGains;
  std::vector<std::string> order;
  std::function<bool(Value)> isGain = [&](Value value) {
    return llvm::all_of(value.getUses(), [&](OpOperand &use) {
      if (auto norm = dyn_cast<NormOp>(use.getOwner()))
        return norm.getGain() == value && norm.getX() != value && norm.getBias() != value;
      return isNode(use.getOwner(), "Cast") && isGain(use.getOwner()->getResult(0));
    });
  };
  function.walk([&](GetParamOp get) {
    auto type = dyn_cast<RankedTensorType>(get.getType());
    bool fits = type && type.getRank() == 1 && isa<FloatType>(type.getElementType()) &&
                !get.getResult().use_empty() && isGain(get.getResult());
    auto [it, inserted] = onlyGains.try_emplace(get.getParam(), fits);
    it->second &= fits;
    if (inserted)
      order.push_back(get.getParam().str());
  });
  llvm::erase_if(order, [&](const std::string &name) { return !onlyGains[name]; });
  return order;
}

Error tacq::buildTuningGraph(ModuleOp graph, const std::vector<std::string> &weights,
                             const std::string &kind, const std::string &output,
                             const std::string &file, TuningGraph &result) {
  result.module = graph.clone();
  func::FuncOp function = mainFunction(*result.module);
  readDecodedWeights(*result.module, weights);
  result.gains = gainsOf(function);
  PassManager manager(graph.getContext());
  AppendLossOptions loss;
  loss.kind = kind;
  loss.output = output;
  manager.addPass(createAppendLoss(loss));
  DifferentiateOptions gradients;
  gradients.taps = true;
  std::vector<std::string> names = weights;
  llvm::append_range(names, result.gains);
  gradients.parameters = names;
  manager.addPass(createDifferentiate(gradients));
  if (Error error = runPasses(manager, *result.module, file))
    return error;
  auto taps = mainFunction(*result.module)->getAttrOfType<ArrayAttr>("tacq.taps");
  for (auto tap : taps.getAsRange<DictionaryAttr>()) {
    auto text = [&](StringRef key) { return tap.getAs<StringAttr>(key).str(); };
    result.taps[text("parameter")].push_back({text("input"), text("output_gradient")});
  }
  return Error();
}
