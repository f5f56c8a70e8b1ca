//===- TaskDrift.h - Whether two samples are of one task --------*- C++ -*-===//
//
// Each sample of a calibration has a signature (Statistics.h). Two sets of samples of one task have
// signatures of one distribution; how far their means are apart says whether they are.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_CALIBRATE_TASKDRIFT_H
#define TACQ_CALIBRATE_TASKDRIFT_H

#include "tacq/Calibrate/Statistics.h"
#include <optional>

namespace tacq {

/// The least samples on each side: with fewer, differences between tasks and between samples of one
/// task cannot be told apart.
constexpr size_t fewestDriftSamples = 8;
/// Samples of one task are taken for a drift with this probability.
constexpr double driftLevel = 0.01;

struct TaskDrift {
  size_t samples[2] = {};
  /// Mean over the signature's numbers of Welch's t² = (mean - mean')² / (s²/n + s'²/n'): about 1
  /// for samples of one task.
  double distance = 0;
  /// The part of permutations of the samples with a distance at least as large.
  double probability = 1;
  bool drifted() const { return probability <= driftLevel; }
};

/// Compares two sets of signatures by a permutation test. TACQ_INVALID_INPUT for fewer samples than
/// fewestDriftSamples, with the number that is needed; the names are for messages.
Error testDrift(llvm::ArrayRef<double> a, const std::string &nameA, llvm::ArrayRef<double> b,
                const std::string &nameB, TaskDrift &result);

/// The module's metadata with the signatures of the samples that it was made for.
constexpr llvm::StringLiteral signaturesKey = "task_signatures";
/// The most samples that a module holds: it grows by 4 bytes for each of their numbers.
constexpr size_t mostModuleSamples = 32;

/// Signatures as text: four hexadecimal digits for each number, in thousandths; of evenly spaced
/// samples if there are too many.
std::string signaturesText(llvm::ArrayRef<double> signatures);
/// nullopt if the text is none of signaturesText().
std::optional<std::vector<double>> parseSignatures(llvm::StringRef text);

} // namespace tacq

#endif // TACQ_CALIBRATE_TASKDRIFT_H
