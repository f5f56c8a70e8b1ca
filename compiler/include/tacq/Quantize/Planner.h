//===- Planner.h - A plan for a budget --------------------------*- C++ -*-===//
//
// Each weight may have each of the formats: bits x group, levels of its rows, or as it is. Each is
// priced exactly, by the bytes that its layout takes, and ranked by the second-order estimate of
// the loss that it costs (PredictedLoss.h), for the nearest rounding with a coarse clip search: the
// order of candidates is what counts, and error compensation lowers all of them alike.
//
// Candidates that treat all weights alike, with circuits of some sizes, show what sizes there are.
// The plan takes a format of its own for each weight: for each size of the circuit the least sum of
// predicted losses within the budget (Knapsack.h). Where circuits lie depends on all formats, so
// bytes and losses of the mixture are computed again, and the budget tightened until it holds.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_QUANTIZE_PLANNER_H
#define TACQ_QUANTIZE_PLANNER_H

#include "tacq/Calibrate/Statistics.h"
#include "tacq/Import/OnnxImport.h"
#include "tacq/Quantize/Plan.h"
#include <functional>
#include <optional>

namespace tacq {

struct Budget {
  enum class Kind {
    BitsPerWeight, ///< of the weights of the plan, all bytes counted
    Bytes,         ///< of the weights of the plan
    LossIncrease   ///< predicted, as a part of the mean loss of the sample
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
};

struct PlannerOptions {
  Budget budget;
  WeightFormat::Circuit circuitLayout = WeightFormat::Circuit::Slots;
  unsigned threads = 0;
  /// The model's file name for messages.
  std::string file = "model";
  std::function<void(unsigned done, unsigned total)> progress;
};

/// Prices and ranks all candidates for `model`, a calibration graph, and adds the plan of mixed
/// formats; `chosen` is the one with the least predicted loss within the budget (for LossIncrease,
/// the smallest one). TACQ_INVALID_ARGUMENT if none is; the message names the smallest, and the
/// tensors that take most of it.
Error planModel(const ImportedModel &model, const Statistics &statistics,
                const PlannerOptions &options, std::vector<Candidate> &candidates, size_t &chosen);

} // namespace tacq

#endif // TACQ_QUANTIZE_PLANNER_H
