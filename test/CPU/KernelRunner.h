//===- KernelRunner.h - Compiles kernels and runs them in a test -*- C++ -*-===//

#ifndef TACQ_TEST_CPU_KERNELRUNNER_H
#define TACQ_TEST_CPU_KERNELRUNNER_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "tacq/CPU/CpuTarget.h"
#include "tacq/kernel_abi.h"
#include <memory>
#include <ostream>
#include <vector>

namespace tacq {
/// How GoogleTest prints a target.
inline void PrintTo(const CpuTarget &target, std::ostream *stream) { *stream << target.name; }
} // namespace tacq

namespace tacq::test {

/// A context with every dialect that kernels use.
std::unique_ptr<mlir::MLIRContext> makeContext();

/// A shared object of kernels, loaded for the life of this object.
class LoadedKernels {
public:
  LoadedKernels() = default;
  LoadedKernels(LoadedKernels &&other) : handle(other.handle), remote(other.remote) {
    other.handle = nullptr;
  }
  LoadedKernels &operator=(LoadedKernels &&other) {
    std::swap(handle, other.handle);
    std::swap(remote, other.remote);
    return *this;
  }
  ~LoadedKernels();

  /// Compiles for a target; not loaded() if that fails.
  static LoadedKernels compile(mlir::ModuleOp module, const CpuTarget &target,
                               std::string *assembly = nullptr);
  bool loaded() const { return handle != nullptr || remote >= 0; }
  /// The number of the kernel "k" at the kernel server, of a target that this machine cannot run;
  /// -1 for others.
  int64_t remoteNumber() const { return remote; }
  tacq_kernel_fn find(const char *name) const;

private:
  void *handle = nullptr;
  int64_t remote = -1;
};

/// Calls a kernel for tasks [0, tasks), in `pieces` calls. Returns status[0].
int32_t run(tacq_kernel_fn kernel, const std::vector<void *> &bindings,
            const std::vector<int64_t> &symbols, int64_t tasks, int pieces = 1);

/// The targets that this machine can run. Those with AMX differ in products of mixed-precision
/// weights only.
std::vector<CpuTarget> runnableTargets(bool withAmx = false);
/// With a kernel server the targets that it runs, else those of this machine.
std::vector<CpuTarget> kernelTargets(bool withAmx = false);

} // namespace tacq::test

#endif // TACQ_TEST_CPU_KERNELRUNNER_H
