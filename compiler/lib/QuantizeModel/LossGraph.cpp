//===- LossGraph.cpp - Graphs that compute a loss -------------------------===//

#include "LossGraph.h"
#include "GraphSegments.h"
#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace tacq;

std::string tacq::predictionsOf(ModuleOp graph) {
  func::FuncOp function = mainFunction(graph);
  std::string found;
  unsigned candidates = 0;
  for (auto [i, value] :
       llvm::enumerate(function.getBody().front().getTerminator()->getOperands())) {
    auto name = function.getResultAttrOfType<StringAttr>(i, "tacq.name");
    std::optional<Dims> dims = dimsOf(value);
    if (!name || !dims || dims->size() != 3)
      continue;
    if (name == "logits")
      return "logits";
    found = name.str();
    ++candidates;
  }
  return candidates == 1 ? found : "";
}

void tacq::readDecodedWeights(ModuleOp module, const std::vector<std::string> &weights) {
  OpBuilder builder(module.getContext());
  mainFunction(module).walk([&](LinearOp linear) {
    StringRef name = weightName(linear);
    if (name.empty() || !llvm::is_contained(weights, name))
      return;
    int64_t n = dimsOf(linear.getResults()[0])->back().constant().value();
    int64_t k = dimsOf(linear.getX())->back().constant().value();
    auto type = RankedTensorType::get({n, k}, builder.getF32Type());
    linear.getWeights()[0].setType(type);
    cast<ParamOp>(module.lookupSymbol(name)).setType(type);
    linear.setWeightOrderAttr(builder.getI32ArrayAttr({int32_t(WeightOrder::NK)}));
  });
}
