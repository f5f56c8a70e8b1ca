//===- CpuFeatures.h - What this processor can do ---------------*- C++ -*-===//

#ifndef TACQ_DRIVERS_CPU_CPUFEATURES_H
#define TACQ_DRIVERS_CPU_CPUFEATURES_H

#include <string>
#include <vector>

namespace tacq {

struct CpuFeatures {
  std::string model;              // "Intel(R) Xeon(R) Processor"; may be empty
  std::string format;             // of executables: "elf64-x86-64"
  std::vector<std::string> names; // those of kernel_abi.h that processor and system have

  bool has(const std::string &name) const;
  /// Names, separated by blanks.
  std::string text() const;

  static CpuFeatures detect();
};

/// Asks the system to let this process use the AMX tile registers. False when it does not.
bool enableAmx();

} // namespace tacq

#endif // TACQ_DRIVERS_CPU_CPUFEATURES_H
