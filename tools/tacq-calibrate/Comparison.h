//===- Comparison.h - Two samples, and how sure a circuit is ----*- C++ -*-===//

#ifndef TACQ_TOOLS_COMPARISON_H
#define TACQ_TOOLS_COMPARISON_H

#include "tacq/Calibrate/TaskDrift.h"
#include "tacq/Quantize/CircuitStability.h"

#include <nlohmann/json.hpp>

namespace tacq::tools {

/// What there is of a sample: statistics, or the signatures in a module that was made from some.
struct KnownSample {
  std::string file;
  bool isModule = false;
  Statistics statistics;
  std::vector<TaskSignatures> tasks;

  /// Reads either. TACQ_INVALID_INPUT for a module without signatures, too.
  static Error read(const std::string &file, KnownSample &sample);
};

nlohmann::ordered_json toJson(const CircuitStability &stability);
std::string toText(const CircuitStability &stability);

/// Compares two samples of one model: their circuits, if both are statistics with samples enough,
/// and their signatures. What is known is the module, else the first; the other is the new sample.
Error compareSamples(const KnownSample &first, const KnownSample &second,
                     const StabilityOptions &options, bool json);

} // namespace tacq::tools

#endif // TACQ_TOOLS_COMPARISON_H
