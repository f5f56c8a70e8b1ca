//===- LossProbe.h - The loss with some weights changed ---------*- C++ -*-===//
//
// What a prediction is corrected by: a model is compiled once, with its weights as the original
// ones, and measured with any of them replaced by what it would decode to. The loss is the
// divergence of the predictions from those of the original model, which is what the cross-entropy
// grows by on data that the original model predicts well, but without the noise of labels.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_QUANTIZEMODEL_LOSSPROBE_H
#define TACQ_LIB_QUANTIZEMODEL_LOSSPROBE_H

#include "tacq/Quantize/QuantizeModel.h"

namespace tacq {

class LossProbe {
public:
  /// `samples` have the inputs of tuningInputs(). The original weights are those of `model`.
  /// `without`: what a user may do without losses, for messages: "plan without --data".
  LossProbe(mlir::ModuleOp model, const ParameterStore &parameters, const SampleSource &samples,
            unsigned threads, const std::string &file, const std::string &without)
      : model(model), parameters(parameters), samples(samples), threads(threads), file(file),
        without(without) {}

  /// Compiles, and computes what the original model predicts for `count` samples, or all if they
  /// are fewer.
  /// TACQ_UNSUPPORTED without an output to compare.
  Error prepare(const std::vector<std::string> &weights, size_t count);
  /// Gives a weight other numbers, f32 [N, K].
  Error replace(llvm::StringRef weight, llvm::ArrayRef<float> decoded);
  /// The mean divergence over the samples. TACQ_INVALID_INPUT if it is not finite.
  Error measure(double &loss);

private:
  using Sample = std::map<std::string, TensorView>;
  Error run(InProcessModule &module, const Sample &sample);

  mlir::ModuleOp model;
  const ParameterStore &parameters;
  const SampleSource &samples;
  unsigned threads;
  std::string file, without, output;
  std::vector<size_t> chosen;
  std::vector<std::vector<float>> predictions; ///< of each chosen sample
  std::vector<int64_t> classes;                ///< the last extent of each
  std::unique_ptr<InProcessModule> compiled;
};

} // namespace tacq

#endif // TACQ_LIB_QUANTIZEMODEL_LOSSPROBE_H
