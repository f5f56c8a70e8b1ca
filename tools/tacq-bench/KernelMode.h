//===- KernelMode.h - tacq-bench --kernel -----------------------*- C++ -*-===//

#ifndef TACQ_TOOLS_KERNELMODE_H
#define TACQ_TOOLS_KERNELMODE_H

#include "CommandLine.h"

#include <memory>

namespace tacq::tools {

/// The options that measure one generated kernel on random weights in place of a module.
class KernelMode {
public:
  explicit KernelMode(CLI::App &app);
  ~KernelMode();

  bool isAsked() const;
  Error run(const std::string &threads, bool json) const;

private:
  struct Options;
  std::unique_ptr<Options> options;
};

} // namespace tacq::tools

#endif // TACQ_TOOLS_KERNELMODE_H
