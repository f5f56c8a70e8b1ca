//===- QuantizationFlags.h - Flags of tacq-compile on weights ---*- C++ -*-===//

#ifndef TACQ_COMPILE_QUANTIZATIONFLAGS_H
#define TACQ_COMPILE_QUANTIZATIONFLAGS_H

#include "TuningFlags.h"
#include "tacq/Compile.h"
#include "tacq/Quantize/QuantizeModel.h"

#include <CLI/App.hpp>

namespace tacq::tools {

/// How weights are to be quantized, as the user says it.
class QuantizationFlags {
public:
  void addTo(CLI::App &app);
  /// Checks the flags and reads the files that they name; sets what `options` needs, if anything is
  /// to be quantized. `this` must outlive the compilation.
  Error apply(const std::string &model, bool quiet, CompileOptions &options);

private:
  Error checkFlags();
  Error quantize(const std::string &model, const std::string &output, bool quiet,
                 QuantizedModel &quantized);

  std::string tunedPlan;
  std::string statisticsFile, planFile, circuitText, layoutText = "slots", dense = "auto",
                                                     activations = "auto";
  std::vector<std::string> dataFiles;
  int64_t bits = 0, group = 0, headBits = 0;
  bool codebook = false;
  std::string method = "gptq", circuitValues = "compensated", circuitSource = "statistics",
              saliency = "automatic";
  bool noClip = false, activationOrder = false;
  double damping = 0.01;
  unsigned variants = 1, variantSamples = 16, threads = 0;
  TuningFlags tuning;

  Plan plan;
  bool uniform = false; // the plan is made of --bits and --group
  Statistics statistics;
};

/// "0.35%" or "0.0035": a part between 0 and 1.
std::optional<double> parsePart(const std::string &text);

} // namespace tacq::tools

#endif // TACQ_COMPILE_QUANTIZATIONFLAGS_H
