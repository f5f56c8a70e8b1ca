//===- CastOps.cpp - Conversions of element types, and copies -------------===//

#include "ElementwiseOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "tacq/Dialect/TACQ/OnnxTypes.h"

using namespace mlir;
using namespace tacq;

static std::optional<Sym> foldSame(ArrayRef<Sym> x) { return x[0]; }

static std::optional<Sym> foldToBool(ArrayRef<Sym> x) {
  Sym zero = whenEqual(x[0], Sym(0));
  return zero.constant() ? std::optional<Sym>(Sym(1) - zero) : std::nullopt;
}

//===----------------------------------------------------------------------===//
// Cast
//===----------------------------------------------------------------------===//

static LogicalResult inferCastTo(InferContext &c, Type target) {
  c.setResult(0, target, c.dims(0));
  if (!isa<IntegerType>(target) || !isa<IntegerType>(c.elementType(0)))
    return success();
  if (target.isInteger(1)) {
    if (std::optional<Dims> values = c.knownValues(0)) {
      for (Sym &value : *values) {
        std::optional<Sym> truth = foldToBool(value);
        if (!truth)
          return success();
        value = *truth;
      }
      setElements(c, 0, *values);
    }
    return success();
  }
  foldView(c);
  return success();
}

static LogicalResult inferCast(InferContext &c) {
  int64_t number = c.attrs.integer("to", 0);
  Type target = elementTypeOfOnnx(number, c.node.getContext());
  if (!target)
    return c.unsupported("it casts to the element type of number " + Twine(number) +
                         ", which TACQ does not compute with");
  return inferCastTo(c, target);
}

static LogicalResult inferCastLike(InferContext &c) { return inferCastTo(c, c.elementType(1)); }

static Value castElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Value in = node.getInputs()[0];
  return k.cast(k.load(in, index), k.elementType(in), k.elementType(node.getResult(0)));
}

//===----------------------------------------------------------------------===//
// BitCast
//===----------------------------------------------------------------------===//

static LogicalResult inferBitCast(InferContext &c) {
  int64_t number = c.attrs.integer("to", 0);
  Type target = elementTypeOfOnnx(number, c.node.getContext());
  if (!target)
    return c.unsupported("it casts to the element type of number " + Twine(number) +
                         ", which TACQ does not compute with");
  if (storageType(target).getIntOrFloatBitWidth() !=
      storageType(c.elementType(0)).getIntOrFloatBitWidth())
    return c.unsupported("the element types differ in width");
  c.setResult(0, target, c.dims(0));
  return success();
}

/// An element as it lies in memory, and back.
static Value toBits(KernelBuilder &k, Value value, Type element) {
  if (element.isF16() || element.isBF16())
    value = k.b.create<arith::TruncFOp>(element, value);
  if (element.isInteger(1))
    return k.b.create<arith::ExtUIOp>(k.b.getI8Type(), value);
  Type bits = k.b.getIntegerType(element.getIntOrFloatBitWidth());
  return bits == value.getType() ? value : k.b.create<arith::BitcastOp>(bits, value).getResult();
}

static Value fromBits(KernelBuilder &k, Value bits, Type element) {
  if (element.isInteger(1))
    return k.b.create<arith::CmpIOp>(arith::CmpIPredicate::ne, bits, k.integer(bits.getType(), 0));
  if (!isFloat(element))
    return bits;
  Value value = k.b.create<arith::BitcastOp>(element, bits);
  if (computeType(element) == element)
    return value;
  return k.b.create<arith::ExtFOp>(computeType(element), value);
}

static Value bitCastElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Value in = node.getInputs()[0];
  return fromBits(k, toBits(k, k.load(in, index), k.elementType(in)),
                  k.elementType(node.getResult(0)));
}

//===----------------------------------------------------------------------===//
// Identity, Dropout
//===----------------------------------------------------------------------===//

static LogicalResult inferDropout(InferContext &c) {
  c.setResult(0, c.elementType(0), c.dims(0));
  if (c.resultCount() > 1 && !isAbsent(c.node.getResult(1))) {
    Type mask = c.opset() < 10 ? c.elementType(0) : IntegerType::get(c.node.getContext(), 1);
    c.setResult(1, mask, c.dims(0));
  }
  foldView(c);
  return success();
}

/// Only what drops nothing is a function of its inputs.
static std::string dropoutUnsupported(NodeOp node) {
  auto isZero = [&](unsigned i) {
    auto constant = node.getInputs()[i].getDefiningOp<ConstantOp>();
    if (!constant || !constant.getValue().isSplat())
      return false;
    ElementsAttr value = constant.getValue();
    if (isa<FloatType>(value.getElementType()))
      return (*value.getValues<APFloat>().begin()).isZero();
    return (*value.getValues<APInt>().begin()).isZero();
  };
  auto has = [&](unsigned i) {
    return i < node.getInputs().size() && !isAbsent(node.getInputs()[i]);
  };
  if (!has(2) || isZero(2) || (has(1) && isZero(1)))
    return "";
  return "it may drop values at random, as in training; export the model for inference";
}

static Value dropoutElement(KernelBuilder &k, NodeOp node, unsigned result, ValueRange index) {
  if (result == 0)
    return k.load(node.getInputs()[0], index);
  return k.constant(computeType(k.elementType(node.getResult(1))), 1);
}

static Value copyElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  return k.load(node.getInputs()[0], index);
}

llvm::ArrayRef<OpSpec> tacq::castOps() {
  static const OpSpec table[] = {
      {"Cast", inferCast, nullptr, castElement, nullptr, true},
      {"CastLike", inferCastLike, nullptr, castElement, nullptr, true},
      {"BitCast", inferBitCast, nullptr, bitCastElement, nullptr, true},
      {"Identity", inferFolding<inferSame, foldSame>, nullptr, copyElement, nullptr, true},
      {"Dropout", inferDropout, nullptr, dropoutElement, nullptr, true, false, "",
       dropoutUnsupported},
  };
  return table;
}
