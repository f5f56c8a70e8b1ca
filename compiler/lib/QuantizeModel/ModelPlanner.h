//===- ModelPlanner.h - One planning of a model -----------------*- C++ -*-===//

#ifndef TACQ_LIB_QUANTIZEMODEL_MODELPLANNER_H
#define TACQ_LIB_QUANTIZEMODEL_MODELPLANNER_H

#include "LossProbe.h"
#include "TensorPricing.h"
#include "llvm/ADT/DenseMap.h"

namespace tacq {

/// A circuit of a weight, and the part of its loss that is left with it.
struct PricedCircuit {
  CircuitMask mask;
  double lossLeft = 1;
};

/// What planModel() does.
class ModelPlanner {
public:
  ModelPlanner(ImportedModel &model, const Statistics &statistics, const PlannerOptions &options,
               PlanResult &result)
      : model(model), statistics(statistics), options(options), result(result) {}

  Error run();

private:
  Error collect();
  Error predict();
  Error price();
  Error selectCircuits(const CandidateFormat &format);
  Candidate priceAlike(size_t format, double circuit, llvm::ArrayRef<PricedCircuit> circuits);
  void priceOwn(size_t tensor, size_t format, bool withCircuits);
  void addOption(size_t tensor, const CandidateFormat &format, double circuit, uint64_t bytes,
                 double loss);
  Error probe();
  std::vector<std::vector<size_t>> probeGroups() const;
  std::optional<size_t> probeBase() const;
  void correct(const std::vector<double> &factors);
  void dropBeaten();
  bool mix(double limit, Candidate &candidate);
  std::optional<size_t> best(bool alikeOnly) const;
  std::optional<size_t> smallestMeasured() const;
  Error choose();
  Error confirmSize();
  Error confirmLoss();
  Error checkSize();
  Error noneFits() const;
  Error quantize(const Plan &plan, std::vector<std::vector<float>> &decoded);
  Error measure(Candidate &candidate);
  double sizeOf(const Candidate &candidate) const;
  bool fits(const Candidate &candidate) const { return sizeOf(candidate) <= options.budget.value; }
  bool byLoss() const { return options.budget.kind == Budget::Kind::LossIncrease; }
  void report(const char *stage, unsigned done, unsigned total) {
    if (options.progress)
      options.progress(stage, done, total);
  }
  const std::vector<double> &hessianOf(const PricedTensor &tensor) {
    return hessians[tensor.input];
  }

  ImportedModel &model;
  const Statistics &statistics;
  const PlannerOptions &options;
  PlanResult &result;
  std::vector<PricedTensor> tensors;
  std::vector<llvm::SmallVector<size_t>> groups;          // tensors of an input
  llvm::DenseMap<uint32_t, std::vector<double>> hessians; // both triangles, by input
  std::vector<std::vector<double>> losses;                // of each tensor and format
  std::vector<std::vector<PricedCircuit>> shared, own;    // of each size and tensor
  std::unique_ptr<LossProbe> prober;
  double elements = 0;
};

} // namespace tacq

#endif // TACQ_LIB_QUANTIZEMODEL_MODELPLANNER_H
