//===- BuildKernels.cpp - The functions of all kernels --------------------===//

#include "ModuleEmitter.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "tacq/CPU/HotKernels.h"
#include "tacq/CPU/KernelCost.h"
#include "tacq/Dialect/Schedule/ScheduleDialect.h"
#include "llvm/ADT/BitVector.h"

using namespace mlir;
using namespace tacq;

static KernelOptions optionsOf(rt::KernelOp kernel, bool isShared) {
  KernelOptions options;
  for (auto attention : kernel.getBody().getOps<AttentionOp>())
    if (attention.getPastKey()) {
      options.capacity = Sym::name("%capacity");
      options.append = kernel.getPhase() == 0;
      options.attendAppends = !isShared;
    }
  if (std::optional<ArrayAttr> tilings = kernel.getTilings())
    llvm::append_range(options.tilings, tilings->getAsRange<TilingAttr>());
  return options;
}

FailureOr<OwningOpRef<ModuleOp>> tacq::buildCpuKernels(ModuleOp module, const CpuTarget &target,
                                                       llvm::StringMap<KernelCode> &codes,
                                                       bool isShared,
                                                       const llvm::StringMap<std::string> *only) {
  OwningOpRef<ModuleOp> kernels = ModuleOp::create(module.getLoc());
  OpBuilder builder(module.getContext());
  for (auto kernel : module.getOps<rt::KernelOp>()) {
    if (only && !only->contains(kernel.getSymName()))
      continue;
    builder.setInsertionPointToEnd(kernels->getBody());
    KernelCode &code = codes[kernel.getSymName()];
    std::unique_ptr<KernelBuilder> k =
        KernelBuilder::create(builder, kernel.getSymName(), kernel.getBody(), code.symbols);
    if (failed(emitCpuKernel(*k, target, optionsOf(kernel, isShared))))
      return failure();
    // The launches of a kernel are the same on every target.
    if (code.tasks && !(*code.tasks == k->taskCount()))
      return kernel.emitError("has ") << k->taskCount().str() << " tasks on " << target.name
                                      << " and " << code.tasks->str() << " on the target before";
    code.tasks = k->taskCount();
    code.workspace = Sym::max(code.workspace, k->workspaceSize());
    code.cost = kernelCost(kernel.getBody(), optionsOf(kernel, isShared));
  }
  return kernels;
}

/// Of each kernel, the buffers of which no workgroup reads what others write in the same call, or
/// has read what was there before, in all of its launches: constants, and caches.
static llvm::StringMap<SmallVector<int32_t>> unsharedBuffers(ModuleOp module) {
  llvm::StringMap<llvm::BitVector> written;
  module.walk([&](rt::LaunchOp launch) {
    llvm::BitVector &own = written[launch.getKernel()];
    own.resize(std::max<size_t>(own.size(), launch->getNumOperands()));
    for (auto [i, buffer] : llvm::enumerate(launch->getOperands()))
      if (rt::BufferKind kind = buffer.getDefiningOp<rt::BufferOp>().getKind();
          kind != rt::BufferKind::Constant && kind != rt::BufferKind::State)
        own.set(i);
  });
  llvm::StringMap<SmallVector<int32_t>> result;
  for (const auto &[name, own] : written)
    for (unsigned i = 0; i < own.size(); ++i)
      if (!own.test(i))
        result[name].push_back(int32_t(i));
  return result;
}

OwningOpRef<ModuleOp> tacq::buildVulkanKernels(ModuleOp module, VulkanProfileAttr profile,
                                               llvm::StringMap<KernelCode> &codes,
                                               llvm::StringMap<std::string> &refusals) {
  OwningOpRef<ModuleOp> kernels = ModuleOp::create(module.getLoc());
  OpBuilder builder(module.getContext());
  llvm::StringMap<SmallVector<int32_t>> constants = unsharedBuffers(module);
  for (auto kernel : module.getOps<rt::KernelOp>()) {
    builder.setInsertionPointToEnd(kernels->getBody());
    KernelCode &code = codes[kernel.getSymName()];
    std::unique_ptr<KernelBuilder> k =
        KernelBuilder::create(builder, kernel.getSymName(), kernel.getBody(), code.symbols);
    std::string refusal;
    ScopedDiagnosticHandler handler(module.getContext(), [&](Diagnostic &diagnostic) {
      refusal += (refusal.empty() ? "" : "; ") + diagnostic.str();
      return mlir::success();
    });
    if (failed(emitVulkanKernel(*k, profile, optionsOf(kernel, true)))) {
      refusals[kernel.getSymName()] = refusal;
      k->function().erase();
      continue;
    }
    k->function()->setAttr(vulkanConstantsAttr,
                           builder.getDenseI32ArrayAttr(constants[kernel.getSymName()]));
    // The schedule's launch is that of all profiles; a shader knows when it has nothing to do.
    code.launchTasks =
        code.launchTasks ? Sym::max(*code.launchTasks, k->taskCount()) : k->taskCount();
    code.shaderTasks = k->taskCount();
    for (bool first : {false, true}) {
      std::string name = kernel.getSymName().str() + (first ? "_many_rows_first" : "_many_rows");
      std::unique_ptr<KernelBuilder> variant =
          KernelBuilder::create(builder, name, kernel.getBody(), code.symbols);
      if (!emitVulkanVariant(*variant, profile, first, optionsOf(kernel, true))) {
        variant->function().erase();
        continue;
      }
      variant->function()->setAttr(vulkanVariantAttr, kernel.getSymNameAttr());
      if (first)
        variant->function()->setAttr(vulkanFirstAttr, builder.getUnitAttr());
      (first ? code.firstTasks : code.variantTasks) = variant->taskCount();
      code.workspace = Sym::max(code.workspace, variant->workspaceSize());
    }
  }
  return kernels;
}
