//===- CpuKernels.h - Kernels in the host's code ----------------*- C++ -*-===//

#ifndef TACQ_DRIVERS_CPU_CPUKERNELS_H
#define TACQ_DRIVERS_CPU_CPUKERNELS_H

#include "CpuDevice.h"
#include "ElfLoader.h"
#include "tacq/ModuleView.h"
#include "tacq/kernel_abi.h"

#include <memory>
#include <vector>

namespace tacq {

/// The kernels of an executable for the host, run by the workers of a device: for programs of the
/// cpu driver, and for those of other drivers whose executables lack some.
class CpuKernels {
public:
  explicit CpuKernels(CpuDevice &device) : device(device) {}
  ~CpuKernels() { device.release(scratch); }

  /// Those of an executable for the host.
  Error load(const tacq_program_desc_t &desc, const format::Executable &executable);
  /// Those that the program's own executable lacks, of the best one that the host can run.
  Error loadAbsent(const tacq_program_desc_t &desc);
  /// The buffers of the dispatch are at `bindings`. The environment of floating-point numbers has
  /// to be the default one.
  tacq_status_t *run(const tacq_dispatch_t &dispatch, void *const *bindings, tacq_run_t &active,
                     const tacq_module_t *module);
  int64_t scratchBytes() const { return scratch.size; }

private:
  int32_t workersFor(const tacq_dispatch_t &dispatch) const;

  CpuDevice &device;
  std::unique_ptr<LoadedElf> code;
  std::vector<tacq_kernel_fn> functions; // by kernel; null where there is none
  CpuBuffer scratch;
};

} // namespace tacq

#endif // TACQ_DRIVERS_CPU_CPUKERNELS_H
