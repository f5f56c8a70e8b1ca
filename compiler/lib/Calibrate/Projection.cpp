//===- Projection.cpp - The product that a result is of -------------------===//

#include "Projection.h"
#include "tacq/Graph/GraphMatch.h"

using namespace mlir;
using namespace tacq;

LinearOp tacq::projectionOf(Value value) {
  while (auto node = value.getDefiningOp<NodeOp>()) {
    static const StringRef shapes[] = {"Cast",     "Reshape", "Squeeze", "Unsqueeze", "Slice",
                                       "Identity", "Tanh",    "Flatten", "Transpose"};
    // A sum with what was there before a layer is no projection.
    static const StringRef scalings[] = {"Mul", "Div", "Add"};
    bool known = llvm::is_contained(shapes, node.getOpType()) ||
                 (llvm::is_contained(scalings, node.getOpType()) &&
                  llvm::all_of(node.getInputs().drop_front(), isWeight));
    if (!known)
      return nullptr;
    value = node.getInputs()[0];
  }
  return value.getDefiningOp<LinearOp>();
}
