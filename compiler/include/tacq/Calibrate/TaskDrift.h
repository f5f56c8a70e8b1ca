//===- TaskDrift.h - Whether two samples are of one task --------*- C++ -*-===//
//
// Each sample of a calibration has a signature (Statistics.h). Two sets of samples of one task have
// signatures of one distribution; how far their means are apart says whether they are.
//
// What is known may be of several tasks, told apart by their data files. New samples are compared
// with each of k tasks and with the mixture of all, and have drifted only if all k + 1 tests say
// so. If they are of one task, or of the mixture, the test against that one alone is wrong with
// probability driftLevel, and the others can only overrule it: the level is kept for any k, without
// a smaller limit for each test. A task with too few samples for a test has none, and its samples
// have drifted unless the mixture fits. The price are drifts that are missed: one is found only if
// every test finds it, so it is missed at least as often as by the weakest test, which is that
// against the task closest to the new samples or that with the fewest samples. And means are all
// that is compared, so another task whose mean is that of the mixture passes for the mixture.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_CALIBRATE_TASKDRIFT_H
#define TACQ_CALIBRATE_TASKDRIFT_H

#include "tacq/Calibrate/Statistics.h"
#include "llvm/ADT/StringMap.h"
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

/// Signatures of samples of one data file, which stands for a task.
struct TaskSignatures {
  /// The XXH3 of the data file; empty if it is not known.
  std::string data;
  /// Samples of the task; all of them, or some that are evenly spaced, have signatures here.
  uint64_t samples = 0;
  std::vector<double> signatures;
};

/// Those of statistics, by their data files.
std::vector<TaskSignatures> taskSignatures(const Statistics &statistics);
/// Signatures of all tasks, each with a part that is in proportion to its samples.
std::vector<double> mixtureOf(llvm::ArrayRef<TaskSignatures> tasks);

/// New samples against all that is known.
struct TasksDrift {
  struct Task {
    std::string data;
    /// None: the task has fewer samples than fewestDriftSamples.
    std::optional<TaskDrift> drift;
    bool fits() const { return drift && !drift->drifted(); }
  };

  TaskDrift mixture;
  /// Empty if only one task is known: the mixture is that one.
  std::vector<Task> tasks;
  /// The new samples fit neither the mixture nor one of the tasks.
  bool drifted() const;
  /// The task that the samples fit best; null if the mixture fits as well or better.
  const Task *nearest() const;
};

/// Compares new samples with the mixture of known tasks and with each of them that has enough
/// samples. TACQ_INVALID_INPUT if the new samples, or the known ones together, are too few.
Error testTasks(llvm::ArrayRef<TaskSignatures> known, const std::string &nameKnown,
                llvm::ArrayRef<double> fresh, const std::string &nameFresh, TasksDrift &result);

/// The module's metadata with the signatures of the samples that it was made for, and with the data
/// files that these are of if there are several.
constexpr llvm::StringLiteral signaturesKey = "task_signatures";
constexpr llvm::StringLiteral signatureTasksKey = "task_signatures_data";
/// The most samples of each task that a module holds: it grows by 4 bytes for each of their
/// numbers.
constexpr size_t mostModuleSamples = 32;

/// Adds both to a module's metadata.
void storeSignatures(llvm::ArrayRef<TaskSignatures> tasks, llvm::StringMap<std::string> &metadata);
/// Reads what storeSignatures() stored; without the text on tasks, signatures are of one task.
/// nullopt if the texts are none of storeSignatures().
std::optional<std::vector<TaskSignatures>> parseTasks(llvm::StringRef signatures,
                                                      llvm::StringRef tasks);

/// Signatures as text: four hexadecimal digits for each number, in thousandths; of evenly spaced
/// samples if there are too many.
std::string signaturesText(llvm::ArrayRef<double> signatures);
/// nullopt if the text is none of signaturesText().
std::optional<std::vector<double>> parseSignatures(llvm::StringRef text);

} // namespace tacq

#endif // TACQ_CALIBRATE_TASKDRIFT_H
