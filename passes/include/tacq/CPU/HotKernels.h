//===- HotKernels.h - Vectorized kernels of the named operations -*- C++ -*-===//
//
// Kernels of tacq.linear, tacq.attention (and its gradients), tacq.norm and tacq.rope in the vector
// dialect. A region holds exactly one such operation; its block arguments are the operation's
// tensors, and it yields the operation's results.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_CPU_HOTKERNELS_H
#define TACQ_CPU_HOTKERNELS_H

#include "tacq/CPU/CpuTarget.h"
#include "tacq/Codegen/KernelBuilder.h"

namespace tacq {

/// Emits the kernel of a region: of its one named operation, or of its nodes.
mlir::LogicalResult emitCpuKernel(KernelBuilder &kernel, const CpuTarget &target,
                                  const KernelOptions &options = {});

/// The weights must be in panels (tacq-pack-weights).
mlir::LogicalResult emitLinear(KernelBuilder &kernel, LinearOp op, const CpuTarget &target);
/// A linear operation whose input is quantized and whose weights are of mixed precision.
mlir::LogicalResult emitMixedLinear(KernelBuilder &kernel, LinearOp op, const CpuTarget &target,
                                    llvm::ArrayRef<TilingAttr> tilings = {});
mlir::LogicalResult emitQuantizeRows(KernelBuilder &kernel, QuantizeRowsOp op);
mlir::LogicalResult emitNorm(KernelBuilder &kernel, NormOp op, const CpuTarget &target);
mlir::LogicalResult emitRope(KernelBuilder &kernel, RopeOp op, const CpuTarget &target);

/// Attention over the keys and values of the cache if there is one, else over `k` and `v`. With a
/// cache the kernel only reads the present buffers: emitCacheAppend's kernel runs before it.
mlir::LogicalResult emitAttention(KernelBuilder &kernel, AttentionOp op, const CpuTarget &target,
                                  std::optional<Sym> capacity = std::nullopt);
mlir::LogicalResult emitAttentionGrad(KernelBuilder &kernel, AttentionGradOp op,
                                      const CpuTarget &target);
/// Writes `k` and `v` behind the past in the present buffers. The past itself is there already: the
/// past and the present are the same buffer.
mlir::LogicalResult emitCacheAppend(KernelBuilder &kernel, AttentionOp op,
                                    std::optional<Sym> capacity = std::nullopt);

} // namespace tacq

#endif // TACQ_CPU_HOTKERNELS_H
