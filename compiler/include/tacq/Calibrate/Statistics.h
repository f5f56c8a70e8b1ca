//===- Statistics.h - What a sample of a task says of a model ---*- C++ -*-===//
//
// Sums over samples, so that parts of a data set can be gone through anywhere and merged:
//
//   G = Σ_s |∂L_s/∂W|   for each linear weight W[N, K], L_s the loss of sample s
//   H = Σ_t x_t x_tᵀ    for each input of linear operations, over all tokens t; weights that read
//                       the same input share it
//
// A sample's contribution is computed in f32 and added in f64. Sums of f32 numbers in f64 are exact
// as long as their exponents lie within 29 bits of each other, less one for each doubling of the
// count; beyond that, the last bits of the f64 sums depend on how the samples were split into
// shards. Rounded to f32, the sums of one run, of merged shards and of a resumed run are the same.
//
// To say how much the sums depend on the choice of the samples, G of a few rows of each weight is
// also kept by folds of the samples, and each sample has a signature: how large a few columns of a
// few inputs are.
//
// The file is one header, metadata as JSON and the sums as little-endian f64, each sum at a
// multiple of 64 bytes. XXH3 guards all of it.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_CALIBRATE_STATISTICS_H
#define TACQ_CALIBRATE_STATISTICS_H

#include "tacq/Error.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace llvm {
class MemoryBuffer;
} // namespace llvm

namespace tacq {

/// Sample s of a data file belongs to fold s % sampleFolds.
constexpr int64_t sampleFolds = 16;
/// Numbers of a sample's signature: ln(1e-12 + mean square) of a column of an input.
constexpr int64_t signatureSize = 32;

/// Numbers that are read from a mapped file until they are changed.
class StatisticsSum {
public:
  StatisticsSum() = default;
  explicit StatisticsSum(llvm::ArrayRef<double> view) : view(view) {}
  static StatisticsSum zeros(size_t count);

  size_t size() const { return own.empty() ? view.size() : own.size(); }
  bool empty() const { return size() == 0; }
  llvm::ArrayRef<double> values() const { return own.empty() ? view : llvm::ArrayRef<double>(own); }
  /// Copies the numbers the first time.
  llvm::MutableArrayRef<double> mutableValues();

private:
  llvm::ArrayRef<double> view;
  std::vector<double> own;
};

/// A linear weight, as its operation uses it: `rows` outputs, `columns` inputs.
struct TensorStatistics {
  std::string name;
  int64_t rows = 0, columns = 0;
  /// Number of its input in Statistics::inputs.
  uint32_t input = 0;
  /// A projection into the vocabulary, or tied to the embedding: no part of circuits by default.
  bool head = false;
  /// G, [rows, columns]; empty if only Hessians were collected.
  StatisticsSum gradient;
  /// G of the sketched rows for the samples of each fold, [sampleFolds][sketchedRows][columns], and
  /// the rows themselves, [sketchedRows][columns]; empty without folds.
  StatisticsSum foldGradients, sketch;

  /// Rows that are sketched: spread evenly, all of them if they are few.
  int64_t sketchedRows() const { return std::min<int64_t>(rows, 4); }
  int64_t sketchedRow(int64_t i) const { return (2 * i + 1) * rows / (2 * sketchedRows()); }
};

struct InputStatistics {
  int64_t columns = 0;
  /// Rows of x that were summed up.
  uint64_t tokens = 0;
  /// H's lower triangle: element (i, j), j <= i, is at i * (i + 1) / 2 + j.
  StatisticsSum hessian;

  double trace() const;
  /// Both triangles, [columns, columns].
  void expand(std::vector<double> &matrix) const;
};

/// Samples [begin, end) of a data file with their losses and, with folds, their signatures.
struct SampleRange {
  uint64_t begin = 0, end = 0;
  std::vector<double> losses;
  std::vector<double> signatures;
  /// What each counts in the sums.
  double weight = 1;
};

struct StatisticsSettings {
  /// "cross-entropy", "mse"; "none" if only Hessians were collected.
  std::string loss = "cross-entropy";
  std::string output = "logits";
  /// What is predicted: "tokens" (each next one) or "labels" (those of the data).
  std::string labels = "tokens";
  /// The model whose activations the Hessians sum up: "original" or "quantized".
  std::string hessians = "original";

  /// "loss=cross-entropy output=logits labels=tokens hessians=original"
  std::string str() const;
  bool operator==(const StatisticsSettings &other) const { return str() == other.str(); }
};

class Statistics {
public:
  /// ParameterStore::contentHash() of the model, and its file name for people.
  std::string modelHash, modelFile;
  StatisticsSettings settings;
  /// The samples that were summed up, by the XXH3 of their data file; ranges are sorted, and apart
  /// or of different weights.
  std::map<std::string, std::vector<SampleRange>> covered;
  /// In the order of the graph.
  std::vector<TensorStatistics> tensors;
  std::vector<InputStatistics> inputs;
  /// Whether there are folds and signatures. Sums with some that have none have none.
  bool hasFolds = false;

  uint64_t sampleCount() const;
  /// Mean of the samples' losses, by their weights.
  double meanLoss() const;
  /// Whether some samples count more than others, as tasks with weights do.
  bool isWeighted() const;
  /// What a sample of that data file counts in the sums, or would: a sample that is not covered
  /// counts as the file's first ones. Nothing if no sample of the file is covered.
  std::optional<double> weightOf(llvm::StringRef data, uint64_t sample) const;
  /// True if this sample of that data file is among those summed up.
  bool covers(llvm::StringRef data, uint64_t sample) const;
  /// Adds one sample to those covered; it must not be there yet.
  void cover(llvm::StringRef data, uint64_t sample, double loss,
             llvm::ArrayRef<double> signature = {});
  /// The signatures of all samples, one after the other.
  std::vector<double> signatures() const;
  void dropFolds();
  const TensorStatistics *find(llvm::StringRef name) const;
  /// A sentence for the user if an input's Hessian sums up fewer tokens than it has columns, so
  /// that it cannot have full rank; else empty. The name is the file's.
  std::string fewTokens(const std::string &name) const;

  /// Multiplies the sums by a positive number. What merges with others then counts as so many times
  /// its samples.
  void scale(double factor);
  /// Adds the sums of `other`. TACQ_INVALID_INPUT, with both left as they are, if it is of another
  /// model, of other settings or of samples that are covered already. The names are for messages.
  Error merge(const Statistics &other, const std::string &name, const std::string &otherName);

  /// TACQ_IO if the file cannot be read, TACQ_INVALID_INPUT if it is no statistics file, of another
  /// version, truncated or altered. The sums stay in the mapped file.
  static Error read(const std::string &path, Statistics &statistics);
  /// Writes a temporary file beside `path` and renames it. TACQ_IO if that fails; then nothing is
  /// left of it, and `path` is as before.
  Error write(const std::string &path) const;

private:
  std::shared_ptr<llvm::MemoryBuffer> file;
};

} // namespace tacq

#endif // TACQ_CALIBRATE_STATISTICS_H
