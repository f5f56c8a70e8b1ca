//===- Planner.h - A plan for a budget --------------------------*- C++ -*-===//
//
// Candidates treat all weights alike: bits x group x circuit. Each is priced exactly, by the bytes
// that its layout takes, and ranked by the second-order estimate of the loss that it costs
// (PredictedLoss.h), for the nearest rounding with a coarse clip search: the order of candidates is
// what counts, and error compensation lowers all of them alike.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_QUANTIZE_PLANNER_H
#define TACQ_QUANTIZE_PLANNER_H

#include "tacq/Calibrate/Statistics.h"
#include "tacq/Import/OnnxImport.h"
#include "tacq/Quantize/Plan.h"
#include <functional>

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

struct Candidate {
  unsigned bits;
  int64_t group;
  double circuit;
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

/// Prices and ranks all candidates for `model`, a calibration graph; `chosen` is the one with the
/// least predicted loss within the budget (for LossIncrease, the smallest one).
/// TACQ_INVALID_ARGUMENT if none is; the message names the smallest.
Error planModel(const ImportedModel &model, const Statistics &statistics,
                const PlannerOptions &options, std::vector<Candidate> &candidates, size_t &chosen);

} // namespace tacq

#endif // TACQ_QUANTIZE_PLANNER_H
