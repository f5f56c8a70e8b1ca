//===- EmitKernelsPass.cpp - Kernels of functions, to look at them --------===//

#include "tacq/CPU/HotKernels.h"
#include "tacq/CPU/Passes.h"

namespace tacq {
#define GEN_PASS_DEF_EMITCPUKERNELS
#include "tacq/CPU/Passes.h.inc"
} // namespace tacq

using namespace mlir;
using namespace tacq;

namespace {

struct EmitCpuKernelsPass : tacq::impl::EmitCpuKernelsBase<EmitCpuKernelsPass> {
  using EmitCpuKernelsBase::EmitCpuKernelsBase;

  void runOnOperation() override {
    std::optional<CpuTarget> known = parseCpuTarget(target);
    if (!known) {
      getOperation().emitError("there is no CPU target '") << target << "'";
      return signalPassFailure();
    }
    CpuKernelOptions options;
    if (!capacity.empty())
      options.capacity = Sym::name(capacity);
    options.append = append;
    for (auto region : llvm::to_vector(getOperation().getOps<func::FuncOp>())) {
      OpBuilder builder(region);
      KernelSymbols symbols;
      std::unique_ptr<KernelBuilder> kernel =
          KernelBuilder::create(builder, region.getName(), region.getBody(), symbols);
      if (failed(emitCpuKernel(*kernel, *known, options)))
        return signalPassFailure();
      kernel->function()->setAttr("tacq.tasks", builder.getStringAttr(kernel->taskCount().str()));
      region.erase();
    }
  }
};

} // namespace
