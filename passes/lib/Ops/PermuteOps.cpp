//===- PermuteOps.cpp - Transpose, repetition and reordering --------------===//

#include "MovementOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace tacq;

//===----------------------------------------------------------------------===//
// Transpose
//===----------------------------------------------------------------------===//

static SmallVector<int64_t> permutation(const NodeAttrs &attrs, int64_t rank) {
  SmallVector<int64_t> order = attrs.integers("perm");
  if (!attrs.has("perm"))
    for (int64_t axis = rank; axis-- > 0;)
      order.push_back(axis);
  return order;
}

static LogicalResult inferTranspose(InferContext &c) {
  Dims dims = c.dims(0), result;
  SmallVector<int64_t> order = permutation(c.attrs, dims.size());
  SmallVector<int64_t> sorted = order;
  llvm::sort(sorted);
  for (size_t i = 0; i < dims.size(); ++i)
    if (sorted.size() != dims.size() || sorted[i] != int64_t(i))
      return c.fail("perm is not a permutation of " + Twine(dims.size()) + " axes");
  for (int64_t axis : order)
    result.push_back(dims[axis]);
  c.setResult(0, c.elementType(0), result);
  foldMovement(c, 0, 0, [&](ArrayRef<int64_t> index) {
    SmallVector<int64_t> source(index.size());
    for (auto [i, axis] : llvm::enumerate(order))
      source[axis] = index[i];
    return source;
  });
  return success();
}

static Value transposeElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  KernelBuilder::Index source(index.size());
  for (auto [i, axis] : llvm::enumerate(permutation(NodeAttrs(node), index.size())))
    source[axis] = index[i];
  return k.load(node.getInputs()[0], source);
}

//===----------------------------------------------------------------------===//
// Expand, Tile
//===----------------------------------------------------------------------===//

static LogicalResult inferExpand(InferContext &c) {
  std::optional<Dims> shape = c.values(1);
  if (!shape)
    return c.unsupported("its shape is not a tensor of known size");
  FailureOr<Dims> dims = c.broadcast(c.dims(0), *shape);
  if (failed(dims))
    return failure();
  c.setResult(0, c.elementType(0), *dims);
  auto type = cast<RankedTensorType>(c.operand(0).getType());
  foldMovement(c, 0, 0, [&](ArrayRef<int64_t> index) {
    SmallVector<int64_t> source(index.take_back(type.getRank()));
    for (auto [at, extent] : llvm::zip(source, type.getShape()))
      if (extent == 1)
        at = 0;
    return source;
  });
  return success();
}

static Value expandElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  return k.loadBroadcast(node.getInputs()[0], index, k.dims(node.getResult(0)));
}

static LogicalResult inferTile(InferContext &c) {
  Dims dims = c.dims(0);
  std::optional<Dims> repeats = c.values(1);
  if (!repeats)
    return c.unsupported("its repeats are not a tensor of known size");
  if (repeats->size() != dims.size())
    return c.fail("it has " + Twine(repeats->size()) + " repeats for rank " + Twine(dims.size()));
  Dims result;
  for (auto [dim, times] : llvm::zip(dims, *repeats))
    result.push_back(dim * times);
  c.setResult(0, c.elementType(0), result);
  auto type = cast<RankedTensorType>(c.operand(0).getType());
  foldMovement(c, 0, 0, [&](ArrayRef<int64_t> index) {
    SmallVector<int64_t> source(index);
    for (auto [at, extent] : llvm::zip(source, type.getShape()))
      at %= extent;
    return source;
  });
  return success();
}

static Value tileElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Value in = node.getInputs()[0];
  KernelBuilder::Index source;
  for (auto [at, from, to] : llvm::zip(index, k.dims(in), k.dims(node.getResult(0)))) {
    if (from == to)
      source.push_back(at);
    else if (from.isConstant(1))
      source.push_back(k.index(0));
    else
      source.push_back(k.b.create<arith::RemUIOp>(at, k.sym(from)));
  }
  return k.load(in, source);
}

//===----------------------------------------------------------------------===//
// DepthToSpace, SpaceToDepth
//===----------------------------------------------------------------------===//

static LogicalResult inferDepthToSpace(InferContext &c) {
  Dims dims = c.dims(0);
  Sym block(c.attrs.integer("blocksize", 1));
  if (dims.size() != 4 || !block.isNonNegative() || block.isConstant(0))
    return c.fail("it needs an input of rank 4 and a positive block size");
  Sym channels = Sym::floorDiv(dims[1], block * block);
  if (failed(
          c.require(channels * block * block, dims[1], "the channels do not divide into blocks")))
    return failure();
  c.setResult(0, c.elementType(0), {dims[0], channels, dims[2] * block, dims[3] * block});
  return success();
}

static LogicalResult inferSpaceToDepth(InferContext &c) {
  Dims dims = c.dims(0);
  Sym block(c.attrs.integer("blocksize", 1));
  if (dims.size() != 4 || !block.isNonNegative() || block.isConstant(0))
    return c.fail("it needs an input of rank 4 and a positive block size");
  Dims spatial;
  for (const Sym &dim : {dims[2], dims[3]}) {
    spatial.push_back(Sym::floorDiv(dim, block));
    if (failed(c.require(spatial.back() * block, dim, "the image does not divide into blocks")))
      return failure();
  }
  c.setResult(0, c.elementType(0), {dims[0], dims[1] * block * block, spatial[0], spatial[1]});
  return success();
}

static Value quotient(KernelBuilder &k, Value x, Value y) {
  return k.b.create<arith::DivUIOp>(x, y);
}
static Value remainder(KernelBuilder &k, Value x, Value y) {
  return k.b.create<arith::RemUIOp>(x, y);
}

static Value depthToSpaceElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  NodeAttrs attrs(node);
  Value block = k.index(attrs.integer("blocksize", 1));
  Value row = remainder(k, index[2], block), column = remainder(k, index[3], block);
  Value within = k.add(k.mul(row, block), column);
  Value channel;
  if (attrs.string("mode", "DCR") == "DCR")
    channel = k.add(k.mul(within, k.sym(k.dims(node.getResult(0))[1])), index[1]);
  else
    channel = k.add(k.mul(index[1], k.mul(block, block)), within);
  Value source[] = {index[0], channel, quotient(k, index[2], block), quotient(k, index[3], block)};
  return k.load(node.getInputs()[0], source);
}

static Value spaceToDepthElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Value in = node.getInputs()[0];
  Value block = k.index(NodeAttrs(node).integer("blocksize", 1));
  Value channels = k.sym(k.dims(in)[1]);
  Value channel = remainder(k, index[1], channels), within = quotient(k, index[1], channels);
  Value source[] = {index[0], channel, k.add(k.mul(index[2], block), quotient(k, within, block)),
                    k.add(k.mul(index[3], block), remainder(k, within, block))};
  return k.load(in, source);
}

//===----------------------------------------------------------------------===//
// ReverseSequence, Trilu
//===----------------------------------------------------------------------===//

static LogicalResult inferReverseSequence(InferContext &c) {
  Dims dims = c.dims(0);
  FailureOr<int64_t> batch = c.axis(c.attrs.integer("batch_axis", 1), dims.size());
  FailureOr<int64_t> time = c.axis(c.attrs.integer("time_axis", 0), dims.size());
  if (failed(batch) || failed(time))
    return failure();
  Dims lengths = c.dims(1);
  if (lengths.size() != 1)
    return c.fail("its sequence lengths are not of rank 1");
  if (failed(c.require(lengths[0], dims[*batch], "not one length for each sequence")))
    return failure();
  c.setResult(0, c.elementType(0), dims);
  return success();
}

static Value reverseSequenceElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  NodeAttrs attrs(node);
  int64_t rank = index.size();
  int64_t batch = (attrs.integer("batch_axis", 1) + rank) % rank;
  int64_t time = (attrs.integer("time_axis", 0) + rank) % rank;
  Value in = node.getInputs()[0], lengths = node.getInputs()[1];
  Value length = k.toIndex(k.load(lengths, ValueRange(index[batch])), k.elementType(lengths));
  // A length above the axis would read behind the input.
  length = k.min(length, k.sym(k.dims(in)[time]));
  Value reversed = k.sub(k.sub(length, k.index(1)), index[time]);
  KernelBuilder::Index source(index);
  source[time] = k.select(k.less(index[time], length), reversed, index[time]);
  return k.load(in, source);
}

static LogicalResult inferTrilu(InferContext &c) {
  if (c.rank(0) < 2)
    return c.fail("its input has fewer than two axes");
  c.setResult(0, c.elementType(0), c.dims(0));
  return success();
}

static Value triluElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Value in = node.getInputs()[0];
  // Position relative to the main diagonal; positive above it.
  Value offset = k.sub(index.back(), index[index.size() - 2]);
  Value diagonal = k.index(0);
  if (node.getInputs().size() > 1 && !isAbsent(node.getInputs()[1])) {
    Value operand = node.getInputs()[1];
    KernelBuilder::Index first(k.dims(operand).size(), k.index(0));
    diagonal = k.toIndex(k.load(operand, first), k.elementType(operand));
  }
  bool upper = NodeAttrs(node).integer("upper", 1);
  Value kept = upper ? k.lessEqual(diagonal, offset) : k.lessEqual(offset, diagonal);
  Value element = k.load(in, index);
  return k.select(kept, element, k.constant(element.getType(), 0));
}

llvm::ArrayRef<OpSpec> tacq::permuteOps() {
  static const OpSpec table[] = {
      {"Transpose", inferTranspose, nullptr, transposeElement, nullptr, true},
      {"Expand", inferExpand, nullptr, expandElement, nullptr, true},
      {"Tile", inferTile, nullptr, tileElement, nullptr, true},
      {"DepthToSpace", inferDepthToSpace, nullptr, depthToSpaceElement},
      {"SpaceToDepth", inferSpaceToDepth, nullptr, spaceToDepthElement},
      {"ReverseSequence", inferReverseSequence, nullptr, reverseSequenceElement},
      {"Trilu", inferTrilu, nullptr, triluElement},
  };
  return table;
}
