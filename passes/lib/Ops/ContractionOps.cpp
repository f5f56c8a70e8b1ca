#include "tacq/Ops/OpSpec.h"

namespace tacq {

llvm::ArrayRef<OpSpec> contractionOps() { return {}; }

} // namespace tacq
