//===- EmitKernel.cpp - Chooses the code of a kernel's region -------------===//

#include "tacq/CPU/HotKernels.h"

using namespace mlir;
using namespace tacq;

LogicalResult tacq::emitCpuKernel(KernelBuilder &kernel, const CpuTarget &target,
                                  const KernelOptions &options) {
  for (Operation &op : kernel.region().front()) {
    if (auto linear = dyn_cast<LinearOp>(op))
      return isa<MixedType>(linear.getWeights()[0].getType())
                 ? emitMixedLinear(kernel, linear, target, options.tilings)
                 : emitLinear(kernel, linear, target);
    if (auto quantize = dyn_cast<QuantizeRowsOp>(op))
      return emitQuantizeRows(kernel, quantize);
    if (auto attention = dyn_cast<AttentionOp>(op))
      return options.append ? emitCacheAppend(kernel, attention, options.capacity)
                            : emitAttention(kernel, attention, target, options.capacity);
    if (auto attention = dyn_cast<AttentionGradOp>(op))
      return emitAttentionGrad(kernel, attention, target);
    if (auto norm = dyn_cast<NormOp>(op))
      return emitNorm(kernel, norm, target);
    if (auto rope = dyn_cast<RopeOp>(op))
      return emitRope(kernel, rope, target);
  }
  kernel.vectorBits = target.vectorBits;
  return emitNodeKernel(kernel);
}
