//===- DrawCircuit.cpp - Circuits without a sample ------------------------===//

#include "QuantizationInputs.h"

namespace tacq {
#define GEN_PASS_DEF_DRAWCIRCUIT
#include "tacq/Quantize/Passes.h.inc"
} // namespace tacq

using namespace mlir;
using namespace tacq;

namespace {
struct DrawCircuitPass : QuantizationPass<tacq::impl::DrawCircuitBase<DrawCircuitPass>> {
  using QuantizationPass::QuantizationPass;

  Error run() override {
    markAllAnalysesPreserved();
    auto &state = getAnalysis<QuantizationState>();
    uint64_t chosen = context ? *context->options->randomCircuitSeed : seed;
    if (Error error = drawCircuits(getOperation(), chosen, state))
      return error;
    auto [tensors, entries] = noteCircuits(getOperation(), state);
    numTensors += tensors;
    numEntries += entries;
    return Error();
  }
};
} // namespace

std::unique_ptr<Pass> tacq::createDrawCircuit(QuantizationContext &context) {
  return inContext<DrawCircuitPass>(context);
}
