//===- Planner.h - A plan for a budget --------------------------*- C++ -*-===//
//
// Each weight may have each of the formats: bits x group, levels of its rows, or as it is; most of
// them with circuits of several sizes. Each is priced exactly, by the bytes that its layout takes,
// and ranked by the second-order estimate of the loss that it costs (PredictedLoss.h).
//
// Candidates that treat all weights alike, with circuits of some sizes, show what sizes there are.
// The plan takes a format and a circuit of its own for each weight: the least sum of predicted
// losses within the budget (Knapsack.h).
//
// With samples, estimates are corrected by probes: the divergence from the original model with one
// weight alone quantized, and with all others but this one, says what the weight's estimate is to
// be multiplied by. What is chosen is measured, too, and so is the best candidate of one
// format where it may be better. For a tolerated loss, plans are made and measured until one is
// within it.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_QUANTIZE_PLANNER_H
#define TACQ_QUANTIZE_PLANNER_H

#include "tacq/Calibrate/Statistics.h"
#include "tacq/Import/OnnxImport.h"
#include "tacq/Quantize/QuantizeModel.h"
#include <functional>
#include <optional>

namespace tacq {

struct Budget {
  enum class Kind {
    BitsPerWeight, ///< of the weights of the plan, all bytes counted
    Bytes,         ///< of the weights of the plan
    LossIncrease   ///< as a part of the mean loss of the sample: measured where there are samples
                   ///< to measure on, else predicted
  };
  Kind kind = Kind::BitsPerWeight;
  double value = 0;
};

/// "2.25bpw", "40MiB", "512KiB", "1GiB", "3000B", or "2%" for a loss increase; nullopt if it is
/// none of them or not positive.
std::optional<Budget> parseBudget(llvm::StringRef text);

/// A format of a weight, without its circuit.
struct CandidateFormat {
  unsigned bits; ///< 16: as it is
  int64_t group = 0;
  bool codebook = false;
};

struct Candidate {
  /// None: each weight has its own.
  std::optional<CandidateFormat> format;
  double circuit = 0;
  Plan plan;
  uint64_t bytes = 0;
  double bitsPerWeight = 0;
  double predictedLoss = 0;
  /// By how much the loss grew in a measurement, if there was one.
  std::optional<double> measuredLoss;
};

/// What a weight may become, as the plan has it.
struct TensorOptions {
  std::string name;
  std::vector<TensorPlan> options;
};

struct PlannerOptions {
  Budget budget;
  /// What probes measure, with the inputs of tuningInputs(); null: estimates stay as they are.
  const SampleSource *samples = nullptr;
  /// Probes at most, each of two measurements; where there are more weights, neighbours of the same
  /// shape share one.
  unsigned probes = 48;
  /// Samples of a measurement.
  unsigned probeSamples = 4;
  WeightFormat::Circuit circuitLayout = WeightFormat::Circuit::Slots;
  unsigned threads = 0;
  /// The model's file name for messages.
  std::string file = "model";
  std::function<void(const std::string &stage, unsigned done, unsigned total)> progress;
};

struct PlanResult {
  /// By size.
  std::vector<Candidate> candidates;
  size_t chosen = 0;
  /// Of each weight, what the plan chose from; those that another one beats in bytes and loss are
  /// left out.
  std::vector<TensorOptions> tensors;
};

/// Prices and ranks all candidates for `model`, a calibration graph, and adds the plan of mixed
/// formats; the one that is chosen has the least loss within the budget, measured where there are
/// samples (for LossIncrease, the fewest bytes). TACQ_INVALID_ARGUMENT if none is within it; the
/// message names the smallest, and the tensors that take most of it, or the least loss.
Error planModel(ImportedModel &model, const Statistics &statistics, const PlannerOptions &options,
                PlanResult &result);

} // namespace tacq

#endif // TACQ_QUANTIZE_PLANNER_H
