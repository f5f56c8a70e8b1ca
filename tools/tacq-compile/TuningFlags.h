//===- TuningFlags.h - Flags of tacq-compile on tuning ----------*- C++ -*-===//

#ifndef TACQ_COMPILE_TUNINGFLAGS_H
#define TACQ_COMPILE_TUNINGFLAGS_H

#include "SampleData.h"
#include "tacq/Compile.h"
#include "tacq/Tune/Tuner.h"

#include <CLI/App.hpp>
#include <optional>

namespace tacq::tools {

/// How levels are to be tuned, as the user says it.
class TuningFlags {
public:
  void addTo(CLI::App &app);
  bool isOn() const { return effort != "off"; }
  /// Tunes what `graph` was quantized to, with the samples of `data`, which are bound to
  /// tuningInputs() and were read from `files`; `samples` are these, with the weights of their
  /// tasks. The state of an interrupted tuning is beside `output`.
  Error tune(mlir::ModuleOp graph, const ParameterStore &parameters, const SampleData &data,
             SampleSource samples, const std::vector<std::string> &files, const std::string &model,
             const std::string &output, unsigned threads, bool quiet,
             QuantizedModel &quantized) const;

private:
  TuneOptions options() const;
  Error draw(mlir::ModuleOp graph, const SampleSource &samples,
             const std::vector<std::string> &files, const std::string &model, unsigned threads,
             bool quiet, SampleData &drawn, std::vector<double> &weights) const;

  std::string effort = "off", loss = "kl", products = "bf16", drawnFile;
  unsigned steps = 0, batch = 0;
  uint32_t seed = 0;
  double rate = 0;
  std::optional<double> resample;
  std::optional<unsigned> drawnPerSample;
  bool resume = false, codes = false;
};

} // namespace tacq::tools

#endif // TACQ_COMPILE_TUNINGFLAGS_H
