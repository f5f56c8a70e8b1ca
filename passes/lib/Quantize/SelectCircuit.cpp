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

namespace {
struct SelectCircuitPass : tacq::impl::SelectCircuitBase<SelectCircuitPass> {
  using SelectCircuitBase::SelectCircuitBase;
  QuantizationContext *context = nullptr;

  void runOnOperation() override {
    if (Error error = run(); error && failed(report(getOperation(), context, error)))
      return signalPassFailure();
    markAllAnalysesPreserved();
  }

  Error run() {
    Plan plan;
    if (Error error = planOf(getOperation(), plan))
      return error;
    auto &state = getAnalysis<QuantizationState>();
    if (Error error = chooseCircuits(plan, state))
      return error;
    Builder builder(&getContext());
    for (auto param : getOperation().getOps<ParamOp>()) {
      auto circuit = state.circuits->find(param.getSymName());
      if (circuit == state.circuits->end() || circuit->second.empty())
        continue;
      int64_t entries = int64_t(circuit->second.positions.size());
      param->setAttr("tacq.circuit_entries", builder.getI64IntegerAttr(entries));
      numEntries += entries;
      ++numTensors;
    }
    return Error();
  }
};
} // namespace

std::unique_ptr<Pass> tacq::createSelectCircuit(QuantizationContext &context) {
  auto pass = std::make_unique<SelectCircuitPass>();
  pass->context = &context;
  return pass;
}
