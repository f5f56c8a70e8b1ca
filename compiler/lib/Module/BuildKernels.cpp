//===- BuildKernels.cpp - The functions of all kernels --------------------===//

#include "ModuleEmitter.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "tacq/CPU/HotKernels.h"
#include "tacq/Dialect/Schedule/ScheduleDialect.h"

using namespace mlir;
using namespace tacq;

FailureOr<OwningOpRef<ModuleOp>> tacq::buildCpuKernels(ModuleOp module, const CpuTarget &target,
                                                       llvm::StringMap<KernelCode> &codes) {
  OwningOpRef<ModuleOp> kernels = ModuleOp::create(module.getLoc());
  OpBuilder builder(module.getContext());
  for (auto kernel : module.getOps<rt::KernelOp>()) {
    builder.setInsertionPointToEnd(kernels->getBody());
    KernelCode &code = codes[kernel.getSymName()];
    std::unique_ptr<KernelBuilder> k =
        KernelBuilder::create(builder, kernel.getSymName(), kernel.getBody(), code.symbols);
    CpuKernelOptions options;
    for (auto attention : kernel.getBody().getOps<AttentionOp>())
      if (attention.getPastKey()) {
        options.capacity = Sym::name("%capacity");
        options.append = kernel.getPhase() == 0;
      }
    if (failed(emitCpuKernel(*k, target, options)))
      return failure();
    code.tasks = k->taskCount();
  }
  return kernels;
}

FailureOr<OwningOpRef<ModuleOp>> tacq::buildVulkanKernels(ModuleOp module,
                                                          llvm::StringMap<KernelCode> &codes) {
  OwningOpRef<ModuleOp> kernels = ModuleOp::create(module.getLoc());
  OpBuilder builder(module.getContext());
  bool failed = false;
  for (auto kernel : module.getOps<rt::KernelOp>()) {
    builder.setInsertionPointToEnd(kernels->getBody());
    KernelCode &code = codes[kernel.getSymName()];
    std::unique_ptr<KernelBuilder> k =
        KernelBuilder::create(builder, kernel.getSymName(), kernel.getBody(), code.symbols);
    VulkanKernelOptions options;
    for (auto attention : kernel.getBody().getOps<AttentionOp>())
      if (attention.getPastKey()) {
        options.capacity = Sym::name("%capacity");
        options.append = kernel.getPhase() == 0;
      }
    if (mlir::failed(emitVulkanKernel(*k, options))) {
      failed = true;
      continue;
    }
    code.tasks = code.shaderTasks = k->taskCount();
  }
  if (failed)
    return failure();
  return kernels;
}
