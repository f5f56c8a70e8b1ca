//===- DrawCircuit.cpp - Circuits without a sample ------------------------===//

#include "QuantizationInputs.h"

namespace tacq {
#define GEN_PASS_DEF_DRAWCIRCUIT
#include "tacq/Quantize/Passes.h.inc"
} // namespace tacq

using namespace mlir;
using namespace tacq;

namespace {
struct DrawCircuitPass : tacq::impl::DrawCircuitBase<DrawCircuitPass> {
  using DrawCircuitBase::DrawCircuitBase;
  QuantizationContext *context = nullptr;

  void runOnOperation() override {
    auto &state = getAnalysis<QuantizationState>();
    uint64_t chosen = context ? *context->options->randomCircuitSeed : seed;
    if (Error error = drawCircuits(getOperation(), chosen, state)) {
      report(getOperation(), context, error);
      return signalPassFailure();
    }
    auto [tensors, entries] = noteCircuits(getOperation(), state);
    numTensors += tensors;
    numEntries += entries;
    markAllAnalysesPreserved();
  }
};
} // namespace

std::unique_ptr<Pass> tacq::createDrawCircuit(QuantizationContext &context) {
  auto pass = std::make_unique<DrawCircuitPass>();
  pass->context = &context;
  return pass;
}
