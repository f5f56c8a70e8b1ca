//===- EmitKernel.cpp - Chooses the code of a kernel's region -------------===//

#include "tacq/CPU/HotKernels.h"

using namespace mlir;
using namespace tacq;

LogicalResult tacq::emitCpuKernel(KernelBuilder &kernel, const CpuTarget &target,
                                  const CpuKernelOptions &options) {
  for (Operation &op : kernel.region().front()) {
    if (auto linear = dyn_cast<LinearOp>(op))
      return emitLinear(kernel, linear, target);
  }
  return emitNodeKernel(kernel);
}
