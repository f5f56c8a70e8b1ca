//===- EmitKernels.cpp - Scalar kernels of regions ------------------------===//

#include "ShaderKernels.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVDialect.h"
#include "tacq/Codegen/MixedFormat.h"
#include "tacq/Vulkan/Passes.h"

namespace tacq {
#define GEN_PASS_DEF_EMITVULKANKERNELS
#include "tacq/Vulkan/Passes.h.inc"
} // namespace tacq

using namespace mlir;
using namespace tacq;

static LogicalResult emitRegion(KernelBuilder &kernel, VulkanProfileAttr profile,
                                const KernelOptions &options) {
  Block &body = kernel.region().front();
  for (auto attention : body.getOps<AttentionOp>())
    return options.append ? emitCacheAppendShader(kernel, attention, profile, options.capacity)
                          : emitAttentionShader(kernel, attention, profile, options.capacity);
  for (auto linear : body.getOps<LinearOp>())
    return hasMixedWeights(linear) ? emitMixedLinearShader(kernel, linear, profile)
                                   : emitLinearShader(kernel, linear);
  for (auto quantize : body.getOps<QuantizeRowsOp>())
    if (auto norm = quantize.getX().getDefiningOp<NormOp>())
      return emitQuantizedNormShader(kernel, norm, quantize, profile);
    else
      return emitQuantizeRowsShader(kernel, quantize, profile);
  for (Operation &op : body) {
    if (auto attention = dyn_cast<AttentionGradOp>(op))
      return attention.emitError("there is no shader for the gradients of attention");
    if (auto norm = dyn_cast<NormOp>(op))
      return emitNormShader(kernel, norm, profile);
    if (auto rope = dyn_cast<RopeOp>(op))
      return emitRopeShader(kernel, rope);
    auto node = dyn_cast<NodeOp>(op);
    if (node && (node.getOpType() == "ArgMax" || node.getOpType() == "ArgMin") &&
        emitArgMaxShader(kernel, node, profile))
      return success();
  }
  return emitNodeKernel(kernel);
}

void tacq::passTaskCount(KernelBuilder &kernel) {
  func::FuncOp function = kernel.function();
  OpBuilder::InsertionGuard guard(kernel.b);
  kernel.b.setInsertionPointToStart(&function.getBody().front());
  Value tasks = kernel.sym(kernel.taskCount());
  function.getArgument(function.getNumArguments() - 2).replaceAllUsesWith(tasks);
}

/// Indices of shaders have 32 bits. Larger numbers become the largest one, which is out of range of
/// every axis, and not one that may be in range.
static void saturateIndices(func::FuncOp function) {
  function.walk([](arith::IndexCastOp cast) {
    Value number = cast.getIn();
    Operation *origin = number.getDefiningOp();
    bool isNarrow = origin && isa<arith::ExtSIOp, arith::ExtUIOp, arith::IndexCastOp>(origin);
    if (!number.getType().isInteger(64) || !cast.getType().isIndex() || isNarrow)
      return;
    OpBuilder b(cast);
    auto limit = [&](int64_t value) -> Value {
      return b.create<arith::ConstantIntOp>(cast.getLoc(), value, 64);
    };
    number = b.create<arith::MaxSIOp>(cast.getLoc(), number, limit(INT32_MIN));
    number = b.create<arith::MinSIOp>(cast.getLoc(), number, limit(INT32_MAX));
    cast.getInMutable().set(number);
  });
}

LogicalResult tacq::emitVulkanKernel(KernelBuilder &kernel, VulkanProfileAttr profile,
                                     const KernelOptions &options) {
  kernel.vectorBits = 0;
  kernel.sharedStatus = true;
  if (failed(emitRegion(kernel, profile, options)))
    return failure();
  passTaskCount(kernel);
  saturateIndices(kernel.function());
  return success();
}

/// The variant of products with these weights.
static bool emitLinearVariant(KernelBuilder &kernel, LinearOp linear, VulkanProfileAttr profile,
                              bool first, const KernelOptions &options) {
  if (!hasMixedWeights(linear))
    return !first && (emitDenseMatrixShader(kernel, linear, profile) ||
                      emitDenseTileShader(kernel, linear, profile));
  if (!linear.getXScales())
    return false;
  // The numbers of matrices are those of f16.
  if (!options.wideWeights && (first ? emitTileDecodeShader(kernel, linear, profile)
                                     : emitTileLinearShader(kernel, linear, profile)))
    return true;
  return !first && emitIntegerTileShader(kernel, linear, profile);
}

bool tacq::emitVulkanVariant(KernelBuilder &kernel, VulkanProfileAttr profile, unsigned number,
                             bool first, const KernelOptions &options) {
  kernel.vectorBits = 0;
  kernel.sharedStatus = true;
  bool emitted = false;
  // Barriers order variants.
  func::FuncOp function = kernel.function();
  function->setAttr(vulkanVariantAttr, function.getNameAttr());
  // What makes a single row may be in the region, too.
  Block &body = kernel.region().front();
  if (number == 0)
    for (auto linear : body.getOps<LinearOp>())
      emitted = emitLinearVariant(kernel, linear, profile, first, options);
  for (auto attention : body.getOps<AttentionOp>())
    if (!options.append)
      emitted =
          number == 0
              ? !first && emitTileAttentionShader(kernel, attention, profile, options.capacity)
              : emitSplitAttentionShader(kernel, attention, profile, first, options.capacity);
  if (emitted)
    passTaskCount(kernel);
  return emitted;
}

namespace {

class EmitKernelsPass : public tacq::impl::EmitVulkanKernelsBase<EmitKernelsPass> {
  using EmitVulkanKernelsBase::EmitVulkanKernelsBase;

  void runOnOperation() override {
    VulkanProfileAttr attr = vulkanProfile(&getContext(), profile);
    if (!attr) {
      getOperation().emitError("there is no Vulkan profile '") << profile << "'";
      return signalPassFailure();
    }
    KernelOptions options;
    if (!capacity.empty())
      options.capacity = Sym::name(capacity);
    options.append = append;
    auto emit = [&](KernelBuilder &kernel) {
      return variants ? success(emitVulkanVariant(kernel, attr, (variants - 1) / 2,
                                                  variants % 2 == 0, options))
                      : emitVulkanKernel(kernel, attr, options);
    };
    if (failed(replaceByKernels(getOperation(), emit)))
      signalPassFailure();
  }
};

} // namespace
