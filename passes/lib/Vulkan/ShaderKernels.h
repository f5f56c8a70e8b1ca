//===- ShaderKernels.h - Scalar kernels of the named operations -*- C++ -*-===//
//
// A region holds exactly one such operation; its block arguments are the operation's tensors, and
// it yields the operation's results. A task is an element of the result, or a row of it where its
// elements depend on each other.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_VULKAN_SHADERKERNELS_H
#define TACQ_LIB_VULKAN_SHADERKERNELS_H

#include "tacq/Vulkan/VulkanTarget.h"

namespace tacq {

/// A shader knows how many tasks there are, and does not get the last one.
void passTaskCount(KernelBuilder &kernel);

/// Weights in panels, or row-major where they have no layout.
mlir::LogicalResult emitLinearShader(KernelBuilder &kernel, LinearOp op);
/// A linear operation whose input is quantized and whose weights are of mixed precision.
mlir::LogicalResult emitMixedLinearShader(KernelBuilder &kernel, LinearOp op,
                                          VulkanProfileAttr profile);
/// The same by workgroups. False, and nothing is emitted, if the profile or the weights do not
/// allow it.
bool emitPanelLinearShader(KernelBuilder &kernel, LinearOp op, VulkanProfileAttr profile);
/// Whether the profile has what panels need.
bool hasPanelFeatures(VulkanProfileAttr profile);
/// Whether products make a single row of this quantization themselves: then its kernel has nothing
/// to do.
bool isRepeatedRow(QuantizeRowsOp op, VulkanProfileAttr profile);
/// The same for many rows, through cooperative matrices, and what runs before it: it decodes
/// weights and rows into the workspace. False as above.
bool emitTileDecodeShader(KernelBuilder &kernel, LinearOp op, VulkanProfileAttr profile);
bool emitTileLinearShader(KernelBuilder &kernel, LinearOp op, VulkanProfileAttr profile);
/// The same without matrices: of integers, for any profile.
bool emitIntegerTileShader(KernelBuilder &kernel, LinearOp op, VulkanProfileAttr profile);
/// Products of many rows with dense weights: of f16 through cooperative matrices, and others.
bool emitDenseMatrixShader(KernelBuilder &kernel, LinearOp op, VulkanProfileAttr profile);
bool emitDenseTileShader(KernelBuilder &kernel, LinearOp op, VulkanProfileAttr profile);
mlir::LogicalResult emitQuantizeRowsShader(KernelBuilder &kernel, QuantizeRowsOp op,
                                           VulkanProfileAttr profile);
/// An ArgMax or ArgMin over long rows, by workgroups. False, and nothing is emitted, if the node is
/// not of that kind.
bool emitArgMaxShader(KernelBuilder &kernel, NodeOp node, VulkanProfileAttr profile);
mlir::LogicalResult emitNormShader(KernelBuilder &kernel, NormOp op, VulkanProfileAttr profile);
/// A normalization whose result is quantized.
mlir::LogicalResult emitQuantizedNormShader(KernelBuilder &kernel, NormOp op,
                                            QuantizeRowsOp quantize, VulkanProfileAttr profile);
mlir::LogicalResult emitRopeShader(KernelBuilder &kernel, RopeOp op);
mlir::LogicalResult emitAttentionShader(KernelBuilder &kernel, AttentionOp op,
                                        VulkanProfileAttr profile, std::optional<Sym> capacity);
/// Attention of many queries, through cooperative matrices. False, and nothing is emitted, if the
/// profile or the operation does not allow it.
bool emitTileAttentionShader(KernelBuilder &kernel, AttentionOp op, VulkanProfileAttr profile,
                             std::optional<Sym> capacity);
/// Attention of few queries over many keys. First each chunk of the keys comes to a maximum, a
/// denominator and sums, in the workspace, which the variant then puts together. False as above.
bool emitSplitAttentionShader(KernelBuilder &kernel, AttentionOp op, VulkanProfileAttr profile,
                              bool first, std::optional<Sym> capacity);
mlir::LogicalResult emitCacheAppendShader(KernelBuilder &kernel, AttentionOp op,
                                          VulkanProfileAttr profile, std::optional<Sym> capacity);

} // namespace tacq

#endif // TACQ_LIB_VULKAN_SHADERKERNELS_H
