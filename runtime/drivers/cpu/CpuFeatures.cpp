//===- CpuFeatures.cpp - What this processor can do -----------------------===//

#include "CpuFeatures.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

using namespace tacq;

bool CpuFeatures::has(const std::string &name) const {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string CpuFeatures::text() const {
  std::string result;
  for (const std::string &name : names)
    result += (result.empty() ? "" : " ") + name;
  return result;
}

#if defined(__x86_64__)

namespace {

struct Registers {
  uint32_t a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf) {
  Registers r;
  if (leaf <= __get_cpuid_max(leaf & 0x80000000u, nullptr))
    __cpuid_count(leaf, subleaf, r.a, r.b, r.c, r.d);
  return r;
}

/// Which register state the operating system saves.
uint64_t extendedControl() {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}

} // namespace

CpuFeatures CpuFeatures::detect() {
  CpuFeatures result;
  result.format = "elf64-x86-64";
  char brand[49] = {};
  for (uint32_t i = 0; i < 3; ++i) {
    Registers r = cpuid(0x80000002u + i, 0);
    memcpy(brand + i * 16, &r, 16);
  }
  result.model = brand;
  while (!result.model.empty() && result.model.back() == ' ')
    result.model.pop_back();

  Registers basic = cpuid(1, 0), extended = cpuid(7, 0), more = cpuid(7, 1);
  auto bit = [](uint32_t word, int position) { return (word >> position & 1) != 0; };
  uint64_t saved = bit(basic.c, 27) ? extendedControl() : 0;
  bool ymm = (saved & 0x6) == 0x6, zmm = (saved & 0xE6) == 0xE6;
  bool tiles = (saved & 0x60000) == 0x60000;
  const struct {
    const char *name;
    bool present;
  } all[] = {
      {"sse4.2", bit(basic.c, 20)},
      {"popcnt", bit(basic.c, 23)},
      {"avx", ymm && bit(basic.c, 28)},
      {"avx2", ymm && bit(extended.b, 5)},
      {"fma", ymm && bit(basic.c, 12)},
      {"f16c", ymm && bit(basic.c, 29)},
      {"bmi2", bit(extended.b, 8)},
      {"avxvnni", ymm && bit(more.a, 4)},
      {"avx512f", zmm && bit(extended.b, 16)},
      {"avx512bw", zmm && bit(extended.b, 30)},
      {"avx512cd", zmm && bit(extended.b, 28)},
      {"avx512dq", zmm && bit(extended.b, 17)},
      {"avx512vl", zmm && bit(extended.b, 31)},
      {"avx512vnni", zmm && bit(extended.c, 11)},
      {"avx512vbmi", zmm && bit(extended.c, 1)},
      {"avx512bf16", zmm && bit(more.a, 5)},
      {"avx512fp16", zmm && bit(extended.d, 23)},
      {"amx-tile", tiles && bit(extended.d, 24)},
      {"amx-int8", tiles && bit(extended.d, 25)},
      {"amx-bf16", tiles && bit(extended.d, 22)},
  };
  for (const auto &entry : all)
    if (entry.present)
      result.names.push_back(entry.name);
  return result;
}

bool tacq::enableAmx() {
  constexpr long kRequestPermission = 0x1023; // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

#elif defined(__aarch64__)

CpuFeatures CpuFeatures::detect() {
  CpuFeatures result;
  result.format = "elf64-aarch64";
  result.model = "AArch64 processor";
  unsigned long first = getauxval(AT_HWCAP), second = getauxval(AT_HWCAP2);
  // Bit numbers of the kernel's interface, which older headers do not name.
  const struct {
    const char *name;
    unsigned long word;
    int bit;
  } all[] = {{"neon", first, 1},   {"fp16", first, 10},  {"dotprod", first, 20},
             {"i8mm", second, 13}, {"bf16", second, 14}, {"sve", first, 22},
             {"sve2", second, 1}};
  for (const auto &entry : all)
    if (entry.word >> entry.bit & 1)
      result.names.push_back(entry.name);
  return result;
}

bool tacq::enableAmx() { return false; }

#else

CpuFeatures CpuFeatures::detect() { return CpuFeatures(); }

bool tacq::enableAmx() { return false; }

#endif
