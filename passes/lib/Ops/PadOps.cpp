//===- PadOps.cpp - Pad ---------------------------------------------------===//

#include "MovementOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace tacq;

static LogicalResult inferPad(InferContext &c) {
  Dims dims = c.dims(0), axes;
  int64_t rank = dims.size();
  std::optional<Dims> pads = attributeOrOperand(c, "pads", 1);
  if (!pads)
    return c.unsupported("its pads are not a tensor of known size");
  if (c.has(3)) {
    std::optional<Dims> given = c.values(3);
    if (!given)
      return c.unsupported("its axes are not a tensor of known size");
    axes = *given;
    for (const Sym &axis : axes)
      if (axis.constant() && failed(c.axis(*axis.constant(), rank)))
        return failure();
  } else {
    for (int64_t axis = 0; axis < rank; ++axis)
      axes.push_back(Sym(axis));
  }
  if (pads->size() != 2 * axes.size())
    return c.fail("its pads have " + Twine(pads->size()) + " elements instead of " +
                  Twine(2 * axes.size()));
  std::string mode = c.attrs.string("mode", "constant");
  if (mode != "constant" && mode != "reflect" && mode != "edge" && mode != "wrap")
    return c.fail("its mode '" + mode + "' is not known");
  Dims none(rank, Sym(0));
  Dims before = perAxis(axes, ArrayRef(*pads).take_front(axes.size()), none);
  Dims behind = perAxis(axes, ArrayRef(*pads).drop_front(axes.size()), none);
  Dims result;
  for (auto [dim, low, high] : llvm::zip(dims, before, behind))
    result.push_back(dim + low + high);
  recordSymbols(c.node, "tacq.before", before);
  recordSymbols(c.node, "tacq.behind", behind);
  c.setResult(0, c.elementType(0), result);
  return success();
}

/// A position outside of [0, extent) under one of the modes that repeat the input.
static Value sourcePosition(KernelBuilder &k, llvm::StringRef mode, Value at, Value extent) {
  Value zero = k.index(0), one = k.index(1);
  Value last = k.max(k.sub(extent, one), zero);
  if (mode == "edge")
    return k.min(k.max(at, zero), last);
  if (mode == "wrap")
    return floorModIndex(k, at, k.max(extent, one));
  // Reflected without repeating the border, as often as it takes.
  Value period = k.max(k.mul(last, k.index(2)), one);
  Value phase = floorModIndex(k, at, period);
  return k.min(phase, k.sub(period, phase));
}

static Value padValue(KernelBuilder &k, NodeOp node) {
  if (node.getInputs().size() > 2 && !isAbsent(node.getInputs()[2])) {
    Value operand = node.getInputs()[2];
    return k.load(operand, KernelBuilder::Index(k.dims(operand).size(), k.index(0)));
  }
  Type type = computeType(k.elementType(node.getInputs()[0]));
  return k.constant(type, NodeAttrs(node).real("value", 0));
}

static Value padElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Value in = node.getInputs()[0];
  std::string mode = NodeAttrs(node).string("mode", "constant");
  Dims before = recordedSymbols(node, "tacq.before"), behind = recordedSymbols(node, "tacq.behind");
  KernelBuilder::Index source;
  Value inside;
  for (auto [at, dim, low, high] : llvm::zip(index, k.dims(in), before, behind)) {
    if (low.isConstant(0) && high.isConstant(0)) {
      source.push_back(at);
      continue;
    }
    Value moved = k.sub(at, k.sym(low));
    if (mode != "constant") {
      source.push_back(sourcePosition(k, mode, moved, k.sym(dim)));
      continue;
    }
    source.push_back(moved);
    // A negative position is a large unsigned one.
    Value within = k.less(moved, k.sym(dim), /*isUnsigned=*/true);
    inside = inside ? k.logicalAnd(inside, within) : within;
  }
  if (!inside)
    return k.load(in, source);
  return k.branch(
      inside, [&] { return SmallVector<Value>{k.load(in, source)}; },
      [&] { return SmallVector<Value>{padValue(k, node)}; })[0];
}

llvm::ArrayRef<OpSpec> tacq::padOps() {
  static const OpSpec table[] = {{"Pad", inferPad, nullptr, padElement}};
  return table;
}
