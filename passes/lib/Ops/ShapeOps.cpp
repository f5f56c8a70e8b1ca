#include "tacq/Ops/OpSpec.h"

namespace tacq {

llvm::ArrayRef<OpSpec> shapeOps() { return {}; }

} // namespace tacq
