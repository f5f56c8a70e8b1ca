//===- Tuner.h - Levels that follow the unquantized model -------*- C++ -*-===//
//
// After quantization, gradient steps move what codes decode to: levels or scales, the circuit's
// values and the gains of norms (TunedWeight.h). The loss is the divergence of the model's
// predictions from those of the unquantized model, or that of the labels, on the sample that the
// model was calibrated on; its gradients are those of the compiled backward pass. With `codes`, the
// codes follow, too: each weight has a number that starts at the original one, or halfway to
// the border of what its code stands for, and moves by the weight's gradient; the code is the one
// whose level is nearest (learned rounding).
//
// With `resample`, the tokens that the steps see are partly drawn anew from what the unquantized
// model predicts in their place: where it is sure, they stay, and where it is not, the sample is
// varied. Its predictions for what comes of it are what the steps aim at.
//
// Every eighth sample is held back: no gradient comes of it, and the numbers with which it had the
// least loss are the result.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_TUNE_TUNER_H
#define TACQ_TUNE_TUNER_H

#include "tacq/Quantize/QuantizeModel.h"

namespace tacq {

struct TuneOptions {
  enum class Loss {
    Divergence, ///< from the unquantized model's probabilities
    Labels      ///< cross-entropy of the labels, or of each next token
  };
  Loss loss = Loss::Divergence;
  /// 0: no tuning.
  unsigned steps = 0;
  /// Samples of a step.
  unsigned batch = 4;
  /// Of Adam, in units (TunedWeight::units); it falls to 0 along half of a cosine. 0: by the loss
  /// before (tuningRate()).
  double rate = 0;
  /// How much of the moving average of the numbers a step keeps. The average is what is looked at
  /// and what results.
  double average = 0.95;
  /// The part of the tokens (of the input "input_ids") that is drawn anew; with Divergence only.
  double resample = 0.25;
  /// Of the order of samples and of tokens that are drawn.
  uint32_t seed = 0;
  /// Samples from this one on were drawn from the unquantized model, and not from what is held
  /// back: steps take all of them.
  size_t ownSamples = ~size_t(0);
  /// Codes follow, at so many times the rate, in units of a row's root mean square.
  bool codes = false;
  double codeRate = 0.5;
  /// Steps from one look at the samples held back to the next, and how many looks without progress
  /// end the tuning. Where the rate is too large (isRateTooLarge()), steps go on from the best
  /// numbers with a lower one.
  unsigned interval = 25, patience = 4;
  unsigned threads = 0;
  /// Steps may round the factors of products to bf16 where this machine has such products. Without
  /// that they are f32.
  bool bf16 = true;
  /// The model's file name for messages.
  std::string file = "model";
  /// Where an interrupted tuning leaves its state; empty: nowhere.
  std::string stateFile;
  /// Go on from that state if there is one.
  bool resume = false;
  /// Says where a sample is, for messages.
  std::function<std::string(size_t sample)> place;
  std::function<void(unsigned step, unsigned steps)> progress;
  /// A look at the samples held back, with their mean loss.
  std::function<void(unsigned step, double held)> looked;
  /// True to stop as soon as possible with the state in its file.
  std::function<bool()> interrupted;
};

/// The loss that steps of a size cause grows with its square, and should be a part of the loss that
/// is there: 0.01 for a divergence of 0.0625 and more, and for labels, and smaller as its root.
double tuningRate(TuneOptions::Loss kind, double lossBefore);

/// Whether a look, the `without`-th one in turn that is not better than the best, says that steps
/// are too large: it is much worse than the best one, or half of the looks are gone after which
/// tuning ends, and steps may be going around a better place.
bool isRateTooLarge(double held, double best, unsigned without, unsigned patience);

/// One of so many of the sample's own is held back.
constexpr size_t heldOneIn = 8;
inline bool isHeldBack(size_t ownSample) { return ownSample % heldOneIn == heldOneIn - 1; }
/// The fewest samples of which some can be held back.
constexpr size_t fewestTuningSamples = heldOneIn;

struct TuneReport {
  unsigned steps = 0, bestStep = 0;
  /// How often the rate was too large.
  unsigned lowered = 0;
  /// Mean losses before and after: of the samples held back, and of as many others.
  double heldBefore = 0, heldAfter = 0, sampleBefore = 0, sampleAfter = 0;
  size_t held = 0, numbers = 0, codesChanged = 0;
  double seconds = 0;
};

/// The inputs that tuning's samples must have: those of the model and, of i64, `labels`.
std::vector<TensorDeclaration> tuningInputs(mlir::ModuleOp graph);

/// Tunes `weights` of `graph`, a calibration graph with its weights as they were before
/// quantization, and adds the gains that were tuned to `gains`, by their parameters' names.
/// TACQ_INVALID_INPUT for fewer than `fewestTuningSamples`, for losses that are not finite, naming
/// the step and the tensor, and for a state file of another tuning; TACQ_IO if it was interrupted.
Error tuneModel(mlir::ModuleOp graph, const ParameterStore &parameters, const SampleSource &samples,
                const TuneOptions &options, llvm::StringMap<MixedWeight> &weights,
                llvm::StringMap<std::vector<float>> &gains, TuneReport &report);

} // namespace tacq

#endif // TACQ_TUNE_TUNER_H
