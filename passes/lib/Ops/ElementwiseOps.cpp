#include "tacq/Ops/OpSpec.h"

namespace tacq {

llvm::ArrayRef<OpSpec> elementwiseOps() { return {}; }

} // namespace tacq
