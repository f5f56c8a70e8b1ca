//===- CalibrationRun.h - Through the samples, with interruptions -*- C++ -*-===//

#ifndef TACQ_TOOLS_CALIBRATIONRUN_H
#define TACQ_TOOLS_CALIBRATIONRUN_H

#include "tacq/Error.h"

#include <string>

namespace tacq::tools {

struct CalibrationOptions {
  std::string model, data, output;
  std::string loss = "cross-entropy", lossOutput = "logits";
  /// "i/N" as given; empty for all samples.
  std::string shard;
  bool resume = false, allTokens = false, hessiansOnly = false, head = false, times = false;
  unsigned threads = 0;
};

/// The file that an interrupted run leaves beside the output.
std::string partialPath(const std::string &output);

/// Fails while nothing has been done yet, rather than when all is.
Error checkOutput(const std::string &path);

/// Calibrates and writes the statistics.
Error calibrate(const CalibrationOptions &options);

} // namespace tacq::tools

#endif // TACQ_TOOLS_CALIBRATIONRUN_H
