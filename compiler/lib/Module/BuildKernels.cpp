//===- BuildKernels.cpp - The functions of all kernels --------------------===//

#include "ModuleEmitter.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "tacq/CPU/HotKernels.h"
#include "tacq/CPU/KernelCost.h"
#include "tacq/Dialect/Schedule/ScheduleDialect.h"
#include "tacq/Half.h"
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

/// Whether a decoded weight may be larger than any number of f16.
static bool isWide(const MixedWeight &weight) {
  constexpr float largestHalf = 65504;
  int64_t levels = int64_t(1) << weight.format.bits;
  for (size_t i = 0; i < weight.scales.size(); ++i) {
    int64_t most = 128;
    if (!weight.format.codebook)
      most = std::max<int64_t>(weight.zeros[i], levels - 1 - weight.zeros[i]);
    if (std::abs(floatFromHalf(weight.scales[i])) * float(most) > largestHalf)
      return true;
  }
  return false;
}

llvm::StringSet<> tacq::kernelsOfWideWeights(ModuleOp module,
                                             const llvm::StringMap<MixedWeight> &weights) {
  llvm::StringSet<> wide, kernels;
  for (const auto &[name, weight] : weights)
    if (isWide(weight))
      wide.insert(name);
  if (wide.empty())
    return kernels;
  module.walk([&](rt::LaunchOp launch) {
    for (Value buffer : launch.getReads()) {
      auto op = buffer.getDefiningOp<rt::BufferOp>();
      if (op && op.getParamAttr() && wide.contains(op.getParamAttr().getValue()))
        kernels.insert(launch.getKernel());
    }
  });
  return kernels;
}

OwningOpRef<ModuleOp> tacq::buildVulkanKernels(ModuleOp module, VulkanProfileAttr profile,
                                               llvm::StringMap<KernelCode> &codes,
                                               llvm::StringMap<std::string> &refusals,
                                               const llvm::StringSet<> &wide) {
  OwningOpRef<ModuleOp> kernels = ModuleOp::create(module.getLoc());
  OpBuilder builder(module.getContext());
  llvm::StringMap<SmallVector<int32_t>> constants = unsharedBuffers(module);
  for (auto kernel : module.getOps<rt::KernelOp>()) {
    builder.setInsertionPointToEnd(kernels->getBody());
    KernelCode &code = codes[kernel.getSymName()];
    std::unique_ptr<KernelBuilder> k =
        KernelBuilder::create(builder, kernel.getSymName(), kernel.getBody(), code.symbols);
    KernelOptions options = optionsOf(kernel, true);
    options.wideWeights = wide.contains(kernel.getSymName());
    std::string refusal;
    ScopedDiagnosticHandler handler(module.getContext(), [&](Diagnostic &diagnostic) {
      refusal += (refusal.empty() ? "" : "; ") + diagnostic.str();
      return mlir::success();
    });
    if (failed(emitVulkanKernel(*k, profile, options))) {
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
    code.variants.clear();
    for (unsigned number = 0; number < vulkanVariants; ++number)
      for (bool first : {false, true}) {
        std::string name =
            (kernel.getSymName() + "_variant" + Twine(number) + (first ? "_first" : "")).str();
        std::unique_ptr<KernelBuilder> variant =
            KernelBuilder::create(builder, name, kernel.getBody(), code.symbols);
        if (!emitVulkanVariant(*variant, profile, number, first, options)) {
          variant->function().erase();
          break;
        }
        variant->function()->setAttr(vulkanVariantAttr, kernel.getSymNameAttr());
        if (first) {
          variant->function()->setAttr(vulkanFirstAttr, builder.getUnitAttr());
          code.variants.back().first = variant->taskCount();
        } else {
          code.variants.push_back({variant->taskCount(), Sym()});
        }
        code.shaderWorkspace = Sym::max(code.shaderWorkspace, variant->workspaceSize());
      }
  }
  return kernels;
}
