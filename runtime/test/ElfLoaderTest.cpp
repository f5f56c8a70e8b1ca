//===- ElfLoaderTest.cpp - Executables for the host -----------------------===//

#include "ElfLoader.h"
#include "CpuFeatures.h"
#include "TestModule.h"
#include "tacq/kernel_abi.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <elf.h>
#include <random>

using namespace tacq;
using namespace tacq::test;

namespace {

std::vector<uint8_t> kernelFile(const std::string &name) {
  return readFile(std::string(TACQ_TEST_KERNEL_DIR "/") + name + ".so");
}

Error load(const std::vector<uint8_t> &bytes, std::unique_ptr<LoadedElf> &elf) {
  AlignedBytes memory(bytes);
  return LoadedElf::load(memory.data(), memory.size(), "the code", elf);
}

class ElfKernels : public testing::TestWithParam<const char *> {};

TEST_P(ElfKernels, RunAfterLoading) {
  std::unique_ptr<LoadedElf> elf;
  Error error = load(kernelFile(GetParam()), elf);
  ASSERT_FALSE(error) << error.message();
  auto add = reinterpret_cast<tacq_kernel_fn>(elf->function("add_f32"));
  auto apply = reinterpret_cast<tacq_kernel_fn>(elf->function("apply"));
  ASSERT_TRUE(add && apply);
  EXPECT_EQ(elf->function("none"), nullptr);
  EXPECT_EQ(elf->function("expf"), nullptr); // imported, not exported

  float a[4] = {1, 2, 3, 4}, b[4] = {10, 20, 30, 40}, out[4] = {};
  void *bindings[] = {a, b, out};
  int32_t status[TACQ_STATUS_WORDS] = {};
  tacq_kernel_args args = {bindings, nullptr, status, nullptr, 0};
  add(&args, 1, 3, 0);
  EXPECT_EQ(out[0], 0.0f);
  EXPECT_EQ(out[1], 22.0f);
  EXPECT_EQ(out[2], 33.0f);
  EXPECT_EQ(out[3], 0.0f);

  // Through a relocated table: two functions of its own and an import.
  void *applyBindings[] = {a, out};
  args.bindings = applyBindings;
  for (int64_t which = 0; which < 3; ++which) {
    args.symbols = &which;
    apply(&args, 0, 4, 0);
    float expected = which == 0 ? 9.0f : which == 1 ? -3.0f : std::exp(3.0f);
    EXPECT_NEAR(out[2], expected, 1e-5f);
  }
}

INSTANTIATE_TEST_SUITE_P(HashStyles, ElfKernels, testing::Values("kernels", "kernels_sysv"));

TEST(ElfLoader, RefusesWhatKernelsMayNotHave) {
  std::unique_ptr<LoadedElf> elf;
  Error error = load(kernelFile("kernels_import"), elf);
  EXPECT_EQ(error.code(), TACQ_INVALID_MODULE);
  EXPECT_NE(error.message().find("imports 'system'"), std::string::npos) << error.message();
  error = load(kernelFile("kernels_constructor"), elf);
  EXPECT_NE(error.message().find("constructors"), std::string::npos) << error.message();
  error = load(kernelFile("kernels_tls"), elf);
  EXPECT_NE(error.message().find("thread-local"), std::string::npos) << error.message();
}

TEST(ElfLoader, RefusesOtherFiles) {
  std::unique_ptr<LoadedElf> elf;
  EXPECT_TRUE(load({}, elf));
  EXPECT_TRUE(load(std::vector<uint8_t>(1000, 0), elf));
  std::vector<uint8_t> bytes = kernelFile("kernels");
  bytes[offsetof(Elf64_Ehdr, e_machine)] = EM_386;
  Error error = load(bytes, elf);
  EXPECT_NE(error.message().find("for machine 3"), std::string::npos) << error.message();
  bytes = kernelFile("kernels");
  bytes[offsetof(Elf64_Ehdr, e_type)] = ET_EXEC;
  error = load(bytes, elf);
  EXPECT_NE(error.message().find("not a shared object"), std::string::npos) << error.message();
}

TEST(ElfLoader, CutFilesAreReportedOrComplete) {
  std::vector<uint8_t> bytes = kernelFile("kernels");
  std::unique_ptr<LoadedElf> elf;
  int refused = 0;
  for (size_t size = 0; size < bytes.size(); size += 13) {
    Error error = load(std::vector<uint8_t>(bytes.begin(), bytes.begin() + size), elf);
    refused += static_cast<bool>(error);
    if (error)
      EXPECT_EQ(error.message().compare(0, 9, "the code:"), 0) << error.message();
  }
  EXPECT_GT(refused, 0);
}

TEST(ElfLoader, DamagedFilesAreSafeToLoad) {
  std::vector<uint8_t> bytes = kernelFile("kernels");
  std::unique_ptr<LoadedElf> elf;
  std::mt19937 random(1);
  int refused = 0;
  for (int i = 0; i < 4000; ++i) {
    std::vector<uint8_t> changed = bytes;
    // Most of what the loader reads is at the start: headers, symbols, hash table, relocations.
    size_t range = i % 2 ? changed.size() : std::min<size_t>(changed.size(), 1536);
    size_t at = random() % (range / 4) * 4;
    if (i % 3 == 0) {
      uint32_t value = i % 5 ? 0xFFFFFFF0u : static_cast<uint32_t>(random());
      memcpy(changed.data() + at, &value, 4);
    } else
      changed[at + random() % 4] ^= static_cast<uint8_t>(1u << random() % 8);
    if (load(changed, elf))
      ++refused;
    else
      (void)elf->function("add_f32");
  }
  EXPECT_GT(refused, 100);
}

TEST(ElfLoader, CodeIsNeverWritable) {
  std::unique_ptr<LoadedElf> elf;
  ASSERT_FALSE(load(kernelFile("kernels"), elf));
  auto address = reinterpret_cast<unsigned long>(elf->function("add_f32"));
  FILE *maps = fopen("/proc/self/maps", "r");
  ASSERT_TRUE(maps);
  char line[512];
  bool found = false;
  while (fgets(line, sizeof(line), maps)) {
    unsigned long from, to;
    char flags[5] = "";
    ASSERT_EQ(sscanf(line, "%lx-%lx %4s", &from, &to, flags), 3);
    if (address >= from && address < to) {
      found = true;
      EXPECT_STREQ(flags, "r-xp");
    }
  }
  fclose(maps);
  EXPECT_TRUE(found);
}

TEST(Imports, AreTheListedFunctions) {
  EXPECT_EQ(findImport("system"), nullptr);
  EXPECT_EQ(findImport("malloc"), nullptr);
  for (const char *name : {"expf", "exp", "erff", "atan2", "fmodf", "memcpy", "tgammaf", "powf"})
    EXPECT_NE(findImport(name), nullptr) << name;
  auto power = reinterpret_cast<double (*)(double, double)>(findImport("pow"));
  EXPECT_EQ(power(2, 10), 1024);
}

#if defined(__x86_64__) && defined(__FLT16_MAX__)
uint16_t halfBitsOf(_Float16 value) {
  uint16_t bits;
  memcpy(&bits, &value, 2);
  return bits;
}

TEST(Imports, HalfConversionsRoundCorrectly) {
  auto narrow = reinterpret_cast<_Float16 (*)(float)>(findImport("__truncsfhf2"));
  auto narrowDouble = reinterpret_cast<_Float16 (*)(double)>(findImport("__truncdfhf2"));
  auto widen = reinterpret_cast<float (*)(_Float16)>(findImport("__extendhfsf2"));
  auto brain = reinterpret_cast<_Float16 (*)(float)>(findImport("__truncsfbf2"));
  auto brainDouble = reinterpret_cast<_Float16 (*)(double)>(findImport("__truncdfbf2"));
  // All halves: their value, and back.
  std::vector<double> values; // of the positive finite ones, by bits
  for (uint32_t bits = 0; bits < 0x7C00; ++bits) {
    int exponent = static_cast<int>(bits >> 10);
    double value = exponent == 0 ? std::ldexp(bits & 1023, -24)
                                 : std::ldexp(1024 + (bits & 1023), exponent - 25);
    values.push_back(value);
    auto pattern = static_cast<uint16_t>(bits);
    _Float16 half;
    memcpy(&half, &pattern, 2);
    ASSERT_EQ(static_cast<double>(widen(half)), value);
    ASSERT_EQ(halfBitsOf(narrow(static_cast<float>(value))), bits);
    ASSERT_EQ(halfBitsOf(narrowDouble(-value)), bits | 0x8000);
  }
  // Between two neighbours: the middle goes to the even one, everything else to the nearer one.
  for (uint32_t bits = 0; bits + 1 < 0x7C00; ++bits) {
    double middle = (values[bits] + values[bits + 1]) / 2;
    uint32_t even = bits % 2 ? bits + 1 : bits;
    ASSERT_EQ(halfBitsOf(narrow(static_cast<float>(middle))), even);
    ASSERT_EQ(halfBitsOf(narrowDouble(middle)), even);
    ASSERT_EQ(halfBitsOf(narrowDouble(std::nextafter(middle, 1e9))), bits + 1);
    ASSERT_EQ(halfBitsOf(narrowDouble(std::nextafter(middle, -1e9))), bits);
    ASSERT_EQ(halfBitsOf(narrow(std::nextafterf(static_cast<float>(middle), 1e9f))), bits + 1);
  }
  EXPECT_EQ(halfBitsOf(narrow(65519.0f)), 0x7BFF);
  EXPECT_EQ(halfBitsOf(narrow(65520.0f)), 0x7C00);
  EXPECT_EQ(halfBitsOf(narrow(1e30f)), 0x7C00);
  EXPECT_EQ(halfBitsOf(narrow(-INFINITY)), 0xFC00);
  EXPECT_GT(halfBitsOf(narrow(NAN)) & 0x7FFF, 0x7C00);
  EXPECT_TRUE(std::isnan(widen(narrow(NAN))));
  EXPECT_TRUE(std::isinf(widen(narrow(INFINITY))));

  EXPECT_EQ(halfBitsOf(brain(1.0f)), 0x3F80);
  EXPECT_EQ(halfBitsOf(brain(1.00390625f)), 0x3F80); // the middle, to even
  EXPECT_EQ(halfBitsOf(brain(1.01171875f)), 0x3F82);
  EXPECT_EQ(halfBitsOf(brainDouble(1.00390625 + 1e-12)), 0x3F81);
  EXPECT_EQ(halfBitsOf(brain(-INFINITY)), 0xFF80);
  EXPECT_GT(halfBitsOf(brain(NAN)) & 0x7FFF, 0x7F80);
}
#endif

TEST(CpuFeatures, AgreesWithTheSystem) {
  CpuFeatures features = CpuFeatures::detect();
  EXPECT_EQ(features.format, hostFormat());
#if defined(__x86_64__)
  FILE *file = fopen("/proc/cpuinfo", "r");
  ASSERT_TRUE(file);
  std::string flags;
  static char line[8192];
  while (flags.empty() && fgets(line, sizeof(line), file))
    if (strncmp(line, "flags", 5) == 0)
      flags = std::string(line) + " ";
  fclose(file);
  const char *names[][2] = {{"avx2", " avx2 "},
                            {"fma", " fma "},
                            {"f16c", " f16c "},
                            {"avx512f", " avx512f "},
                            {"avx512bw", " avx512bw "},
                            {"avx512vnni", " avx512_vnni "},
                            {"avxvnni", " avx_vnni "},
                            {"avx512vbmi", " avx512vbmi "},
                            {"avx512fp16", " avx512_fp16 "},
                            {"amx-int8", " amx_int8 "}};
  for (const auto &name : names)
    EXPECT_EQ(features.has(name[0]), flags.find(name[1]) != std::string::npos) << name[0];
#endif
}

} // namespace
