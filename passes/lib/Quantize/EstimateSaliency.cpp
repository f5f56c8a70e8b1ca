//===- EstimateSaliency.cpp - What keeping a weight gains -----------------===//

#include "QuantizationInputs.h"
#include "tacq/Quantize/ModelQuantizer.h"
#include "tacq/Quantize/PlanAttributes.h"

namespace tacq {
#define GEN_PASS_DEF_ESTIMATESALIENCY
#include "tacq/Quantize/Passes.h.inc"
} // namespace tacq

using namespace mlir;
using namespace tacq;

namespace {
struct EstimateSaliencyPass
    : QuantizationPass<tacq::impl::EstimateSaliencyBase<EstimateSaliencyPass>> {
  using QuantizationPass::QuantizationPass;

  Error run() override {
    markAllAnalysesPreserved();
    Plan plan;
    if (Error error = planOf(getOperation(), plan))
      return error;
    // Without circuits there is nothing that the saliency would serve.
    if (!hasCircuit(plan))
      return Error();
    QuantizationInputs inputs;
    if (Error error = inputs.open(getOperation(), context,
                                  {stats, folder, method, damping, actOrder, clip, threads}))
      return error;
    if (!context) {
      std::optional<SaliencyKind> kind = parseSaliencyKind(saliency);
      if (!kind)
        return Error(TACQ_INVALID_ARGUMENT, "'" + saliency +
                                                "' is no saliency: it is automatic, gradient or "
                                                "curvature");
      inputs.options.saliency = *kind;
    }
    auto &state = getAnalysis<QuantizationState>();
    Error error = estimateSaliency(getOperation(), *inputs.parameters, inputs.options, state);
    numWeights += state.saliency.size();
    return error;
  }
};
} // namespace

std::unique_ptr<Pass> tacq::createEstimateSaliency(QuantizationContext &context) {
  return inContext<EstimateSaliencyPass>(context);
}
