//===- TapInputs.cpp - Inputs of linear operations as results -------------===//

#include "tacq/Calibration/Passes.h"
#include "tacq/Graph/GraphMatch.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace tacq;

namespace tacq {
#define GEN_PASS_DEF_TAPINPUTS
#include "tacq/Calibration/Passes.h.inc"
} // namespace tacq

namespace {

struct TapInputs : tacq::impl::TapInputsBase<TapInputs> {
  using TapInputsBase::TapInputsBase;

  void runOnOperation() override {
    func::FuncOp function = getOperation();
    Block &entry = function.getBody().front();
    Builder builder(&getContext());
    SmallVector<Value> values;
    SmallVector<Attribute> names, taps;
    Operation *terminator = entry.getTerminator();
    for (auto [i, value] : llvm::enumerate(terminator->getOperands())) {
      auto name = function.getResultAttrOfType<StringAttr>(i, "tacq.name");
      if (!name || !llvm::is_contained(keepResults, name.getValue()))
        continue;
      values.push_back(value);
      names.push_back(name);
    }
    llvm::DenseMap<Value, StringAttr> inputs;
    llvm::StringMap<unsigned> uses;
    for (auto linear : entry.getOps<LinearOp>())
      for (auto [weight, order] :
           llvm::zip(linear.getWeights(), linear.getWeightOrder().getAsRange<IntegerAttr>())) {
        auto param = weight.getDefiningOp<GetParamOp>();
        if (!param || !isChosen(param.getParam()))
          continue;
        std::string name = param.getParam().str();
        if (unsigned use = uses[param.getParam()]++)
          name += "#" + std::to_string(use + 1);
        StringAttr &input = inputs[linear.getX()];
        if (!input) {
          input = builder.getStringAttr("input:" + name);
          values.push_back(linear.getX());
          names.push_back(input);
        }
        taps.push_back(describe(builder, param, input, WeightOrder(order.getInt())));
        ++numTaps;
      }
    terminator->setOperands(values);
    function.setFunctionType(
        builder.getFunctionType(entry.getArgumentTypes(), terminator->getOperandTypes()));
    SmallVector<DictionaryAttr> attributes;
    for (Attribute name : names)
      attributes.push_back(builder.getDictionaryAttr(builder.getNamedAttr("tacq.name", name)));
    function.setAllResultAttrs(attributes);
    function->setAttr("tacq.taps", builder.getArrayAttr(taps));
    eraseDeadNodes(entry);
  }

  bool isChosen(StringRef name) {
    return parameters.empty() || llvm::is_contained(parameters, "*") ||
           llvm::is_contained(parameters, name);
  }

  static Attribute describe(Builder &builder, GetParamOp param, StringAttr input,
                            WeightOrder order) {
    auto type = cast<RankedTensorType>(param.getType());
    int64_t rows = type.getDimSize(0), columns = type.getDimSize(1);
    if (order == WeightOrder::KN)
      std::swap(rows, columns);
    return builder.getDictionaryAttr(
        {builder.getNamedAttr("parameter", builder.getStringAttr(param.getParam())),
         builder.getNamedAttr("input", input),
         builder.getNamedAttr("rows", builder.getI64IntegerAttr(rows)),
         builder.getNamedAttr("columns", builder.getI64IntegerAttr(columns)),
         builder.getNamedAttr("order", builder.getStringAttr(stringifyWeightOrder(order)))});
  }
};

} // namespace
