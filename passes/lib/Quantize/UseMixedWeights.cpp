//===- UseMixedWeights.cpp - Linear operations read mixed weights ---------===//

#include "mlir/AsmParser/AsmParser.h"
#include "tacq/Quantize/Passes.h"

namespace tacq {
#define GEN_PASS_DEF_USEMIXEDWEIGHTS
#include "tacq/Quantize/Passes.h.inc"
} // namespace tacq

using namespace mlir;
using namespace tacq;

namespace {
struct UseMixedWeightsPass : tacq::impl::UseMixedWeightsBase<UseMixedWeightsPass> {
  using UseMixedWeightsBase::UseMixedWeightsBase;

  llvm::StringMap<MixedWeightForm> known;

  LogicalResult readOption() {
    if (types.empty())
      return success();
    auto dictionary = dyn_cast_or_null<DictionaryAttr>(parseAttribute(types, &getContext()));
    if (!dictionary)
      return getOperation().emitError("'types' is a dictionary of types by parameter");
    for (NamedAttribute entry : dictionary) {
      auto attribute = dyn_cast<TypeAttr>(entry.getValue());
      auto type = attribute ? dyn_cast<MixedType>(attribute.getValue()) : MixedType();
      if (!type)
        return getOperation().emitError("'types' gives parameter '")
               << entry.getName().getValue() << "' no !tacq.mixed type";
      known[entry.getName()] = {type, LayoutAttr()};
    }
    return success();
  }

  void runOnOperation() override {
    if (failed(readOption()))
      return signalPassFailure();
    bool failed = false;
    getOperation().walk([&](LinearOp linear) {
      SmallVector<int32_t> orders;
      for (auto order : linear.getWeightOrder().getAsRange<IntegerAttr>())
        orders.push_back(int32_t(order.getInt()));
      bool changed = false;
      for (auto [i, weight] : llvm::enumerate(linear.getWeightsMutable())) {
        auto get = weight.get().getDefiningOp<GetParamOp>();
        auto it = get ? known.find(get.getParam()) : known.end();
        if (it == known.end() || isa<MixedType>(weight.get().getType()))
          continue;
        MixedType type = it->second.type;
        ArrayRef<int64_t> shape = cast<RankedTensorType>(get.getType()).getShape();
        bool rowsFirst = WeightOrder(orders[i]) == WeightOrder::NK;
        if (shape[rowsFirst ? 0 : 1] != type.getRows() ||
            shape[rowsFirst ? 1 : 0] != type.getColumns()) {
          linear.emitError("node '") << linear.getNodeName() << "': its weight '" << get.getParam()
                                     << "' has not the shape of " << type;
          failed = true;
          continue;
        }
        OpBuilder builder(linear);
        weight.set(
            builder.create<GetParamOp>(get.getLoc(), type, get.getParamAttr(), it->second.layout));
        orders[i] = int32_t(WeightOrder::NK);
        changed = true;
        ++numWeights;
        if (get.use_empty())
          get.erase();
      }
      if (changed)
        linear.setWeightOrderAttr(Builder(&getContext()).getI32ArrayAttr(orders));
    });
    if (failed)
      signalPassFailure();
  }
};
} // namespace

std::unique_ptr<Pass> tacq::createUseMixedWeights(llvm::StringMap<MixedWeightForm> forms) {
  auto pass = std::make_unique<UseMixedWeightsPass>();
  pass->known = std::move(forms);
  return pass;
}
