#include "tacq/Ops/OpSpec.h"

namespace tacq {

llvm::ArrayRef<OpSpec> indexingOps() { return {}; }

} // namespace tacq
