//===- UseMixedWeights.cpp - Linear operations read mixed weights ---------===//

#include "ReplaceWeights.h"
#include "mlir/AsmParser/AsmParser.h"

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
      return mlir::success();
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
    return mlir::success();
  }

  void runOnOperation() override {
    if (failed(readOption()))
      return signalPassFailure();
    unsigned replaced = 0;
    if (failed(replaceWeights(getOperation(), known, replaced)))
      signalPassFailure();
    numWeights += replaced;
  }
};
} // namespace

std::unique_ptr<Pass> tacq::createUseMixedWeights(llvm::StringMap<MixedWeightForm> forms) {
  auto pass = std::make_unique<UseMixedWeightsPass>();
  pass->known = std::move(forms);
  return pass;
}
