//===- HotKernels.h - Vectorized kernels of the named operations -*- C++ -*-===//
//
// Kernels of tacq.linear, tacq.attention (and its gradients), tacq.norm and tacq.rope in the vector
// dialect. A region holds one such operation; its block arguments are the operation's tensors, and
// it yields the operation's results. Two pairs come together (tacq-form-dispatches): a
// normalization (or nodes of elements) with the quantization of its result, and the rotary
// embeddings of queries and keys with attention over a cache. Then the rotated queries are yielded
// behind the results of attention.
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
                                    const KernelOptions &options = {});
/// Of a tensor in memory, or of one that nodes of elements in the region compute.
mlir::LogicalResult emitQuantizeRows(KernelBuilder &kernel, QuantizeRowsOp op);
mlir::LogicalResult emitNorm(KernelBuilder &kernel, NormOp op, const CpuTarget &target);
/// A normalization of which only the quantized rows are wanted.
mlir::LogicalResult emitQuantizedNorm(KernelBuilder &kernel, NormOp op, QuantizeRowsOp quantize);
mlir::LogicalResult emitRope(KernelBuilder &kernel, RopeOp op, const CpuTarget &target);

/// Attention over the keys and values of the cache if there is one, else over `k` and `v`. With a
/// cache the kernel only reads the present buffers: emitCacheAppend's kernel runs before it. Where
/// options.attendAppends is set and queries are few, that kernel has no tasks and this one does its
/// work.
mlir::LogicalResult emitAttention(KernelBuilder &kernel, AttentionOp op, const CpuTarget &target,
                                  const KernelOptions &options = {});
mlir::LogicalResult emitAttentionGrad(KernelBuilder &kernel, AttentionGradOp op,
                                      const CpuTarget &target);
/// Writes `k` and `v` behind the past in the present buffers. The past itself is there already: the
/// past and the present are the same buffer.
mlir::LogicalResult emitCacheAppend(KernelBuilder &kernel, AttentionOp op, const CpuTarget &target,
                                    const KernelOptions &options = {});

} // namespace tacq

#endif // TACQ_CPU_HOTKERNELS_H
