//===- WidenFloats.cpp - f16 and bf16 become f32 --------------------------===//

#include "tacq/Calibration/Passes.h"
#include "tacq/Graph/GraphMatch.h"

using namespace mlir;
using namespace tacq;

namespace tacq {
#define GEN_PASS_DEF_WIDENFLOATS
#include "tacq/Calibration/Passes.h.inc"
} // namespace tacq

// ONNX's numbers of element types.
static constexpr int64_t floatNumber = 1, float16Number = 10, bfloat16Number = 16;

static bool isNarrow(Type element) { return element && (element.isF16() || element.isBF16()); }

static Type widened(Type type) {
  auto tensor = dyn_cast<TensorType>(type);
  if (!tensor || !isNarrow(tensor.getElementType()))
    return type;
  return cast<Type>(cast<ShapedType>(tensor).clone(Float32Type::get(type.getContext())));
}

static ElementsAttr widened(ElementsAttr value) {
  if (!isNarrow(value.getElementType()))
    return value;
  SmallVector<float> numbers;
  for (const APFloat &number : value.getValues<APFloat>()) {
    APFloat wide = number;
    bool losesInfo;
    wide.convert(APFloat::IEEEsingle(), APFloat::rmNearestTiesToEven, &losesInfo);
    numbers.push_back(wide.convertToFloat());
  }
  auto type = cast<ShapedType>(widened(value.getShapedType()));
  // A splat stays one.
  if (value.isSplat() && !numbers.empty())
    return DenseElementsAttr::get(type, numbers.front());
  return DenseElementsAttr::get(type, ArrayRef(numbers));
}

namespace {

struct WidenFloats : tacq::impl::WidenFloatsBase<WidenFloats> {
  void runOnOperation() override {
    func::FuncOp function = getOperation();
    SmallVector<Operation *> ops;
    function.walk([&](Operation *op) {
      if (op != function)
        ops.push_back(op);
    });
    for (Operation *op : ops)
      if (failed(checkBits(op)))
        return signalPassFailure();
    for (BlockArgument argument : function.getArguments())
      widen(argument);
    for (Operation *op : ops)
      widen(op);
    for (Operation *op : ops)
      dropCast(op);
    Block &entry = function.getBody().front();
    eraseDeadNodes(entry);
    function.setFunctionType(FunctionType::get(&getContext(), entry.getArgumentTypes(),
                                               entry.getTerminator()->getOperandTypes()));
  }

  void widen(Value value) {
    Type type = widened(value.getType());
    numWidened += type != value.getType();
    value.setType(type);
  }

  LogicalResult checkBits(Operation *op) {
    if (!isNode(op, "BitCast") ||
        (!isNarrow(elementTypeOf(op->getOperand(0))) && !isNarrow(elementTypeOf(op->getResult(0)))))
      return success();
    return op->emitError("unsupported node '")
           << cast<NodeOp>(op).getNodeName()
           << "' (BitCast): it works on the bits of a 16-bit number, which is computed in f32 here";
  }

  void widen(Operation *op) {
    if (auto param = dyn_cast<GetParamOp>(op))
      return castUses(param);
    for (Value result : op->getResults())
      widen(result);
    for (Region &region : op->getRegions())
      for (BlockArgument argument : region.getArguments())
        widen(argument);
    if (auto constant = dyn_cast<ConstantOp>(op))
      constant.setValueAttr(widened(constant.getValue()));
    else if (auto node = dyn_cast<NodeOp>(op))
      widenAttributes(node);
  }

  /// Attributes name element types by number, or hold tensors.
  void widenAttributes(NodeOp node) {
    NamedAttrList attrs(node.getAttrs());
    for (NamedAttribute attr : node.getAttrs()) {
      static const StringRef typeNames[] = {"to", "dtype", "output_dtype", "stash_type",
                                            "softmax_precision"};
      auto number = dyn_cast<IntegerAttr>(attr.getValue());
      if (number && llvm::is_contained(typeNames, attr.getName().getValue()) &&
          (number.getInt() == float16Number || number.getInt() == bfloat16Number))
        attrs.set(attr.getName(), IntegerAttr::get(number.getType(), floatNumber));
      else if (auto value = dyn_cast<ElementsAttr>(attr.getValue()))
        attrs.set(attr.getName(), widened(value));
    }
    node.setAttrsAttr(attrs.getDictionary(&getContext()));
  }

  /// Linear operations read a weight in the type that it is stored in; others get a cast.
  void castUses(GetParamOp param) {
    if (!isNarrow(elementTypeOf(param)))
      return;
    Value wide;
    for (OpOperand &use : llvm::make_early_inc_range(param.getResult().getUses())) {
      if (auto linear = dyn_cast<LinearOp>(use.getOwner()); linear && linear.weightNumber(use))
        continue;
      if (!wide) {
        OpBuilder builder(&getContext());
        builder.setInsertionPointAfter(param);
        GraphBuilder nodes(builder, param.getLoc(), param.getParam());
        wide = nodes.cast(param, builder.getF32Type());
      }
      use.set(wide);
    }
  }

  void dropCast(Operation *op) {
    if (!isNode(op, "Cast") && !isNode(op, "CastLike"))
      return;
    auto node = cast<NodeOp>(op);
    Value from = node.getInputs()[0], to = node.getOutputs()[0];
    if (from.getType() != to.getType())
      return;
    to.replaceAllUsesWith(from);
    ++numCasts;
  }
};

} // namespace
