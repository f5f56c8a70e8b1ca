//===- QuantizationInputs.h - What quantization passes read -----*- C++ -*-===//

#ifndef TACQ_LIB_QUANTIZE_QUANTIZATIONINPUTS_H
#define TACQ_LIB_QUANTIZE_QUANTIZATIONINPUTS_H

#include "tacq/Import/ParameterStore.h"
#include "tacq/Quantize/ModelQuantizer.h"
#include "tacq/Quantize/Passes.h"
#include "tacq/Quantize/QuantizeModel.h"

namespace tacq {

/// The options that tacq-estimate-saliency and tacq-quantize-weights share.
struct QuantizationFiles {
  std::string stats, folder, method;
  double damping;
  bool actOrder, clip;
  unsigned threads;
};

/// The parameters, statistics and settings of a pass: those of a program's context if there is one,
/// else those that the pass's options name.
class QuantizationInputs {
public:
  Error open(mlir::ModuleOp module, QuantizationContext *context, const QuantizationFiles &files);

  const ParameterStore *parameters = nullptr;
  QuantizeModelOptions options;

private:
  ParameterStore store;
  Statistics statistics;
};

/// Gives the parameters their `tacq.circuit_entries`. Returns how many have any, and their sum.
std::pair<int64_t, int64_t> noteCircuits(mlir::ModuleOp module, const QuantizationState &state);

/// Hands the error to the program, or emits it.
void report(mlir::ModuleOp module, QuantizationContext *context, const Error &error);

/// A pass over weights, which a program may give a context; without one its options say all.
template <typename Base> struct QuantizationPass : Base {
  using Base::Base;
  QuantizationContext *context = nullptr;

  virtual Error run() = 0;

  void runOnOperation() final {
    Error error = run();
    if (!error)
      return;
    report(this->getOperation(), context, error);
    this->signalPassFailure();
  }
};

template <typename Made> std::unique_ptr<mlir::Pass> inContext(QuantizationContext &context) {
  auto pass = std::make_unique<Made>();
  pass->context = &context;
  return pass;
}

} // namespace tacq

#endif // TACQ_LIB_QUANTIZE_QUANTIZATIONINPUTS_H
