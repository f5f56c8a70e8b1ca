//===- KernelMode.h - tacq-bench --kernel -----------------------*- C++ -*-===//

#ifndef TACQ_TOOLS_KERNELMODE_H
#define TACQ_TOOLS_KERNELMODE_H

#include "CommandLine.h"

#include <memory>
#include <nlohmann/json_fwd.hpp>

namespace tacq {
struct KernelBenchmarkOptions;
struct KernelBenchmarkResult;
} // namespace tacq

namespace tacq::tools {

/// The options that measure one generated kernel on random weights in place of a module.
class KernelMode {
public:
  explicit KernelMode(CLI::App &app);
  ~KernelMode();

  bool isAsked() const;
  Error run(const std::string &device, const std::string &threads, bool json) const;

private:
  Error runOnVulkan(const std::string &device, bool json) const;
  Error benchmarkOptions(KernelBenchmarkOptions &benchmark) const;
  nlohmann::ordered_json toJson(const KernelBenchmarkOptions &benchmark,
                                const KernelBenchmarkResult &result) const;

  struct Options;
  std::unique_ptr<Options> options;
};

} // namespace tacq::tools

#endif // TACQ_TOOLS_KERNELMODE_H
