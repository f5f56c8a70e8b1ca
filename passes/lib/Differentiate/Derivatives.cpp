//===- Derivatives.cpp - Finds the rule of an operation -------------------===//

#include "Derivatives.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace tacq;

const Derivative *tacq::lookupDerivative(NodeOp node) {
  static const llvm::StringMap<const Derivative *> table = [] {
    llvm::StringMap<const Derivative *> entries;
    for (ArrayRef<Derivative> family :
         {activationDerivatives(), arithmeticDerivatives(), contractionDerivatives(),
          indexingDerivatives(), movementDerivatives(), reductionDerivatives()})
      for (const Derivative &entry : family)
        entries[(entry.domain + ":" + entry.op).str()] = &entry;
    return entries;
  }();
  return table.lookup((node.getDomain() + ":" + node.getOpType()).str());
}

static std::string refusalOfNode(NodeOp node, IsActive isActive) {
  if (!node.getBodies().empty())
    return "control flow is not differentiable";
  const Derivative *rule = lookupDerivative(node);
  if (!rule)
    return "this operator has no derivative here";
  return rule->refuse ? rule->refuse(node, isActive) : "";
}

std::string tacq::refusalOf(Operation *op, IsActive isActive) {
  for (Value operand : op->getOperands())
    if (isActive(operand) && !dimsOf(operand))
      return "the shape of an operand is not known";
  return llvm::TypeSwitch<Operation *, std::string>(op)
      .Case([&](NodeOp node) { return refusalOfNode(node, isActive); })
      .Case([&](RopeOp rope) {
        return isActive(rope.getCos()) || isActive(rope.getSin())
                   ? "its angles depend on a parameter"
                   : "";
      })
      .Case([&](AttentionOp attention) {
        return attention.getPastKey() ? "it has a cache; run tacq-drop-caches first" : "";
      })
      .Case([&](LinearOp linear) {
        bool isDense = llvm::all_of(linear.getWeights(), [](Value weight) {
          auto type = dyn_cast<RankedTensorType>(weight.getType());
          return type && type.hasStaticShape();
        });
        return isDense ? "" : "its weight is not a dense tensor of static shape";
      })
      .Case([](NormOp) { return ""; })
      .Default([](Operation *) { return "this operation has no derivative here"; });
}

void tacq::derive(GradientBuilder &builder, Operation *op, ArrayRef<Value> gradients) {
  llvm::TypeSwitch<Operation *>(op)
      .Case([&](NodeOp node) { lookupDerivative(node)->derive(builder, node, gradients); })
      .Case([&](LinearOp linear) { deriveLinear(builder, linear, gradients); })
      .Case([&](NormOp norm) { deriveNorm(builder, norm, gradients[0]); })
      .Case([&](RopeOp rope) { deriveRope(builder, rope, gradients[0]); })
      .Case([&](AttentionOp attention) { deriveAttention(builder, attention, gradients[0]); });
}
