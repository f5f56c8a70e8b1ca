//===- EmitKernel.cpp - Chooses the code of a kernel's region -------------===//

#include "tacq/CPU/HotKernels.h"
#include "tacq/Codegen/MixedFormat.h"

using namespace mlir;
using namespace tacq;

LogicalResult tacq::emitCpuKernel(KernelBuilder &kernel, const CpuTarget &target,
                                  const KernelOptions &options) {
  Block &body = kernel.region().front();
  for (auto attention : body.getOps<AttentionOp>())
    return options.append ? emitCacheAppend(kernel, attention, target, options)
                          : emitAttention(kernel, attention, target, options);
  for (auto linear : body.getOps<LinearOp>())
    return hasMixedWeights(linear) ? emitMixedLinear(kernel, linear, target, options)
                                   : emitLinear(kernel, linear, target);
  for (auto quantize : body.getOps<QuantizeRowsOp>())
    if (auto norm = quantize.getX().getDefiningOp<NormOp>())
      return emitQuantizedNorm(kernel, norm, quantize);
    else
      return emitQuantizeRows(kernel, quantize);
  for (Operation &op : body) {
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
