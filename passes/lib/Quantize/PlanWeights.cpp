//===- PlanWeights.cpp - A plan becomes attributes ------------------------===//

#include "QuantizationInputs.h"
#include "tacq/Quantize/PlanAttributes.h"

namespace tacq {
#define GEN_PASS_DEF_PLANWEIGHTS
#include "tacq/Quantize/Passes.h.inc"
} // namespace tacq

using namespace mlir;
using namespace tacq;

namespace {
struct PlanWeightsPass : QuantizationPass<tacq::impl::PlanWeightsBase<PlanWeightsPass>> {
  using QuantizationPass::QuantizationPass;

  Error run() override {
    Plan made;
    if (Error error = makePlan(made))
      return error;
    if (Error error = setPlan(getOperation(), made, context ? context->options->file : "the model"))
      return error;
    numWeights +=
        llvm::count_if(made.tensors, [](const TensorPlan &tensor) { return tensor.bits != 16; });
    return Error();
  }

  Error makePlan(Plan &made) {
    if (context) {
      made = context->options->plan;
      return Error();
    }
    if (!plan.empty())
      return readPlan(plan, made);
    std::optional<WeightFormat::Circuit> known = parseCircuitLayout(layout);
    if (!known)
      return Error(TACQ_INVALID_ARGUMENT,
                   "'" + layout + "' is no layout of a circuit: it is slots, scattered or uniform");
    made.circuitLayout = *known;
    made.circuit = circuit;
    TensorPlan format;
    format.bits = bits;
    format.group = group;
    format.codebook = codebook;
    made.tensors = planAlike(getOperation(), format);
    return Error();
  }
};
} // namespace

std::unique_ptr<Pass> tacq::createPlanWeights(QuantizationContext &context) {
  return inContext<PlanWeightsPass>(context);
}
