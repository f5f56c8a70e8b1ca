#include "tacq/Ops/OpSpec.h"

namespace tacq {

llvm::ArrayRef<OpSpec> poolingOps() { return {}; }

} // namespace tacq
