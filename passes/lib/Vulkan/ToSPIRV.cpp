//===- ToSPIRV.cpp - Entry points to the SPIR-V dialect -------------------===//

#include "mlir/Conversion/ArithToSPIRV/ArithToSPIRV.h"
#include "mlir/Conversion/FuncToSPIRV/FuncToSPIRV.h"
#include "mlir/Conversion/GPUToSPIRV/GPUToSPIRV.h"
#include "mlir/Conversion/MathToSPIRV/MathToSPIRV.h"
#include "mlir/Conversion/MemRefToSPIRV/MemRefToSPIRV.h"
#include "mlir/Conversion/SCFToSPIRV/SCFToSPIRV.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVDialect.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "mlir/Dialect/SPIRV/IR/TargetAndABI.h"
#include "mlir/Dialect/SPIRV/Transforms/SPIRVConversion.h"
#include "tacq/Vulkan/Passes.h"
#include "llvm/ADT/TypeSwitch.h"

namespace tacq {
#define GEN_PASS_DEF_VULKANTOSPIRV
#include "tacq/Vulkan/Passes.h.inc"
} // namespace tacq

using namespace mlir;
using namespace tacq;

namespace {

/// Atomic operations without an order: only the word itself is shared. The upstream pattern asks
/// for an order without saying of what memory, which Vulkan does not allow.
struct AtomicPattern : OpConversionPattern<memref::AtomicRMWOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(memref::AtomicRMWOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    auto &converter = *getTypeConverter<SPIRVTypeConverter>();
    Value pointer =
        spirv::getElementPtr(converter, cast<MemRefType>(op.getMemref().getType()),
                             adaptor.getMemref(), adaptor.getIndices(), op.getLoc(), rewriter);
    if (!pointer || !op.getType().isInteger(32))
      return failure();
    auto replace = [&](auto made) {
      rewriter.replaceOp(op, made);
      return success();
    };
    auto scope = spirv::Scope::Device;
    auto order = spirv::MemorySemantics::None;
    Location loc = op.getLoc();
    Value value = adaptor.getValue();
    switch (op.getKind()) {
    case arith::AtomicRMWKind::addi:
      return replace(rewriter.create<spirv::AtomicIAddOp>(loc, pointer, scope, order, value));
    case arith::AtomicRMWKind::andi:
      return replace(rewriter.create<spirv::AtomicAndOp>(loc, pointer, scope, order, value));
    case arith::AtomicRMWKind::ori:
      return replace(rewriter.create<spirv::AtomicOrOp>(loc, pointer, scope, order, value));
    default:
      return failure();
    }
  }
};

class ToSPIRVPass : public tacq::impl::VulkanToSPIRVBase<ToSPIRVPass> {
  using VulkanToSPIRVBase::VulkanToSPIRVBase;

  void runOnOperation() override {
    for (auto module : llvm::to_vector(getOperation().getOps<gpu::GPUModuleOp>()))
      if (failed(convert(module)))
        return signalPassFailure();
  }

  LogicalResult convert(gpu::GPUModuleOp module) {
    MLIRContext *context = &getContext();
    auto environment = module->getAttrOfType<spirv::TargetEnvAttr>(spirv::getTargetEnvAttrName());
    if (!environment)
      return module.emitError("it says nothing of its target");
    SPIRVConversionOptions options;
    options.emulateLT32BitScalarTypes = false;
    SPIRVTypeConverter converter(environment, options);
    std::unique_ptr<ConversionTarget> target = SPIRVConversionTarget::get(environment);
    RewritePatternSet patterns(context);
    ScfToSPIRVContext scfContext;
    populateMMAToSPIRVCoopMatrixTypeConversion(converter);
    populateGpuWMMAToSPIRVCoopMatrixKHRConversionPatterns(converter, patterns);
    populateGPUToSPIRVPatterns(converter, patterns);
    arith::populateArithToSPIRVPatterns(converter, patterns);
    populateMathToSPIRVPatterns(converter, patterns);
    populateMemRefToSPIRVPatterns(converter, patterns);
    populateFuncToSPIRVPatterns(converter, patterns);
    populateSCFToSPIRVPatterns(converter, scfContext, patterns);
    patterns.add<AtomicPattern>(converter, context, /*benefit=*/10);
    if (failed(applyFullConversion(module.getOperation(), *target, std::move(patterns))))
      return failure();
    keepRounding();
    getOperation().walk([](spirv::VectorExtractDynamicOp op) { loadComponent(op); });
    getOperation().walk([](spirv::ModuleOp shader) { useMemoryModel(shader); });
    bool failed = false;
    getOperation().walk([&](spirv::LoopOp loop) { failed |= mlir::failed(storeInitial(loop)); });
    return failure(failed);
  }

  /// The upstream pattern gives the results of a loop in variables, which it stores to at the end
  /// of each iteration: a loop without iterations needs the initial values there.
  LogicalResult storeInitial(spirv::LoopOp loop) {
    Block &entry = loop.getBody().front();
    auto enter = dyn_cast<spirv::BranchOp>(entry.getTerminator());
    if (!enter)
      return success();
    Block *header = enter.getTarget();
    SmallVector<Value> variables;
    for (Block *block : header->getPredecessors()) {
      if (block == &entry)
        continue;
      for (auto store : block->getOps<spirv::StoreOp>())
        if (auto variable = store.getPtr().getDefiningOp<spirv::VariableOp>();
            variable && !loop->isProperAncestor(variable))
          variables.push_back(variable);
    }
    if (variables.empty())
      return success();
    // In front of the carried values comes the induction variable.
    OperandRange initial = enter.getBlockArguments();
    if (initial.size() != variables.size() + 1)
      return loop.emitError("a loop has other results than it carries");
    OpBuilder builder(loop);
    for (auto [variable, value] : llvm::zip(variables, initial.drop_front()))
      builder.create<spirv::StoreOp>(loop.getLoc(), variable, value);
    return success();
  }

  /// Shaders with cooperative matrices have to be of the Vulkan memory model, in which accesses to
  /// shared memory say that they are shared, and barriers what they make visible.
  static void useMemoryModel(spirv::ModuleOp shader) {
    auto isMatrix = [](Operation *op) {
      return isa<spirv::KHRCooperativeMatrixMulAddOp>(op) ? WalkResult::interrupt()
                                                          : WalkResult::advance();
    };
    if (!shader.walk(isMatrix).wasInterrupted())
      return;
    MLIRContext *context = shader.getContext();
    shader.setMemoryModel(spirv::MemoryModel::Vulkan);
    auto shared = spirv::MemoryAccessAttr::get(context, spirv::MemoryAccess::NonPrivatePointer);
    auto mark = [&](auto op, Value pointer) {
      if (cast<spirv::PointerType>(pointer.getType()).getStorageClass() ==
          spirv::StorageClass::Workgroup)
        op->setAttr(isa<spirv::LoadOp, spirv::StoreOp>(*op) ? "memory_access" : "memory_operand",
                    shared);
    };
    shader.walk([&](Operation *op) {
      llvm::TypeSwitch<Operation *>(op)
          .Case([&](spirv::LoadOp load) { mark(load, load.getPtr()); })
          .Case([&](spirv::StoreOp store) { mark(store, store.getPtr()); })
          .Case([&](spirv::KHRCooperativeMatrixLoadOp load) { mark(load, load.getPointer()); })
          .Case([&](spirv::KHRCooperativeMatrixStoreOp store) { mark(store, store.getPointer()); })
          .Case([&](spirv::ControlBarrierOp barrier) {
            barrier.setMemorySemantics(barrier.getMemorySemantics() |
                                       spirv::MemorySemantics::MakeAvailable |
                                       spirv::MemorySemantics::MakeVisible);
          });
    });
  }

  /// A component of a vector that was read only for it is read alone: device compilers might put
  /// the vector into memory of the invocation, to index it there.
  static void loadComponent(spirv::VectorExtractDynamicOp op) {
    auto load = op.getVector().getDefiningOp<spirv::LoadOp>();
    Operation *index = op.getIndex().getDefiningOp();
    if (!load || !load->hasOneUse() || load->getBlock() != op->getBlock() ||
        (index && index->getBlock() == load->getBlock() && !index->isBeforeInBlock(load)))
      return;
    OpBuilder builder(load);
    Value pointer =
        builder.create<spirv::AccessChainOp>(op.getLoc(), load.getPtr(), ValueRange{op.getIndex()});
    op.replaceAllUsesWith(builder.create<spirv::LoadOp>(op.getLoc(), pointer).getResult());
    op.erase();
    load.erase();
  }

  /// Device compilers cancel x + c - c, which the elementary functions round with, unless told not
  /// to.
  void keepRounding() {
    getOperation().walk([](Operation *op) {
      if (isa<spirv::FAddOp, spirv::FSubOp, spirv::FMulOp>(op))
        op->setAttr("no_contraction", UnitAttr::get(op->getContext()));
    });
  }
};

} // namespace
