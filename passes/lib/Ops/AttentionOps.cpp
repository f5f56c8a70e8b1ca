#include "tacq/Ops/OpSpec.h"

namespace tacq {

llvm::ArrayRef<OpSpec> attentionOps() { return {}; }

} // namespace tacq
