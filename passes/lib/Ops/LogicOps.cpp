//===- LogicOps.cpp - Comparisons and truth values ------------------------===//

#include "ElementwiseOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include <cmath>

using namespace mlir;
using namespace tacq;

//===----------------------------------------------------------------------===//
// Known elements
//===----------------------------------------------------------------------===//

static std::optional<Sym> foldEqual(ArrayRef<Sym> x) {
  Sym equal = whenEqual(x[0], x[1]);
  return equal.constant() ? std::optional<Sym>(equal) : std::nullopt;
}

/// a < b, where it is the same for all values of the names.
static std::optional<Sym> isLess(const Sym &a, const Sym &b) {
  if ((b - a - Sym(1)).isNonNegative())
    return Sym(1);
  if ((a - b).isNonNegative())
    return Sym(0);
  return std::nullopt;
}

static std::optional<Sym> negated(std::optional<Sym> x) {
  return x ? std::optional<Sym>(Sym(1) - *x) : std::nullopt;
}

static std::optional<Sym> foldLess(ArrayRef<Sym> x) { return isLess(x[0], x[1]); }
static std::optional<Sym> foldGreater(ArrayRef<Sym> x) { return isLess(x[1], x[0]); }
static std::optional<Sym> foldLessOrEqual(ArrayRef<Sym> x) { return negated(isLess(x[1], x[0])); }
static std::optional<Sym> foldGreaterOrEqual(ArrayRef<Sym> x) {
  return negated(isLess(x[0], x[1]));
}
static std::optional<Sym> foldAnd(ArrayRef<Sym> x) { return x[0] * x[1]; }
static std::optional<Sym> foldOr(ArrayRef<Sym> x) { return x[0] + x[1] - x[0] * x[1]; }
static std::optional<Sym> foldXor(ArrayRef<Sym> x) { return x[0] + x[1] - Sym(2) * x[0] * x[1]; }
static std::optional<Sym> foldNot(ArrayRef<Sym> x) { return Sym(1) - x[0]; }

static std::optional<Sym> foldWhere(ArrayRef<Sym> x) {
  std::optional<int64_t> condition = x[0].constant();
  if (!condition)
    return std::nullopt;
  return *condition ? x[1] : x[2];
}

static LogicalResult inferWhere(InferContext &c) {
  FailureOr<Dims> branches = c.broadcast(c.dims(1), c.dims(2));
  if (failed(branches))
    return failure();
  FailureOr<Dims> dims = c.broadcast(c.dims(0), *branches);
  if (failed(dims))
    return failure();
  c.setResult(0, c.elementType(1), *dims);
  foldElementwise(c, foldWhere);
  return success();
}

static LogicalResult inferPredicate(InferContext &c) {
  c.setResult(0, IntegerType::get(c.node.getContext(), 1), c.dims(0));
  return success();
}

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

static Value logicalAnd(KernelBuilder &k, Value x, Value y, Type) { return k.logicalAnd(x, y); }
static Value logicalOr(KernelBuilder &k, Value x, Value y, Type) { return k.logicalOr(x, y); }
static Value logicalXor(KernelBuilder &k, Value x, Value y, Type) {
  return k.b.create<arith::XOrIOp>(x, y);
}
static Value logicalNot(KernelBuilder &k, Value x, Type) { return k.logicalNot(x); }
static Value equal(KernelBuilder &k, Value x, Value y, Type) { return k.equal(x, y); }
static Value less(KernelBuilder &k, Value x, Value y, Type element) {
  return k.less(x, y, isUnsigned(element));
}
static Value lessOrEqual(KernelBuilder &k, Value x, Value y, Type element) {
  return k.lessEqual(x, y, isUnsigned(element));
}
static Value greater(KernelBuilder &k, Value x, Value y, Type element) {
  return k.less(y, x, isUnsigned(element));
}
static Value greaterOrEqual(KernelBuilder &k, Value x, Value y, Type element) {
  return k.lessEqual(y, x, isUnsigned(element));
}

static Value whereElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Value condition = operandAt(k, node, 0, index);
  return k.select(condition, operandAt(k, node, 1, index), operandAt(k, node, 2, index));
}

static Value isNaN(KernelBuilder &k, Value x, Type) {
  return k.b.create<arith::CmpFOp>(arith::CmpFPredicate::UNO, x, x);
}

static Value isInf(KernelBuilder &k, Value x, const NodeAttrs &attrs) {
  Value result = k.integer(k.b.getI1Type(), 0);
  if (attrs.integer("detect_positive", 1))
    result = k.logicalOr(result, k.equal(x, k.constant(x.getType(), INFINITY)));
  if (attrs.integer("detect_negative", 1))
    result = k.logicalOr(result, k.equal(x, k.constant(x.getType(), -INFINITY)));
  return result;
}

llvm::ArrayRef<OpSpec> tacq::logicOps() {
  static const OpSpec table[] = {
      {"And", inferFolding<inferComparison, foldAnd>, nullptr, variadicElement<logicalAnd>, nullptr,
       true},
      {"Or", inferFolding<inferComparison, foldOr>, nullptr, variadicElement<logicalOr>, nullptr,
       true},
      {"Xor", inferFolding<inferComparison, foldXor>, nullptr, variadicElement<logicalXor>, nullptr,
       true},
      {"Not", inferFolding<inferSame, foldNot>, nullptr, unaryElement<logicalNot>, nullptr, true},
      {"Equal", inferFolding<inferComparison, foldEqual>, nullptr, variadicElement<equal>, nullptr,
       true},
      {"Less", inferFolding<inferComparison, foldLess>, nullptr, variadicElement<less>, nullptr,
       true},
      {"LessOrEqual", inferFolding<inferComparison, foldLessOrEqual>, nullptr,
       variadicElement<lessOrEqual>, nullptr, true},
      {"Greater", inferFolding<inferComparison, foldGreater>, nullptr, variadicElement<greater>,
       nullptr, true},
      {"GreaterOrEqual", inferFolding<inferComparison, foldGreaterOrEqual>, nullptr,
       variadicElement<greaterOrEqual>, nullptr, true},
      {"Where", inferWhere, nullptr, whereElement},
      {"IsNaN", inferPredicate, nullptr, unaryElement<isNaN>, nullptr, true},
      {"IsInf", inferPredicate, nullptr, activationElement<isInf>, nullptr, true},
  };
  return table;
}
