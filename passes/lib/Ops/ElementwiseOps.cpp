//===- ElementwiseOps.cpp - The elementwise operators' table --------------===//

#include "ElementwiseOps.h"
#include <vector>

using namespace mlir;
using namespace tacq;

LogicalResult tacq::inferSame(InferContext &c) {
  c.setResult(0, c.elementType(0), c.dims(0));
  return success();
}

/// "f32", "i64", …
static std::string textOf(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

/// All operands of one element type; Pow's exponent may have another one.
static LogicalResult requireOneType(InferContext &c) {
  for (unsigned i = 1; i < c.operandCount(); ++i)
    if (c.elementType(i) != c.elementType(0) && c.node.getOpType() != "Pow")
      return c.fail("its operands have the element types " + textOf(c.elementType(0)) + " and " +
                    textOf(c.elementType(i)) + " but must have the same");
  return success();
}

static LogicalResult inferBroadcastTo(InferContext &c, Type element) {
  if (failed(requireOneType(c)))
    return failure();
  Dims dims = c.dims(0);
  for (unsigned i = 1; i < c.operandCount(); ++i) {
    FailureOr<Dims> wider = c.broadcast(dims, c.dims(i));
    if (failed(wider))
      return failure();
    dims = *wider;
  }
  c.setResult(0, element, dims);
  return success();
}

LogicalResult tacq::inferBroadcast(InferContext &c) {
  return inferBroadcastTo(c, c.elementType(0));
}

LogicalResult tacq::inferComparison(InferContext &c) {
  return inferBroadcastTo(c, IntegerType::get(c.node.getContext(), 1));
}

llvm::ArrayRef<OpSpec> tacq::elementwiseOps() {
  static const std::vector<OpSpec> table = [] {
    std::vector<OpSpec> all;
    for (llvm::ArrayRef<OpSpec> part :
         {arithmeticOps(), logicOps(), mathOps(), activationOps(), castOps()})
      all.insert(all.end(), part.begin(), part.end());
    return all;
  }();
  return table;
}
