//===- IndexingOps.cpp - The table of operators with indices as data ------===//

#include "IndexingOps.h"
#include <vector>

using namespace mlir;
using namespace tacq;

LogicalResult tacq::requireElements(InferContext &c, unsigned indices, const Sym &extent) {
  if (extent.constant().value_or(0) > 0)
    return success();
  return c.requireAtMost(Sym::min(elementCount(c.dims(indices)), Sym(1)), extent,
                         "there are indices into an axis without elements");
}

Value tacq::loadIndex(KernelBuilder &k, NodeOp node, Value indices, ValueRange at,
                      const Sym &extent) {
  Value raw = k.toIndex(k.load(indices, at), k.elementType(indices));
  return k.checkedIndex(raw, k.sym(extent), node);
}

llvm::ArrayRef<OpSpec> tacq::indexingOps() {
  static const std::vector<OpSpec> table = [] {
    std::vector<OpSpec> all;
    for (llvm::ArrayRef<OpSpec> part : {gatherOps(), scatterOps(), searchOps(), lossOps()})
      all.insert(all.end(), part.begin(), part.end());
    return all;
  }();
  return table;
}
