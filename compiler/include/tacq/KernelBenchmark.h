//===- KernelBenchmark.h - How fast a generated kernel is -------*- C++ -*-===//

#ifndef TACQ_KERNELBENCHMARK_H
#define TACQ_KERNELBENCHMARK_H

#include "tacq/CPU/LinearTiling.h"
#include "tacq/Error.h"
#include "tacq/Quantize/MixedWeight.h"
#include <optional>
#include <string>
#include <vector>

namespace tacq {

struct KernelBenchmarkOptions {
  enum class Kernel {
    Linear,   ///< `rows` rows of the input times a weight of `outputs` x `inputs`
    Attention ///< `rows` queries over a cache of f16 with `past` entries, and themselves
  };
  Kernel kernel = Kernel::Linear;
  int64_t rows = 1;

  // Linear
  int64_t outputs = 4096, inputs = 4096;
  /// bits 16 is the dense kernel of f16 weights.
  WeightFormat format;
  /// The circuit's share of the weights as the paper counts it, four bytes an entry; see
  /// RandomCircuit.h for what becomes slots.
  double circuitShare = 0;
  /// Another weight of this format and extent than a random one with that circuit.
  const MixedWeight *weight = nullptr;
  /// The tiling (#tacq.tiling), where it is not the cost model's.
  std::optional<int64_t> taskRows;
  std::optional<WeightPrefetch> prefetch;

  // Attention
  int64_t heads = 32, keyHeads = 8, headSize = 128, past = 1024;

  /// The CPU target's name.
  std::string target = "host";
  unsigned threads = 1;
  /// The weight, or the cache, is copied so often that all copies have as many bytes, and runs go
  /// through them.
  uint64_t streamedBytes = 160'000'000;
  unsigned repetitions = 15;
};

struct KernelBenchmarkResult {
  std::string target;
  /// Time for one copy, of each run through all of them.
  std::vector<double> seconds;
  /// What a run reads of each copy, and the multiplications it needs.
  uint64_t streamedBytes = 0;
  double macs = 0;
  /// The weight's; 0 for attention.
  double bitsPerWeight = 0;

  /// Of a loop that only reads the same copies, with the same threads, in its best run.
  double readBytesPerSecond = 0;
  /// Of the same threads, each with a loop of nothing but multiplications in registers.
  double peakMacsPerSecond = 0;
  const char *peakInstruction = "";

  double best() const;
  double median() const;
  /// What the machine needs at least for the bytes, and for the multiplications.
  double memorySeconds() const { return double(streamedBytes) / readBytesPerSecond; }
  double computeSeconds() const { return macs / peakMacsPerSecond; }
};

/// Compiles the kernel for random weights and measures it. TACQ_INVALID_ARGUMENT for a target that
/// this machine does not run, and for extents that make no kernel.
Error benchmarkKernel(const KernelBenchmarkOptions &options, KernelBenchmarkResult &result);

/// The seconds of the kernel's best run, for one copy, and nothing else.
Error timeKernel(const KernelBenchmarkOptions &options, double &seconds);

/// The kernel that reads a weight and does nothing else, in the modules of compileKernelModule.
inline constexpr const char *readingKernelName = "tacq.read";

/// Writes a module of one linear operation with a random weight to `path`, for these Vulkan
/// profiles. Its executables have the reading kernel behind their own ones; no command launches it.
Error compileKernelModule(const KernelBenchmarkOptions &options,
                          const std::vector<std::string> &profiles, const std::string &path);

} // namespace tacq

#endif // TACQ_KERNELBENCHMARK_H
