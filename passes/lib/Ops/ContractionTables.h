//===- ContractionTables.h - Parts of the contractions' table -------------===//

#ifndef TACQ_LIB_OPS_CONTRACTIONTABLES_H
#define TACQ_LIB_OPS_CONTRACTIONTABLES_H

#include "tacq/Ops/OpSpec.h"

namespace tacq {

/// Einsum.
llvm::ArrayRef<OpSpec> einsumOps();
/// Conv and ConvTranspose.
llvm::ArrayRef<OpSpec> convolutionOps();

} // namespace tacq

#endif // TACQ_LIB_OPS_CONTRACTIONTABLES_H
