//===- MovementOps.cpp - The table of operators that move elements --------===//

#include "MovementOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include <vector>

using namespace mlir;
using namespace tacq;

std::optional<Dims> tacq::attributeOrOperand(InferContext &c, StringRef name, unsigned operand) {
  if (c.has(operand))
    return c.values(operand);
  if (!c.attrs.has(name))
    return std::nullopt;
  Dims result;
  for (int64_t value : c.attrs.integers(name))
    result.push_back(Sym(value));
  return result;
}

FailureOr<SmallVector<int64_t>> tacq::constantAxes(InferContext &c, ArrayRef<Sym> axes,
                                                   int64_t rank) {
  SmallVector<int64_t> result;
  for (const Sym &axis : axes) {
    if (!axis.constant()) {
      (void)c.unsupported("its axes are known only at run time");
      return failure();
    }
    FailureOr<int64_t> normalized = c.axis(*axis.constant(), rank);
    if (failed(normalized))
      return failure();
    result.push_back(*normalized);
  }
  return result;
}

Value tacq::floorModIndex(KernelBuilder &k, Value x, Value y) {
  Value rest = k.b.create<arith::RemSIOp>(x, y);
  return k.select(k.less(rest, k.index(0)), k.add(rest, y), rest);
}

llvm::ArrayRef<OpSpec> tacq::movementOps() {
  static const std::vector<OpSpec> table = [] {
    std::vector<OpSpec> all;
    for (llvm::ArrayRef<OpSpec> part : {viewOps(), sliceOps(), padOps(), permuteOps()})
      all.insert(all.end(), part.begin(), part.end());
    return all;
  }();
  return table;
}
