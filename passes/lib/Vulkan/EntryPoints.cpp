//===- EntryPoints.cpp - Kernel functions to entry points -----------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVDialect.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "mlir/Dialect/SPIRV/IR/TargetAndABI.h"
#include "tacq/Vulkan/Passes.h"
#include "tacq/Vulkan/VulkanTarget.h"

namespace tacq {
#define GEN_PASS_DEF_VULKANENTRYPOINTS
#include "tacq/Vulkan/Passes.h.inc"
} // namespace tacq

using namespace mlir;
using namespace tacq;

/// What takes a few seconds.
static constexpr int64_t mostPolls = 1 << 22;
/// The word of the status that says that a workgroup has waited so long.
static constexpr int64_t lateWord = 7;

namespace {

/// What the profile's features are in SPIR-V.
spirv::TargetEnvAttr targetEnvironment(VulkanProfileAttr profile) {
  using spirv::Capability, spirv::Extension;
  SmallVector<Capability> capabilities = {Capability::Shader};
  SmallVector<Extension> extensions;
  auto add = [&](StringRef feature, ArrayRef<Capability> more) {
    if (profile.has(feature))
      capabilities.append(more.begin(), more.end());
  };
  add("int64", {Capability::Int64});
  add("float64", {Capability::Float64});
  add("float16", {Capability::Float16});
  add("int16", {Capability::Int16});
  add("float16", {Capability::Float16});
  add("int8", {Capability::Int8});
  add("storage16", {Capability::StorageBuffer16BitAccess});
  add("storage8", {Capability::StorageBuffer8BitAccess});
  add("dot8", {Capability::DotProduct, Capability::DotProductInput4x8BitPacked});
  if (profile.has("storage16"))
    extensions.push_back(Extension::SPV_KHR_16bit_storage);
  if (profile.has("storage8"))
    extensions.push_back(Extension::SPV_KHR_8bit_storage);
  if (profile.has("dot8"))
    extensions.push_back(Extension::SPV_KHR_integer_dot_product);
  if (profile.getSubgroup())
    capabilities.append({Capability::GroupNonUniform, Capability::GroupNonUniformArithmetic,
                         Capability::GroupNonUniformShuffle});
  // A shader says the least version and capabilities that it needs.
  auto version = spirv::Version::V_1_3;
  if (profile.has("matrix16")) {
    version = spirv::Version::V_1_6;
    capabilities.append({Capability::CooperativeMatrixKHR, Capability::VulkanMemoryModel});
    extensions.push_back(Extension::SPV_KHR_cooperative_matrix);
  }
  MLIRContext *context = profile.getContext();
  auto triple = spirv::VerCapExtAttr::get(version, capabilities, extensions, context);
  return spirv::TargetEnvAttr::get(triple, spirv::getDefaultResourceLimits(context),
                                   spirv::ClientAPI::Vulkan);
}

class EntryPoint {
public:
  EntryPoint(func::FuncOp function, VulkanProfileAttr profile)
      : function(function), profile(profile), b(function) {}
  LogicalResult emit();

private:
  MemRefType inStorageBuffer(Type element) {
    auto space = spirv::StorageClassAttr::get(b.getContext(), spirv::StorageClass::StorageBuffer);
    return MemRefType::get({ShapedType::kDynamic}, element, AffineMap(), space);
  }
  void setTasks(Value begin, Value first, Value stride);
  /// Puts waiting and reporting for kernels whose dispatches are ordered by flags around the code.
  void orderByFlags(Value symbols, Value status, Value flags);
  void await(Value symbols, Value status, Value flags);
  Value isFirstOfWorkgroup() {
    Value thread = b.create<gpu::ThreadIdOp>(function.getLoc(), gpu::Dimension::x);
    Value zero = b.create<arith::ConstantIndexOp>(function.getLoc(), 0);
    return b.create<arith::CmpIOp>(function.getLoc(), arith::CmpIPredicate::eq, thread, zero);
  }
  void workgroupBarrier();
  void deviceBarrier();
  Value word(int64_t value) { return b.create<arith::ConstantIntOp>(function.getLoc(), value, 32); }
  /// Of each buffer, the casts to buffers of other elements; equal types share a view.
  SmallVector<std::pair<BlockArgument, MemRefType>> views(ArrayRef<BlockArgument> buffers);

  func::FuncOp function;
  VulkanProfileAttr profile;
  OpBuilder b;
};

/// The loop over tasks starts at the invocation's number.
void EntryPoint::setTasks(Value begin, Value first, Value stride) {
  for (Operation *user : begin.getUsers())
    if (auto loop = dyn_cast<scf::ForOp>(user); loop && loop.getLowerBound() == begin)
      loop.setStep(stride);
  begin.replaceAllUsesWith(first);
}

/// A view is a binding of its own to the same buffer, unless elements become words, when all of the
/// narrow types are the same.
SmallVector<std::pair<BlockArgument, MemRefType>>
EntryPoint::views(ArrayRef<BlockArgument> buffers) {
  SmallVector<std::pair<BlockArgument, MemRefType>> result;
  for (BlockArgument buffer : buffers)
    for (Operation *user : buffer.getUsers()) {
      auto cast = dyn_cast<UnrealizedConversionCastOp>(user);
      auto type = cast ? dyn_cast<MemRefType>(cast.getType(0)) : MemRefType();
      if (type && (profile.has("storage8") || isa<VectorType>(type.getElementType())) &&
          !llvm::is_contained(result, std::pair(buffer, type)))
        result.push_back({buffer, type});
    }
  return result;
}

/// All invocations of a workgroup come here; what one of them has seen of buffers, or written to
/// them, goes for all.
void EntryPoint::workgroupBarrier() {
  b.create<spirv::ControlBarrierOp>(
      function.getLoc(), spirv::Scope::Workgroup, spirv::Scope::Workgroup,
      spirv::MemorySemantics::AcquireRelease | spirv::MemorySemantics::UniformMemory |
          spirv::MemorySemantics::WorkgroupMemory);
}

/// What was written before is seen by whoever sees what is written behind it. One invocation does
/// this for its workgroup.
void EntryPoint::deviceBarrier() {
  b.create<spirv::MemoryBarrierOp>(function.getLoc(), spirv::Scope::Device,
                                   spirv::MemorySemantics::AcquireRelease |
                                       spirv::MemorySemantics::UniformMemory);
}

/// An invocation of each workgroup polls the flag until all workgroups that it waits for have
/// counted there, but not for ever: that is reported.
void EntryPoint::await(Value symbols, Value status, Value flags) {
  Location loc = function.getLoc();
  auto setting = [&](int64_t i) -> Value {
    Value at = b.create<arith::ConstantIndexOp>(loc, i);
    Value raw = b.create<memref::LoadOp>(loc, symbols, at);
    return b.create<arith::TruncIOp>(loc, b.getI32Type(), raw);
  };
  Value flag = setting(0), count = setting(1);
  Value some = b.create<arith::CmpIOp>(loc, arith::CmpIPredicate::sge, flag, word(0));
  Value waits = b.create<arith::AndIOp>(loc, some, isFirstOfWorkgroup());
  auto branch = b.create<scf::IfOp>(loc, waits, /*withElseRegion=*/false);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    Value at = b.create<arith::IndexCastOp>(loc, b.getIndexType(), flag);
    Value zero = word(0), one = word(1), most = word(mostPolls);
    auto loop = b.create<scf::WhileOp>(loc, TypeRange(b.getI32Type()), ValueRange{zero});
    Block *look = b.createBlock(&loop.getBefore(), {}, b.getI32Type(), loc);
    Value polls = look->getArgument(0), seen = b.create<memref::LoadOp>(loc, flags, at);
    Value isLess = b.create<arith::CmpIOp>(loc, arith::CmpIPredicate::slt, seen, count);
    Value hasTime = b.create<arith::CmpIOp>(loc, arith::CmpIPredicate::slt, polls, most);
    b.create<scf::ConditionOp>(loc, b.create<arith::AndIOp>(loc, isLess, hasTime), polls);
    Block *again = b.createBlock(&loop.getAfter(), {}, b.getI32Type(), loc);
    Value next = b.create<arith::AddIOp>(loc, again->getArgument(0), one);
    b.create<scf::YieldOp>(loc, ValueRange{next});
    b.setInsertionPointAfter(loop);
    Value isLate = b.create<arith::CmpIOp>(loc, arith::CmpIPredicate::sge, loop.getResult(0), most);
    auto late = b.create<scf::IfOp>(loc, isLate, /*withElseRegion=*/false);
    b.setInsertionPointToStart(late.thenBlock());
    Value place = b.create<arith::ConstantIndexOp>(loc, lateWord);
    b.create<memref::StoreOp>(loc, one, status, ValueRange{place});
    b.setInsertionPointAfter(late);
    deviceBarrier();
  }
  b.setInsertionPointAfter(branch);
  workgroupBarrier();
}

void EntryPoint::orderByFlags(Value symbols, Value status, Value flags) {
  Location loc = function.getLoc();
  SmallVector<gpu::BarrierOp> marks;
  function.walk([&](gpu::BarrierOp barrier) {
    if (barrier->hasAttr(vulkanAwaitAttr))
      marks.push_back(barrier);
  });
  OpBuilder::InsertionGuard guard(b);
  // Read early, so that nothing is read in the end.
  Value at = b.create<arith::ConstantIndexOp>(loc, 2);
  Value flag = b.create<arith::IndexCastOp>(loc, b.getIndexType(),
                                            b.create<memref::LoadOp>(loc, symbols, at));
  if (marks.empty())
    await(symbols, status, flags);
  for (gpu::BarrierOp mark : marks) {
    b.setInsertionPoint(mark);
    await(symbols, status, flags);
    mark.erase();
  }
  b.setInsertionPoint(function.getBody().front().getTerminator());
  workgroupBarrier();
  auto counts = b.create<scf::IfOp>(loc, isFirstOfWorkgroup(), /*withElseRegion=*/false);
  b.setInsertionPointToStart(counts.thenBlock());
  deviceBarrier();
  b.create<memref::AtomicRMWOp>(loc, b.getI32Type(), arith::AtomicRMWKind::addi, word(1), flags,
                                ValueRange{flag});
}

/// Whether the function has numbers of f64, in memory or not.
static bool usesDoubles(func::FuncOp function) {
  auto isDouble = [](Type type) { return getElementTypeOrSelf(type).isF64(); };
  return llvm::any_of(function.getArgumentTypes(), isDouble) ||
         function
             .walk([&](Operation *op) {
               return llvm::any_of(op->getResultTypes(), isDouble) ? WalkResult::interrupt()
                                                                   : WalkResult::advance();
             })
             .wasInterrupted();
}

LogicalResult EntryPoint::emit() {
  Location loc = function.getLoc();
  if (!profile.has("float64") && usesDoubles(function))
    return function.emitError() << "it needs f64, which shaders of the profile '"
                                << profile.getName() << "' do not have";
  Block &old = function.getBody().front();
  SmallVector<BlockArgument> buffers, symbols;
  for (BlockArgument argument : old.getArguments().drop_back(3))
    (isa<MemRefType>(argument.getType()) ? buffers : symbols).push_back(argument);
  // The symbols and the status are buffers, too, and so are the flags.
  bool ordered = profile.has(vulkanOrderedFeature) && !function->hasAttr(vulkanVariantAttr);
  size_t bound = buffers.size() + (ordered ? 3 : 2);
  if (bound > profile.getBuffers())
    return function.emitError() << "it binds " << bound << " buffers, and shaders of the profile '"
                                << profile.getName() << "' may bind " << profile.getBuffers();
  auto module = b.create<gpu::GPUModuleOp>(loc, function.getName());
  module->setAttr(spirv::getTargetEnvAttrName(), targetEnvironment(profile));
  b.setInsertionPointToStart(module.getBody());
  SmallVector<Type> types;
  for (BlockArgument buffer : buffers)
    types.push_back(inStorageBuffer(cast<MemRefType>(buffer.getType()).getElementType()));
  types.push_back(inStorageBuffer(b.getI64Type()));
  types.push_back(inStorageBuffer(b.getI32Type()));
  if (ordered)
    types.push_back(inStorageBuffer(b.getI32Type()));
  SmallVector<std::pair<BlockArgument, MemRefType>> views = this->views(buffers);
  for (auto [buffer, type] : views)
    types.push_back(type);
  auto width = function->getAttrOfType<IntegerAttr>(vulkanWorkgroupAttr);
  int64_t workgroup = width ? width.getInt() : profile.getWorkgroup();
  auto entry = b.create<gpu::GPUFuncOp>(loc, "main", b.getFunctionType(types, {}));
  entry->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), b.getUnitAttr());
  entry->setAttr(spirv::getEntryPointABIAttrName(),
                 spirv::getEntryPointABIAttr(b.getContext(), {int32_t(workgroup), 1, 1}));
  for (unsigned i = 0; i < types.size() && !views.empty(); ++i) {
    unsigned binding = i;
    if (i >= bound)
      binding = llvm::find(buffers, views[i - bound].first) - buffers.begin();
    entry.setArgAttr(i, spirv::getInterfaceVarABIAttrName(),
                     spirv::getInterfaceVarABIAttr(0, binding, {}, b.getContext()));
  }
  Block &body = entry.getBody().front();
  b.setInsertionPointToStart(&body);

  for (auto [i, view] : llvm::enumerate(views))
    for (Operation *user : llvm::make_early_inc_range(view.first.getUsers()))
      if (auto cast = dyn_cast<UnrealizedConversionCastOp>(user);
          cast && cast.getType(0) == view.second) {
        cast.getResult(0).replaceAllUsesWith(body.getArgument(bound + i));
        cast.erase();
      }
  for (auto [argument, made] : llvm::zip(buffers, body.getArguments()))
    argument.replaceAllUsesWith(made);
  Value symbolBuffer = body.getArgument(buffers.size());
  int64_t firstSymbol = ordered ? 3 : 0;
  for (auto [i, symbol] : llvm::enumerate(symbols)) {
    if (symbol.use_empty())
      continue;
    Value at = b.create<arith::ConstantIndexOp>(loc, firstSymbol + int64_t(i));
    Value raw = b.create<memref::LoadOp>(loc, symbolBuffer, at);
    symbol.replaceAllUsesWith(b.create<arith::IndexCastOp>(loc, b.getIndexType(), raw));
  }
  unsigned last = old.getNumArguments();
  Value begin = old.getArgument(last - 3), end = old.getArgument(last - 2);
  if (!end.use_empty())
    return function.emitError("the kernel asks for its last task");
  Value first = width ? b.create<gpu::BlockIdOp>(loc, gpu::Dimension::x).getResult()
                      : b.create<gpu::GlobalIdOp>(loc, gpu::Dimension::x).getResult();
  Value stride = b.create<gpu::GridDimOp>(loc, gpu::Dimension::x);
  if (!width) {
    Value size = b.create<arith::ConstantIndexOp>(loc, workgroup);
    stride = b.create<arith::MulIOp>(loc, stride, size);
  }
  setTasks(begin, first, stride);
  old.getArgument(last - 1).replaceAllUsesWith(body.getArgument(buffers.size() + 1));
  if (ordered)
    orderByFlags(symbolBuffer, body.getArgument(buffers.size() + 1),
                 body.getArgument(buffers.size() + 2));
  else
    function.walk([](gpu::BarrierOp barrier) {
      if (barrier->hasAttr(vulkanAwaitAttr))
        barrier.erase();
    });
  old.getTerminator()->erase();
  body.getOperations().splice(body.end(), old.getOperations());
  b.setInsertionPointToEnd(&body);
  b.create<gpu::ReturnOp>(loc);
  function.erase();
  return success();
}

class EntryPointsPass : public tacq::impl::VulkanEntryPointsBase<EntryPointsPass> {
  using VulkanEntryPointsBase::VulkanEntryPointsBase;

  void runOnOperation() override {
    VulkanProfileAttr attr = vulkanProfile(&getContext(), profile);
    if (!attr) {
      getOperation().emitError("there is no Vulkan profile '") << profile << "'";
      return signalPassFailure();
    }
    bool failed = false;
    for (auto function : llvm::to_vector(getOperation().getOps<func::FuncOp>()))
      failed |= mlir::failed(EntryPoint(function, attr).emit());
    if (failed)
      signalPassFailure();
  }
};

} // namespace
