//===- RowOps.h - Part of the reductions' table ---------------------------===//

#ifndef TACQ_LIB_OPS_ROWOPS_H
#define TACQ_LIB_OPS_ROWOPS_H

#include "tacq/Ops/OpSpec.h"

namespace tacq {

/// Softmax, LogSoftmax and Hardmax.
llvm::ArrayRef<OpSpec> rowOps();

} // namespace tacq

#endif // TACQ_LIB_OPS_ROWOPS_H
