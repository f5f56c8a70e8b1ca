//===- CalibrationData.h - Samples for a model to be calibrated on -*- C++ -*-===//
//
// .jsonl: a line {"tokens": […], "labels": […]} for each sample (see TokenFiles.h). The model is a
// language model: tokens go to input_ids (or the only integer matrix that is none of the others),
// and attention_mask, position_ids, cache_position and token_type_ids follow from them.
//
// .npz: arrays named as the model's inputs, and labels (integers) or target (numbers), first axis =
// samples. What follows from input_ids may be left out.
//
// A sample is read when it is asked for, from the mapped .jsonl file or from the arrays.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_TOOLS_CALIBRATIONDATA_H
#define TACQ_TOOLS_CALIBRATIONDATA_H

#include "TensorFiles.h"
#include "TokenFiles.h"
#include "tacq/Calibrate/InProcessModule.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace llvm {
class MemoryBuffer;
} // namespace llvm

namespace tacq::tools {

class CalibrationData {
public:
  ~CalibrationData();

  /// Opens the file. Messages name it and the line or the array.
  static Error open(const std::string &path, std::unique_ptr<CalibrationData> &data);
  /// The text of a .jsonl file that is none; `name` stands for its path.
  static Error ofLines(const std::string &name, const std::string &text,
                       std::unique_ptr<CalibrationData> &data);

  /// Checks all samples against what the model takes: its inputs, and the labels or the target of
  /// the loss. Labels and tokens must be below `classes`, if that is not 0. With `allTokens` labels
  /// of the data are not used.
  Error bind(const std::vector<TensorDeclaration> &inputs, int64_t classes, bool allTokens);

  size_t size() const { return count; }
  const std::string &name() const { return path; }
  /// XXH3 of the file, hexadecimal.
  const std::string &hash() const { return contentHash; }
  bool hasLabels() const { return labelled; }
  /// "math.jsonl: line 3"
  std::string place(size_t sample) const;

  /// The inputs of one sample; the views are valid until the next call.
  Error load(size_t sample, std::map<std::string, TensorView> &views);

private:
  CalibrationData() = default;
  Error openLines();
  Error openArrays();
  Error checkArray(const TensorDeclaration &input, const NpyArray &array) const;
  /// True if the model's loss takes labels.
  bool predicts() const;
  Error checkSample(size_t sample);
  Error checkNumbers(size_t sample, const char *what, const std::vector<int64_t> &numbers,
                     bool mayBeIgnored) const;
  Error readSequence(size_t sample, TokenSequence &sequence) const;
  TensorView viewOf(const TensorDeclaration &input, const std::vector<int64_t> &numbers);
  TensorView sliceOf(const TensorDeclaration &input, const NpyArray &array, size_t sample);
  TensorView derive(const TensorDeclaration &input, const TokenSequence &sequence);

  std::string path, contentHash;
  std::unique_ptr<llvm::MemoryBuffer> content;
  /// .jsonl: where the samples' lines begin, and their numbers.
  std::vector<std::pair<size_t, size_t>> lines;
  /// .npz
  Archive arrays;
  bool isArchive = false, labelled = false, useLabels = false;
  /// Some sample has something to predict.
  bool hasPrediction = false;
  size_t count = 0;

  std::vector<TensorDeclaration> declared;
  /// The input that takes tokens; empty if there is none.
  std::string tokensInput;
  int64_t classCount = 0;
  /// What views of the current sample point to.
  std::map<std::string, std::vector<char>> memory;
};

} // namespace tacq::tools

#endif // TACQ_TOOLS_CALIBRATIONDATA_H
