//===- ReplaceWeights.cpp - Linear operations read mixed weights ----------===//

#include "ReplaceWeights.h"

using namespace mlir;
using namespace tacq;

LogicalResult tacq::replaceWeights(ModuleOp module, const llvm::StringMap<MixedWeightForm> &forms,
                                   unsigned &replaced) {
  bool allFit = true;
  module.walk([&](LinearOp linear) {
    SmallVector<int32_t> orders;
    for (auto order : linear.getWeightOrder().getAsRange<IntegerAttr>())
      orders.push_back(int32_t(order.getInt()));
    bool changed = false;
    for (auto [i, weight] : llvm::enumerate(linear.getWeightsMutable())) {
      auto get = weight.get().getDefiningOp<GetParamOp>();
      auto it = get ? forms.find(get.getParam()) : forms.end();
      if (it == forms.end() || isa<MixedType>(weight.get().getType()))
        continue;
      MixedType type = it->second.type;
      ArrayRef<int64_t> shape = cast<RankedTensorType>(get.getType()).getShape();
      bool rowsFirst = WeightOrder(orders[i]) == WeightOrder::NK;
      if (shape[rowsFirst ? 0 : 1] != type.getRows() ||
          shape[rowsFirst ? 1 : 0] != type.getColumns()) {
        linear.emitError("node '") << linear.getNodeName() << "': its weight '" << get.getParam()
                                   << "' has not the shape of " << type;
        allFit = false;
        continue;
      }
      OpBuilder builder(linear);
      weight.set(
          builder.create<GetParamOp>(get.getLoc(), type, get.getParamAttr(), it->second.layout));
      orders[i] = int32_t(WeightOrder::NK);
      changed = true;
      ++replaced;
      if (get.use_empty())
        get.erase();
    }
    if (changed)
      linear.setWeightOrderAttr(Builder(module.getContext()).getI32ArrayAttr(orders));
  });
  return mlir::success(allFit);
}
