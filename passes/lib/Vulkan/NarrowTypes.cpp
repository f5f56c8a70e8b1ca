//===- NarrowTypes.cpp - 8- and 16-bit elements in 32-bit words -----------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SCF/Transforms/Patterns.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVAttributes.h"
#include "mlir/Dialect/SPIRV/IR/TargetAndABI.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Transforms/DialectConversion.h"
#include "tacq/Vulkan/Passes.h"

namespace tacq {
#define GEN_PASS_DEF_VULKANNARROWTYPES
#include "tacq/Vulkan/Passes.h.inc"
} // namespace tacq

using namespace mlir;
using namespace tacq;

namespace {

constexpr int32_t signBit16 = 0x8000, magnitude16 = 0x7fff, infinity16 = 0x7c00;

/// The narrow types that the target computes with and stores.
struct NativeTypes {
  explicit NativeTypes(spirv::TargetEnvAttr environment) {
    if (!environment)
      return;
    auto has = [&](spirv::Capability capability) {
      return llvm::is_contained(environment.getCapabilities(), capability);
    };
    int8 = has(spirv::Capability::Int8) && has(spirv::Capability::StorageBuffer8BitAccess);
    bool storage16 = has(spirv::Capability::StorageBuffer16BitAccess);
    int16 = has(spirv::Capability::Int16) && storage16;
    float16 = has(spirv::Capability::Float16) && storage16;
  }
  bool int8 = false, int16 = false, float16 = false;
};

/// Arithmetic on 32-bit words.
class Words {
public:
  Words(OpBuilder &builder, Location loc) : b(loc, builder) {}

  Value i(int64_t value) {
    return b.create<arith::ConstantOp>(b.getI32IntegerAttr(int32_t(value)));
  }
  Value bitAnd(Value x, Value y) { return b.create<arith::AndIOp>(x, y); }
  Value bitAnd(Value x, int64_t y) { return bitAnd(x, i(y)); }
  Value bitOr(Value x, Value y) { return b.create<arith::OrIOp>(x, y); }
  Value add(Value x, Value y) { return b.create<arith::AddIOp>(x, y); }
  Value add(Value x, int64_t y) { return add(x, i(y)); }
  Value left(Value x, int64_t y) { return b.create<arith::ShLIOp>(x, i(y)); }
  Value right(Value x, int64_t y) { return b.create<arith::ShRUIOp>(x, i(y)); }
  Value atLeast(Value x, int64_t y) {
    return b.create<arith::CmpIOp>(arith::CmpIPredicate::uge, x, i(y));
  }
  Value select(Value c, Value x, Value y) { return b.create<arith::SelectOp>(c, x, y); }
  Value bits(Value x) { return b.create<arith::BitcastOp>(b.getI32Type(), x); }
  Value real(Value x) { return b.create<arith::BitcastOp>(b.getF32Type(), x); }
  Value f(float value) { return b.create<arith::ConstantOp>(b.getF32FloatAttr(value)); }

  /// The integer in the low bits, extended to 32.
  Value zeroExtend(Value x, unsigned bits) { return bitAnd(x, (int64_t(1) << bits) - 1); }
  Value signExtend(Value x, unsigned bits) {
    return b.create<arith::ShRSIOp>(left(x, 32 - bits), i(32 - bits));
  }

  Value halfToFloat(Value x) {
    Value sign = left(bitAnd(x, signBit16), 16), magnitude = bitAnd(x, magnitude16);
    Value shifted = left(magnitude, 13);
    constexpr int64_t bias = int64_t(127 - 15) << 23;
    Value normal = add(shifted, bias), special = add(shifted, 2 * bias);
    Value number = b.create<arith::UIToFPOp>(b.getF32Type(), magnitude);
    Value denormal = bits(b.create<arith::MulFOp>(number, f(0x1p-24f)));
    Value result = select(atLeast(magnitude, 0x400), normal, denormal);
    result = select(atLeast(magnitude, infinity16), special, result);
    return real(bitOr(result, sign));
  }
  Value floatToHalf(Value x) {
    Value all = bits(x);
    Value sign = bitAnd(right(all, 16), signBit16), magnitude = bitAnd(all, 0x7fffffff);
    Value based = add(magnitude, -(int64_t(127 - 15) << 23));
    Value odd = bitAnd(right(based, 13), 1);
    Value normal = right(add(add(based, 0xfff), odd), 13);
    // Next to 1/2 the last place of f32 is that of the smallest numbers of f16.
    Value moved = b.create<arith::AddFOp>(real(magnitude), f(0.5f));
    Value denormal = add(bits(moved), -int64_t(0x3f000000));
    Value nan = bitOr(i(infinity16 | 0x200), bitAnd(right(magnitude, 13), 0x1ff));
    Value result = select(atLeast(magnitude, 0x38800000), normal, denormal);
    result = select(atLeast(magnitude, 0x477ff000), i(infinity16), result);
    result = select(atLeast(magnitude, 0x7f800001), nan, result);
    return bitOr(result, sign);
  }
  Value brainToFloat(Value x) { return real(left(x, 16)); }
  Value floatToBrain(Value x) {
    Value all = bits(x);
    Value odd = bitAnd(right(all, 16), 1);
    Value rounded = right(add(add(all, 0x7fff), odd), 16);
    Value isNaN = atLeast(bitAnd(all, 0x7fffffff), 0x7f800001);
    return select(isNaN, bitOr(right(all, 16), i(0x40)), rounded);
  }
  Value toFloat(Type from, Value x) { return from.isF16() ? halfToFloat(x) : brainToFloat(x); }
  Value fromFloat(Type to, Value x) { return to.isF16() ? floatToHalf(x) : floatToBrain(x); }

  ImplicitLocOpBuilder b;
};

bool isStorageBuffer(MemRefType type) {
  auto space = dyn_cast_or_null<spirv::StorageClassAttr>(type.getMemorySpace());
  return space && space.getValue() == spirv::StorageClass::StorageBuffer;
}

class NarrowConverter : public TypeConverter {
public:
  explicit NarrowConverter(NativeTypes native) : native(native) {
    addConversion([](Type type) { return type; });
    addConversion([this](IntegerType type) -> Type {
      return narrowBits(type) ? IntegerType::get(type.getContext(), 32) : type;
    });
    addConversion([this](FloatType type) -> Type {
      return narrowBits(type) ? Type(IntegerType::get(type.getContext(), 32)) : type;
    });
    addConversion([this](MemRefType type) -> Type {
      Type element = type.getElementType();
      if (narrowBits(element))
        element = IntegerType::get(type.getContext(), 32);
      Attribute space = type.getMemorySpace();
      if (!space)
        space = spirv::StorageClassAttr::get(type.getContext(), spirv::StorageClass::Function);
      return MemRefType::get(type.getShape(), element, AffineMap(), space);
    });
  }

  /// The bits of an element type that does not live in its own type; 0 for those that do.
  unsigned narrowBits(Type type) const {
    if ((type.isInteger(8) && !native.int8) || (type.isInteger(16) && !native.int16) ||
        (type.isF16() && !native.float16) || type.isBF16())
      return type.getIntOrFloatBitWidth();
    return 0;
  }

private:
  NativeTypes native;
};

template <typename Pattern> unsigned narrowBits(const Pattern &pattern, Type type) {
  return pattern.template getTypeConverter<NarrowConverter>()->narrowBits(type);
}

/// Where an element is: the word, and how far it is shifted in it.
struct Place {
  Value word, shift;
};
Place placeOf(Words &w, Value index, unsigned bits) {
  int64_t each = 32 / bits, shift = llvm::Log2_64(each);
  Value by = w.b.create<arith::ConstantIndexOp>(shift);
  Value word = w.b.create<arith::ShRUIOp>(index, by);
  Value low = w.b.create<arith::IndexCastOp>(w.b.getI32Type(), index);
  Value within = w.bitAnd(low, each - 1);
  return {word, w.left(within, llvm::Log2_32(bits))};
}

struct LoadPattern : OpConversionPattern<memref::LoadOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(memref::LoadOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    unsigned bits = narrowBits(*this, op.getType());
    if (!bits || !isStorageBuffer(op.getMemRefType())) {
      rewriter.replaceOpWithNewOp<memref::LoadOp>(op, adaptor.getMemref(), adaptor.getIndices());
      return success();
    }
    Words w(rewriter, op.getLoc());
    Place place = placeOf(w, adaptor.getIndices()[0], bits);
    Value word = w.b.create<memref::LoadOp>(adaptor.getMemref(), ValueRange{place.word});
    rewriter.replaceOpWithNewOp<arith::ShRUIOp>(op, word, place.shift);
    return success();
  }
};

struct StorePattern : OpConversionPattern<memref::StoreOp> {
  StorePattern(const TypeConverter &converter, MLIRContext *context, Pass::Statistic &stores)
      : OpConversionPattern(converter, context), stores(stores) {}
  LogicalResult matchAndRewrite(memref::StoreOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    unsigned bits = narrowBits(*this, op.getValueToStore().getType());
    if (!bits || !isStorageBuffer(op.getMemRefType())) {
      rewriter.replaceOpWithNewOp<memref::StoreOp>(op, adaptor.getValue(), adaptor.getMemref(),
                                                   adaptor.getIndices());
      return success();
    }
    ++stores;
    Words w(rewriter, op.getLoc());
    Place place = placeOf(w, adaptor.getIndices()[0], bits);
    Value mask = w.i((int64_t(1) << bits) - 1);
    Value kept = w.b.create<arith::XOrIOp>(w.b.create<arith::ShLIOp>(mask, place.shift), w.i(-1));
    Value element = w.b.create<arith::ShLIOp>(w.bitAnd(adaptor.getValue(), mask), place.shift);
    auto update = [&](arith::AtomicRMWKind kind, Value value) {
      w.b.create<memref::AtomicRMWOp>(kind, value, adaptor.getMemref(), ValueRange{place.word});
    };
    update(arith::AtomicRMWKind::andi, kept);
    update(arith::AtomicRMWKind::ori, element);
    rewriter.eraseOp(op);
    return success();
  }
  Pass::Statistic &stores;
};

struct AllocaPattern : OpConversionPattern<memref::AllocaOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(memref::AllocaOp op, OpAdaptor,
                                ConversionPatternRewriter &rewriter) const override {
    auto type = cast<MemRefType>(getTypeConverter()->convertType(op.getType()));
    rewriter.replaceOpWithNewOp<memref::AllocaOp>(op, type);
    return success();
  }
};

struct ConstantPattern : OpConversionPattern<arith::ConstantOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(arith::ConstantOp op, OpAdaptor,
                                ConversionPatternRewriter &rewriter) const override {
    int64_t bits;
    if (auto real = dyn_cast<FloatAttr>(op.getValue()))
      bits = real.getValue().bitcastToAPInt().getZExtValue();
    else if (auto integer = dyn_cast<IntegerAttr>(op.getValue()))
      bits = integer.getValue().getSExtValue();
    else
      return failure();
    rewriter.replaceOpWithNewOp<arith::ConstantOp>(op, rewriter.getI32IntegerAttr(bits));
    return success();
  }
};

/// How an operation takes its operands; what is above the low bits may matter.
enum class Extend { Not, Signed, Unsigned };

template <typename Op, Extend extend> struct WidenPattern : OpConversionPattern<Op> {
  using OpConversionPattern<Op>::OpConversionPattern;
  LogicalResult matchAndRewrite(Op op, typename Op::Adaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    unsigned bits = narrowBits(*this, op->getOperand(0).getType());
    Words w(rewriter, op.getLoc());
    SmallVector<Value> operands;
    for (Value value : adaptor.getOperands())
      operands.push_back(extend == Extend::Signed     ? w.signExtend(value, bits)
                         : extend == Extend::Unsigned ? w.zeroExtend(value, bits)
                                                      : value);
    rewriter.replaceOpWithNewOp<Op>(op, TypeRange{rewriter.getI32Type()}, operands);
    return success();
  }
};

struct ShiftLeftPattern : OpConversionPattern<arith::ShLIOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(arith::ShLIOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Words w(rewriter, op.getLoc());
    Value by = w.zeroExtend(adaptor.getRhs(), narrowBits(*this, op.getType()));
    rewriter.replaceOpWithNewOp<arith::ShLIOp>(op, adaptor.getLhs(), by);
    return success();
  }
};

struct ComparePattern : OpConversionPattern<arith::CmpIOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(arith::CmpIOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    using arith::CmpIPredicate;
    unsigned bits = narrowBits(*this, op.getLhs().getType());
    CmpIPredicate predicate = op.getPredicate();
    bool isSigned = predicate == CmpIPredicate::slt || predicate == CmpIPredicate::sle ||
                    predicate == CmpIPredicate::sgt || predicate == CmpIPredicate::sge;
    Words w(rewriter, op.getLoc());
    auto extend = [&](Value x) { return isSigned ? w.signExtend(x, bits) : w.zeroExtend(x, bits); };
    rewriter.replaceOpWithNewOp<arith::CmpIOp>(op, predicate, extend(adaptor.getLhs()),
                                               extend(adaptor.getRhs()));
    return success();
  }
};

struct SelectPattern : OpConversionPattern<arith::SelectOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(arith::SelectOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    rewriter.replaceOpWithNewOp<arith::SelectOp>(op, adaptor.getCondition(), adaptor.getTrueValue(),
                                                 adaptor.getFalseValue());
    return success();
  }
};

/// Conversions between types, of which one or both are narrow.
template <typename Op, Extend extend> struct CastPattern : OpConversionPattern<Op> {
  using OpConversionPattern<Op>::OpConversionPattern;
  LogicalResult matchAndRewrite(Op op, typename Op::Adaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Value value = adaptor.getIn();
    Words w(rewriter, op.getLoc());
    Type to = op.getType(), target = this->getTypeConverter()->convertType(to);
    if (unsigned bits = narrowBits(*this, op.getIn().getType()))
      value = extend == Extend::Signed ? w.signExtend(value, bits) : w.zeroExtend(value, bits);
    if (value.getType() == target)
      rewriter.replaceOp(op, value);
    else
      rewriter.replaceOpWithNewOp<Op>(op, target, value);
    return success();
  }
};

struct TruncatePattern : OpConversionPattern<arith::TruncIOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(arith::TruncIOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Value value = adaptor.getIn();
    Type target = getTypeConverter()->convertType(op.getType());
    if (value.getType() == target)
      rewriter.replaceOp(op, value);
    else
      rewriter.replaceOpWithNewOp<arith::TruncIOp>(op, target, value);
    return success();
  }
};

struct ExtendFloatPattern : OpConversionPattern<arith::ExtFOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(arith::ExtFOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Words w(rewriter, op.getLoc());
    Value value = w.toFloat(op.getIn().getType(), adaptor.getIn());
    if (!op.getType().isF32())
      value = w.b.create<arith::ExtFOp>(op.getType(), value);
    rewriter.replaceOp(op, value);
    return success();
  }
};

struct TruncateFloatPattern : OpConversionPattern<arith::TruncFOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(arith::TruncFOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Words w(rewriter, op.getLoc());
    Value value = adaptor.getIn();
    if (value.getType().isF64())
      value = w.b.create<arith::TruncFOp>(w.b.getF32Type(), value);
    rewriter.replaceOp(op, w.fromFloat(op.getType(), value));
    return success();
  }
};

struct BitcastPattern : OpConversionPattern<arith::BitcastOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(arith::BitcastOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Value value = adaptor.getIn();
    Type target = getTypeConverter()->convertType(op.getType());
    // One of the two types is native, as with bf16 and i16.
    if (value.getType() != target && target.isInteger(32))
      value = rewriter.create<arith::ExtUIOp>(op.getLoc(), target, value);
    else if (value.getType() != target)
      value = rewriter.create<arith::TruncIOp>(op.getLoc(), target, value);
    rewriter.replaceOp(op, value);
    return success();
  }
};

/// An index has 32 bits: what does not fit becomes the nearest number that does, which is out of
/// range wherever the number itself would be.
struct ClampIndexPattern : OpConversionPattern<arith::IndexCastOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(arith::IndexCastOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    if (!isWide(op))
      return failure();
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    auto limit = [&](int64_t value) -> Value {
      return b.create<arith::ConstantOp>(b.getI64IntegerAttr(value));
    };
    Value value = b.create<arith::MaxSIOp>(adaptor.getIn(), limit(INT32_MIN));
    value = b.create<arith::MinSIOp>(value, limit(INT32_MAX));
    value = b.create<arith::TruncIOp>(b.getI32Type(), value);
    rewriter.replaceOpWithNewOp<arith::IndexCastOp>(op, op.getType(), value);
    return success();
  }
  static bool isWide(arith::IndexCastOp op) {
    return op.getIn().getType().isInteger(64) && isa<IndexType>(op.getType());
  }
};

/// The words of a buffer of narrow elements, which is what it has become.
struct WordsOfPattern : OpConversionPattern<UnrealizedConversionCastOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(UnrealizedConversionCastOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    if (op.getNumOperands() != 1 || !isa<MemRefType>(op.getOperand(0).getType()))
      return failure();
    rewriter.replaceOp(op, adaptor.getInputs()[0]);
    return success();
  }
};

class NarrowTypesPass : public tacq::impl::VulkanNarrowTypesBase<NarrowTypesPass> {
  using VulkanNarrowTypesBase::VulkanNarrowTypesBase;

  void runOnOperation() override {
    MLIRContext *context = &getContext();
    spirv::TargetEnvAttr environment;
    getOperation()->walk([&](gpu::GPUModuleOp module) {
      environment = module->getAttrOfType<spirv::TargetEnvAttr>(spirv::getTargetEnvAttrName());
    });
    NarrowConverter converter{NativeTypes(environment)};
    RewritePatternSet patterns(context);
    ConversionTarget target(*context);
    patterns.add<LoadPattern, AllocaPattern, ConstantPattern, ShiftLeftPattern, ComparePattern,
                 SelectPattern, TruncatePattern, ExtendFloatPattern, TruncateFloatPattern,
                 BitcastPattern, WordsOfPattern, ClampIndexPattern>(converter, context);
    patterns.add<StorePattern>(converter, context, numStores);
    patterns.add<
        WidenPattern<arith::AddIOp, Extend::Not>, WidenPattern<arith::SubIOp, Extend::Not>,
        WidenPattern<arith::MulIOp, Extend::Not>, WidenPattern<arith::AndIOp, Extend::Not>,
        WidenPattern<arith::OrIOp, Extend::Not>, WidenPattern<arith::XOrIOp, Extend::Not>,
        WidenPattern<arith::DivSIOp, Extend::Signed>, WidenPattern<arith::RemSIOp, Extend::Signed>,
        WidenPattern<arith::MinSIOp, Extend::Signed>, WidenPattern<arith::MaxSIOp, Extend::Signed>,
        WidenPattern<arith::ShRSIOp, Extend::Signed>, WidenPattern<math::AbsIOp, Extend::Signed>,
        WidenPattern<arith::DivUIOp, Extend::Unsigned>,
        WidenPattern<arith::RemUIOp, Extend::Unsigned>,
        WidenPattern<arith::MinUIOp, Extend::Unsigned>,
        WidenPattern<arith::MaxUIOp, Extend::Unsigned>,
        WidenPattern<arith::ShRUIOp, Extend::Unsigned>, CastPattern<arith::ExtSIOp, Extend::Signed>,
        CastPattern<arith::ExtUIOp, Extend::Unsigned>,
        CastPattern<arith::IndexCastOp, Extend::Signed>,
        CastPattern<arith::IndexCastUIOp, Extend::Unsigned>,
        CastPattern<arith::SIToFPOp, Extend::Signed>,
        CastPattern<arith::UIToFPOp, Extend::Unsigned>,
        CastPattern<arith::FPToSIOp, Extend::Signed>,
        CastPattern<arith::FPToUIOp, Extend::Unsigned>>(converter, context);
    populateFunctionOpInterfaceTypeConversionPattern<gpu::GPUFuncOp>(patterns, converter);
    target.addDynamicallyLegalOp<gpu::GPUFuncOp>([&](gpu::GPUFuncOp function) {
      return converter.isSignatureLegal(function.getFunctionType());
    });
    scf::populateSCFStructuralTypeConversionsAndLegality(converter, patterns, target);
    target
        .addDynamicallyLegalDialect<arith::ArithDialect, math::MathDialect, memref::MemRefDialect>(
            [&](Operation *op) { return converter.isLegal(op); });
    target.addDynamicallyLegalOp<arith::IndexCastOp>([&](arith::IndexCastOp op) {
      return converter.isLegal(op) && !ClampIndexPattern::isWide(op);
    });
    target.addIllegalOp<UnrealizedConversionCastOp>();
    target.markUnknownOpDynamicallyLegal([](Operation *) { return true; });
    if (failed(applyPartialConversion(getOperation(), target, std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
