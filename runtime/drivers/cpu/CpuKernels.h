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
  /// These, which the program's own executable leaves to the host, of the best one that the host
  /// can run.
  Error loadFor(const tacq_program_desc_t &desc, const std::vector<uint32_t> &kernels);
  bool has(uint32_t kernel) const { return kernel < functions.size() && functions[kernel]; }
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
