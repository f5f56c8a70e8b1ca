//===- CpuTarget.cpp - The CPU targets ------------------------------------===//

#include "tacq/CPU/CpuTarget.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"
#include <sys/syscall.h>
#include <unistd.h>

using namespace tacq;

namespace {

CpuTarget x86Target(llvm::StringRef name) {
  CpuTarget target;
  target.name = name.str();
  target.triple = "x86_64-unknown-linux-gnu";
  target.cpu = name.split('+').first.str();
  target.requiredFeatures = {"sse4.2", "popcnt", "avx", "avx2", "fma", "f16c", "bmi2"};
  target.rank = 3;
  target.vectorBits = 256;
  target.byteProduct = ByteProduct::Avx2;
  if (name.ends_with("+avxvnni")) {
    target.features = "+avxvnni";
    target.requiredFeatures.push_back("avxvnni");
    target.rank = 4;
    target.byteProduct = ByteProduct::AvxVnni;
  }
  if (name.starts_with("x86-64-v4")) {
    // Without the last two there is no way to keep low-bit products in registers; processors have
    // had them since Ice Lake and Zen 4.
    target.features = "+avx512vnni,+avx512vbmi";
    for (const char *feature :
         {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx512vnni", "avx512vbmi"})
      target.requiredFeatures.push_back(feature);
    target.rank = 5;
    target.vectorBits = 512;
    target.byteProduct = ByteProduct::Avx512Vnni;
  }
  if (name.ends_with("+amx")) {
    // All processors with tiles of bytes have those of bf16, and the conversions.
    target.features += ",+avx512bf16,+amx-tile,+amx-int8,+amx-bf16";
    for (const char *feature : {"avx512bf16", "amx-tile", "amx-int8", "amx-bf16"})
      target.requiredFeatures.push_back(feature);
    target.rank = 6;
    target.amx = true;
  }
  return target;
}

/// The name says which revision of the architecture brought the features. Code uses none but these
/// and the baseline, so that what a module requires is all that it needs.
CpuTarget armTarget(llvm::StringRef name) {
  CpuTarget target;
  target.name = name.str();
  target.triple = "aarch64-unknown-linux-gnu";
  target.cpu = "generic";
  target.tune = "cortex-a72";
  target.requiredFeatures = {"neon"};
  target.rank = 1;
  target.vectorBits = 128;
  target.byteProduct = ByteProduct::Neon;
  if (name.contains("+dotprod")) {
    target.features = "+dotprod";
    target.tune = "neoverse-n2";
    target.requiredFeatures.push_back("dotprod");
    target.rank = 2;
    target.byteProduct = ByteProduct::NeonDot;
  }
  if (name.contains("+i8mm")) {
    target.features += ",+i8mm";
    target.requiredFeatures.push_back("i8mm");
    target.rank = 3;
    target.byteProduct = ByteProduct::NeonI8mm;
  }
  return target;
}

CpuTarget targetNamed(llvm::StringRef name) {
  return name.starts_with("aarch64") ? armTarget(name) : x86Target(name);
}

} // namespace

bool tacq::admitTarget(const CpuTarget &target) {
  if (!target.amx)
    return true;
#if defined(__x86_64__)
  constexpr long requestPermission = 0x1023; // ARCH_REQ_XCOMP_PERM
  constexpr long tileData = 18;
  return syscall(SYS_arch_prctl, requestPermission, tileData) == 0;
#else
  return false;
#endif
}

bool tacq::hostRuns(const CpuTarget &target) {
  if (llvm::Triple(llvm::sys::getProcessTriple()).getArch() !=
      llvm::Triple(target.triple).getArch())
    return false;
  llvm::StringMap<bool> features = llvm::sys::getHostCPUFeatures();
  return llvm::all_of(target.requiredFeatures,
                      [&](const std::string &feature) { return features.lookup(feature); }) &&
         admitTarget(target);
}

std::vector<std::string> tacq::cpuTargetNames() {
  return {"x86-64-v3",
          "x86-64-v3+avxvnni",
          "x86-64-v4",
          "x86-64-v4+amx",
          "aarch64",
          "aarch64-v8.2+dotprod",
          "aarch64-v8.2+dotprod+i8mm"};
}

std::optional<CpuTarget> tacq::parseCpuTarget(llvm::StringRef name) {
  std::vector<std::string> names = cpuTargetNames();
  if (name == "host") {
    for (const std::string &candidate : llvm::reverse(names))
      if (CpuTarget target = targetNamed(candidate); hostRuns(target))
        return target;
    return std::nullopt;
  }
  if (!llvm::is_contained(names, name))
    return std::nullopt;
  return targetNamed(name);
}
