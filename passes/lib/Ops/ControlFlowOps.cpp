#include "tacq/Ops/OpSpec.h"

namespace tacq {

llvm::ArrayRef<OpSpec> controlFlowOps() { return {}; }

} // namespace tacq
