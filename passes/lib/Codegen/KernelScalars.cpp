//===- KernelScalars.cpp - Scalar arithmetic of a kernel ------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "tacq/Codegen/KernelBuilder.h"

using namespace mlir;
using namespace tacq;

/// Of the status words: counts the tasks that had something to report, where they share the words.
static constexpr int64_t claimWord = 6;

static bool isFloatValue(Value value) {
  return isa<FloatType>(getElementTypeOrSelf(value.getType()));
}

Value KernelBuilder::index(int64_t value) { return b.create<arith::ConstantIndexOp>(value); }

Value KernelBuilder::constant(Type type, double value) {
  if (isa<FloatType>(type))
    return b.create<arith::ConstantOp>(b.getFloatAttr(type, value));
  return integer(type, int64_t(value));
}

Value KernelBuilder::integer(Type type, int64_t value) {
  return b.create<arith::ConstantOp>(b.getIntegerAttr(type, value));
}

Value KernelBuilder::add(Value x, Value y) {
  if (isFloatValue(x))
    return b.create<arith::AddFOp>(x, y);
  return b.createOrFold<arith::AddIOp>(x, y);
}

Value KernelBuilder::sub(Value x, Value y) {
  if (isFloatValue(x))
    return b.create<arith::SubFOp>(x, y);
  return b.createOrFold<arith::SubIOp>(x, y);
}

Value KernelBuilder::mul(Value x, Value y) {
  if (isFloatValue(x))
    return b.create<arith::MulFOp>(x, y);
  return b.createOrFold<arith::MulIOp>(x, y);
}

Value KernelBuilder::div(Value x, Value y, bool isUnsigned) {
  if (isFloatValue(x))
    return b.create<arith::DivFOp>(x, y);
  // A zero divisor (and the one overflow) is undefined in LLVM, not in a user's model.
  Type type = x.getType();
  auto isIt = [&](Value value, Value what) -> Value {
    return b.create<arith::CmpIOp>(arith::CmpIPredicate::eq, value, what);
  };
  Value zero = b.create<arith::ConstantOp>(b.getZeroAttr(type));
  Value one = isa<IndexType>(type) ? index(1) : integer(type, 1);
  Value divisor = select(isIt(y, zero), one, y);
  if (isUnsigned)
    return b.create<arith::DivUIOp>(x, divisor);
  Value minusOne = isa<IndexType>(type) ? index(-1) : integer(type, -1);
  Value negates = isIt(divisor, minusOne);
  Value safe = select(negates, one, divisor);
  Value quotient = b.create<arith::DivSIOp>(x, safe);
  return select(negates, sub(zero, x), quotient);
}

Value KernelBuilder::min(Value x, Value y, bool isUnsigned) {
  if (isFloatValue(x))
    return b.create<arith::MinimumFOp>(x, y);
  if (isUnsigned)
    return b.create<arith::MinUIOp>(x, y);
  return b.create<arith::MinSIOp>(x, y);
}

Value KernelBuilder::max(Value x, Value y, bool isUnsigned) {
  if (isFloatValue(x))
    return b.create<arith::MaximumFOp>(x, y);
  if (isUnsigned)
    return b.create<arith::MaxUIOp>(x, y);
  return b.create<arith::MaxSIOp>(x, y);
}

Value KernelBuilder::less(Value x, Value y, bool isUnsigned) {
  if (isFloatValue(x))
    return b.create<arith::CmpFOp>(arith::CmpFPredicate::OLT, x, y);
  auto predicate = isUnsigned ? arith::CmpIPredicate::ult : arith::CmpIPredicate::slt;
  return b.create<arith::CmpIOp>(predicate, x, y);
}

Value KernelBuilder::lessEqual(Value x, Value y, bool isUnsigned) {
  if (isFloatValue(x))
    return b.create<arith::CmpFOp>(arith::CmpFPredicate::OLE, x, y);
  auto predicate = isUnsigned ? arith::CmpIPredicate::ule : arith::CmpIPredicate::sle;
  return b.create<arith::CmpIOp>(predicate, x, y);
}

Value KernelBuilder::equal(Value x, Value y) {
  if (isFloatValue(x))
    return b.create<arith::CmpFOp>(arith::CmpFPredicate::OEQ, x, y);
  return b.create<arith::CmpIOp>(arith::CmpIPredicate::eq, x, y);
}

Value KernelBuilder::select(Value condition, Value x, Value y) {
  return b.createOrFold<arith::SelectOp>(condition, x, y);
}

Value KernelBuilder::logicalAnd(Value x, Value y) { return b.create<arith::AndIOp>(x, y); }
Value KernelBuilder::logicalOr(Value x, Value y) { return b.create<arith::OrIOp>(x, y); }
Value KernelBuilder::logicalNot(Value x) {
  return b.create<arith::XOrIOp>(x, integer(b.getI1Type(), 1));
}

Value KernelBuilder::toIndex(Value integer, Type element) {
  if (isUnsigned(element))
    return b.create<arith::IndexCastUIOp>(b.getIndexType(), integer);
  return b.create<arith::IndexCastOp>(b.getIndexType(), integer);
}

Value KernelBuilder::fromIndex(Value index, Type element) {
  Type type = computeType(element);
  if (!isa<FloatType>(type))
    return b.create<arith::IndexCastOp>(type, index);
  return b.create<arith::SIToFPOp>(type, b.create<arith::IndexCastOp>(b.getI64Type(), index));
}

/// Float to integer as the x86 instructions that other engines compile to: truncation towards zero
/// of what fits into 64 bits (a value out of that range gives the smallest integer), then wrapping.
static Value floatToInteger(KernelBuilder &k, Value value, IntegerType to, bool isUnsigned) {
  auto &b = k.b;
  Type wide = b.getI64Type();
  Type type = value.getType();
  bool big = isUnsigned && to.getWidth() == 64;
  double limit = big ? 18446744073709551616.0 : 9223372036854775808.0;
  double lowest = big ? 0.0 : -9223372036854775808.0;
  Value fits = b.create<arith::AndIOp>(
      b.create<arith::CmpFOp>(arith::CmpFPredicate::OGE, value, k.constant(type, lowest)),
      b.create<arith::CmpFOp>(arith::CmpFPredicate::OLT, value, k.constant(type, limit)));
  Value safe = k.select(fits, value, k.constant(type, 0.0));
  Value converted;
  if (big)
    converted = b.create<arith::FPToUIOp>(wide, safe);
  else
    converted = b.create<arith::FPToSIOp>(wide, safe);
  converted = k.select(fits, converted, k.integer(wide, std::numeric_limits<int64_t>::min()));
  if (to.getWidth() == 64)
    return converted;
  return b.create<arith::TruncIOp>(to, converted);
}

Value KernelBuilder::cast(Value value, Type from, Type to) {
  Type target = computeType(to);
  Type source = value.getType();
  if (from == to)
    return value;
  if (to.isInteger(1)) {
    if (isFloat(from))
      return b.create<arith::CmpFOp>(arith::CmpFPredicate::UNE, value, constant(source, 0.0));
    return b.create<arith::CmpIOp>(arith::CmpIPredicate::ne, value, integer(source, 0));
  }
  if (isFloat(from) && isFloat(to)) {
    unsigned have = source.getIntOrFloatBitWidth(), want = target.getIntOrFloatBitWidth();
    if (have < want)
      value = b.create<arith::ExtFOp>(target, value);
    else if (have > want)
      value = b.create<arith::TruncFOp>(target, value);
    return roundTo(to, value);
  }
  if (isFloat(from))
    return floatToInteger(*this, value, llvm::cast<IntegerType>(target), tacq::isUnsigned(to));
  if (isFloat(to)) {
    Value converted;
    if (tacq::isUnsigned(from))
      converted = b.create<arith::UIToFPOp>(target, value);
    else
      converted = b.create<arith::SIToFPOp>(target, value);
    return roundTo(to, converted);
  }
  unsigned have = source.getIntOrFloatBitWidth(), want = target.getIntOrFloatBitWidth();
  if (have == want)
    return value;
  if (have > want)
    return b.create<arith::TruncIOp>(target, value);
  if (tacq::isUnsigned(from))
    return b.create<arith::ExtUIOp>(target, value);
  return b.create<arith::ExtSIOp>(target, value);
}

Value KernelBuilder::checkedIndex(Value at, Value extent, NodeOp node) {
  Value zero = index(0);
  Value fromEnd = select(less(at, zero), add(at, extent), at);
  Value valid = logicalAnd(lessEqual(zero, fromEnd), less(fromEnd, extent));
  // The nodes of a dispatch are numbered from %node on, in the order of the kernel's region.
  int64_t ordinal = 0;
  for (NodeOp other : node->getBlock()->getOps<NodeOp>()) {
    if (other == node)
      break;
    ++ordinal;
  }
  Value number = add(sym(Sym::name("%node")), index(ordinal + 1));
  auto report = b.create<scf::IfOp>(logicalNot(valid), /*withElseRegion=*/false);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(report.thenBlock());
    auto store = [&](int64_t word, Value value) {
      b.create<memref::StoreOp>(value, status, ValueRange{index(word)});
    };
    auto put = [&](int64_t word, Value value) {
      store(word, b.create<arith::IndexCastOp>(b.getI32Type(), value));
    };
    auto putWide = [&](int64_t word, Value value) {
      put(word, value);
      // An index may have 32 bits only.
      Value wide = b.create<arith::IndexCastOp>(b.getI64Type(), value);
      Value high = b.create<arith::ShRSIOp>(wide, integer(b.getI64Type(), 32));
      store(word + 1, b.create<arith::TruncIOp>(b.getI32Type(), high));
    };
    if (sharedStatus) {
      Value claims =
          b.create<memref::AtomicRMWOp>(arith::AtomicRMWKind::addi, integer(b.getI32Type(), 1),
                                        status, ValueRange{index(claimWord)});
      auto first = b.create<scf::IfOp>(equal(claims, integer(b.getI32Type(), 0)),
                                       /*withElseRegion=*/false);
      b.setInsertionPointToStart(first.thenBlock());
    }
    put(0, number);
    put(1, index(1));
    putWide(2, at);
    putWide(4, extent);
  }
  Value clamped = min(max(fromEnd, zero), sub(extent, index(1)));
  return max(clamped, zero);
}
