//===- ModelTuner.h - One tuning of a model ---------------------*- C++ -*-===//

#ifndef TACQ_LIB_TUNE_MODELTUNER_H
#define TACQ_LIB_TUNE_MODELTUNER_H

#include "TuningGraph.h"
#include "TuningState.h"
#include "tacq/Tune/TunedWeight.h"
#include "tacq/Tune/Tuner.h"

namespace tacq {

/// The sample that is measured beside the one held back, of as many.
constexpr size_t measuredAt = 3;

/// A weight, and where the gradient of a step is summed up.
struct WeightEntry {
  std::string name;
  TunedWeight weight;
  std::vector<float> gradient, reduced;
  const std::vector<WeightTap> *taps;
};

struct GainEntry {
  std::string name;
  mlir::Type element;
  std::vector<float> gradient, units;
};

/// What tuneModel() does, a step at a time.
class ModelTuner {
public:
  ModelTuner(mlir::ModuleOp graph, const ParameterStore &parameters, const SampleSource &samples,
             const TuneOptions &options);

  Error prepare(llvm::StringMap<MixedWeight> &weights);
  Error run(TuneReport &report);
  void takeResult(llvm::StringMap<MixedWeight> &weights, llvm::StringMap<std::vector<float>> &gains,
                  TuneReport &report);

private:
  using Sample = std::map<std::string, TensorView>;

  Error compile();
  void collectWeights(llvm::StringMap<MixedWeight> &weights);
  Error collectGains();
  Error collectCodes();
  Error computeFingerprint();
  /// The values of `which`, rounded as they will be stored, go into the compiled model.
  Error write(std::vector<float> TunedNumbers::*which);
  Error runSample(size_t number, bool vary, double &loss);
  Error predict(size_t number, const Sample &sample, TensorView &view);
  Error resample(size_t number, Sample &sample);
  Error addGradients(double weight);
  Error explain(size_t number, const std::string &when);
  Error look(size_t residue, double &loss);
  Error step();
  std::vector<size_t> batchOf(unsigned step);
  void move();
  void lowerRate();
  Error noteProgress();
  Error save();

  size_t ownSamples() const { return std::min(samples.count, options.ownSamples); }
  TunedNumbers &numbersOf(size_t weight) { return state.numbers[weight]; }
  TunedNumbers &gainOf(size_t gain) { return state.numbers[weights.size() + gain]; }
  TunedNumbers &wantedOf(size_t weight) {
    return state.numbers[weights.size() + gains.size() + weight];
  }

  mlir::ModuleOp graph;
  const ParameterStore &parameters;
  const SampleSource &samples;
  const TuneOptions &options;
  unsigned threads;
  std::string output;
  TuningGraph tuning;
  std::unique_ptr<InProcessModule> student, teacher;
  std::vector<WeightEntry> weights;
  std::vector<std::vector<uint8_t>> firstCodes;
  std::vector<GainEntry> gains;
  std::vector<std::vector<float>> predictions; // by sample
  std::vector<size_t> training;                // samples that steps take
  std::vector<int64_t> tokens;                 // drawn anew
  TuningState state;
};

} // namespace tacq

#endif // TACQ_LIB_TUNE_MODELTUNER_H
