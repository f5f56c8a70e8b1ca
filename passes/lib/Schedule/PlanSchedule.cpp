//===- PlanSchedule.cpp - Buffers and launches ----------------------------===//

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "tacq/Dialect/TACQ/MixedStorage.h"
#include "tacq/Schedule/Passes.h"
#include "llvm/Support/SaveAndRestore.h"

namespace tacq {
#define GEN_PASS_DEF_PLANSCHEDULE
#include "tacq/Schedule/Passes.h.inc"
} // namespace tacq

using namespace mlir;
using namespace tacq;

static Type elementTypeOf(Type type) { return cast<ShapedType>(type).getElementType(); }

/// The type of a parameter's elements; a mixed-precision weight stands for itself.
static Type constantElement(Type type) { return isa<MixedType>(type) ? type : elementTypeOf(type); }

static Sym byteSize(Type type) {
  int64_t bits = std::max(8u, elementTypeOf(type).getIntOrFloatBitWidth());
  return elementCount(*dimsOf(type)) * Sym(bits / 8);
}

namespace {
/// A key/value cache (or another tensor that goes around) of the model.
struct State {
  unsigned input, output;
  int64_t axis;
  bool inPlace;
  std::string name;
};

class SchedulePlanner {
public:
  SchedulePlanner(ModuleOp module, func::FuncOp function)
      : module(module), function(function), builder(module.getContext()) {}

  LogicalResult run();
  unsigned slotCount() const { return slots.size(); }
  unsigned transientCount = 0, inPlaceCount = 0;

private:
  struct Slot {
    Sym size;
    /// Position of the last use; the slot is free behind it.
    unsigned busyUntil;
  };

  std::string inputName(unsigned i) {
    return ioName(function.getArgAttr(i, "tacq.name"), "input", i);
  }
  std::string outputName(unsigned i) {
    return ioName(function.getResultAttr(i, "tacq.name"), "output", i);
  }
  static std::string ioName(Attribute attr, StringRef kind, unsigned i) {
    auto name = dyn_cast_or_null<StringAttr>(attr);
    return name ? name.getValue().str() : (kind + Twine(i)).str();
  }

  Type bufferType() { return rt::BufferType::get(builder.getContext()); }
  void declareInterface();
  void findCaches();
  void findNamedStates();
  void numberUses(Block &block);
  Value source(Value value);
  Value makeBuffer(rt::BufferKind kind, int64_t index, Type type);
  Value bufferOf(Value value);
  Value placeResult(Value value);
  LogicalResult emitBlock(Block &block);
  LogicalResult emitIf(NodeOp node);
  LogicalResult emitCopy(Value from, Value to);
  void emitRequire(RequireOp require);
  LogicalResult emitDispatch(rt::DispatchOp dispatch);
  AttentionOp cachedAttention(rt::DispatchOp dispatch);
  FlatSymbolRefAttr secondPhase(rt::DispatchOp dispatch);

  ModuleOp module;
  func::FuncOp function;
  OpBuilder builder;
  SymbolTableCollection symbolTables;
  SmallVector<State> states;
  llvm::DenseMap<Value, Value> buffers;
  /// The buffer of a parameter in a layout, by the attributes of the operations that read it.
  llvm::DenseMap<Attribute, Value> constantOf;
  llvm::DenseMap<Value, unsigned> lastUse;
  llvm::DenseMap<Operation *, unsigned> positions;
  llvm::DenseMap<Value, unsigned> outputOf;
  /// Values of a branch that are computed straight into the buffer of the If's result.
  llvm::DenseMap<Value, Value> placedByUser;
  /// Buffers stand in front of all commands: they may be used in any branch.
  Operation *firstCommand = nullptr;
  SmallVector<Slot> slots;
  unsigned position = 0;
  /// 1 where the branch that is being emitted is taken, else 0.
  Sym taken = Sym(1);
};
} // namespace

/// What holds the memory of a value: views are looked through.
Value SchedulePlanner::source(Value value) {
  for (auto node = value.getDefiningOp<NodeOp>(); node && node.getBodies().empty();
       node = value.getDefiningOp<NodeOp>())
    value = node.getInputs()[0];
  return value;
}

AttentionOp SchedulePlanner::cachedAttention(rt::DispatchOp dispatch) {
  auto kernel =
      symbolTables.lookupNearestSymbolFrom<rt::KernelOp>(dispatch, dispatch.getKernelAttr());
  for (auto attention : kernel.getBody().getOps<AttentionOp>())
    if (attention.getPastKey())
      return attention;
  return nullptr;
}

/// Attentions whose past is an input and whose present is an output of the model, and neither is
/// used elsewhere, keep their cache in place.
void SchedulePlanner::findCaches() {
  Operation *terminator = function.getBody().front().getTerminator();
  function.walk([&](rt::DispatchOp dispatch) {
    AttentionOp attention = cachedAttention(dispatch);
    if (!attention)
      return;
    auto pair = [&](Value past, Value present) {
      unsigned argumentNumber = cast<BlockArgument>(past).getArgNumber();
      auto input = dyn_cast<BlockArgument>(dispatch.getInputs()[argumentNumber]);
      unsigned resultNumber = cast<OpResult>(present).getResultNumber();
      Value output = dispatch.getOutputs()[resultNumber];
      if (!input || !input.hasOneUse() || !output.hasOneUse() || *output.user_begin() != terminator)
        return;
      unsigned outputNumber = output.use_begin()->getOperandNumber();
      states.push_back({input.getArgNumber(), outputNumber, 2, true, outputName(outputNumber)});
    };
    pair(attention.getPastKey(), attention.getPresentKey());
    pair(attention.getPastValue(), attention.getPresentValue());
  });
  // A kernel's key and value cache have one capacity: both are in place or neither.
  inPlaceCount = states.size();
}

/// Inputs and outputs named as exporters name caches ("past_key_values.0.key", "present.0.key").
void SchedulePlanner::findNamedStates() {
  Operation *terminator = function.getBody().front().getTerminator();
  for (unsigned i = 0; i < function.getNumArguments(); ++i) {
    std::string name = inputName(i);
    StringRef rest = name;
    if (!rest.consume_front("past_key_values.") && !rest.consume_front("past."))
      continue;
    if (llvm::any_of(states, [&](const State &s) { return s.input == i; }))
      continue;
    for (unsigned j = 0; j < terminator->getNumOperands(); ++j) {
      if (outputName(j) != "present." + rest.str() &&
          outputName(j) != "present_key_values." + rest.str())
        continue;
      std::optional<Dims> past = dimsOf(function.getArgument(i));
      std::optional<Dims> present = dimsOf(terminator->getOperand(j));
      if (!past || !present || past->size() != present->size() ||
          elementTypeOf(function.getArgument(i).getType()) !=
              elementTypeOf(terminator->getOperand(j).getType()))
        continue;
      int64_t axis = -1;
      unsigned differing = 0;
      for (auto [d, dims] : llvm::enumerate(llvm::zip(*past, *present)))
        if (std::get<0>(dims) != std::get<1>(dims)) {
          axis = d;
          ++differing;
        }
      // A cache whose extent is fixed does not grow from call to call.
      bool grows = axis < 0 || !(*past)[axis].constant();
      if (differing <= 1 && grows)
        states.push_back({i, j, axis, false, outputName(j)});
    }
  }
}

void SchedulePlanner::numberUses(Block &block) {
  for (Operation &op : block) {
    positions[&op] = ++position;
    for (Value operand : op.getOperands())
      lastUse[source(operand)] = position;
    for (Region &region : op.getRegions())
      for (Block &inner : region)
        numberUses(inner);
    // What a branch uses lives until its end, and so do the results, which it may write early.
    for (Value result : op.getResults())
      lastUse[result] = position;
    if (op.getNumRegions())
      op.walk([&](Operation *inner) {
        for (Value operand : inner->getOperands())
          lastUse[source(operand)] = position;
      });
  }
}

Value SchedulePlanner::makeBuffer(rt::BufferKind kind, int64_t index, Type type) {
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(firstCommand);
  return builder.create<rt::BufferOp>(function.getLoc(), bufferType(), kind, index,
                                      byteSize(type).str(), elementTypeOf(type),
                                      FlatSymbolRefAttr(), ElementsAttr(), Attribute());
}

Value SchedulePlanner::bufferOf(Value value) {
  value = source(value);
  Value &buffer = buffers[value];
  if (buffer)
    return buffer;
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    unsigned number = argument.getArgNumber();
    for (auto [i, state] : llvm::enumerate(states))
      if (state.inPlace && state.input == number)
        return buffer = makeBuffer(rt::BufferKind::State, i, value.getType());
    return buffer = makeBuffer(rt::BufferKind::Input, number, value.getType());
  }
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(firstCommand);
  if (auto param = value.getDefiningOp<GetParamOp>()) {
    Value &constant = constantOf[param->getAttrDictionary()];
    if (!constant) {
      Sym size;
      if (auto mixed = dyn_cast<MixedType>(value.getType()))
        size = Sym(storedBytes(mixed, cast<LayoutAttr>(param.getLayoutAttr())).total());
      else
        size = byteSize(value.getType());
      constant = builder.create<rt::BufferOp>(
          param.getLoc(), bufferType(), rt::BufferKind::Constant, 0, size.str(),
          constantElement(value.getType()), param.getParamAttr(), ElementsAttr(),
          param->getAttr("layout"));
    }
    return buffer = constant;
  }
  if (auto constant = value.getDefiningOp<ConstantOp>())
    return buffer = builder.create<rt::BufferOp>(
               constant.getLoc(), bufferType(), rt::BufferKind::Constant, 0,
               byteSize(value.getType()).str(), elementTypeOf(value.getType()), FlatSymbolRefAttr(),
               constant.getValue(), Attribute());
  return nullptr;
}

/// The buffer of a result that a launch is about to write.
Value SchedulePlanner::placeResult(Value value) {
  if (Value place = placedByUser.lookup(value))
    return buffers[value] = place;
  if (auto it = outputOf.find(value); it != outputOf.end()) {
    for (auto [i, state] : llvm::enumerate(states))
      if (state.inPlace && state.output == it->second)
        return buffers[value] = bufferOf(function.getArgument(state.input));
    return buffers[value] = makeBuffer(rt::BufferKind::Output, it->second, value.getType());
  }
  ++transientCount;
  Sym size = byteSize(value.getType());
  unsigned until = std::max(lastUse.lookup(value), position);
  auto comparable = [](const Sym &a, const Sym &b) {
    return (a - b).isNonNegative() || (b - a).isNonNegative();
  };
  Slot *best = nullptr;
  for (Slot &slot : slots) {
    if (slot.busyUntil >= position)
      continue;
    if (slot.size == size) {
      best = &slot;
      break;
    }
    if (!best && comparable(slot.size, size))
      best = &slot;
  }
  if (!best) {
    slots.push_back({size, until});
    best = &slots.back();
  }
  best->busyUntil = until;
  best->size = Sym::max(best->size, size);
  return buffers[value] =
             makeBuffer(rt::BufferKind::Transient, best - slots.begin(), value.getType());
}

/// The kernel that attends after the cache has been appended to: a copy of the first one.
FlatSymbolRefAttr SchedulePlanner::secondPhase(rt::DispatchOp dispatch) {
  std::string name = dispatch.getKernel().str() + "_attend";
  SymbolTable table(module);
  if (!table.lookup(name)) {
    auto kernel = table.lookup<rt::KernelOp>(dispatch.getKernel());
    auto copy = cast<rt::KernelOp>(kernel->clone());
    copy.setSymName(name);
    copy.setPhase(1);
    module.getBody()->push_back(copy);
  }
  return FlatSymbolRefAttr::get(builder.getContext(), name);
}

LogicalResult SchedulePlanner::emitDispatch(rt::DispatchOp dispatch) {
  SmallVector<Value> reads, writes;
  for (Value input : dispatch.getInputs())
    reads.push_back(bufferOf(input));
  for (Value output : dispatch.getOutputs())
    writes.push_back(placeResult(output));
  IntegerAttr capacityOf;
  for (Value write : writes) {
    auto buffer = write.getDefiningOp<rt::BufferOp>();
    if (buffer.getKind() == rt::BufferKind::State && !capacityOf)
      capacityOf = builder.getI64IntegerAttr(buffer.getIndex());
  }
  SmallVector<FlatSymbolRefAttr> kernels{dispatch.getKernelAttr()};
  if (cachedAttention(dispatch)) {
    if (!capacityOf)
      return dispatch.emitError(
          "the cache of an attention is not an input and output of the model");
    kernels.push_back(secondPhase(dispatch));
  }
  for (FlatSymbolRefAttr kernel : kernels)
    builder.create<rt::LaunchOp>(dispatch.getLoc(), kernel, dispatch.getNodes(),
                                 dispatch.getNodeOps(), reads, writes, capacityOf);
  return success();
}

/// Both branches write the buffers of the results; only one of them runs.
LogicalResult SchedulePlanner::emitIf(NodeOp node) {
  if (node.getOpType() != "If" || node.getBodies().size() != 2)
    return node.emitError("unsupported node '")
           << node.getNodeName() << "' (" << node.getOpType() << ", opset " << node.getOpset()
           << "): control flow of this kind is compiled only with a known trip count";
  std::string name = "branch" + std::to_string(position);
  builder.create<rt::ReadOp>(node.getLoc(), bufferOf(node.getInputs()[0]), name, 1);
  SmallVector<Value> results;
  for (Value result : node.getOutputs())
    results.push_back(placeResult(result));
  Sym condition = Sym::name("%" + name + "[0]");
  auto choice = builder.create<rt::IfOp>(node.getLoc(), condition.str());
  OpBuilder::InsertionGuard guard(builder);
  llvm::SaveAndRestore<Sym> outer(taken, taken);
  for (unsigned branch : {0, 1}) {
    Region &target = branch == 0 ? choice.getThenBody() : choice.getElseBody();
    Block &block = node.getBodies()[branch].front();
    builder.setInsertionPointToEnd(&target.emplaceBlock());
    taken = outer.get() * (branch == 0 ? condition : Sym(1) - condition);
    OperandRange yielded = block.getTerminator()->getOperands();
    for (auto [value, result] : llvm::zip(yielded, results)) {
      Value held = source(value);
      if (held.getDefiningOp<rt::DispatchOp>() && held.getParentBlock() == &block)
        placedByUser.try_emplace(held, result);
    }
    if (failed(emitBlock(block)))
      return failure();
    for (auto [value, result] : llvm::zip(yielded, results))
      if (failed(emitCopy(value, result)))
        return failure();
  }
  return success();
}

/// Copies a value into a buffer, unless it is there already.
LogicalResult SchedulePlanner::emitCopy(Value value, Value to) {
  Value from = bufferOf(value);
  if (!from)
    return emitError(value.getLoc(), "a value that is to be copied is not in memory");
  if (from != to)
    builder.create<rt::CopyOp>(value.getLoc(), from, to, byteSize(value.getType()).str());
  return success();
}

/// Symbols are computed whether a branch is taken or not; what it requires counts only if it is.
void SchedulePlanner::emitRequire(RequireOp require) {
  auto counted = [&](StringRef side) { return (*Sym::parse(side) * taken).str(); };
  builder.create<rt::RequireOp>(require.getLoc(), counted(require.getLhs()),
                                counted(require.getRhs()), require.getMessage(),
                                require.getAtMost());
}

LogicalResult SchedulePlanner::emitBlock(Block &block) {
  for (Operation &op : block) {
    position = positions[&op];
    if (auto dispatch = dyn_cast<rt::DispatchOp>(op)) {
      if (failed(emitDispatch(dispatch)))
        return failure();
    } else if (auto read = dyn_cast<ReadSymbolOp>(op)) {
      auto count = cast<ShapedType>(read.getTensor().getType()).getNumElements();
      builder.create<rt::ReadOp>(op.getLoc(), bufferOf(read.getTensor()), read.getName(), count);
    } else if (auto require = dyn_cast<RequireOp>(op)) {
      emitRequire(require);
    } else if (isa<func::ReturnOp>(op)) {
      for (auto [i, value] : llvm::enumerate(op.getOperands())) {
        auto held = outputOf.find(source(value));
        if (held != outputOf.end() && held->second == i)
          continue;
        if (failed(emitCopy(value, makeBuffer(rt::BufferKind::Output, i, value.getType()))))
          return failure();
      }
    } else if (auto node = dyn_cast<NodeOp>(op)) {
      if (!node.getBodies().empty() && failed(emitIf(node)))
        return failure();
    } else if (!isa<GetParamOp, ConstantOp, SymbolicOp, NoneOp, YieldOp>(op)) {
      return op.emitError("is no part of a schedule");
    }
  }
  return success();
}

void SchedulePlanner::declareInterface() {
  Operation *terminator = function.getBody().front().getTerminator();
  for (auto [i, argument] : llvm::enumerate(function.getArguments()))
    builder.create<rt::InputOp>(function.getLoc(), i, inputName(i), argument.getType());
  for (auto [i, value] : llvm::enumerate(terminator->getOperands()))
    builder.create<rt::OutputOp>(function.getLoc(), i, outputName(i), value.getType());
  for (auto [i, state] : llvm::enumerate(states))
    builder.create<rt::StateOp>(function.getLoc(), i, state.name, state.input, state.output,
                                state.axis, state.inPlace);
}

LogicalResult SchedulePlanner::run() {
  Operation *terminator = function.getBody().front().getTerminator();
  findCaches();
  findNamedStates();
  // An output is written in place by the launch that computes it, where no other output is.
  for (auto [i, value] : llvm::enumerate(terminator->getOperands())) {
    Value held = source(value);
    if (isa_and_nonnull<rt::DispatchOp, NodeOp>(held.getDefiningOp()))
      outputOf.try_emplace(held, i);
  }
  numberUses(function.getBody().front());
  builder.setInsertionPoint(function);
  auto schedule = builder.create<rt::ScheduleOp>(function.getLoc(), function.getName());
  builder.setInsertionPointToEnd(&schedule.getBody().emplaceBlock());
  declareInterface();
  // Stands for the first command while buffers are made.
  firstCommand = builder.create<rt::RequireOp>(function.getLoc(), "0", "0", "", false);
  if (failed(emitBlock(function.getBody().front())))
    return failure();
  firstCommand->erase();
  function.erase();
  return success();
}

namespace {
class PlanSchedulePass : public tacq::impl::PlanScheduleBase<PlanSchedulePass> {
  using PlanScheduleBase::PlanScheduleBase;

  void runOnOperation() override {
    for (auto function : llvm::to_vector(getOperation().getOps<func::FuncOp>())) {
      SchedulePlanner planner(getOperation(), function);
      if (failed(planner.run()))
        return signalPassFailure();
      numSlots += planner.slotCount();
      numTransients += planner.transientCount;
      numInPlaceStates += planner.inPlaceCount;
    }
  }
};
} // namespace
