//===- CircuitStability.h - How sure the choice of a circuit is -*- C++ -*-===//
//
// A circuit holds the weights with the largest saliency G |W - Q| |W|, and G is a sum over samples:
// other samples of the task would choose others. How many is estimated on the sketched rows of the
// statistics, whose G is known by folds of the samples. Q is the nearest of 2^bits levels between
// the extremes of a row.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_QUANTIZE_CIRCUITSTABILITY_H
#define TACQ_QUANTIZE_CIRCUITSTABILITY_H

#include "tacq/Calibrate/Statistics.h"

namespace tacq {

struct StabilityOptions {
  /// The circuit's part of all weights.
  double part = 0.0035;
  unsigned bits = 2;
  unsigned resamples = 200;
};

/// A mean and the limits that 90 % of the resampled values lie between.
struct Interval {
  double mean = 0, low = 0, high = 0;
};

struct CircuitStability {
  /// Of the sketched weights in the circuit, and of all sketched weights.
  uint64_t circuit = 0, weights = 0;
  /// The part of the circuit that stays when the folds are drawn again, with replacement.
  Interval bootstrap;
  /// The part that circuits of two random halves of the sample have in common.
  Interval halves;
  /// The part of a circuit that changed when the sample grew from a quarter to a half, and from a
  /// half to all of it.
  Interval toHalf, toAll;
  /// What changes if it is doubled once more, if the changes go on in this proportion; and the
  /// saliency that is missed by not doubling it, as part of what the larger circuit holds. The
  /// limits are those of forecasts from samples that are drawn from this one, with replacement.
  Interval doubling, missed;
};

struct CircuitComparison {
  /// The part that circuits of both have in common; beside it what two halves of the first have.
  Interval common, halves;
  /// Of the saliency for the second that its own circuit holds, the part that the first's circuit
  /// holds.
  Interval captured;
};

/// TACQ_INVALID_INPUT for statistics without folds, or with fewer samples than folds.
Error circuitStability(const Statistics &statistics, const std::string &name,
                       const StabilityOptions &options, CircuitStability &result);

/// Also if the two are of different models.
Error compareCircuits(const Statistics &a, const std::string &nameA, const Statistics &b,
                      const std::string &nameB, const StabilityOptions &options,
                      CircuitComparison &result);

} // namespace tacq

#endif // TACQ_QUANTIZE_CIRCUITSTABILITY_H
