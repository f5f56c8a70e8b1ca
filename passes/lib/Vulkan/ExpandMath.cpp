//===- ExpandMath.cpp - Elementary functions for shaders ------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "tacq/Codegen/MathExpansion.h"
#include "tacq/Vulkan/Passes.h"

namespace tacq {
#define GEN_PASS_DEF_VULKANEXPANDMATH
#include "tacq/Vulkan/Passes.h.inc"
} // namespace tacq

using namespace mlir;
using namespace tacq;

namespace {

/// sin and cos of f32: the multiple of pi/2 is taken off in three steps, which is exact up to about
/// 10^4 and off by 1e-7 of the angle beyond.
Value emitSinCos(ImplicitLocOpBuilder &b, Value x, bool cosine) {
  Type f32 = x.getType(), i32 = b.getI32Type();
  auto f = [&](float value) { return f32Constant(b, f32, value); };
  auto i = [&](int32_t value) -> Value {
    return b.create<arith::ConstantOp>(b.getI32IntegerAttr(value));
  };
  auto fma = [&](Value x, Value y, Value z) -> Value { return b.create<math::FmaOp>(x, y, z); };
  Value turns = b.create<arith::MulFOp>(x, f(0.636619772f));
  Value quarters = b.create<math::RoundEvenOp>(turns);
  Value r = fma(quarters, f(-1.5703125f), x);
  r = fma(quarters, f(-4.837512969970703125e-4f), r);
  r = fma(quarters, f(-7.54978995489188216e-8f), r);
  Value z = b.create<arith::MulFOp>(r, r);
  Value s = fma(z, f(-1.9515295891e-4f), f(8.3321608736e-3f));
  s = fma(s, z, f(-1.6666654611e-1f));
  s = fma(b.create<arith::MulFOp>(s, z), r, r);
  Value c = fma(z, f(2.443315711809948e-5f), f(-1.388731625493765e-3f));
  c = fma(c, z, f(4.166664568298827e-2f));
  c = fma(c, z, f(-0.5f));
  c = fma(c, z, f(1.0f));
  Value quadrant = b.create<arith::FPToSIOp>(i32, quarters);
  if (cosine)
    quadrant = b.create<arith::AddIOp>(quadrant, i(1));
  auto isSet = [&](int32_t bit) -> Value {
    return b.create<arith::CmpIOp>(arith::CmpIPredicate::ne,
                                   b.create<arith::AndIOp>(quadrant, i(bit)), i(0));
  };
  Value result = b.create<arith::SelectOp>(isSet(1), c, s);
  Value negated = b.create<arith::NegFOp>(result);
  return b.create<arith::SelectOp>(isSet(2), negated, result);
}

template <typename Op, bool cosine> struct ExpandSinCos : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    if (!op.getType().isF32())
      return failure();
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    rewriter.replaceOp(op, emitSinCos(b, op.getOperand(), cosine));
    return success();
  }
};

/// asin and acos of f32. Beyond a half, asin x is pi/2 - 2 asin sqrt((1 - x) / 2), so that a
/// polynomial is needed up to a half only; its error is below 2e-7.
template <typename Op> struct ExpandArcSinCos : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    if (!op.getType().isF32())
      return failure();
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Value x = op.getOperand();
    auto f = [&](float value) { return f32Constant(b, x.getType(), value); };
    auto fma = [&](Value x, Value y, Value z) -> Value { return b.create<math::FmaOp>(x, y, z); };
    auto less = [&](Value x, Value y) -> Value {
      return b.create<arith::CmpFOp>(arith::CmpFPredicate::OLT, x, y);
    };
    Value size = b.create<math::AbsFOp>(x);
    Value isLarge = less(f(0.5f), size);
    Value rest = fma(size, f(-0.5f), f(0.5f));
    Value square = b.create<arith::MulFOp>(size, size);
    Value z = b.create<arith::SelectOp>(isLarge, rest, square);
    Value root = b.create<arith::SelectOp>(isLarge, b.create<math::SqrtOp>(rest), size);
    Value p = f(4.2163199048e-2f);
    for (float c : {2.4181311049e-2f, 4.5470025998e-2f, 7.4953002686e-2f, 1.6666752422e-1f})
      p = fma(p, z, f(c));
    Value arc = fma(b.create<arith::MulFOp>(p, z), root, root); // asin of the root
    Value twice = b.create<arith::AddFOp>(arc, arc);
    Value isNegative = less(x, f(0));
    auto negatedIf = [&](Value condition, Value value) -> Value {
      return b.create<arith::SelectOp>(condition, b.create<arith::NegFOp>(value), value);
    };
    constexpr float pi = 3.14159265358979f;
    Value result;
    if (std::is_same_v<Op, math::AsinOp>) {
      Value large = b.create<arith::SubFOp>(f(pi / 2), twice);
      result = negatedIf(isNegative, b.create<arith::SelectOp>(isLarge, large, arc));
    } else {
      Value large =
          b.create<arith::SelectOp>(isNegative, b.create<arith::SubFOp>(f(pi), twice), twice);
      Value small = b.create<arith::SubFOp>(f(pi / 2), negatedIf(isNegative, arc));
      result = b.create<arith::SelectOp>(isLarge, large, small);
    }
    rewriter.replaceOp(op, result);
    return success();
  }
};

/// SPIR-V has no largest and smallest of bools.
template <typename Op, typename Logical> struct ExpandBoolMinMax : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    if (!op.getType().isInteger(1))
      return failure();
    rewriter.replaceOpWithNewOp<Logical>(op, op.getLhs(), op.getRhs());
    return success();
  }
};

class ExpandMathPass : public tacq::impl::VulkanExpandMathBase<ExpandMathPass> {
  using VulkanExpandMathBase::VulkanExpandMathBase;

  void runOnOperation() override {
    MLIRContext *context = &getContext();
    RewritePatternSet patterns(context);
    populateExpandPowFPattern(patterns);
    populateExpandFPowIPattern(patterns);
    populateExpandExp2FPattern(patterns);
    populateExpandTanPattern(patterns);
    populateExpandSinhPattern(patterns);
    populateExpandCoshPattern(patterns);
    populateExpandAsinhPattern(patterns);
    populateExpandAcoshPattern(patterns);
    populateExpandAtanhPattern(patterns);
    populateExpandRsqrtPattern(patterns);
    populateExpandCtlzPattern(patterns);
    arith::populateCeilFloorDivExpandOpsPatterns(patterns);
    if (failed(applyPatternsAndFoldGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
    RewritePatternSet functions(context);
    populateMathExpansionPatterns(functions);
    functions.add<ExpandSinCos<math::SinOp, false>, ExpandSinCos<math::CosOp, true>,
                  ExpandArcSinCos<math::AsinOp>, ExpandArcSinCos<math::AcosOp>,
                  ExpandBoolMinMax<arith::MaxUIOp, arith::OrIOp>,
                  ExpandBoolMinMax<arith::MinUIOp, arith::AndIOp>,
                  ExpandBoolMinMax<arith::MaxSIOp, arith::AndIOp>,
                  ExpandBoolMinMax<arith::MinSIOp, arith::OrIOp>>(context);
    if (failed(applyPatternsAndFoldGreedily(getOperation(), std::move(functions))))
      return signalPassFailure();
    // What is left of f32: the inverse functions and a few rare ones.
    RewritePatternSet rest(context);
    populateMathPolynomialApproximationPatterns(rest);
    populateMathExpansionPatterns(rest);
    if (failed(applyPatternsAndFoldGreedily(getOperation(), std::move(rest))))
      return signalPassFailure();
    bool refused = false;
    getOperation()->walk([&](Operation *op) {
      // Shaders have no other function of f64.
      bool known = isa<math::AbsFOp, math::AbsIOp, math::CeilOp, math::FloorOp, math::FmaOp,
                       math::RoundOp, math::RoundEvenOp, math::SqrtOp, math::TruncOp>(op);
      if (!isa<math::MathDialect>(op->getDialect()) || known || !op->getResult(0).getType().isF64())
        return;
      if (!refused)
        op->emitError("shaders have no function '") << op->getName().stripDialect() << "' of f64";
      refused = true;
    });
    if (refused)
      signalPassFailure();
  }
};

} // namespace
