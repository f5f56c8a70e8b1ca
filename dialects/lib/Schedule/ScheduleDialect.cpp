//===- ScheduleDialect.cpp - The runtime-level dialect --------------------===//

#include "tacq/Dialect/Schedule/ScheduleDialect.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace tacq;
using namespace tacq::rt;

#include "tacq/Dialect/Schedule/ScheduleDialect.cpp.inc"
#include "tacq/Dialect/Schedule/ScheduleEnums.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "tacq/Dialect/Schedule/ScheduleTypes.cpp.inc"
#define GET_OP_CLASSES
#include "tacq/Dialect/Schedule/ScheduleOps.cpp.inc"

void ScheduleDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "tacq/Dialect/Schedule/ScheduleTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "tacq/Dialect/Schedule/ScheduleOps.cpp.inc"
      >();
}

LogicalResult KernelOp::verify() {
  Block &block = getBody().front();
  if (block.empty() || !isa<YieldOp>(block.back()))
    return emitOpError("kernel.yield: the region ends in tacq.yield");
  for (Type type : getBody().getArgumentTypes())
    if (!isa<RankedTensorType>(type))
      return emitOpError("kernel.inputs: inputs are ranked tensors");
  for (Value value : block.back().getOperands())
    if (!isa<RankedTensorType>(value.getType()))
      return emitOpError("kernel.outputs: outputs are ranked tensors");
  return success();
}
