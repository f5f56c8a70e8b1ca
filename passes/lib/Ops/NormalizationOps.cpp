#include "tacq/Ops/OpSpec.h"

namespace tacq {

llvm::ArrayRef<OpSpec> normalizationOps() { return {}; }

} // namespace tacq
