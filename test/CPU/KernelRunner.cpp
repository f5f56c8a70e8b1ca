//===- KernelRunner.cpp - Compiles kernels and runs them in a test --------===//

#include "KernelRunner.h"
#include "KernelServer.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/MLIRContext.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"
#include <dlfcn.h>

using namespace mlir;
using namespace tacq;
using namespace tacq::test;

std::unique_ptr<MLIRContext> test::makeContext() {
  auto context = std::make_unique<MLIRContext>(MLIRContext::Threading::DISABLED);
  context
      ->loadDialect<arith::ArithDialect, func::FuncDialect, LLVM::LLVMDialect, math::MathDialect,
                    memref::MemRefDialect, scf::SCFDialect, vector::VectorDialect, TACQDialect>();
  return context;
}

LoadedKernels::~LoadedKernels() {
  if (handle)
    dlclose(handle);
}

LoadedKernels LoadedKernels::compile(ModuleOp module, const CpuTarget &target,
                                     std::string *assembly) {
  LoadedKernels result;
  SmallVector<char, 0> elf;
  CpuCompileOptions options;
  options.assembly = assembly;
  if (failed(compileCpuKernels(module, target, elf, options)))
    return result;
  SmallString<128> path;
  int descriptor;
  if (llvm::sys::fs::createTemporaryFile("kernels", "so", descriptor, path))
    return result;
  {
    llvm::raw_fd_ostream stream(descriptor, /*shouldClose=*/true);
    stream.write(elf.data(), elf.size());
  }
  if (llvm::StringRef(target.triple).starts_with("aarch64")) {
    result.remote = KernelServer::get()->load(path.str().str());
  } else {
    result.handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!result.handle)
      llvm::errs() << dlerror() << "\n";
  }
  if (std::error_code failed = llvm::sys::fs::remove(path))
    llvm::errs() << failed.message() << "\n";
  return result;
}

tacq_kernel_fn LoadedKernels::find(const char *name) const {
  return reinterpret_cast<tacq_kernel_fn>(dlsym(handle, name));
}

int32_t test::run(tacq_kernel_fn kernel, const std::vector<void *> &bindings,
                  const std::vector<int64_t> &symbols, int64_t tasks, int pieces) {
  int32_t status[TACQ_STATUS_WORDS] = {};
  tacq_kernel_args args{bindings.data(), symbols.data(), status, nullptr, 0};
  for (int piece = 0; piece < pieces; ++piece) {
    int64_t begin = tasks * piece / pieces, end = tasks * (piece + 1) / pieces;
    if (begin < end)
      kernel(&args, begin, end, piece);
  }
  return status[0];
}

std::vector<CpuTarget> test::runnableTargets(bool withAmx) {
  std::vector<CpuTarget> targets;
  std::optional<CpuTarget> host = parseCpuTarget("host");
  for (const std::string &name : cpuTargetNames())
    if (CpuTarget target = *parseCpuTarget(name); host && target.triple == host->triple &&
                                                  target.rank <= host->rank &&
                                                  (withAmx || !target.amx) && admitTarget(target))
      targets.push_back(target);
  return targets;
}

std::vector<CpuTarget> test::kernelTargets(bool withAmx) {
  if (!KernelServer::get())
    return runnableTargets(withAmx);
  std::vector<CpuTarget> targets;
  for (const std::string &name : cpuTargetNames())
    if (llvm::StringRef(name).starts_with("aarch64"))
      targets.push_back(*parseCpuTarget(name));
  return targets;
}
