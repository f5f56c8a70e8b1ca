//===- EmitKernelsPass.cpp - Kernels of functions, to look at them --------===//

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "tacq/CPU/HotKernels.h"
#include "tacq/CPU/Passes.h"

using namespace mlir;
using namespace tacq;

namespace {

struct EmitCpuKernels : PassWrapper<EmitCpuKernels, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(EmitCpuKernels)
  EmitCpuKernels() = default;
  EmitCpuKernels(const EmitCpuKernels &other) : PassWrapper(other) {}

  Option<std::string> targetName{*this, "target", llvm::cl::desc("The CPU target"),
                                 llvm::cl::init("x86-64-v4")};
  Option<std::string> capacity{
      *this, "capacity",
      llvm::cl::desc("The symbol of the cache's capacity; without it, caches are dense")};
  Option<bool> append{*this, "append",
                      llvm::cl::desc("Of an attention with a cache, the kernel that appends")};

  StringRef getArgument() const override { return "tacq-emit-cpu-kernels"; }
  StringRef getDescription() const override {
    return "Replace functions, whose bodies are kernels' regions, by the kernels";
  }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<arith::ArithDialect, func::FuncDialect, LLVM::LLVMDialect, math::MathDialect,
                    memref::MemRefDialect, scf::SCFDialect, vector::VectorDialect>();
  }

  void runOnOperation() override {
    std::optional<CpuTarget> target = parseCpuTarget(targetName);
    if (!target) {
      getOperation().emitError("there is no CPU target '") << targetName << "'";
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
      if (failed(emitCpuKernel(*kernel, *target, options)))
        return signalPassFailure();
      kernel->function()->setAttr("tacq.tasks", builder.getStringAttr(kernel->taskCount().str()));
      region.erase();
    }
  }
};

} // namespace

std::unique_ptr<Pass> tacq::createEmitCpuKernelsPass() {
  return std::make_unique<EmitCpuKernels>();
}

void tacq::registerCpuPasses() {
  PassRegistration<EmitCpuKernels>();
  registerPass([] { return createPackWeightsPass(); });
}
