//===- LowerToLLVM.cpp - Kernel functions to the LLVM dialect -------------===//

#include "CpuPipeline.h"
#include "mlir/Conversion/AffineToStandard/AffineToStandard.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVM.h"
#include "mlir/Conversion/IndexToLLVM/IndexToLLVM.h"
#include "mlir/Conversion/LLVMCommon/ConversionTarget.h"
#include "mlir/Conversion/LLVMCommon/Pattern.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/MathToLibm/MathToLibm.h"
#include "mlir/Conversion/MemRefToLLVM/MemRefToLLVM.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVM.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Transforms.h"
#include "mlir/Dialect/Vector/Transforms/LoweringPatterns.h"
#include "mlir/Dialect/Vector/Transforms/VectorRewritePatterns.h"
#include "mlir/IR/BuiltinDialect.h"
#include "mlir/Transforms/DialectConversion.h"
#include "tacq/Codegen/MathExpansion.h"

using namespace mlir;
using namespace tacq;

namespace {

/// A sum carried around a loop may be formed in any order and with fused multiply-adds: without
/// that it is one long chain of dependent additions. All other arithmetic keeps its rounding, so
/// that coordinates and quantized values come out as the standard says.
void relaxSums(ModuleOp kernels) {
  auto carriedByLoop = [](Value value) {
    auto argument = dyn_cast<BlockArgument>(value);
    return argument && isa<scf::ForOp>(argument.getOwner()->getParentOp()) &&
           argument.getArgNumber() > 0;
  };
  auto relax = [](Operation *op, arith::FastMathFlags flags) {
    op->setAttr("fastmath", arith::FastMathFlagsAttr::get(op->getContext(), flags));
  };
  kernels.walk([&](arith::AddFOp add) {
    if (!isa<FloatType>(add.getType()))
      return;
    for (auto [sum, term] :
         {std::pair(add.getLhs(), add.getRhs()), std::pair(add.getRhs(), add.getLhs())}) {
      if (!carriedByLoop(sum))
        continue;
      relax(add, arith::FastMathFlags::reassoc | arith::FastMathFlags::contract);
      if (auto product = term.getDefiningOp<arith::MulFOp>())
        relax(product, arith::FastMathFlags::contract);
      return;
    }
  });
}

/// Conversions between f64 and the 16-bit types, for which x86 has no instruction, through f32.
template <typename Op> struct ThroughF32 : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    Type from = getElementTypeOrSelf(op.getIn().getType());
    Type to = getElementTypeOrSelf(op.getType());
    if (!(from.isF64() && to.getIntOrFloatBitWidth() == 16) &&
        !(to.isF64() && from.getIntOrFloatBitWidth() == 16))
      return failure();
    Type middle = rewriter.getF32Type();
    if (auto vector = dyn_cast<VectorType>(op.getType()))
      middle = vector.clone(middle);
    Value first = rewriter.create<Op>(op.getLoc(), middle, op.getIn());
    rewriter.replaceOpWithNewOp<Op>(op, op.getType(), first);
    return success();
  }
};

LogicalResult expand(ModuleOp kernels) {
  RewritePatternSet patterns(kernels.getContext());
  populateMathExpansionPatterns(patterns);
  populateExpandFPowIPattern(patterns);
  patterns.add<ThroughF32<arith::ExtFOp>, ThroughF32<arith::TruncFOp>>(patterns.getContext());
  vector::populateVectorToVectorCanonicalizationPatterns(patterns);
  vector::populateVectorBitCastLoweringPatterns(patterns);
  vector::populateVectorBroadcastLoweringPatterns(patterns);
  vector::populateVectorContractLoweringPatterns(patterns, vector::VectorTransformsOptions());
  vector::populateVectorMaskOpLoweringPatterns(patterns);
  vector::populateVectorShapeCastLoweringPatterns(patterns);
  vector::populateVectorInterleaveLoweringPatterns(patterns);
  vector::populateVectorTransposeLoweringPatterns(patterns, vector::VectorTransformsOptions());
  vector::populateVectorTransferLoweringPatterns(patterns, /*maxTransferRank=*/1);
  return applyPatternsAndFoldGreedily(kernels, std::move(patterns));
}

/// Functions that neither arithmetic nor an instruction gives.
LogicalResult callLibrary(ModuleOp kernels) {
  RewritePatternSet patterns(kernels.getContext());
  ConversionTarget target(*kernels.getContext());
  populateMathToLibmConversionPatterns(patterns);
  target.addLegalDialect<BuiltinDialect, func::FuncDialect, arith::ArithDialect, math::MathDialect,
                         vector::VectorDialect>();
  target.addIllegalOp<math::AcosOp, math::AcoshOp, math::AsinOp, math::AsinhOp, math::AtanOp,
                      math::Atan2Op, math::AtanhOp, math::CbrtOp, math::CosOp, math::CoshOp,
                      math::ErfOp, math::ExpOp, math::Exp2Op, math::ExpM1Op, math::LogOp,
                      math::Log2Op, math::Log10Op, math::Log1pOp, math::PowFOp, math::SinOp,
                      math::SinhOp, math::TanOp, math::TanhOp>();
  return applyPartialConversion(kernels, target, std::move(patterns));
}

LogicalResult lowerLoops(ModuleOp kernels) {
  RewritePatternSet patterns(kernels.getContext());
  populateSCFToControlFlowConversionPatterns(patterns);
  populateAffineToStdConversionPatterns(patterns);
  arith::populateArithExpandOpsPatterns(patterns);
  arith::populateExpandBFloat16Patterns(patterns);
  ConversionTarget target(*kernels.getContext());
  target.addIllegalDialect<scf::SCFDialect, affine::AffineDialect>();
  target.addIllegalOp<arith::CeilDivSIOp, arith::CeilDivUIOp, arith::FloorDivSIOp>();
  auto notBF16 = [](Operation *op) {
    return !getElementTypeOrSelf(op->getOperand(0).getType()).isBF16() &&
           !getElementTypeOrSelf(op->getResult(0).getType()).isBF16();
  };
  target.addDynamicallyLegalOp<arith::ExtFOp, arith::TruncFOp>(notBF16);
  target.markUnknownOpDynamicallyLegal([](Operation *) { return true; });
  return applyPartialConversion(kernels, target, std::move(patterns));
}

/// A bf16 constant as its bits.
struct BFloat16Constant : ConvertOpToLLVMPattern<arith::ConstantOp> {
  using ConvertOpToLLVMPattern::ConvertOpToLLVMPattern;
  LogicalResult matchAndRewrite(arith::ConstantOp op, OpAdaptor,
                                ConversionPatternRewriter &rewriter) const override {
    if (!getElementTypeOrSelf(op.getType()).isBF16())
      return failure();
    Type bits = rewriter.getI16Type();
    Attribute value;
    if (auto number = dyn_cast<FloatAttr>(op.getValue()))
      value = rewriter.getIntegerAttr(bits, number.getValue().bitcastToAPInt());
    else if (auto numbers = dyn_cast<DenseElementsAttr>(op.getValue()))
      value = numbers.bitcast(bits);
    else
      return failure();
    rewriter.replaceOpWithNewOp<LLVM::ConstantOp>(op, getTypeConverter()->convertType(op.getType()),
                                                  value);
    return success();
  }
};

LogicalResult convert(ModuleOp kernels) {
  MLIRContext *context = kernels.getContext();
  LowerToLLVMOptions options(context);
  LLVMTypeConverter converter(context, options);
  // All arithmetic on bf16 has been expanded: what is left are moves. LLVM would do them in f32 and
  // call a function to round back.
  converter.addConversion(
      [](BFloat16Type type) { return IntegerType::get(type.getContext(), 16); });
  converter.addConversion([](VectorType type) -> std::optional<Type> {
    if (!type.getElementType().isBF16() || type.getRank() != 1)
      return std::nullopt;
    return type.clone(IntegerType::get(type.getContext(), 16));
  });
  RewritePatternSet patterns(context);
  patterns.add<BFloat16Constant>(converter, /*benefit=*/2);
  vector::populateVectorMaskMaterializationPatterns(patterns, /*force32BitVectorIndices=*/false);
  vector::populateVectorTransferLoweringPatterns(patterns);
  populateVectorToLLVMConversionPatterns(converter, patterns, /*reassociateFPReductions=*/true);
  memref::populateExpandStridedMetadataPatterns(patterns);
  populateFinalizeMemRefToLLVMConversionPatterns(converter, patterns);
  populateMathToLLVMConversionPatterns(converter, patterns, /*approximateLog1p=*/false);
  arith::populateArithToLLVMConversionPatterns(converter, patterns);
  index::populateIndexToLLVMConversionPatterns(converter, patterns);
  cf::populateControlFlowToLLVMConversionPatterns(converter, patterns);
  populateFuncToLLVMConversionPatterns(converter, patterns);
  LLVMConversionTarget target(*context);
  target.addLegalOp<ModuleOp>();
  if (failed(applyFullConversion(kernels, target, std::move(patterns))))
    return failure();
  // Pairs of casts that cancel are left over, which folding removes.
  GreedyRewriteConfig config;
  config.enableRegionSimplification = GreedySimplifyRegionLevel::Disabled;
  return applyPatternsAndFoldGreedily(kernels, RewritePatternSet(context), config);
}

} // namespace

LogicalResult tacq::lowerToLLVMDialect(ModuleOp kernels) {
  kernels.getContext()
      ->loadDialect<affine::AffineDialect, arith::ArithDialect, cf::ControlFlowDialect,
                    LLVM::LLVMDialect, math::MathDialect, memref::MemRefDialect, scf::SCFDialect,
                    vector::VectorDialect>();
  relaxSums(kernels);
  return success(succeeded(expand(kernels)) && succeeded(callLibrary(kernels)) &&
                 succeeded(lowerLoops(kernels)) && succeeded(convert(kernels)));
}
