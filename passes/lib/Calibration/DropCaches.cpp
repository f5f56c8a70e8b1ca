//===- DropCaches.cpp - Attention over whole sequences --------------------===//

#include "tacq/Calibration/Passes.h"
#include "tacq/Graph/GraphMatch.h"

using namespace mlir;
using namespace tacq;

namespace tacq {
#define GEN_PASS_DEF_DROPCACHES
#include "tacq/Calibration/Passes.h.inc"
} // namespace tacq

/// The name if the expression is nothing else.
static std::optional<std::string> plainName(const Sym &sym) {
  std::optional<std::string> name;
  sym.collectNames([&](StringRef found) { name = found.str(); });
  return name && sym == Sym::name(*name) ? name : std::nullopt;
}

static std::string ioName(func::FuncOp function, unsigned argument) {
  auto name = function.getArgAttrOfType<StringAttr>(argument, "tacq.name");
  return name ? name.str() : "#" + std::to_string(argument);
}

static InFlightDiagnostic report(AttentionOp attention) {
  return attention.emitError("unsupported node '")
         << attention.getNodeName() << "' (attention): it cannot be calibrated without its cache: ";
}

namespace {

class CacheDropper {
public:
  explicit CacheDropper(func::FuncOp function)
      : function(function), entry(function.getBody().front()),
        arguments(function.getNumArguments()), results(function.getNumResults()) {}

  LogicalResult run();
  unsigned caches = 0, requirements = 0;

private:
  LogicalResult collect(AttentionOp attention);
  LogicalResult collectPast(AttentionOp attention, Value past);
  LogicalResult collectPresent(AttentionOp attention, Value present);
  LogicalResult checkOtherCaches();
  void dropInterface();
  void withoutCache(AttentionOp attention);
  void solveRequirements();
  void replaceNames();
  Sym replaced(const Sym &sym) const;
  Type replaced(Type type) const;

  func::FuncOp function;
  Block &entry;
  SmallVector<AttentionOp> attentions;
  /// What goes.
  BitVector arguments, results;
  SmallVector<NodeOp> transposes;
  /// What the names stand for without a cache.
  std::map<std::string, Sym> values;
};

} // namespace

LogicalResult CacheDropper::run() {
  function.walk([&](AttentionOp attention) {
    if (attention.getPastKey())
      attentions.push_back(attention);
  });
  for (AttentionOp attention : attentions)
    if (failed(collect(attention)))
      return failure();
  if (failed(checkOtherCaches()))
    return failure();
  caches = attentions.size();
  if (attentions.empty())
    return success();
  for (AttentionOp attention : attentions)
    withoutCache(attention);
  dropInterface();
  solveRequirements();
  replaceNames();
  return success();
}

LogicalResult CacheDropper::collect(AttentionOp attention) {
  std::optional<Dims> dims = dimsOf(attention.getPastKey());
  std::optional<std::string> past = dims ? plainName((*dims)[2]) : std::nullopt;
  if (!past)
    return report(attention) << "the extent of its past is no named dimension";
  values[*past] = Sym(0);
  for (Value value : {attention.getPastKey(), attention.getPastValue()})
    if (failed(collectPast(attention, value)))
      return failure();
  for (Value present : attention.getPresent())
    if (failed(collectPresent(attention, present)))
      return failure();
  return success();
}

LogicalResult CacheDropper::collectPast(AttentionOp attention, Value past) {
  if (!past.hasOneUse())
    return report(attention) << "other nodes use its past too";
  if (NodeOp transpose = nodeOf(past, "Transpose")) {
    transposes.push_back(transpose);
    past = transpose.getInputs()[0];
  }
  auto argument = dyn_cast<BlockArgument>(past);
  if (!argument || argument.getOwner() != &entry)
    return report(attention) << "its past is not an input of the model";
  if (!past.hasOneUse())
    return report(attention) << "other nodes use the input '"
                             << ioName(function, argument.getArgNumber()) << "' too";
  arguments.set(argument.getArgNumber());
  return success();
}

LogicalResult CacheDropper::collectPresent(AttentionOp attention, Value present) {
  for (OpOperand &use : present.getUses()) {
    auto transpose = dyn_cast<NodeOp>(use.getOwner());
    if (transpose && isNode(transpose, "Transpose")) {
      if (failed(collectPresent(attention, transpose.getOutputs()[0])))
        return failure();
      transposes.push_back(transpose);
    } else if (use.getOwner() == entry.getTerminator()) {
      results.set(use.getOperandNumber());
    } else {
      auto node = dyn_cast<NodeOp>(use.getOwner());
      return report(attention) << (node ? "node '" + node.getNodeName().str() + "'"
                                        : std::string("another operation"))
                               << " uses its present keys or values";
    }
  }
  return success();
}

/// A cache that no attention was found for would stay an input that a calibration does not have.
LogicalResult CacheDropper::checkOtherCaches() {
  for (BlockArgument argument : entry.getArguments()) {
    std::string name = ioName(function, argument.getArgNumber());
    if (arguments.test(argument.getArgNumber()) || argument.use_empty() ||
        !StringRef(name).starts_with("past") ||
        !isa_and_nonnull<FloatType>(elementTypeOf(argument)))
      continue;
    Operation *user = *argument.user_begin();
    auto node = dyn_cast<NodeOp>(user);
    return user->emitError("unsupported node '")
           << (node ? node.getNodeName() : "") << "' ("
           << (node ? node.getOpType() : user->getName().getStringRef())
           << "): it reads the cache '" << name
           << "' outside of an attention that TACQ recognizes, so the model cannot be calibrated "
              "without it; an export without caches can";
  }
  return success();
}

void CacheDropper::withoutCache(AttentionOp attention) {
  OpBuilder builder(attention);
  auto plain = builder.create<AttentionOp>(
      attention.getLoc(), attention.getOut().getType(), TypeRange(), attention.getQ(),
      attention.getK(), attention.getV(), Value(), Value(), attention.getKeyMask(),
      attention.getBias(), attention.getScaleAttr(),
      attention.getCausal() ? builder.getUnitAttr() : UnitAttr(), attention.getNodeNameAttr());
  attention.getOut().replaceAllUsesWith(plain.getOut());
}

void CacheDropper::dropInterface() {
  entry.getTerminator()->eraseOperands(results);
  function.eraseResults(results);
  // Users first: a transpose of a present reads the attention, the attention one of a past.
  for (NodeOp transpose : transposes)
    if (transpose->use_empty())
      transpose.erase();
  for (AttentionOp attention : attentions)
    attention.erase();
  eraseDeadNodes(entry);
  function.eraseArguments(arguments);
}

Sym CacheDropper::replaced(const Sym &sym) const {
  return sym.substitute([&](StringRef name) -> std::optional<Sym> {
    auto known = values.find(name.str());
    return known == values.end() ? std::nullopt : std::optional<Sym>(known->second);
  });
}

/// Requirements say which names depend on the past: total = past + sequence.
void CacheDropper::solveRequirements() {
  std::map<std::string, Sym> solved;
  for (auto require : entry.getOps<RequireOp>()) {
    if (require.getAtMost())
      continue;
    Sym lhs = *Sym::parse(require.getLhs()), rhs = *Sym::parse(require.getRhs());
    for (int turn = 0; turn < 2; ++turn, std::swap(lhs, rhs)) {
      std::optional<std::string> name = plainName(lhs);
      Sym value = replaced(rhs);
      if (!name || values.count(*name) || value == rhs)
        continue;
      solved.try_emplace(*name, value);
      break;
    }
  }
  for (auto &[name, value] : solved)
    values.try_emplace(name, value);
}

Type CacheDropper::replaced(Type type) const {
  auto tensor = dyn_cast<RankedTensorType>(type);
  std::optional<Dims> dims = tensor ? dimsOf(type) : std::nullopt;
  if (!dims)
    return type;
  for (Sym &dim : *dims)
    dim = replaced(dim);
  return tensorType(tensor.getElementType(), *dims);
}

void CacheDropper::replaceNames() {
  Builder builder(function.getContext());
  SmallVector<RequireOp> needless;
  function.walk([&](Operation *op) {
    for (Value result : op->getResults())
      result.setType(replaced(result.getType()));
    for (Region &region : op->getRegions())
      for (BlockArgument argument : region.getArguments())
        argument.setType(replaced(argument.getType()));
    if (auto symbolic = dyn_cast<SymbolicOp>(op)) {
      SmallVector<Attribute> texts;
      for (auto text : symbolic.getValues().getAsValueRange<StringAttr>())
        texts.push_back(builder.getStringAttr(replaced(*Sym::parse(text)).str()));
      symbolic.setValuesAttr(builder.getArrayAttr(texts));
    } else if (auto require = dyn_cast<RequireOp>(op)) {
      Sym lhs = replaced(*Sym::parse(require.getLhs())),
          rhs = replaced(*Sym::parse(require.getRhs()));
      require.setLhs(lhs.str());
      require.setRhs(rhs.str());
      // min(1, n) <= n is how an empty axis is ruled out; it holds for every n.
      if (require.getAtMost() ? (rhs - lhs).isNonNegative() || lhs == Sym::min(Sym(1), rhs)
                              : lhs == rhs)
        needless.push_back(require);
    }
  });
  for (RequireOp require : needless) {
    require.erase();
    ++requirements;
  }
  function.setFunctionType(
      builder.getFunctionType(entry.getArgumentTypes(), entry.getTerminator()->getOperandTypes()));
}

namespace {
struct DropCaches : tacq::impl::DropCachesBase<DropCaches> {
  void runOnOperation() override {
    CacheDropper dropper(getOperation());
    if (failed(dropper.run()))
      return signalPassFailure();
    numCaches += dropper.caches;
    numRequirements += dropper.requirements;
  }
};
} // namespace
