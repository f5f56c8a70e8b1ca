//===- Windows.h - Windows of convolutions and pools ----------------------===//

#ifndef TACQ_LIB_OPS_WINDOWS_H
#define TACQ_LIB_OPS_WINDOWS_H

#include "tacq/Ops/OpSpec.h"

namespace tacq {

/// How windows lie over the spatial axes of a tensor: window o covers the positions
/// o * stride - padBegin + j * dilation, j in [0, kernel). One entry for each spatial axis.
struct Windows {
  llvm::SmallVector<int64_t> strides, dilations;
  Dims kernel, in, out, padBegin, padEnd;

  size_t rank() const { return in.size(); }
};

/// Windows by the attributes strides, dilations, pads, auto_pad and ceil_mode.
Windows windowsOf(const NodeAttrs &attrs, llvm::ArrayRef<Sym> in, llvm::ArrayRef<Sym> kernel);

/// The windows of a transposed convolution: `out` are the positions that windows lie over, `in` the
/// number of windows. Also by output_padding and output_shape.
Windows transposedWindowsOf(const NodeAttrs &attrs, llvm::ArrayRef<Sym> in,
                            llvm::ArrayRef<Sym> kernel);

/// Fails if an attribute has not one entry (pads: two) for each spatial axis.
mlir::LogicalResult checkWindowAttributes(InferContext &ctx, size_t spatialRank);

} // namespace tacq

#endif // TACQ_LIB_OPS_WINDOWS_H
