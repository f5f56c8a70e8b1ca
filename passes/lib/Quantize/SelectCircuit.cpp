//===- SelectCircuit.cpp - Which weights are kept -------------------------===//

#include "QuantizationInputs.h"
#include "tacq/Quantize/ModelQuantizer.h"
#include "tacq/Quantize/PlanAttributes.h"

namespace tacq {
#define GEN_PASS_DEF_SELECTCIRCUIT
#include "tacq/Quantize/Passes.h.inc"
} // namespace tacq

using namespace mlir;
using namespace tacq;

std::pair<int64_t, int64_t> tacq::noteCircuits(ModuleOp module, const QuantizationState &state) {
  Builder builder(module.getContext());
  int64_t tensors = 0, sum = 0;
  for (auto param : module.getOps<ParamOp>()) {
    auto circuit = state.circuits->find(param.getSymName());
    if (circuit == state.circuits->end() || circuit->second.empty())
      continue;
    auto entries = int64_t(circuit->second.positions.size());
    param->setAttr("tacq.circuit_entries", builder.getI64IntegerAttr(entries));
    sum += entries;
    ++tensors;
  }
  return {tensors, sum};
}

namespace {
struct SelectCircuitPass : QuantizationPass<tacq::impl::SelectCircuitBase<SelectCircuitPass>> {
  using QuantizationPass::QuantizationPass;

  Error run() override {
    markAllAnalysesPreserved();
    Plan plan;
    if (Error error = planOf(getOperation(), plan))
      return error;
    auto &state = getAnalysis<QuantizationState>();
    if (Error error = chooseCircuits(plan, state))
      return error;
    auto [tensors, entries] = noteCircuits(getOperation(), state);
    numTensors += tensors;
    numEntries += entries;
    return Error();
  }
};
} // namespace

std::unique_ptr<Pass> tacq::createSelectCircuit(QuantizationContext &context) {
  return inContext<SelectCircuitPass>(context);
}
