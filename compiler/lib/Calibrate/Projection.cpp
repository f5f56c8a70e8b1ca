//===- Projection.cpp - The product that a result is of -------------------===//

#include "Projection.h"

using namespace mlir;
using namespace tacq;

LinearOp tacq::projectionOf(Value value) {
  while (auto node = value.getDefiningOp<NodeOp>()) {
    static const StringRef transparent[] = {"Cast",     "Reshape", "Squeeze", "Unsqueeze",
                                            "Mul",      "Div",     "Add",     "Slice",
                                            "Identity", "Tanh",    "Flatten", "Transpose"};
    if (!llvm::is_contained(transparent, node.getOpType()))
      return nullptr;
    value = node.getInputs()[0];
  }
  return value.getDefiningOp<LinearOp>();
}
