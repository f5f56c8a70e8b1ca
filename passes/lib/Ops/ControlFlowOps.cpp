//===- ControlFlowOps.cpp - If, Loop and Scan -----------------------------===//
//
// Inference alone: an If with a known condition is inlined and loops are unrolled before their
// results are asked for.
//
//===----------------------------------------------------------------------===//

#include "tacq/Ops/OpSpec.h"

using namespace mlir;
using namespace tacq;

namespace {

Type elementOf(Value tensor) { return cast<ShapedType>(tensor.getType()).getElementType(); }

/// Both branches, which are inferred before, have to agree on the results' types.
LogicalResult inferIf(InferContext &ctx) {
  auto bodies = ctx.node.getBodies();
  if (bodies.size() != 2)
    return ctx.fail("it must have two branches");
  ValueRange first = bodies[0].front().getTerminator()->getOperands(),
             second = bodies[1].front().getTerminator()->getOperands();
  if (first.size() != ctx.resultCount() || second.size() != ctx.resultCount())
    return ctx.fail("its branches must give " + Twine(ctx.resultCount()) + " results");
  for (unsigned i = 0; i < ctx.resultCount(); ++i) {
    if (ctx.types[i])
      continue;
    std::optional<Dims> dims = dimsOf(first[i]), other = dimsOf(second[i]);
    if (!dims || !other)
      return ctx.fail("the shape of result " + Twine(i) + " is not known");
    if (elementOf(first[i]) != elementOf(second[i]) || *dims != *other)
      return ctx.unsupported("its branches give results of different types");
    ctx.setResult(i, elementOf(first[i]), *dims);
  }
  return success();
}

LogicalResult inferLoop(InferContext &ctx) {
  return ctx.unsupported("its number of iterations must be known at compile time");
}

OpSpec controlFlow(StringRef name, InferFn infer) {
  OpSpec spec;
  spec.name = name;
  spec.infer = infer;
  return spec;
}

} // namespace

ArrayRef<OpSpec> tacq::controlFlowOps() {
  static const OpSpec table[] = {controlFlow("If", inferIf), controlFlow("Loop", inferLoop),
                                 controlFlow("Scan", inferLoop)};
  return table;
}
