//===- Passes.h - Passes of the CPU target ----------------------*- C++ -*-===//

#ifndef TACQ_CPU_PASSES_H
#define TACQ_CPU_PASSES_H

#include "mlir/Pass/Pass.h"

namespace tacq {

/// tacq-pack-weights: gives the linear operations' weights that are parameters their layout, on a
/// `tacq.get_param` of its own and in `weight_layouts`.
std::unique_ptr<mlir::Pass> createPackWeightsPass();

/// tacq-emit-cpu-kernels: replaces every function, whose body is a kernel's region, by the kernel.
std::unique_ptr<mlir::Pass> createEmitCpuKernelsPass();

void registerCpuPasses();

} // namespace tacq

#endif // TACQ_CPU_PASSES_H
