//===- MixedOperands.cpp - What a product with mixed weights binds --------===//

#include "tacq/Codegen/MixedOperands.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace tacq;

FailureOr<SmallVector<MixedOperands::Operand, 3>>
MixedOperands::collectOperands(FlatCode &code, LinearOp op, std::string &reason) {
  if (!op.getWeightLayouts()) {
    reason = "the kernel of a linear operation with mixed-precision weights needs packed weights";
    return failure();
  }
  Dims xDims = code.k.dims(op.getX());
  inputColumns = *xDims.back().constant();
  rowCount = elementCount(ArrayRef(xDims).drop_back());
  if (op.getXScales()) {
    Dims scaleDims = code.k.dims(op.getXScales());
    blocks = *scaleDims[scaleDims.size() - 2].constant();
  }
  planes = op.inputPlanes();
  x = code.inputBuffer(op.getX());
  xScales = code.inputBuffer(op.getXScales());
  residual = code.inputBuffer(op.getResidual());
  bool alone =
      x && bool(op.getXScales()) == bool(xScales) && bool(op.getResidual()) == bool(residual);
  SmallVector<Operand, 3> operands;
  for (auto [i, weight] : llvm::enumerate(op.getWeights())) {
    auto type = dyn_cast<MixedType>(weight.getType());
    if (!type) {
      reason = "the kernel of a linear operation has weights of one kind";
      return failure();
    }
    auto layout = cast<LayoutAttr>((*op.getWeightLayouts())[i]);
    block = xScales ? *quantizationBlock(type.getColumns(), blocks, planes) : smallestBlock;
    std::optional<MixedFormat> format = MixedFormat::get(type, layout, block);
    if (!format) {
      llvm::raw_string_ostream(reason) << "there is no kernel for a weight of type " << type
                                       << " in " << layout << " and input in blocks of " << block;
      return failure();
    }
    Value bias = op.getBiases().empty() ? Value() : code.inputBuffer(op.getBiases()[i]);
    operands.push_back({*format, code.inputBuffer(weight), bias,
                        code.outputBuffer(op.getResults()[op.getGated() ? 0 : i])});
    alone &= operands.back().buffer && operands.back().output && (op.getBiases().empty() || bias);
  }
  if (!alone) {
    reason = "the kernel of a linear operation holds that operation alone";
    return failure();
  }
  if (op.getGated() && (operands[0].format.sorted || operands[1].format.sorted)) {
    reason = "the weights of a gated linear operation have their rows in the natural order";
    return failure();
  }
  return operands;
}
