#include "tacq/Ops/OpSpec.h"

namespace tacq {

llvm::ArrayRef<OpSpec> reductionOps() { return {}; }

} // namespace tacq
