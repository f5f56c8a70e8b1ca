//===- GraphSegments.cpp - A graph in pieces between its linears ----------===//

#include "GraphSegments.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace tacq;

func::FuncOp tacq::mainFunction(ModuleOp module) { return *module.getOps<func::FuncOp>().begin(); }

StringRef tacq::argumentName(func::FuncOp function, BlockArgument argument) {
  auto name = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), "tacq.name");
  return name ? name.getValue() : StringRef();
}

StringRef tacq::weightName(LinearOp linear) {
  if (linear.getWeights().size() != 1)
    return "";
  auto get = linear.getWeights()[0].getDefiningOp<GetParamOp>();
  return get ? get.getParam() : StringRef();
}

SmallVector<LinearGroup>
tacq::collectLinearGroups(func::FuncOp function, llvm::function_ref<bool(StringRef param)> wanted) {
  llvm::MapVector<Value, LinearGroup> groups;
  for (auto linear : function.getBody().front().getOps<LinearOp>()) {
    StringRef name = weightName(linear);
    if (name.empty() || !wanted(name))
      continue;
    LinearGroup &group = groups[linear.getX()];
    group.input = linear.getX();
    group.linears.push_back(linear);
  }
  SmallVector<LinearGroup> ordered;
  for (auto &entry : groups)
    ordered.push_back(std::move(entry.second));
  return ordered;
}

/// Available everywhere: parameters and constants are cloned where they are read.
static bool isConstant(Value value) {
  Operation *op = value.getDefiningOp();
  return op && isa<GetParamOp, ConstantOp, SymbolicOp, NoneOp>(op);
}

/// What the operation reads, in its regions too.
static SmallVector<Value> readsOf(Operation *op) {
  SmallVector<Value> reads(op->getOperands());
  for (Region &region : op->getRegions())
    region.walk([&](Operation *inner) {
      for (Value operand : inner->getOperands())
        if (!region.isAncestor(operand.getParentRegion()))
          reads.push_back(operand);
    });
  return reads;
}

GraphSegments::GraphSegments(func::FuncOp function, ArrayRef<Value> cuts)
    : function(function), cuts(cuts) {
  // The first cut that needs an operation.
  llvm::DenseMap<Operation *, unsigned> segmentOf;
  for (auto [i, cut] : llvm::enumerate(this->cuts)) {
    SmallVector<Value> open = {cut};
    while (!open.empty()) {
      Operation *op = open.pop_back_val().getDefiningOp();
      if (!op || isConstant(op->getResult(0)) || !segmentOf.try_emplace(op, i).second)
        continue;
      open.append(readsOf(op));
    }
  }
  ops.resize(cuts.size());
  for (Operation &op : function.getBody().front())
    if (auto it = segmentOf.find(&op); it != segmentOf.end())
      ops[it->second].push_back(&op);

  // Behind the last segment only its cut is needed.
  live.resize(cuts.size());
  if (cuts.empty())
    return;
  live.back().insert(cuts.back());
  for (size_t i = cuts.size() - 1; i > 0; --i) {
    llvm::SetVector<Value> needed = live[i];
    llvm::DenseSet<Value> made;
    for (Operation *op : ops[i]) {
      made.insert(op->result_begin(), op->result_end());
      for (Value read : readsOf(op))
        if (!isConstant(read))
          needed.insert(read);
    }
    // What a segment makes is not there before it; its own cut is read when it has run.
    live[i - 1].insert(cuts[i - 1]);
    for (Value value : needed)
      if (!made.contains(value))
        live[i - 1].insert(value);
  }
}

GraphSegments::Segment GraphSegments::build(unsigned i,
                                            llvm::function_ref<bool(StringRef)> isDecoded) {
  MLIRContext *context = function.getContext();
  Segment segment;
  segment.module = ModuleOp::create(function.getLoc());
  OpBuilder builder(context);
  SymbolTable symbols(*segment.module);
  auto original = function->getParentOfType<ModuleOp>();
  SymbolTable originals(original);

  llvm::DenseSet<Value> made;
  for (Operation *op : ops[i])
    made.insert(op->result_begin(), op->result_end());
  llvm::SetVector<Value> inputs;
  for (Operation *op : ops[i])
    for (Value read : readsOf(op))
      if (!isConstant(read) && !made.contains(read))
        inputs.insert(read);
  segment.inputs.assign(inputs.begin(), inputs.end());
  for (Value value : live[i])
    if (made.contains(value))
      segment.outputs.push_back(value);

  SmallVector<Type> inputTypes, outputTypes;
  for (Value input : segment.inputs)
    inputTypes.push_back(input.getType());
  for (Value output : segment.outputs)
    outputTypes.push_back(output.getType());
  builder.setInsertionPointToEnd(segment.module->getBody());
  auto main = builder.create<func::FuncOp>(function.getLoc(), "main",
                                           builder.getFunctionType(inputTypes, outputTypes));
  Block *body = main.addEntryBlock();
  for (size_t j = 0; j < inputTypes.size(); ++j)
    main.setArgAttr(j, "tacq.name", builder.getStringAttr("v" + std::to_string(j)));
  for (size_t j = 0; j < outputTypes.size(); ++j)
    main.setResultAttr(j, "tacq.name", builder.getStringAttr("r" + std::to_string(j)));

  auto importParam = [&](StringRef name) {
    if (!symbols.lookup(name))
      symbols.insert(originals.lookup(name)->clone(), segment.module->getBody()->begin());
  };
  IRMapping mapping;
  mapping.map(ValueRange(segment.inputs), ValueRange(body->getArguments()));
  builder.setInsertionPointToEnd(body);
  auto cloneConstant = [&](Value value) {
    if (mapping.contains(value) || !isConstant(value))
      return;
    if (auto get = value.getDefiningOp<GetParamOp>())
      importParam(get.getParam());
    builder.clone(*value.getDefiningOp(), mapping);
  };
  for (Operation *op : ops[i]) {
    auto linear = dyn_cast<LinearOp>(op);
    StringRef name = linear ? weightName(linear) : StringRef();
    if (name.empty() || !isDecoded(name)) {
      for (Value read : readsOf(op))
        cloneConstant(read);
      builder.clone(*op, mapping);
      continue;
    }
    for (Value read : readsOf(op))
      if (read != linear.getWeights()[0])
        cloneConstant(read);
    int64_t n = dimsOf(linear.getResults()[0])->back().constant().value();
    int64_t k = dimsOf(linear.getX())->back().constant().value();
    auto type = RankedTensorType::get({n, k}, builder.getF32Type());
    std::string decoded = (name + " (decoded)").str();
    if (!symbols.lookup(decoded)) {
      auto source = cast<ParamOp>(originals.lookup(name)).getSource();
      OpBuilder atStart(context);
      symbols.insert(atStart.create<ParamOp>(linear.getLoc(), decoded, type, source),
                     segment.module->getBody()->begin());
      segment.decoded.emplace_back(decoded, name.str());
    }
    Value weight = builder.create<GetParamOp>(linear.getLoc(), type, decoded);
    // The clone must not look for the weight that it no longer reads.
    mapping.map(linear.getWeights()[0], weight);
    auto copy = cast<LinearOp>(builder.clone(*op, mapping));
    copy.setWeightOrderAttr(builder.getI32ArrayAttr({int32_t(WeightOrder::NK)}));
    mapping.erase(linear.getWeights()[0]);
  }
  SmallVector<Value> results;
  for (Value output : segment.outputs)
    results.push_back(mapping.lookup(output));
  builder.create<func::ReturnOp>(function.getLoc(), results);
  return segment;
}
