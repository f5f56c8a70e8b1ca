//===- MachinePeaks.h - What this machine can do at most --------*- C++ -*-===//
//
// Loops without anything but the work itself, to hold kernels against.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_DRIVER_MACHINEPEAKS_H
#define TACQ_LIB_DRIVER_MACHINEPEAKS_H

#include "tacq/CPU/CpuTarget.h"

namespace tacq {

/// Products of 8-bit integers or of f32 numbers, added up in registers.
struct ComputePeak {
  /// What the loop consists of, in the machine's words.
  const char *instruction = "";
  /// Multiplications with their additions a second, of one thread.
  double macsPerSecond = 0;
};

/// With the target's instructions; this machine must have them.
ComputePeak measureComputePeak(const CpuTarget &target, bool integers);

/// Reads [begin, end) once, as fast as one thread can. Returns a number that depends on all of it.
uint64_t readMemory(const uint8_t *begin, const uint8_t *end);

} // namespace tacq

#endif // TACQ_LIB_DRIVER_MACHINEPEAKS_H
