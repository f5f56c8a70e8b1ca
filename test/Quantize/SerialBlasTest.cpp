//===- SerialBlasTest.cpp - OpenBLAS's kernels fit the processor ----------===//

#include "SerialBlas.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/TargetParser/Host.h"
#include <cblas.h>
#include <cstdlib>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <vector>

using namespace tacq;

static void call(const char *name) {
  void *address = dlsym(RTLD_DEFAULT, name);
  ASSERT_TRUE(address) << "this OpenBLAS was built for a single processor";
  reinterpret_cast<void (*)()>(address)();
}

/// As it is on a processor that OpenBLAS does not know.
static void takeKernels(const char *name) {
  setenv("OPENBLAS_CORETYPE", name, /*overwrite=*/1);
  call("gotoblas_dynamic_quit");
  call("gotoblas_dynamic_init");
  unsetenv("OPENBLAS_CORETYPE");
  ASSERT_STRCASEEQ(openblas_get_corename(), name);
}

#ifdef __x86_64__
TEST(SerialBlas, KernelsOfAnUnknownProcessor) {
  SerialBlas serial;
  ASSERT_NO_FATAL_FAILURE(takeKernels("Prescott"));
  chooseBlasKernels();
  std::string chosen = openblas_get_corename();
  llvm::StringMap<bool> features = llvm::sys::getHostCPUFeatures();
  if (features.lookup("avx512vl") && features.lookup("avx512bw") && features.lookup("avx512dq"))
    EXPECT_EQ(chosen, "SkylakeX");
  else
    EXPECT_EQ(chosen, features.lookup("avx2") && features.lookup("fma") ? "Haswell" : "Prescott");
  EXPECT_FALSE(std::getenv("OPENBLAS_CORETYPE"));

  // [1 2; 3 4] times [5; 6], so that the kernels do run.
  std::vector<float> a{1, 2, 3, 4}, b{5, 6}, c(2);
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, 2, 1, 2, 1.0f, a.data(), 2, b.data(), 1,
              0.0f, c.data(), 1);
  EXPECT_EQ(c, (std::vector<float>{17, 39}));
}

TEST(SerialBlas, WhatTheUserHasChosenStays) {
  SerialBlas serial;
  ASSERT_NO_FATAL_FAILURE(takeKernels("Prescott"));
  setenv("OPENBLAS_CORETYPE", "Prescott", /*overwrite=*/1);
  chooseBlasKernels();
  unsetenv("OPENBLAS_CORETYPE");
  EXPECT_STRCASEEQ(openblas_get_corename(), "Prescott");
  chooseBlasKernels();
}

/// A library that knows the processor decides itself.
TEST(SerialBlas, KernelsThatWereChosenStay) {
  SerialBlas serial;
  ASSERT_NO_FATAL_FAILURE(takeKernels("Sandybridge"));
  chooseBlasKernels();
  EXPECT_STRCASEEQ(openblas_get_corename(), "Sandybridge");
  ASSERT_NO_FATAL_FAILURE(takeKernels("Prescott"));
  chooseBlasKernels();
}
#endif
