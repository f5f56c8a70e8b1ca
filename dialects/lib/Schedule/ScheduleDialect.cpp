//===- ScheduleDialect.cpp - The runtime-level dialect --------------------===//

#include "tacq/Dialect/Schedule/ScheduleDialect.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "tacq/Dialect/TACQ/MixedStorage.h"
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
    if (!isa<RankedTensorType, MixedType>(type))
      return emitOpError("kernel.inputs: inputs are ranked tensors or mixed-precision weights");
  for (Value value : block.back().getOperands())
    if (!isa<RankedTensorType>(value.getType()))
      return emitOpError("kernel.outputs: outputs are ranked tensors");
  if (std::optional<ArrayAttr> tilings = getTilings())
    for (auto tiling : tilings->getAsRange<TilingAttr>())
      if (tiling.getTaskRows() != cast<TilingAttr>((*tilings)[0]).getTaskRows())
        return emitOpError("kernel.tilings: tasks have as many rows for all weights and targets");
  return success();
}

//===----------------------------------------------------------------------===//
// Calls of kernels
//===----------------------------------------------------------------------===//

LogicalResult DispatchOp::verify() {
  if (getNodes().size() != getNodeOps().size())
    return emitOpError("dispatch.nodes: one operator for each node");
  return success();
}

LogicalResult DispatchOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto kernel = symbols.lookupNearestSymbolFrom<KernelOp>(*this, getKernelAttr());
  if (!kernel)
    return emitOpError("dispatch.kernel: there is no kernel '") << getKernel() << "'";
  Block &body = kernel.getBody().front();
  auto kernelType = [](Type type) -> Type {
    auto mixed = dyn_cast<MixedType>(type);
    return mixed ? withoutCount(mixed) : type;
  };
  if (!llvm::equal(llvm::map_range(getInputs().getTypes(), kernelType), body.getArgumentTypes()))
    return emitOpError("dispatch.inputs: the kernel '") << getKernel() << "' takes other types";
  if (getOutputs().getTypes() != body.back().getOperandTypes())
    return emitOpError("dispatch.outputs: the kernel '") << getKernel() << "' gives other types";
  return success();
}

LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto kernel = symbols.lookupNearestSymbolFrom<KernelOp>(*this, getKernelAttr());
  if (!kernel)
    return emitOpError("launch.kernel: there is no kernel '") << getKernel() << "'";
  Block &body = kernel.getBody().front();
  if (getReads().size() != body.getNumArguments())
    return emitOpError("launch.reads: ")
           << getReads().size() << " buffers for the " << body.getNumArguments()
           << " inputs of the kernel '" << getKernel() << "'";
  if (getWrites().size() != body.back().getNumOperands())
    return emitOpError("launch.writes: ")
           << getWrites().size() << " buffers for the " << body.back().getNumOperands()
           << " outputs of the kernel '" << getKernel() << "'";
  return success();
}

//===----------------------------------------------------------------------===//
// Schedules
//===----------------------------------------------------------------------===//

static LogicalResult verifyExpression(Operation *op, StringRef label, StringRef text) {
  if (Sym::parse(text))
    return success();
  return op->emitOpError(label) << ": '" << text << "' is not a symbolic expression";
}

LogicalResult BufferOp::verify() {
  bool isConstant = getKind() == BufferKind::Constant;
  if (int(bool(getParam())) + int(bool(getValue())) != int(isConstant))
    return emitOpError("buffer.constant: a constant, and nothing else, names either its parameter "
                       "or its value");
  return verifyExpression(*this, "buffer.size", getSize());
}

LogicalResult CopyOp::verify() { return verifyExpression(*this, "copy.size", getSize()); }

LogicalResult rt::RequireOp::verify() {
  if (failed(verifyExpression(*this, "require.condition", getLhs())))
    return failure();
  return verifyExpression(*this, "require.condition", getRhs());
}

LogicalResult IfOp::verify() { return verifyExpression(*this, "if.condition", getCondition()); }

/// What is declared has the numbers 0, 1, … once each.
template <typename OpT>
static LogicalResult collectDeclared(Block &block, SmallVectorImpl<OpT> &declared) {
  auto ops = block.getOps<OpT>();
  declared.resize(std::distance(ops.begin(), ops.end()));
  for (OpT op : ops) {
    int64_t index = op.getIndex();
    if (index < 0 || index >= int64_t(declared.size()))
      return op.emitOpError("schedule.index: number ")
             << index << " of " << declared.size() << " is out of range";
    if (declared[index])
      return op.emitOpError("schedule.index: number ") << index << " is declared twice";
    declared[index] = op;
  }
  return success();
}

LogicalResult ScheduleOp::verifyRegions() {
  SmallVector<InputOp> inputs;
  SmallVector<OutputOp> outputs;
  SmallVector<StateOp> states;
  Block &block = getBody().front();
  if (failed(collectDeclared(block, inputs)) || failed(collectDeclared(block, outputs)) ||
      failed(collectDeclared(block, states)))
    return failure();
  auto isNumber = [](int64_t index, size_t count) { return index >= 0 && index < int64_t(count); };
  for (StateOp state : states)
    if (!isNumber(state.getInput(), inputs.size()) || !isNumber(state.getOutput(), outputs.size()))
      return state.emitOpError("schedule.state: a state joins an input and an output of the model");
  WalkResult walked = walk([&](Operation *op) {
    if (auto buffer = dyn_cast<BufferOp>(op)) {
      size_t count = buffer.getKind() == BufferKind::Input    ? inputs.size()
                     : buffer.getKind() == BufferKind::Output ? outputs.size()
                     : buffer.getKind() == BufferKind::State
                         ? states.size()
                         : size_t(std::numeric_limits<int64_t>::max());
      if (!isNumber(buffer.getIndex(), count)) {
        buffer.emitOpError("schedule.buffer: there is no ")
            << stringifyBufferKind(buffer.getKind()) << " " << buffer.getIndex();
        return WalkResult::interrupt();
      }
    } else if (auto launch = dyn_cast<LaunchOp>(op)) {
      std::optional<int64_t> state = launch.getCapacityOf();
      if (state && (!isNumber(*state, states.size()) || !states[*state].getInPlace())) {
        launch.emitOpError("schedule.capacity: there is no state ") << *state << " in place";
        return WalkResult::interrupt();
      }
    }
    return WalkResult::advance();
  });
  return failure(walked.wasInterrupted());
}
