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
    KernelOptions options;
    if (!capacity.empty())
      options.capacity = Sym::name(capacity);
    options.append = append;
    options.attendAppends = attendAppends;
    auto emit = [&](KernelBuilder &kernel) {
      LogicalResult emitted = emitCpuKernel(kernel, *known, options);
      kernel.function()->setAttr("tacq.tasks", kernel.b.getStringAttr(kernel.taskCount().str()));
      return emitted;
    };
    if (failed(replaceByKernels(getOperation(), emit)))
      signalPassFailure();
  }
};

} // namespace
