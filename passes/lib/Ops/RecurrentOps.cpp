#include "tacq/Ops/OpSpec.h"

namespace tacq {

llvm::ArrayRef<OpSpec> recurrentOps() { return {}; }

} // namespace tacq
