//===- Plan.h - What each weight of a model is to become --------*- C++ -*-===//
//
// A plan is made by tacq-plan, may be edited, and is read by tacq-compile. As JSON:
//
//   {"version": 1, "model": "<content hash>", "circuit_layout": "slots", "circuit": 0.0035,
//    "tensors": [{"name": "…", "bits": 2, "group": 0, "codebook": false}, …],
//    "kernels": [{"target": "x86-64-v4", "weight": "!tacq.mixed<…>", "task_rows": 96,
//                 "prefetch": [1024, 4096, 256]}, …],
//    "candidates": [{"bits": 2, "group": 0, "codebook": true, "circuit": 0.0035, "bytes": 987136,
//                    "bpw": 2.2, "predicted_loss": 0.1, "chosen": true}, …], "mean_loss": 0.4}
//
// `circuit` is the part of all weights of the plan that the circuit holds, at the paper's count of
// 4 bytes an entry. A tensor may have a `circuit` of its own, which is then chosen inside of it.
// Bits of 16 leave a tensor as it is. `kernels` is what was measured for this plan's weights, and
// takes the place of the cost model's choice (docs/guides/tuning.md). Other members ("bytes",
// "bpw", "predicted_loss") are for people.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_QUANTIZE_PLAN_H
#define TACQ_QUANTIZE_PLAN_H

#include "tacq/Error.h"
#include "tacq/Quantize/MixedWeight.h"
#include <optional>
#include <string>
#include <vector>

namespace tacq {

struct TensorPlan {
  std::string name;
  unsigned bits = 2; ///< 2, 3, 4, 8; 16: not quantized
  int64_t group = 0; ///< columns; 0: a row
  bool codebook = false;
  /// The part of this tensor's weights that the circuit holds; without it the tensor takes part in
  /// the plan's.
  std::optional<double> circuit;

  // Filled in by the planner.
  uint64_t bytes = 0;
  double bitsPerWeight = 0;
  double predictedLoss = 0;
};

/// #tacq.tiling as text: how a CPU target's kernels go through weights of a type.
struct KernelTiling {
  std::string target, weight;
  int64_t taskRows = 0;
  std::vector<int64_t> prefetch;
};

/// One of the plans that a plan was chosen from.
struct PricedPlan {
  bool mixed = false; ///< each weight has a format of its own
  unsigned bits = 0;
  int64_t group = 0;
  bool codebook = false;
  double circuit = 0;
  uint64_t bytes = 0;
  double bitsPerWeight = 0, predictedLoss = 0;
  std::optional<double> measuredLoss;
  bool chosen = false;
};

struct Plan {
  std::string modelHash;
  WeightFormat::Circuit circuitLayout = WeightFormat::Circuit::Slots;
  double circuit = 0;
  std::vector<TensorPlan> tensors;
  std::vector<KernelTiling> kernels;
  std::vector<PricedPlan> candidates;
  /// Of the unquantized model on the calibration sample; 0: unknown.
  double meanLoss = 0;

  const TensorPlan *find(const std::string &name) const;
};

/// TACQ_INVALID_INPUT with the file's name and what is wrong: no JSON, an unknown member, a value
/// out of range, a tensor twice.
Error readPlan(const std::string &path, Plan &plan);
/// Writes to a temporary name, then renames.
Error writePlan(const std::string &path, const Plan &plan);

const char *circuitLayoutName(WeightFormat::Circuit circuit);
std::optional<WeightFormat::Circuit> parseCircuitLayout(const std::string &name);

} // namespace tacq

#endif // TACQ_QUANTIZE_PLAN_H
