//===- CpuOptions.h - What follows "cpu:" ---------------------*- C++ -*-===//

#ifndef TACQ_DRIVERS_CPU_CPUOPTIONS_H
#define TACQ_DRIVERS_CPU_CPUOPTIONS_H

#include "tacq/Error.h"

#include <cstdint>
#include <string>
#include <vector>

namespace tacq {

struct CpuOptions {
  int32_t threads = 0;
  /// The core of each worker; empty: the system places them. The calling thread is worker 0 and is
  /// never bound, its core is left to it.
  std::vector<int32_t> cores;

  /// "threads=4,pin=1", "cores=0-3+8", "node=1".
  static Error parse(const std::string &text, CpuOptions &options);
};

/// Numbers and ranges, separated by ',' or '+', as in "0-3,8"; false if it is not such a list, or
/// empty. Numbers are below 65536.
bool parseCoreList(const std::string &text, std::vector<int32_t> &cores);

/// Cores that this process may use, in ascending order; empty if the system does not say.
std::vector<int32_t> allowedCores();

} // namespace tacq

#endif // TACQ_DRIVERS_CPU_CPUOPTIONS_H
