//===- Calibrator.h - Statistics of a model, a sample at a time -*- C++ -*-===//
//
//   std::unique_ptr<Calibrator> calibrator;
//   if (Error error = Calibrator::create("model.onnx", options, calibrator)) ...
//   SampleFacts facts;
//   if (Error error = calibrator->add({{"input_ids", ids}, {"labels", ids}, …}, 0, facts)) ...
//   calibrator->statistics().cover(dataHash, 0, facts.loss, facts.signature);
//   if (Error error = calibrator->statistics().write("model.stats")) ...
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_CALIBRATE_CALIBRATOR_H
#define TACQ_CALIBRATE_CALIBRATOR_H

#include "tacq/Calibrate/InProcessModule.h"
#include "tacq/Calibrate/Statistics.h"

namespace mlir {
class MLIRContext;
} // namespace mlir

namespace tacq {

struct CalibratorOptions {
  /// A loss of "none" collects Hessians only.
  StatisticsSettings settings;
  /// 0: one for each core that this process may use.
  unsigned threads = 0;
  /// Collects statistics of the projection into the vocabulary, too.
  bool head = false;
  /// Times each dispatch of the compiled model (see profile()).
  bool profile = false;
};

/// Where the time goes, in seconds.
struct CalibrationTimes {
  double compile = 0, run = 0, sums = 0;
};

/// What Statistics::cover() takes of a sample.
struct SampleFacts {
  double loss = 0;
  /// Empty if the statistics have no folds.
  std::vector<double> signature;
};

class Calibrator {
public:
  /// Imports, differentiates and compiles the model. TACQ_UNSUPPORTED, TACQ_INVALID_INPUT or
  /// TACQ_INVALID_ARGUMENT (an output that the model has not) with one sentence.
  static Error create(const std::string &path, const CalibratorOptions &options,
                      std::unique_ptr<Calibrator> &calibrator);
  ~Calibrator();

  /// What add() needs: the model's inputs, without caches, and `labels` or `target` of the loss.
  const std::vector<TensorDeclaration> &inputs() const { return runner->inputs(); }
  /// The last extent of the output that the loss is of: classes, the vocabulary; 0 if not fixed.
  int64_t classes() const { return classCount; }
  /// True if `file` is one of the files of the model.
  bool usesFile(const std::string &file) const { return model.parameters.usesFile(file); }

  /// Runs sample number `number` of a data file and adds what it contributes. TACQ_INVALID_INPUT,
  /// naming the tensor, if the loss or a contribution is not finite; the sums are of no use after
  /// that.
  Error add(const std::map<std::string, TensorView> &sample, uint64_t number, SampleFacts &facts);

  /// The sums so far. Which samples they cover is for the caller to tell it.
  Statistics &statistics() { return sums; }
  const CalibrationTimes &times() const { return spent; }
  Error profile(std::vector<InProcessModule::ProfileEntry> &entries) const {
    return runner->profile(entries);
  }

private:
  Calibrator();
  Error prepare(const std::string &path, const CalibratorOptions &options);
  Error differentiate(const CalibratorOptions &options);
  void findTaps();
  Error sketchWeight(mlir::Operation *user, TensorStatistics &tensor);
  Error collect(uint64_t number, std::vector<double> &signature);

  /// A result of the compiled module: the rows of an input, or the gradients of products.
  struct Tap {
    std::string input, outputGradient;
  };

  std::unique_ptr<mlir::MLIRContext> context;
  ImportedModel model;
  std::string file;
  std::unique_ptr<InProcessModule> runner;
  Statistics sums;
  /// The uses of tensors and inputs, by their numbers in `sums`.
  std::vector<std::vector<Tap>> tensorTaps, inputTaps;
  int64_t classCount = 0;
  unsigned threads = 1;
  CalibrationTimes spent;
};

} // namespace tacq

#endif // TACQ_CALIBRATE_CALIBRATOR_H
