#include "tacq/Ops/OpSpec.h"

namespace tacq {

llvm::ArrayRef<OpSpec> movementOps() { return {}; }

} // namespace tacq
