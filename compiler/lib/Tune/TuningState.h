//===- TuningState.h - Where a tuning stands --------------------*- C++ -*-===//

#ifndef TACQ_LIB_TUNE_TUNINGSTATE_H
#define TACQ_LIB_TUNE_TUNINGSTATE_H

#include "tacq/Error.h"
#include "tacq/Tune/Adam.h"
#include <cstdint>
#include <string>

namespace tacq {

/// Numbers that are moved together, their moving average, and that of the best look.
struct TunedNumbers {
  std::vector<float> values, average, best;
  AdamState adam;
};

struct TuningState {
  /// XXH3 of what is tuned, on what, and how: another tuning's state is of no use.
  uint64_t fingerprint = 0;
  uint32_t step = 0, bestStep = 0, looksWithoutProgress = 0;
  /// How often the rate was lowered.
  uint32_t lowered = 0;
  double heldBefore = 0, best = 0, sampleBefore = 0;
  std::vector<TunedNumbers> numbers;
};

/// Writes to a temporary name, then renames.
Error writeTuningState(const std::string &path, const TuningState &state);
/// The numbers' sizes and the fingerprint must be those of `state` already. TACQ_INVALID_INPUT if
/// they are not, or the file is damaged.
Error readTuningState(const std::string &path, TuningState &state);

} // namespace tacq

#endif // TACQ_LIB_TUNE_TUNINGSTATE_H
