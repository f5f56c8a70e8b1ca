//===- PoolingTables.h - Parts of the pooling operators' table ------------===//

#ifndef TACQ_LIB_OPS_POOLINGTABLES_H
#define TACQ_LIB_OPS_POOLINGTABLES_H

#include "tacq/Ops/OpSpec.h"

namespace tacq {

/// Resize and Upsample.
llvm::ArrayRef<OpSpec> resizeOps();
/// GridSample, AffineGrid.
llvm::ArrayRef<OpSpec> samplingOps();

} // namespace tacq

#endif // TACQ_LIB_OPS_POOLINGTABLES_H
