//===- QuantizeModel.h - All weights of a model by a plan -------*- C++ -*-===//
//
// The procedure of TaCQ (arXiv 2504.07389, docs/guides/quantizing.md): quantize without a circuit;
// saliency of each weight from its gradient and from what quantization does to it; choose the
// circuit; quantize again around it. Each of the two quantizations goes through the layers in
// order, so that a layer sees the quantized layers before it, if there is sample data.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_QUANTIZE_QUANTIZEMODEL_H
#define TACQ_QUANTIZE_QUANTIZEMODEL_H

#include "tacq/Calibrate/InProcessModule.h"
#include "tacq/Calibrate/Statistics.h"
#include "tacq/Quantize/Gptq.h"
#include "tacq/Quantize/Plan.h"
#include "llvm/ADT/StringMap.h"
#include <functional>
#include <optional>

namespace tacq {

/// Sample sequences, one at a time.
struct SampleSource {
  size_t count = 0;
  /// The inputs of a sample by the names of the model's inputs, valid until the next call.
  std::function<Error(size_t sample, std::map<std::string, TensorView> &inputs)> load;
  /// How much a sample counts beside others; null: all the same.
  std::function<double(size_t sample)> weight;

  double weightOf(size_t sample) const { return weight ? weight(sample) : 1; }
};

/// The inputs of `model`, a calibration graph, that a sample must have.
std::vector<TensorDeclaration> sampleInputs(mlir::ModuleOp model);
/// The last extent of the only result with three axes (the vocabulary), or 0.
int64_t vocabularyOf(mlir::ModuleOp model);

enum class QuantizeMethod {
  Nearest, ///< each weight by itself
  Gptq     ///< with error compensation
};

/// What a circuit is chosen by (Saliency.h).
enum class SaliencyKind {
  Automatic, ///< Curvature if any weight of the plan has fitted levels
  Gradient,  ///< computeSaliency(), as TaCQ does
  Curvature  ///< computeCurvatureSaliency()
};

/// "automatic", "gradient", "curvature"; nullopt for another name.
std::optional<SaliencyKind> parseSaliencyKind(const std::string &name);

/// Ways to quantize a layer with error compensation.
constexpr unsigned mostVariants = 8;
/// Variant i < mostVariants of `options`, which variant 0 is: odd ones visit columns in the other
/// order, and each two have another damping, times 1, 1/3, 3 and 9. Which of them loses least is
/// mostly chance, so that the choice is what helps, as it does with the Hessians of GuidedQuant
/// (arXiv 2505.07004).
HessianOptions hessianVariant(HessianOptions options, unsigned i);

struct QuantizeModelOptions {
  /// What each weight is to become; weights that it does not name stay as they are.
  Plan plan;
  QuantizeMethod method = QuantizeMethod::Gptq;
  HessianOptions hessian;
  GptqOptions gptq;
  /// Gradients and, without samples, Hessians. Null only if the plan has no circuits and there are
  /// samples or the method needs no Hessian.
  const Statistics *statistics = nullptr;
  SaliencyKind saliency = SaliencyKind::Automatic;
  /// Circuits are drawn with this seed, whatever the weights are: to measure speed.
  std::optional<uint64_t> randomCircuitSeed;
  /// Null: Hessians are those of the statistics.
  const SampleSource *samples = nullptr;
  /// In how many ways, hessianVariant(), the layers of an input are quantized around their
  /// circuits. Those stay after which the predictions diverge least from the original model's on
  /// the labelled positions of `variantSamples` samples, with the layers before quantized and those
  /// behind as they were. More than 1 needs Gptq, and samples with the inputs of tuningInputs();
  /// TACQ_INVALID_ARGUMENT without.
  unsigned variants = 1;
  unsigned variantSamples = 16;
  unsigned threads = 0;
  /// The model's file name for messages.
  std::string file = "model";
  std::function<void(const std::string &stage, unsigned done, unsigned total)> progress;
};

/// Quantizes the weights of `model`, a calibration graph, by their parameters' names, with the
/// passes tacq-plan-weights, tacq-estimate-saliency and tacq-select-circuit (or tacq-draw-circuit),
/// and tacq-quantize-weights.
/// TACQ_INVALID_INPUT for a plan that names a tensor that is no weight of a linear layer, for
/// statistics that lack one, and for weights or data that are not finite.
Error quantizeModel(ImportedModel &model, const QuantizeModelOptions &options,
                    llvm::StringMap<MixedWeight> &weights);

/// The weights of attention and MLP projections, in the order of the graph. Left out are weights
/// that something else reads as well, and the head.
std::vector<std::string> quantizableWeights(mlir::ModuleOp model);

/// All of them as `format`, whose name does not count.
std::vector<TensorPlan> planAlike(mlir::ModuleOp model, TensorPlan format);
/// The weight whose product is a result of the model, the head, unless something else reads it as
/// well, as in tied embeddings. Logits may be that product scaled or capped. A plan may name it,
/// too.
std::vector<std::string> quantizableHeads(mlir::ModuleOp model);

} // namespace tacq

#endif // TACQ_QUANTIZE_QUANTIZEMODEL_H
