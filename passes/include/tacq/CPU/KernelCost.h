//===- KernelCost.h - What a launch costs on one core -----------*- C++ -*-===//
//
// A model of the time that a kernel takes, from the bytes that it moves and the arithmetic that it
// does, by which the runtime decides how many threads a launch is worth. It need not be exact: a
// thread is worth its barrier from a microsecond or two on.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_CPU_KERNELCOST_H
#define TACQ_CPU_KERNELCOST_H

#include "tacq/Codegen/KernelBuilder.h"

namespace tacq {

/// Nanoseconds on one core of all tasks of a kernel with this region; nullopt if there is no
/// estimate.
std::optional<Sym> kernelCost(mlir::Region &region, const KernelOptions &options);

} // namespace tacq

#endif // TACQ_CPU_KERNELCOST_H
