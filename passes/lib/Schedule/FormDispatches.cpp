//===- FormDispatches.cpp - Group operations into kernels -----------------===//

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include "tacq/Dialect/TACQ/MixedStorage.h"
#include "tacq/Ops/OpSpec.h"
#include "tacq/Schedule/Passes.h"

namespace tacq {
#define GEN_PASS_DEF_FORMDISPATCHES
#include "tacq/Schedule/Passes.h.inc"
} // namespace tacq

using namespace mlir;
using namespace tacq;

/// Constants up to this size are part of a kernel's code.
static constexpr int64_t maxInlineConstant = 8;
/// Different kernels that may each compute a cheap value again.
static constexpr size_t maxRecomputations = 8;
/// Nodes of one kernel that use each other in a row. Code generation recurs over them.
static constexpr unsigned maxDepth = 256;
/// Columns of a normalized row that a kernel keeps on its stack.
static constexpr int64_t maxStackColumns = 16384;
/// Columns of a row, of all planes, that each workgroup of a product quantizes again, and has in
/// its memory.
static constexpr int64_t maxRepeatedColumns = 8192;

static bool isView(NodeOp node) {
  static const llvm::StringRef views[] = {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"};
  return node.getDomain().empty() && llvm::is_contained(views, node.getOpType());
}

static bool isElementNode(NodeOp node) {
  const OpSpec *spec = lookupOp(node);
  return spec && spec->element;
}

/// Reads each element of its first operand once.
static bool readsOnce(NodeOp node) {
  return node.getOpType().starts_with("Reduce") || node.getOpType().starts_with("Arg");
}

static bool isSmallConstant(Operation *op) {
  if (auto constant = dyn_cast_or_null<ConstantOp>(op))
    return constant.getValue().isSplat() ||
           constant.getValue().getNumElements() <= maxInlineConstant;
  return isa_and_nonnull<SymbolicOp, NoneOp>(op);
}

namespace {
class DispatchFormer {
public:
  DispatchFormer(ModuleOp module, func::FuncOp function, bool fuseRows, bool repeatRows)
      : module(module), function(function), fuseRows(fuseRows), repeatRows(repeatRows),
        builder(module.getContext()) {}

  LogicalResult run();
  unsigned dispatchCount = 0;
  unsigned kernelCount = 0;
  unsigned fusedCount() const { return users.size() + quantized.size(); }

private:
  /// Where a value is computed: in memory, or inside of these kernels (named by their root values).
  struct Placement {
    bool held = false;
    llvm::SmallPtrSet<void *, 4> roots;
    /// Elements computed per kernel, as far as broadcasting users repeat them.
    Sym count;
    /// Nodes in a row from here to the kernel's result.
    unsigned depth = 1;
  };

  void fuse(Operation *op, Operation *user);
  void findFusedRows();
  void findRepeatedRows();
  void place(Block &block);
  void hold(Value value);
  bool isHeld(Value value);
  LogicalResult form(Block &block);
  LogicalResult formKernel(Operation *op, ArrayRef<Value> results);
  void collectOps(Value value, llvm::SetVector<Operation *> &ops);

  ModuleOp module;
  func::FuncOp function;
  bool fuseRows, repeatRows;
  OpBuilder builder;
  /// Operations that are part of the kernel of the only operation that uses them, and these.
  llvm::DenseMap<Operation *, Operation *> users;
  llvm::DenseMap<Operation *, SmallVector<Operation *, 2>> fused;
  /// Results of element nodes that are computed inside of the kernel that quantizes them.
  llvm::DenseMap<Value, QuantizeRowsOp> quantized;
  /// Of linear operations, the quantization of their input that their kernel may repeat.
  llvm::DenseMap<Operation *, QuantizeRowsOp> repeated;
  llvm::DenseMap<Value, Placement> placements;
  llvm::StringMap<std::string> kernelsByText;
};
} // namespace

/// A value that has memory of its own: block arguments, parameters and large constants.
static bool isLeaf(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op || isa<GetParamOp>(op))
    return true;
  return isa<ConstantOp>(op) && !isSmallConstant(op);
}

bool DispatchFormer::isHeld(Value value) {
  if (isLeaf(value) || placements[value].held)
    return true;
  auto node = value.getDefiningOp<NodeOp>();
  return node && isView(node) && isHeld(node.getInputs()[0]);
}

/// The value is to be in memory; a view is where its source is.
void DispatchFormer::hold(Value value) {
  while (!isLeaf(value)) {
    Placement &placement = placements[value];
    placement.held = true;
    auto node = value.getDefiningOp<NodeOp>();
    if (!node || !isView(node))
      return;
    value = node.getInputs()[0];
  }
}

void DispatchFormer::fuse(Operation *op, Operation *user) {
  users[op] = user;
  fused[user].push_back(op);
}

/// The operation of this kind whose result only `user` reads, once.
template <typename Op> static Op onlyReadBy(Value value, Operation *user) {
  auto op = value.getDefiningOp<Op>();
  return op && value.hasOneUse() && op->getBlock() == user->getBlock() ? op : nullptr;
}

void DispatchFormer::findFusedRows() {
  function.walk([&](QuantizeRowsOp quantize) {
    std::optional<int64_t> columns = dimsOf(quantize.getX())->back().constant();
    if (!columns || *columns > maxStackColumns)
      return;
    if (auto norm = onlyReadBy<NormOp>(quantize.getX(), quantize))
      return fuse(norm, quantize);
    auto node = onlyReadBy<NodeOp>(quantize.getX(), quantize);
    if (node && isElementNode(node) && !isView(node) && !lookupOp(node)->heavy)
      quantized[quantize.getX()] = quantize;
  });
  function.walk([&](AttentionOp attention) {
    if (!attention.getPastKey())
      return;
    auto queries = onlyReadBy<RopeOp>(attention.getQ(), attention);
    auto keys = onlyReadBy<RopeOp>(attention.getK(), attention);
    if (!queries || !keys)
      return;
    fuse(queries, attention);
    fuse(keys, attention);
  });
}

/// Quantizations of which only products read the result.
void DispatchFormer::findRepeatedRows() {
  function.walk([&](QuantizeRowsOp quantize) {
    std::optional<int64_t> columns = dimsOf(quantize.getX())->back().constant();
    if (!columns || *columns * quantize.planes() > maxRepeatedColumns)
      return;
    for (Operation *user : quantize->getUsers()) {
      auto linear = dyn_cast<LinearOp>(user);
      if (!linear || linear->getBlock() != quantize->getBlock() || linear.getX() != quantize.getQ())
        return;
    }
    quantize->setAttr(repeatedRowsAttribute, builder.getUnitAttr());
    for (Operation *user : quantize->getUsers())
      repeated[user] = quantize;
  });
}

/// Decides for every value of the block, users first.
void DispatchFormer::place(Block &block) {
  for (Operation &op : llvm::reverse(block)) {
    if (isa<func::ReturnOp, YieldOp, ReadSymbolOp>(op)) {
      for (Value operand : op.getOperands())
        hold(operand);
      continue;
    }
    auto node = dyn_cast<NodeOp>(op);
    const OpSpec *spec = node ? lookupOp(node) : nullptr;
    bool element = spec && spec->element;
    if (!element) {
      // Recognized operations, loop nests and control flow read and write memory. Small constants
      // are part of the code of a node's kernel; a recognized operation binds them as constants,
      // and the condition of an If is read by the schedule.
      for (Value operand : op.getOperands()) {
        bool isCode = node && op.getNumRegions() == 0 && isSmallConstant(operand.getDefiningOp());
        bool isBound = !node && operand.getDefiningOp<ConstantOp>();
        if (!isCode && !isBound && !isAbsent(operand) && !quantized.contains(operand))
          hold(operand);
      }
      for (Value result : op.getResults())
        if (!isSmallConstant(&op))
          placements[result].held = true;
      for (Region &region : op.getRegions())
        for (Block &inner : region)
          place(inner);
      continue;
    }
    for (Value result : node.getOutputs()) {
      if (isAbsent(result))
        continue;
      Placement &own = placements[result];
      if (own.held)
        continue;
      if (spec->heavy) {
        own.held = true;
        continue;
      }
      Sym count = elementCount(*dimsOf(result));
      bool repeated = false;
      if (QuantizeRowsOp quantize = quantized.lookup(result))
        own.roots.insert(quantize.getQ().getAsOpaquePointer());
      for (Operation *user : result.getUsers()) {
        if (quantized.contains(result))
          break;
        auto userNode = dyn_cast<NodeOp>(user);
        if (!userNode || user->getBlock() != &block) {
          own.held = true;
          break;
        }
        const OpSpec *userSpec = lookupOp(userNode);
        if (userSpec->heavy && !readsOnce(userNode))
          repeated = true;
        for (Value userResult : userNode.getOutputs()) {
          if (userResult.use_empty() || isAbsent(userResult))
            continue;
          Placement &userPlacement = placements[userResult];
          Sym userCount = elementCount(*dimsOf(userResult));
          if (userPlacement.held) {
            own.roots.insert(userResult.getAsOpaquePointer());
          } else {
            own.roots.insert(userPlacement.roots.begin(), userPlacement.roots.end());
            own.depth = std::max(own.depth, userPlacement.depth + 1);
            userCount = userPlacement.count;
          }
          if (!readsOnce(userNode) && !(count - userCount).isNonNegative()) {
            repeated = true;
            count = userCount;
          }
        }
      }
      size_t limit = spec->cheap ? maxRecomputations : 1;
      if (own.roots.size() > limit || (repeated && !spec->cheap) || own.depth > maxDepth)
        own.held = true;
      own.count = count;
      if (own.held)
        hold(result);
    }
  }
}

/// The operations that compute `value` inside of a kernel, down to what is held, operands first.
void DispatchFormer::collectOps(Value value, llvm::SetVector<Operation *> &ops) {
  Operation *op = value.getDefiningOp();
  if (!op || ops.contains(op))
    return;
  if (!isSmallConstant(op))
    for (Value operand : op->getOperands())
      if (!isHeld(operand))
        collectOps(operand, ops);
  ops.insert(op);
}

/// Weights that differ only in the number of their circuits' entries share a kernel.
static Type kernelType(Type type) {
  auto mixed = dyn_cast<MixedType>(type);
  return mixed ? withoutCount(mixed) : type;
}

LogicalResult DispatchFormer::formKernel(Operation *root, ArrayRef<Value> results) {
  llvm::SetVector<Operation *> ops;
  // A recognized operation is in its kernel with those fused into it only: constants are bound like
  // other tensors.
  if (isSmallConstant(root) || isa<NodeOp>(root)) {
    collectOps(results[0], ops);
  } else {
    if (isa<QuantizeRowsOp>(root) && quantized.contains(root->getOperand(0)))
      collectOps(root->getOperand(0), ops);
    ops.insert(fused[root].begin(), fused[root].end());
    ops.insert(root);
  }

  // What the kernel may repeat comes behind what it computes, which takes it from memory.
  llvm::SetVector<Operation *> repeats;
  if (QuantizeRowsOp quantize = repeated.lookup(root)) {
    if (quantized.contains(quantize.getX()))
      collectOps(quantize.getX(), repeats);
    repeats.insert(fused[quantize].begin(), fused[quantize].end());
    repeats.insert(quantize);
  }

  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToEnd(module.getBody());
  auto kernel = builder.create<rt::KernelOp>(root->getLoc(), "kernel", 0, ArrayAttr());
  Block &body = kernel.getBody().emplaceBlock();
  IRMapping mapping;
  SmallVector<Value> inputs;
  for (const auto &part : {ops, repeats})
    for (Operation *op : part)
      for (Value operand : op->getOperands())
        if (!mapping.contains(operand) && !part.contains(operand.getDefiningOp())) {
          mapping.map(operand, body.addArgument(kernelType(operand.getType()), operand.getLoc()));
          inputs.push_back(operand);
        }
  SmallVector<Attribute> names, opNames;
  builder.setInsertionPointToEnd(&body);
  auto empty = builder.getStringAttr("");
  for (Operation *op : ops) {
    Operation *copy = builder.clone(*op, mapping);
    Attribute name = op->getAttr("node_name");
    if (!name)
      continue;
    auto node = dyn_cast<NodeOp>(op);
    names.push_back(name);
    opNames.push_back(node ? node.getOpTypeAttr()
                           : builder.getStringAttr(op->getName().getStringRef()));
    copy->setAttr("node_name", empty);
  }
  for (Operation *op : repeats)
    builder.clone(*op, mapping)->setAttr("node_name", empty);
  SmallVector<Value> yielded;
  for (Value result : results)
    yielded.push_back(mapping.lookup(result));
  builder.create<YieldOp>(root->getLoc(), yielded);

  // Kernels that differ in nothing but names are one.
  std::string text;
  llvm::raw_string_ostream stream(text);
  kernel->print(stream, OpPrintingFlags().useLocalScope());
  auto [it, inserted] = kernelsByText.try_emplace(text, "");
  if (inserted) {
    StringRef kind =
        opNames.empty() ? StringRef("constant") : cast<StringAttr>(opNames.back()).getValue();
    kind.consume_front("tacq.");
    it->second = "k" + std::to_string(kernelCount++) + "_" + kind.str();
    kernel.setSymName(it->second);
  } else {
    kernel.erase();
  }

  builder.setInsertionPointAfter(root);
  SmallVector<Type> types;
  for (Value result : results)
    types.push_back(result.getType());
  auto dispatch = builder.create<rt::DispatchOp>(
      root->getLoc(), types, FlatSymbolRefAttr::get(builder.getContext(), it->second),
      builder.getArrayAttr(names), builder.getArrayAttr(opNames), inputs);
  for (auto [old, value] : llvm::zip(results, dispatch.getOutputs()))
    Value(old).replaceUsesWithIf(value, [&](OpOperand &use) { return use.getOwner() != dispatch; });
  for (auto [result, value] : llvm::zip(results, dispatch.getOutputs()))
    placements[value].held = true;
  ++dispatchCount;
  return success();
}

LogicalResult DispatchFormer::form(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(block)) {
    if (isa<func::ReturnOp, YieldOp, GetParamOp, ReadSymbolOp, RequireOp, rt::DispatchOp>(op) ||
        users.contains(&op))
      continue;
    if (isSmallConstant(&op)) {
      // Only where it is to be in memory, as an output of the model.
      if (op.getNumResults() == 1 && placements[op.getResult(0)].held &&
          failed(formKernel(&op, {op.getResult(0)})))
        return failure();
      continue;
    }
    if (isa<ConstantOp>(op))
      continue;
    auto node = dyn_cast<NodeOp>(op);
    if (node && !node.getBodies().empty()) {
      for (Region &region : node.getBodies())
        if (failed(form(region.front())))
          return failure();
      continue;
    }
    if (node && isElementNode(node)) {
      if (isView(node))
        continue;
      for (Value result : node.getOutputs())
        if (!isAbsent(result) && !result.use_empty() && placements[result].held &&
            failed(formKernel(&op, result)))
          return failure();
      continue;
    }
    SmallVector<Value> results;
    for (Value result : op.getResults())
      if (!isAbsent(result))
        results.push_back(result);
    // Kernels that append to the cache leave the rotated queries to those that attend.
    if (auto attention = dyn_cast<AttentionOp>(op); attention && fused.contains(&op))
      results.push_back(attention.getQ());
    if (failed(formKernel(&op, results)))
      return failure();
  }
  return success();
}

LogicalResult DispatchFormer::run() {
  if (fuseRows)
    findFusedRows();
  if (repeatRows)
    findRepeatedRows();
  place(function.getBody().front());
  if (failed(form(function.getBody().front())))
    return failure();
  // What has been computed inside of kernels is not needed any more.
  SmallVector<Operation *> ops;
  function.walk([&](Operation *op) { ops.push_back(op); });
  for (Operation *op : llvm::reverse(ops))
    if (isa<NodeOp, ConstantOp, SymbolicOp, NoneOp, LinearOp, QuantizeRowsOp, NormOp, RopeOp,
            AttentionOp, AttentionGradOp>(op) &&
        op->use_empty())
      op->erase();
  return success();
}

namespace {
class FormDispatchesPass : public tacq::impl::FormDispatchesBase<FormDispatchesPass> {
  using FormDispatchesBase::FormDispatchesBase;

  void runOnOperation() override {
    for (auto function : llvm::to_vector(getOperation().getOps<func::FuncOp>())) {
      DispatchFormer former(getOperation(), function, fuseRows, repeatRows);
      if (failed(former.run()))
        return signalPassFailure();
      numDispatches += former.dispatchCount;
      numKernels += former.kernelCount;
      numFused += former.fusedCount();
    }
  }
};
} // namespace
