//===- CpuTarget.h - CPU targets and their code generation ------*- C++ -*-===//
//
// From kernel functions (see KernelBuilder.h) to one ELF shared object for each target, as
// tacq/kernel_abi.h describes it.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_CPU_CPUTARGET_H
#define TACQ_CPU_CPUTARGET_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"
#include <optional>
#include <string>
#include <vector>

namespace tacq {

/// What there is to multiply bytes and add the products up.
enum class ByteProduct {
  Avx2,       // pairs of unsigned by signed bytes to 16 bits, which saturate
  AvxVnni,    // fours of unsigned by signed bytes
  Avx512Vnni, // the same in wider registers
  Neon,       // single signed bytes to 16 bits
  NeonDot,    // fours of signed bytes
  NeonI8mm    // also fours of unsigned by signed bytes, and 2x8 by 8x2 matrices of bytes
};

struct CpuTarget {
  /// The name on the command line and in a module: "x86-64-v3" (AVX2), "x86-64-v3+avxvnni";
  /// "x86-64-v4", which here is
  /// AVX-512 F, BW, CD, DQ and VL with VNNI and VBMI; "x86-64-v4+amx", with AMX's tiles of bytes
  /// too; "aarch64" (NEON, Armv8.0), "aarch64-v8.2+dotprod" and "aarch64-v8.2+dotprod+i8mm".
  std::string name;
  /// LLVM's target triple, processor and features, and the processor that code is scheduled for.
  std::string triple, cpu, features, tune;
  /// What the machine must have, in the names of kernel_abi.h.
  std::vector<std::string> requiredFeatures;
  /// Of two targets that a machine can run, the one of higher rank is used.
  int rank;
  /// Width of a vector register.
  unsigned vectorBits;
  ByteProduct byteProduct;
  /// Products of tiles of bytes (amx-int8).
  bool amx = false;

  unsigned lanes(unsigned elementBits = 32) const { return vectorBits / elementBits; }
};

/// The target of a name; "host" is the best one that this machine can run. nullopt if there is no
/// such target, or if the machine can run none.
std::optional<CpuTarget> parseCpuTarget(llvm::StringRef name);
/// The names that parseCpuTarget knows, besides "host".
std::vector<std::string> cpuTargetNames();

/// True if this machine has all that the target requires, and this process may use it.
bool hostRuns(const CpuTarget &target);

/// Lets this process run code of the target without the runtime, which asks for itself: the system
/// gives AMX's registers on request. False if it does not.
bool admitTarget(const CpuTarget &target);

/// Shared objects by target and the text of their functions: parts of a model that differ in their
/// weights only have the same code.
using KernelCache = llvm::StringMap<std::vector<char>>;

struct CpuCompileOptions {
  unsigned optLevel = 3;
  /// If not null, what it holds is not compiled again. Texts are not received then.
  KernelCache *cache = nullptr;
  /// If not null, receives the assembly text.
  std::string *assembly = nullptr;
  /// If not null, receives the optimized LLVM IR.
  std::string *llvmIR = nullptr;
};

/// Compiles every function of `kernels`, which is lowered in place and left unusable, and appends
/// the shared object to `elf`. Each function is exported under its own name as a tacq_kernel_fn.
///
/// A function's arguments are those of KernelBuilder.h: the bindings, the symbols, begin, end and
/// status. Buffers are taken not to overlap, except those whose argument has the unit attribute
/// `tacq.may_alias`. The extent of a buffer's memref must not be asked for.
///
/// Fails with a diagnostic: an operation that has no lowering, a function of the C library that the
/// runtime does not offer, a linker that cannot be run.
mlir::LogicalResult compileCpuKernels(mlir::ModuleOp kernels, const CpuTarget &target,
                                      llvm::SmallVectorImpl<char> &elf,
                                      const CpuCompileOptions &options = {});

} // namespace tacq

#endif // TACQ_CPU_CPUTARGET_H
