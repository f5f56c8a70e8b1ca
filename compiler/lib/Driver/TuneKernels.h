//===- TuneKernels.h - Measure how kernels go through weights ---*- C++ -*-===//

#ifndef TACQ_LIB_DRIVER_TUNEKERNELS_H
#define TACQ_LIB_DRIVER_TUNEKERNELS_H

#include "mlir/IR/MLIRContext.h"
#include "tacq/CPU/CpuTarget.h"
#include "tacq/Error.h"
#include "tacq/Quantize/MixedWeight.h"
#include "tacq/Quantize/Plan.h"
#include "llvm/ADT/StringMap.h"

namespace tacq {

/// Measures tilings, on one thread, for each type of the weights and each of the targets that this
/// machine runs: the prefetch distance on one row of the input with copies of the weight as large
/// as all weights, the rows of a task, on the best target, on a prompt of several tasks.
/// TACQ_UNSUPPORTED if there are no weights or no such target.
Error tuneKernels(const llvm::StringMap<MixedWeight> &weights, mlir::MLIRContext &context,
                  llvm::ArrayRef<CpuTarget> targets, std::vector<KernelTiling> &tilings);

} // namespace tacq

#endif // TACQ_LIB_DRIVER_TUNEKERNELS_H
