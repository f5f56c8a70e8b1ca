//===- KernelCost.cpp - What a launch costs on one core -------------------===//

#include "tacq/CPU/KernelCost.h"
#include "tacq/Dialect/TACQ/MixedStorage.h"

using namespace mlir;
using namespace tacq;

namespace {

// Picoseconds on one core of a server of 2023, in the middle of what was measured on several.
constexpr int64_t perByte = 80;     // read from memory: 12.5 GB/s
constexpr int64_t perElement = 150; // of a row that is normalized, quantized, rotated or copied
constexpr int64_t perNodeElement = 1000; // of a node without a kernel of its own
constexpr int64_t perProduct = 20;       // multiply-add in f32
constexpr int64_t perByteProduct = 5;    // multiply-add of bytes, their decoding included
constexpr int64_t picoseconds = 1000;

Sym elementsOf(Value tensor) { return elementCount(*dimsOf(tensor)); }

Sym bytesOf(Type type) {
  if (auto mixed = dyn_cast<MixedType>(type))
    return Sym(mixed.getRows() * mixed.getColumns() * (mixed.getBits() + 1) / 8);
  int64_t bits = std::max(8u, cast<ShapedType>(type).getElementTypeBitWidth());
  return elementCount(*dimsOf(type)) * Sym(bits / 8);
}

Sym costOf(LinearOp linear) {
  Dims x = *dimsOf(linear.getX());
  Sym rows = elementCount(ArrayRef(x).drop_back()), cost;
  int64_t ofMixed = perByteProduct * linear.inputPlanes();
  for (Value weight : linear.getWeights()) {
    Type type = weight.getType();
    auto mixed = dyn_cast<MixedType>(type);
    Sym elements = mixed ? Sym(mixed.getRows() * mixed.getColumns()) : elementsOf(weight);
    cost =
        cost + bytesOf(type) * Sym(perByte) + rows * elements * Sym(mixed ? ofMixed : perProduct);
  }
  return cost;
}

Sym costOf(AttentionOp attention, const KernelOptions &options) {
  Sym added = elementsOf(attention.getK()) + elementsOf(attention.getV());
  Value keys = attention.getPresentKey(), values = attention.getPresentValue();
  if (options.append)
    return (options.capacity ? added : elementsOf(keys) + elementsOf(values)) * Sym(perElement);
  Dims q = *dimsOf(attention.getQ());
  Sym total = keys ? (*dimsOf(keys))[2] : (*dimsOf(attention.getK()))[1];
  Sym features = q[3] + (*dimsOf(attention.getV()))[3];
  Sym read = keys ? bytesOf(keys.getType()) + bytesOf(values.getType())
                  : bytesOf(attention.getK().getType()) + bytesOf(attention.getV().getType());
  return q[0] * q[1] * q[2] * total * features * Sym(perProduct) + read * Sym(perByte) +
         added * Sym(perElement);
}

/// A node of elements; others may take any time.
std::optional<Sym> costOf(NodeOp node) {
  const OpSpec *spec = lookupOp(node);
  if (!spec || !spec->element || spec->heavy)
    return std::nullopt;
  return elementsOf(node.getOutputs()[0]) * Sym(perNodeElement);
}

} // namespace

std::optional<Sym> tacq::kernelCost(Region &region, const KernelOptions &options) {
  Sym cost;
  for (Operation &op : region.front()) {
    if (auto linear = dyn_cast<LinearOp>(op)) {
      cost = cost + costOf(linear);
    } else if (auto attention = dyn_cast<AttentionOp>(op)) {
      cost = cost + costOf(attention, options);
    } else if (isa<NormOp, RopeOp, QuantizeRowsOp>(op)) {
      cost = cost + elementsOf(op.getOperand(0)) * Sym(perElement);
    } else if (auto node = dyn_cast<NodeOp>(op)) {
      std::optional<Sym> own = costOf(node);
      if (!own)
        return std::nullopt;
      cost = cost + *own;
    } else if (!isa<ConstantOp, SymbolicOp, NoneOp, YieldOp>(op)) {
      return std::nullopt;
    }
  }
  return Sym::ceilDiv(cost, Sym(picoseconds));
}
