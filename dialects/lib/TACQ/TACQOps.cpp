//===- TACQOps.cpp - Operations of the tensor-level dialect ---------------===//

#include "mlir/IR/Builders.h"
#include "mlir/IR/OpImplementation.h"
#include "tacq/Dialect/TACQ/MixedStorage.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;

#define GET_OP_CLASSES
#include "tacq/Dialect/TACQ/TACQOps.cpp.inc"

//===----------------------------------------------------------------------===//
// Parameters, constants and symbols
//===----------------------------------------------------------------------===//

LogicalResult GetParamOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto param = symbols.lookupNearestSymbolFrom<ParamOp>(*this, getParamAttr());
  if (!param)
    return emitOpError("get_param.symbol: there is no parameter '") << getParam() << "'";
  if (auto mixed = dyn_cast<MixedType>(getResult().getType())) {
    ArrayRef<int64_t> shape = cast<RankedTensorType>(param.getType()).getShape();
    int64_t n = mixed.getRows(), k = mixed.getColumns();
    if (shape.size() != 2 || (shape != ArrayRef({n, k}) && shape != ArrayRef({k, n})))
      return emitOpError("get_param.type: the parameter '")
             << getParam() << "' has type " << param.getType() << ", the weight is " << n << "x"
             << k;
    auto layout = dyn_cast_or_null<LayoutAttr>(getLayoutAttr());
    if (getLayoutAttr() && !layout)
      return emitOpError("get_param.layout: a mixed-precision weight is stored in #tacq.layout, "
                         "not ")
             << getLayoutAttr();
    return layout ? verifyMixedLayout([&] { return emitOpError(); }, mixed, layout) : success();
  }
  if (param.getType() != getResult().getType())
    return emitOpError("get_param.type: the parameter '")
           << getParam() << "' has type " << param.getType();
  return success();
}

void GetParamOp::getAsmResultNames(OpAsmSetValueNameFn setName) { setName(getResult(), "param"); }
void ConstantOp::getAsmResultNames(OpAsmSetValueNameFn setName) { setName(getResult(), "cst"); }
void SymbolicOp::getAsmResultNames(OpAsmSetValueNameFn setName) { setName(getResult(), "sym"); }
void NoneOp::getAsmResultNames(OpAsmSetValueNameFn setName) { setName(getResult(), "none"); }

LogicalResult ConstantOp::verify() {
  auto type = cast<RankedTensorType>(getResult().getType());
  ShapedType value = getValue().getShapedType();
  if (value.getShape() != type.getShape() || value.getElementType() != type.getElementType())
    return emitOpError("constant.type: the value has type ") << value << ", the result " << type;
  return success();
}

LogicalResult SymbolicOp::verify() {
  auto type = cast<RankedTensorType>(getResult().getType());
  if (!type.getElementType().isIntOrIndex())
    return emitOpError("symbolic.type: elements are integers, not ") << type.getElementType();
  if (!type.hasStaticShape() || type.getNumElements() != int64_t(getValues().size()))
    return emitOpError("symbolic.count: ")
           << getValues().size() << " expressions for elements of " << type;
  for (auto text : getValues().getAsValueRange<StringAttr>())
    if (!Sym::parse(text))
      return emitOpError("symbolic.values: '") << text << "' is not a symbolic expression";
  return success();
}

LogicalResult RequireOp::verify() {
  for (StringRef text : {getLhs(), getRhs()})
    if (!Sym::parse(text))
      return emitOpError("require.condition: '") << text << "' is not a symbolic expression";
  return success();
}

//===----------------------------------------------------------------------===//
// NodeOp
//===----------------------------------------------------------------------===//

void NodeOp::build(OpBuilder &builder, OperationState &state, TypeRange results, StringRef opType,
                   ValueRange inputs, DictionaryAttr attrs, StringRef nodeName, int64_t opset,
                   StringRef domain, unsigned regions) {
  state.addTypes(results);
  state.addOperands(inputs);
  Properties &properties = state.getOrAddProperties<Properties>();
  properties.op_type = builder.getStringAttr(opType);
  properties.domain = builder.getStringAttr(domain);
  properties.opset = builder.getI64IntegerAttr(opset);
  properties.node_name = builder.getStringAttr(nodeName);
  properties.attrs = attrs ? attrs : builder.getDictionaryAttr({});
  for (unsigned i = 0; i < regions; ++i)
    state.addRegion();
}

// tacq.node "Add"@14 ["com.microsoft"] (%a, %b) {axis = 1 : i64} "name" (regions)? : (...) -> ...
ParseResult NodeOp::parse(OpAsmParser &parser, OperationState &result) {
  Builder &builder = parser.getBuilder();
  Properties &properties = result.getOrAddProperties<Properties>();
  std::string opType, domain, nodeName;
  int64_t opset;
  if (parser.parseString(&opType) || parser.parseKeyword("opset") || parser.parseInteger(opset))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("domain")) && parser.parseString(&domain))
    return failure();
  SmallVector<OpAsmParser::UnresolvedOperand> operands;
  if (parser.parseOperandList(operands, OpAsmParser::Delimiter::Paren))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("named")) && parser.parseString(&nodeName))
    return failure();
  NamedAttrList attrs;
  if (parser.parseOptionalAttrDict(attrs))
    return failure();
  while (succeeded(parser.parseOptionalKeyword("body")))
    if (parser.parseRegion(*result.addRegion()))
      return failure();
  FunctionType type;
  llvm::SMLoc loc = parser.getCurrentLocation();
  if (parser.parseColonType(type) ||
      parser.resolveOperands(operands, type.getInputs(), loc, result.operands))
    return failure();
  result.addTypes(type.getResults());
  properties.op_type = builder.getStringAttr(opType);
  properties.domain = builder.getStringAttr(domain);
  properties.opset = builder.getI64IntegerAttr(opset);
  properties.node_name = builder.getStringAttr(nodeName);
  properties.attrs = attrs.getDictionary(builder.getContext());
  return success();
}

void NodeOp::print(OpAsmPrinter &printer) {
  printer << ' ' << getOpTypeAttr() << " opset " << getOpset();
  if (!getDomain().empty())
    printer << " domain " << getDomainAttr();
  printer << " (" << getInputs() << ")";
  if (!getNodeName().empty())
    printer << " named " << getNodeNameAttr();
  printer.printOptionalAttrDict(getAttrs().getValue());
  for (Region &region : getBodies()) {
    printer << " body ";
    printer.printRegion(region);
  }
  printer << " : ";
  printer.printFunctionalType(getInputs().getTypes(), getOutputs().getTypes());
}

LogicalResult NodeOp::verify() {
  if (getOpType().empty())
    return emitOpError("node.op_type: the operator's name is empty");
  if (getOpset() < 1)
    return emitOpError("node.opset: the opset version must be positive, not ") << getOpset();
  for (Region &region : getBodies())
    if (region.empty() || region.front().empty() || !isa<YieldOp>(region.front().back()))
      return emitOpError("node.body: a subgraph ends in tacq.yield");
  return success();
}

//===----------------------------------------------------------------------===//
// Recognized operations
//===----------------------------------------------------------------------===//

/// The rank of a tensor type; -1 if it is unranked.
static int64_t rankOf(Type type) {
  auto ranked = dyn_cast<RankedTensorType>(type);
  return ranked ? ranked.getRank() : -1;
}

/// The two extents of a weight, -1 and -1 if it has another number of axes; nullopt if unranked.
static std::optional<std::pair<int64_t, int64_t>> extentsOf(Type type) {
  if (auto mixed = dyn_cast<MixedType>(type))
    return std::pair(mixed.getRows(), mixed.getColumns());
  auto ranked = dyn_cast<RankedTensorType>(type);
  if (!ranked)
    return std::nullopt;
  if (ranked.getRank() != 2)
    return std::pair<int64_t, int64_t>(-1, -1);
  return std::pair(ranked.getDimSize(0), ranked.getDimSize(1));
}

/// Integers and their scales, as tacq.quantize_rows gives them.
static LogicalResult verifyQuantizedInput(LinearOp op) {
  auto x = dyn_cast<RankedTensorType>(op.getX().getType());
  if (!op.getXScales()) {
    if (x && x.getElementType().isInteger(8))
      return op.emitOpError("linear.x_scales: an input of type i8 has x_scales");
    return success();
  }
  auto scales = dyn_cast<RankedTensorType>(op.getXScales().getType());
  if (!x || !x.getElementType().isSignlessInteger(8) || !scales ||
      !scales.getElementType().isF32() || scales.getRank() != x.getRank() + 1 ||
      scales.getShape().back() != 2)
    return op.emitOpError("linear.x_scales: an input with x_scales is an i8 tensor, and they are "
                          "f32 [..., blocks, 2]");
  for (Value weight : op.getWeights()) {
    auto mixed = dyn_cast<MixedType>(weight.getType());
    if (!mixed)
      return op.emitOpError("linear.x_scales: with x_scales all weights are of mixed precision");
    int64_t columns = mixed.getColumns(), blocks = scales.getDimSize(x.getRank() - 1);
    int64_t stored = llvm::alignTo(columns, quantizedColumns), planes = op.inputPlanes();
    if ((planes != 1 && planes != 2) || x.getShape().back() != planes * stored)
      return op.emitOpError("linear.columns: the input has ")
             << x.getShape().back() << " columns, a weight of " << columns << " takes " << stored
             << ", or twice as many";
    std::optional<int64_t> block = quantizationBlock(columns, blocks, planes);
    if (!block)
      return op.emitOpError("linear.x_scales: no block size gives ")
             << blocks << " blocks for " << columns << " columns";
    if (mixed.getGroup() != 0 && mixed.getGroup() < columns && mixed.getGroup() % *block != 0)
      return op.emitOpError("linear.x_scales: blocks of ")
             << *block << " columns do not divide the weight's groups of " << mixed.getGroup();
  }
  return success();
}

LogicalResult QuantizeRowsOp::verify() {
  int64_t block = getBlock();
  if (getBits() != 8 && getBits() != 16)
    return emitOpError("quantize_rows.bits: an integer has 8 or 16 bits, not ") << getBits();
  if (block != 32 && block != 64 && block != 128)
    return emitOpError("quantize_rows.block: a block has 32, 64 or 128 columns, not ") << block;
  auto x = dyn_cast<RankedTensorType>(getX().getType());
  auto q = dyn_cast<RankedTensorType>(getQ().getType());
  auto scales = dyn_cast<RankedTensorType>(getScales().getType());
  if (!x || x.getRank() < 1 || ShapedType::isDynamic(x.getShape().back()) ||
      !isa<FloatType>(x.getElementType()))
    return emitOpError("quantize_rows.input: the input is a tensor of real numbers with a static "
                       "last axis");
  int64_t columns = x.getShape().back();
  SmallVector<int64_t> leading(x.getShape().drop_back()), qShape = leading, scaleShape = leading;
  qShape.push_back(planes() * int64_t(llvm::alignTo(columns, quantizedColumns)));
  scaleShape.append({planes() * int64_t(llvm::divideCeil(columns, block)), 2});
  if (!q || !q.getElementType().isSignlessInteger(8) || q.getShape() != ArrayRef(qShape))
    return emitOpError("quantize_rows.type: the integers are i8, with the columns rounded up to a "
                       "multiple of 128, twice if they have 16 bits, not ")
           << getQ().getType();
  if (!scales || !scales.getElementType().isF32() || scales.getShape() != ArrayRef(scaleShape))
    return emitOpError("quantize_rows.type: the scales are f32 [..., ")
           << scaleShape[scaleShape.size() - 2] << ", 2], not " << getScales().getType();
  return success();
}

std::optional<int64_t> tacq::quantizationBlock(int64_t columns, int64_t blocks, int64_t planes) {
  for (int64_t block : {128, 64, 32})
    if (planes * int64_t(llvm::divideCeil(columns, block)) == blocks)
      return block;
  return std::nullopt;
}

int64_t LinearOp::inputPlanes() {
  if (!getXScales())
    return 1;
  int64_t columns = cast<MixedType>(getWeights()[0].getType()).getColumns();
  return cast<RankedTensorType>(getX().getType()).getShape().back() /
         int64_t(llvm::alignTo(columns, quantizedColumns));
}

LogicalResult LinearOp::verify() {
  if (getWeights().empty())
    return emitOpError("linear.weights: at least one weight is needed");
  if (getWeightOrder().size() != getWeights().size())
    return emitOpError("linear.weight_order: one entry for each weight");
  if (getWeightLayouts() && getWeightLayouts()->size() != getWeights().size())
    return emitOpError("linear.weight_layouts: one entry for each weight");
  if (!getBiases().empty() && getBiases().size() != getWeights().size())
    return emitOpError("linear.biases: one for each weight, or none");
  size_t results = getGated() ? 1 : getWeights().size();
  if (getResults().size() != results)
    return emitOpError("linear.results: expected ") << results << " results";
  if (getGated() && getWeights().size() != 2)
    return emitOpError("linear.gated: a gated linear has two weights");
  if (getResidual() && results != 1)
    return emitOpError("linear.residual: needs exactly one result");
  auto orders = getWeightOrder().getAsRange<IntegerAttr>();
  for (auto [i, weight] : llvm::enumerate(getWeights())) {
    auto mixed = dyn_cast<MixedType>(weight.getType());
    if (!mixed)
      continue;
    if ((*std::next(orders.begin(), i)).getInt() != int64_t(WeightOrder::NK))
      return emitOpError("linear.mixed_order: a mixed-precision weight is [N, K] (nk)");
    if (!getWeightLayouts())
      continue;
    auto layout = dyn_cast<LayoutAttr>((*getWeightLayouts())[i]);
    if (!layout)
      return emitOpError("linear.mixed_layout: a mixed-precision weight is stored in #tacq.layout, "
                         "not ")
             << (*getWeightLayouts())[i];
    if (failed(verifyMixedLayout([&] { return emitOpError(); }, mixed, layout)))
      return failure();
  }
  int64_t inputs = ShapedType::kDynamic;
  if (auto x = dyn_cast<RankedTensorType>(getX().getType())) {
    if (x.getRank() < 1)
      return emitOpError("linear.rank: the input has at least one axis");
    inputs = x.getShape().back();
  }
  if (failed(verifyQuantizedInput(*this)))
    return failure();
  // Its columns have been rounded up.
  if (getXScales())
    inputs = ShapedType::kDynamic;
  for (auto [i, order] : llvm::enumerate(orders)) {
    std::optional<std::pair<int64_t, int64_t>> extents = extentsOf(getWeights()[i].getType());
    if (!extents)
      continue;
    auto [n, k] = *extents;
    if (n == -1)
      return emitOpError("linear.weight_rank: a weight has two axes");
    if (order.getInt() == int64_t(WeightOrder::KN))
      std::swap(n, k);
    if (!ShapedType::isDynamic(k) && !ShapedType::isDynamic(inputs) && k != inputs)
      return emitOpError("linear.columns: the input has ")
             << inputs << " features, the weight takes " << k;
    auto result = dyn_cast<RankedTensorType>(getResults()[getGated() ? 0 : i].getType());
    if (!result || ShapedType::isDynamic(n))
      continue;
    int64_t outputs = result.getRank() == 0 ? 0 : result.getShape().back();
    if (!ShapedType::isDynamic(outputs) && outputs != n)
      return emitOpError("linear.rows: the result has ")
             << outputs << " features, the weight gives " << n;
  }
  return success();
}

LogicalResult NormOp::inferReturnTypes(MLIRContext *, std::optional<Location>, ValueRange operands,
                                       DictionaryAttr, OpaqueProperties, RegionRange,
                                       SmallVectorImpl<Type> &types) {
  types.push_back(operands.front().getType());
  return success();
}

LogicalResult RopeOp::inferReturnTypes(MLIRContext *, std::optional<Location>, ValueRange operands,
                                       DictionaryAttr, OpaqueProperties, RegionRange,
                                       SmallVectorImpl<Type> &types) {
  types.push_back(operands.front().getType());
  return success();
}

LogicalResult NormOp::verify() {
  if (getBias() && getKind() == NormKind::RMS)
    return emitOpError("norm.bias: RMS normalization has no bias");
  if (rankOf(getX().getType()) == 0)
    return emitOpError("norm.rank: the input has at least one axis");
  if (getX().getType() != getResult().getType())
    return emitOpError("norm.type: input and result have the same type");
  return success();
}

LogicalResult RopeOp::verify() {
  int64_t rank = rankOf(getX().getType());
  if (rank != -1 && rank != 4)
    return emitOpError("rope.rank: the input is [batch, sequence, heads, features]");
  for (Value table : {getCos(), getSin()})
    if (int64_t r = rankOf(table.getType()); r != -1 && r != 3)
      return emitOpError("rope.table: cos and sin are [batch or 1, sequence, features / 2]");
  if (getX().getType() != getResult().getType())
    return emitOpError("rope.type: input and result have the same type");
  return success();
}

LogicalResult AttentionOp::verify() {
  for (Value operand : {getQ(), getK(), getV()})
    if (int64_t r = rankOf(operand.getType()); r != -1 && r != 4)
      return emitOpError("attention.rank: q, k and v are [batch, sequence, heads, features]");
  if (bool(getPastKey()) != bool(getPastValue()))
    return emitOpError("attention.past: past key and past value come together");
  if (getPresent().size() != (getPastKey() ? 2 : 0))
    return emitOpError("attention.present: present keys and values are results exactly if there is "
                       "a past");
  auto q = dyn_cast<RankedTensorType>(getQ().getType());
  auto k = dyn_cast<RankedTensorType>(getK().getType());
  if (q && k && !q.isDynamicDim(2) && !k.isDynamicDim(2) &&
      (k.getDimSize(2) == 0 || q.getDimSize(2) % k.getDimSize(2) != 0))
    return emitOpError("attention.heads: ") << q.getDimSize(2) << " query heads are no multiple of "
                                            << k.getDimSize(2) << " key heads";
  return success();
}

LogicalResult AttentionGradOp::verify() {
  for (Value operand : {getGradient(), getQ(), getK(), getV(), getOut()})
    if (int64_t r = rankOf(operand.getType()); r != -1 && r != 4)
      return emitOpError("attention_grad.rank: gradient, q, k, v and out are [batch, sequence, "
                         "heads, features]");
  for (Type type : getOperation()->getResultTypes())
    if (auto tensor = dyn_cast<RankedTensorType>(type);
        tensor && (tensor.getRank() != 4 || !tensor.getElementType().isF32()))
      return emitOpError("attention_grad.type: the gradients are f32 of [batch, sequence, heads, "
                         "features]");
  return success();
}
