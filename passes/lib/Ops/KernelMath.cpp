//===- KernelMath.cpp - What kernels of several operator families use -----===//

#include "KernelMath.h"
#include <cmath>

using namespace mlir;
using namespace tacq;

SmallVector<Value> tacq::reduceRange(KernelBuilder &k, ValueRange lower, ValueRange upper,
                                     ValueRange init, CarryFn body) {
  SmallVector<Value> at;
  std::function<SmallVector<Value>(size_t, ValueRange)> nest =
      [&](size_t level, ValueRange carried) -> SmallVector<Value> {
    if (level == lower.size())
      return body(at, carried);
    auto loop = k.b.create<scf::ForOp>(lower[level], upper[level], k.index(1), carried);
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointToStart(loop.getBody());
    at.push_back(loop.getInductionVar());
    SmallVector<Value> next = nest(level + 1, loop.getRegionIterArgs());
    at.pop_back();
    if (!next.empty())
      k.b.create<scf::YieldOp>(next);
    return SmallVector<Value>(loop.getResults());
  };
  return nest(0, init);
}

Value tacq::addAnyOrder(KernelBuilder &k, Value x, Value y) {
  if (!isa<FloatType>(getElementTypeOrSelf(x.getType())))
    return k.add(x, y);
  return k.b.create<arith::AddFOp>(x, y,
                                   arith::FastMathFlags::reassoc | arith::FastMathFlags::contract);
}

Value tacq::mulFast(KernelBuilder &k, Value x, Value y) {
  if (!isa<FloatType>(getElementTypeOrSelf(x.getType())))
    return k.mul(x, y);
  return k.b.create<arith::MulFOp>(x, y, arith::FastMathFlags::contract);
}

Value tacq::lowestOf(KernelBuilder &k, Type element) {
  Type type = computeType(element);
  if (isFloat(element))
    return k.constant(type, -INFINITY);
  if (isUnsigned(element))
    return k.integer(type, 0);
  APInt lowest = APInt::getSignedMinValue(type.getIntOrFloatBitWidth());
  return k.b.create<arith::ConstantOp>(k.b.getIntegerAttr(type, lowest));
}

Value tacq::highestOf(KernelBuilder &k, Type element) {
  Type type = computeType(element);
  if (isFloat(element))
    return k.constant(type, INFINITY);
  unsigned width = type.getIntOrFloatBitWidth();
  APInt highest = isUnsigned(element) ? APInt::getMaxValue(width) : APInt::getSignedMaxValue(width);
  return k.b.create<arith::ConstantOp>(k.b.getIntegerAttr(type, highest));
}

Value tacq::floorDivIndex(KernelBuilder &k, Value x, Value y) {
  if (std::optional<int64_t> divisor = getConstantIntValue(y); divisor == 1)
    return x;
  // Rounds towards zero after a shift of the negative ones.
  Value zero = k.index(0);
  Value negative = k.less(x, zero);
  Value shifted = k.select(negative, k.sub(k.add(x, k.index(1)), y), x);
  return k.b.create<arith::DivSIOp>(shifted, y);
}

Value tacq::inBounds(KernelBuilder &k, Value x, Value extent) {
  // A negative index is a large unsigned one.
  return k.b.create<arith::CmpIOp>(arith::CmpIPredicate::ult, x, extent);
}

Value tacq::indexToReal(KernelBuilder &k, Value index, Type type) {
  Value integer = k.b.create<arith::IndexCastOp>(k.b.getI64Type(), index);
  return k.b.create<arith::SIToFPOp>(type, integer);
}

Value tacq::realToIndex(KernelBuilder &k, Value real) {
  Value integer = k.b.create<arith::FPToSIOp>(k.b.getI64Type(), real);
  return k.b.create<arith::IndexCastOp>(k.b.getIndexType(), integer);
}

Value tacq::stackBuffer(KernelBuilder &k, int64_t count, Type type) {
  OpBuilder::InsertionGuard guard(k.b);
  k.b.setInsertionPointToStart(&k.function().getBody().front());
  return k.b.create<memref::AllocaOp>(MemRefType::get({std::max<int64_t>(count, 1)}, type));
}

std::optional<unsigned> tacq::outputOf(KernelBuilder &k, NodeOp node, unsigned result) {
  if (result >= node.getNumResults())
    return std::nullopt;
  auto yielded = k.region().front().getTerminator()->getOperands();
  for (auto [i, value] : llvm::enumerate(yielded))
    if (value == node.getResult(result))
      return i;
  return std::nullopt;
}

static void record(NodeOp node, StringRef name, Attribute value) {
  NamedAttrList list(node.getAttrs());
  list.set(name, value);
  node.setAttrsAttr(list.getDictionary(node.getContext()));
}

void tacq::recordIntegers(NodeOp node, StringRef name, ArrayRef<int64_t> values) {
  record(node, name, DenseI64ArrayAttr::get(node.getContext(), values));
}

void tacq::recordReals(NodeOp node, StringRef name, ArrayRef<double> values) {
  SmallVector<float> narrow(values.begin(), values.end());
  record(node, name, DenseF32ArrayAttr::get(node.getContext(), narrow));
}

std::string tacq::unsupportedUnlessFloat(NodeOp node) {
  auto type = cast<ShapedType>(node.getInputs()[0].getType());
  if (isa<FloatType>(type.getElementType()))
    return "";
  return "its input is not of a floating-point type";
}
