//===- SerialBlas.cpp - OpenBLAS on one thread ----------------------------===//

#include "SerialBlas.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/TargetParser/Host.h"
#include <cblas.h>
#include <cstdlib>
#include <dlfcn.h>
#include <mutex>

using namespace tacq;

/// The name of the kernels that are taken for a processor nobody knows.
static constexpr llvm::StringLiteral fallback = "Prescott";
static constexpr const char *choice = "OPENBLAS_CORETYPE";

void tacq::chooseBlasKernels() {
  if (std::getenv(choice) || !fallback.equals_insensitive(openblas_get_corename()))
    return;
  llvm::StringMap<bool> features = llvm::sys::getHostCPUFeatures();
  auto has = [&](std::initializer_list<llvm::StringRef> names) {
    return llvm::all_of(names, [&](llvm::StringRef name) { return features.lookup(name); });
  };
  const char *kernels = has({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})
                            ? "SkylakeX"
                        : has({"avx2", "fma"}) ? "Haswell"
                                               : nullptr;
  // Its own choice is made when it is loaded, long before this. The library makes it by these two,
  // which it exports; one that was built for a single processor has neither.
  auto function = [](const char *name) {
    return reinterpret_cast<void (*)()>(dlsym(RTLD_DEFAULT, name));
  };
  auto *forget = function("gotoblas_dynamic_quit"), *decide = function("gotoblas_dynamic_init");
  if (!kernels || !forget || !decide)
    return;
  setenv(choice, kernels, /*overwrite=*/0);
  forget();
  decide();
  unsetenv(choice);
}

static std::once_flag chosen;

SerialBlas::SerialBlas() {
  std::call_once(chosen, chooseBlasKernels);
  before = openblas_get_num_threads();
  openblas_set_num_threads(1);
}

SerialBlas::~SerialBlas() { openblas_set_num_threads(before); }
