//===- HotKernelTest.h - Runs the kernel of one operation -------*- C++ -*-===//

#ifndef TACQ_TEST_CPU_HOTKERNELTEST_H
#define TACQ_TEST_CPU_HOTKERNELTEST_H

#include "KernelRunner.h"
#include "tacq/CPU/HotKernels.h"
#include <gtest/gtest.h>
#include <map>

namespace tacq::test {

/// The elements of a tensor in the storage of its element type.
class Tensor {
public:
  /// Deterministic numbers in [-scale, scale].
  static Tensor random(size_t count, const std::string &type, unsigned seed, float scale = 1.0f);
  static Tensor filled(size_t count, const std::string &type, float value);

  size_t size() const { return bytes.size() / width; }
  void *data() { return bytes.data(); }
  float at(size_t i) const;
  void set(size_t i, float value);

  std::string type; // f32, f16, bf16, i1, i64
  unsigned width;   // bytes of an element
  std::vector<char> bytes;
};

/// Rounds to the precision of a type.
float roundTo(const std::string &type, float value);

/// The kernel of the only function of a module, whose body is a kernel's region.
class HotKernel {
public:
  /// Fails the current test if the text or the kernel does not compile.
  static HotKernel compile(llvm::StringRef text, const CpuTarget &target,
                           const KernelOptions &options = {}, std::string *assembly = nullptr);

  /// Runs on the bindings: inputs, then outputs; `dims` gives the values of the named dimensions.
  void run(const std::vector<Tensor *> &bindings, const std::map<std::string, int64_t> &dims = {},
           int pieces = 3);
  int64_t evaluate(const Sym &sym, const std::map<std::string, int64_t> &dims) const;

  LoadedKernels kernels;
  KernelSymbols symbols;
  Sym tasks;
  Sym workspace; // bytes; behind the bindings of tensors
};

} // namespace tacq::test

#endif // TACQ_TEST_CPU_HOTKERNELTEST_H
