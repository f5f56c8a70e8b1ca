//===- QuantizeWeights.cpp - Codes around the circuits --------------------===//

#include "QuantizationInputs.h"
#include "ReplaceWeights.h"
#include "tacq/CPU/MixedPacking.h"
#include "tacq/Quantize/ModelQuantizer.h"

namespace tacq {
#define GEN_PASS_DEF_QUANTIZEWEIGHTS
#include "tacq/Quantize/Passes.h.inc"
} // namespace tacq

using namespace mlir;
using namespace tacq;

namespace {
struct QuantizeWeightsPass
    : QuantizationPass<tacq::impl::QuantizeWeightsBase<QuantizeWeightsPass>> {
  using QuantizationPass::QuantizationPass;

  Error run() override {
    llvm::StringMap<MixedWeight> own;
    llvm::StringMap<MixedWeight> &weights = context ? *context->weights : own;
    if (Error error = quantize(weights))
      return error;
    llvm::StringMap<MixedWeightForm> forms;
    for (const auto &entry : weights) {
      forms[entry.first()] = {cpuMixedType(&getContext(), entry.second), LayoutAttr()};
      ++numWeights;
      numEntries += entry.second.circuitEntries();
    }
    unsigned replaced = 0;
    if (failed(replaceWeights(getOperation(), forms, replaced)))
      signalPassFailure();
    return Error();
  }

  Error quantize(llvm::StringMap<MixedWeight> &weights) {
    QuantizationInputs inputs;
    if (Error error = inputs.open(getOperation(), context,
                                  {stats, folder, method, damping, actOrder, clip, threads}))
      return error;
    if (!context) {
      if (circuitValues != "compensated" && circuitValues != "original")
        return Error(TACQ_INVALID_ARGUMENT,
                     "circuit-values is compensated or original, not '" + circuitValues + "'");
      inputs.options.gptq.circuitValues =
          circuitValues == "original" ? CircuitSource::Original : CircuitSource::Compensated;
    }
    return quantizeWeights(getOperation(), *inputs.parameters, inputs.options,
                           getAnalysis<QuantizationState>(), weights);
  }
};
} // namespace

std::unique_ptr<Pass> tacq::createQuantizeWeights(QuantizationContext &context) {
  return inContext<QuantizeWeightsPass>(context);
}
