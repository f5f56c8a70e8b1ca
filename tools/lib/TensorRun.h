//===- TensorRun.h - One run from tensor files to tensor files --*- C++ -*-===//

#ifndef TACQ_TOOLS_TENSORRUN_H
#define TACQ_TOOLS_TENSORRUN_H

#include "Handles.h"
#include "TensorFiles.h"
#include "Verification.h"

#include <optional>

namespace tacq::tools {

struct TensorRunOptions {
  /// NAME=@FILE each; "@FILE.npz" stands for every array of the file that is an input.
  std::vector<std::string> inputs;
  /// NAME=@FILE.npy each.
  std::vector<std::string> outputs;
  /// "FILE.npz": its arrays that are named as outputs; or NAME=@FILE.
  std::vector<std::string> references;
  std::optional<double> absolute, relative;
  int64_t capacity = 0;
  int64_t repetitions = 1;
  bool profile = false;
};

/// Sets the inputs, runs, writes and compares the outputs; prints one line for each comparison, or
/// for each output when there is nothing else to do. Inputs that were not given: attention_mask is
/// all ones, position_ids counts, and the inputs of caches are empty. Differences that exceed the
/// tolerance are TACQ_INVALID_INPUT.
Error runTensors(const Loaded &loaded, const std::string &path, const TensorRunOptions &options,
                 Session &session);

} // namespace tacq::tools

#endif // TACQ_TOOLS_TENSORRUN_H
