//===- Differentiate.cpp - Reverse mode over the graph of @main -----------===//

#include "Derivatives.h"
#include "MainFunction.h"
#include "tacq/Differentiate/DifferentiatePasses.h"
#include "tacq/Ops/Inference.h"
#include "llvm/ADT/StringSet.h"

namespace tacq {
#define GEN_PASS_DEF_DIFFERENTIATE
#include "tacq/Differentiate/Passes.h.inc"
} // namespace tacq

using namespace mlir;
using namespace tacq;

static bool isFloat(Value value) {
  Type element = elementTypeOf(value);
  return element && isa<FloatType>(element);
}

/// Calls `visit` for what an operation reads, by itself or in its regions.
static void forEachRead(Operation *op, function_ref<void(Value)> visit) {
  op->walk([&](Operation *inner) { llvm::for_each(inner->getOperands(), visit); });
}

namespace {

/// The gradients of one function.
class Differentiator {
public:
  Differentiator(MainFunction &main, bool taps) : main(main), taps(taps) {}

  /// Takes the names whose gradients are wanted; "*" for all weights of linear operations.
  LogicalResult select(ArrayRef<std::string> names);
  LogicalResult run(unsigned loss);
  /// Adds the gradients to the function's results.
  void addResults();

  unsigned differentiated = 0, decomposed = 0;
  size_t tapCount() const { return state.taps.size(); }

private:
  void findActive();
  bool decomposeActive();
  /// Values between what is wanted and the loss.
  void findReached(Value loss);
  LogicalResult checkRules();
  bool isReached(Operation *op) const {
    return llvm::any_of(op->getResults(), [&](Value v) { return reached.contains(v); });
  }
  void addGradient(OpBuilder &builder, StringRef name, ArrayRef<Value> values);
  void addTaps(OpBuilder &builder);

  MainFunction &main;
  bool taps;
  /// Parameters and arguments, in the order of their definition.
  llvm::MapVector<StringAttr, SmallVector<Value>> wanted;
  /// Parameters whose uses by linear operations are tapped.
  llvm::StringSet<> tapped;
  GradientState state;
  llvm::DenseSet<Value> reached;
};

} // namespace

LogicalResult Differentiator::select(ArrayRef<std::string> names) {
  MLIRContext *context = main.function.getContext();
  llvm::StringSet<> linearWeights, chosen;
  main.function.walk([&](LinearOp linear) {
    for (Value weight : linear.getWeights())
      if (auto param = weight.getDefiningOp<GetParamOp>())
        linearWeights.insert(param.getParam());
  });
  auto module = main.function->getParentOfType<ModuleOp>();
  for (const std::string &name : names) {
    if (name == "*") {
      for (const auto &entry : linearWeights)
        chosen.insert(entry.getKey());
      continue;
    }
    Value argument = main.findArgument(name);
    if (!argument && !module.lookupSymbol<ParamOp>(name))
      return main.function.emitError("there is no parameter or input '")
             << name << "' to compute a gradient of";
    if (argument && !isFloat(argument))
      return main.function.emitError("the input '")
             << name << "' holds no floating-point numbers: it has no gradient";
    chosen.insert(name);
  }
  for (BlockArgument argument : main.function.getArguments()) {
    auto name = main.function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), "tacq.name");
    if (name && chosen.contains(name.getValue()))
      wanted[name].push_back(argument);
  }
  llvm::StringSet<> read;
  main.function.walk([&](GetParamOp param) {
    if (!chosen.contains(param.getParam()))
      return;
    read.insert(param.getParam());
    if (taps && linearWeights.contains(param.getParam()))
      tapped.insert(param.getParam());
    else
      wanted[StringAttr::get(context, param.getParam())].push_back(param.getResult());
  });
  for (ParamOp param : module.getOps<ParamOp>())
    if (chosen.contains(param.getSymName()) && !read.contains(param.getSymName()))
      return main.function.emitError("the parameter '")
             << param.getSymName() << "' is not used: it has no gradient";
  return success();
}

void Differentiator::findActive() {
  state.active.clear();
  state.taps.clear();
  for (auto &[name, values] : wanted)
    state.active.insert(values.begin(), values.end());
  for (Operation &op : main.function.getBody().front()) {
    bool isActive = false;
    forEachRead(&op, [&](Value operand) { isActive |= state.active.contains(operand); });
    if (auto linear = dyn_cast<LinearOp>(op))
      for (auto [i, weight] : llvm::enumerate(linear.getWeights()))
        if (auto param = weight.getDefiningOp<GetParamOp>();
            param && tapped.contains(param.getParam())) {
          state.taps[{&op, i}] = {linear, unsigned(i), Value()};
          isActive = true;
        }
    if (isActive)
      for (Value result : op.getResults())
        if (isFloat(result))
          state.active.insert(result);
  }
}

void Differentiator::findReached(Value loss) {
  reached.clear();
  reached.insert(loss);
  for (Operation &op : llvm::reverse(main.function.getBody().front()))
    if (isReached(&op))
      forEachRead(&op, [&](Value operand) {
        if (state.active.contains(operand))
          reached.insert(operand);
      });
}

bool Differentiator::decomposeActive() {
  SmallVector<NodeOp> composites;
  for (NodeOp node : main.function.getBody().front().getOps<NodeOp>())
    if (isReached(node) && node.getBodies().empty() && !lookupDerivative(node))
      composites.push_back(node);
  bool changed = false;
  for (NodeOp node : composites)
    if (decomposeNode(node)) {
      changed = true;
      ++decomposed;
    }
  return changed;
}

LogicalResult Differentiator::checkRules() {
  std::string reasons;
  auto isActive = [&](Value value) { return state.active.contains(value); };
  for (Operation &op : main.function.getBody().front()) {
    if (!isReached(&op) || isa<GetParamOp>(op))
      continue;
    std::string reason = refusalOf(&op, isActive);
    if (reason.empty())
      continue;
    auto name = op.getAttrOfType<StringAttr>("node_name");
    auto node = dyn_cast<NodeOp>(op);
    reasons += "\n  node '" + (name ? name.getValue().str() : "") + "' (" +
               (node ? node.getOpType().str() : op.getName().getStringRef().str()) + "): " + reason;
  }
  if (reasons.empty())
    return success();
  return main.function.emitError("unsupported nodes cannot be differentiated:") << reasons;
}

LogicalResult Differentiator::run(unsigned lossIndex) {
  auto lossOf = [&] { return main.results()[lossIndex]; };
  do {
    findActive();
    if (!state.active.contains(lossOf()))
      return main.function.emitError("the result '")
             << main.resultName(lossIndex)
             << "' does not depend on any of the parameters whose gradients are asked for";
    findReached(lossOf());
  } while (decomposeActive());
  if (failed(checkRules()))
    return failure();

  SmallVector<Operation *> ops;
  for (Operation &op : main.function.getBody().front())
    if (isReached(&op) && !isa<GetParamOp>(op))
      ops.push_back(&op);
  OpBuilder builder(main.terminator());
  Value loss = lossOf();
  GradientBuilder seed(builder, loss.getLoc(), "gradient", state);
  state.gradients[loss] = seed.constantLike(loss, 1);
  for (Operation *op : llvm::reverse(ops)) {
    SmallVector<Value> gradients;
    for (Value result : op->getResults())
      gradients.push_back(state.gradients.lookup(result));
    if (llvm::none_of(gradients, [](Value gradient) { return bool(gradient); }))
      continue;
    auto name = op->getAttrOfType<StringAttr>("node_name");
    std::string own = "gradient of " + (name ? name.getValue().str() : "");
    GradientBuilder nodes(builder, op->getLoc(), own, state);
    derive(nodes, op, gradients);
    ++differentiated;
  }
  return success();
}

void Differentiator::addGradient(OpBuilder &builder, StringRef name, ArrayRef<Value> values) {
  std::string result = "gradient:" + name.str();
  GradientBuilder nodes(builder, values.front().getLoc(), result, state);
  Type f32 = builder.getF32Type();
  Value sum;
  for (Value value : values)
    if (Value gradient = state.gradients.lookup(value)) {
      gradient = nodes.cast(gradient, f32);
      sum = sum ? nodes.add(sum, gradient) : gradient;
    }
  main.addResult(result, sum ? sum : nodes.zeros(f32, *dimsOf(values.front())));
}

void Differentiator::addTaps(OpBuilder &builder) {
  llvm::DenseMap<Value, std::string> inputs;
  llvm::StringMap<unsigned> uses;
  SmallVector<Attribute> list;
  for (auto &[key, tap] : state.taps) {
    LinearOp linear = tap.linear;
    auto param = linear.getWeights()[tap.weight].getDefiningOp<GetParamOp>();
    std::string name = param.getParam().str();
    if (unsigned use = uses[param.getParam()]++)
      name += "#" + std::to_string(use + 1);
    GradientBuilder nodes(builder, linear.getLoc(), linear.getNodeName(), state);
    std::string &input = inputs[linear.getX()];
    if (input.empty()) {
      input = "input:" + name;
      main.addResult(input, nodes.rows(linear.getX()));
    }
    auto order = WeightOrder(cast<IntegerAttr>(linear.getWeightOrder()[tap.weight]).getInt());
    auto type = cast<RankedTensorType>(param.getType());
    int64_t rows = type.getDimSize(0), columns = type.getDimSize(1);
    if (order == WeightOrder::KN)
      std::swap(rows, columns);
    Value gradient = tap.outputGradient;
    if (!gradient) {
      Dims dims = *dimsOf(linear.getX());
      gradient = nodes.zeros(elementTypeOf(linear.getX()),
                             {elementCount(ArrayRef(dims).drop_back()), Sym(rows)});
    }
    std::string output = "output_gradient:" + name;
    main.addResult(output, gradient);
    list.push_back(builder.getDictionaryAttr({
        builder.getNamedAttr("parameter", builder.getStringAttr(param.getParam())),
        builder.getNamedAttr("input", builder.getStringAttr(input)),
        builder.getNamedAttr("output_gradient", builder.getStringAttr(output)),
        builder.getNamedAttr("rows", builder.getI64IntegerAttr(rows)),
        builder.getNamedAttr("columns", builder.getI64IntegerAttr(columns)),
        builder.getNamedAttr("order", builder.getStringAttr(stringifyWeightOrder(order))),
    }));
  }
  main.function->setAttr("tacq.taps", builder.getArrayAttr(list));
}

void Differentiator::addResults() {
  OpBuilder builder(main.terminator());
  for (auto &[name, values] : wanted)
    addGradient(builder, name.getValue(), values);
  if (taps)
    addTaps(builder);
}

namespace {
class DifferentiatePass : public tacq::impl::DifferentiateBase<DifferentiatePass> {
  using DifferentiateBase::DifferentiateBase;

  void runOnOperation() override {
    if (failed(differentiate()))
      signalPassFailure();
  }

  LogicalResult differentiate() {
    FailureOr<MainFunction> main = MainFunction::find(getOperation());
    if (failed(main))
      return failure();
    for (const std::string &name : keepResults)
      if (!main->findResult(name))
        return main->function.emitError("there is no result '")
               << name << "' to keep; results are " << main->resultNames();
    std::optional<unsigned> loss = main->findResult(result);
    if (!loss)
      return main->function.emitError("there is no result '")
             << result << "' to differentiate; results are " << main->resultNames();
    Value value = main->results()[*loss];
    if (auto type = dyn_cast<RankedTensorType>(value.getType());
        !type || type.getRank() != 0 || !type.getElementType().isF32())
      return main->function.emitError("the result '")
             << result << "' is " << value.getType() << "; only one f32 number is differentiated";

    SmallVector<std::string> names(parameters.begin(), parameters.end());
    if (names.empty())
      names.push_back("*");
    Differentiator differentiator(*main, taps);
    if (failed(differentiator.select(names)) || failed(differentiator.run(*loss)))
      return failure();
    main->filterResults(
        [&](StringRef name) { return name == result || llvm::is_contained(keepResults, name); });
    differentiator.addResults();
    eraseDeadNodes(main->function.getBody().front());
    hoistConstants(main->function.getBody().front());
    numDifferentiated += differentiator.differentiated;
    numDecomposed += differentiator.decomposed;
    numTaps += differentiator.tapCount();
    return success();
  }
};
} // namespace
