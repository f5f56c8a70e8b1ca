//===- KernelBenchmark.h - How fast a generated kernel is -------*- C++ -*-===//

#ifndef TACQ_KERNELBENCHMARK_H
#define TACQ_KERNELBENCHMARK_H

#include "tacq/Error.h"
#include "tacq/Quantize/MixedWeight.h"

namespace tacq {

struct KernelBenchmarkOptions {
  /// The product of `rows` rows of the input with a weight of `outputs` x `inputs`.
  int64_t outputs = 4096, inputs = 4096, rows = 1;
  /// bits 16 is the dense kernel of f16 weights.
  WeightFormat format;
  /// The circuit's share of the weights as the paper counts it, four bytes an entry; slots, of
  /// three bytes an entry, get the same bytes.
  double circuitShare = 0;
  /// The CPU target's name.
  std::string target = "host";
  unsigned threads = 1;
  /// The weight is copied so often that all copies have as many bytes, and runs go through them.
  uint64_t streamedBytes = 160'000'000;
  unsigned repetitions = 15;
};

struct KernelBenchmarkResult {
  std::string target;
  /// The best run's time for one product.
  double seconds = 0;
  uint64_t weightBytes = 0;
  double bitsPerWeight = 0;
  /// Of a loop that only reads the same copies, with the same threads.
  double readBytesPerSecond = 0;
};

/// Compiles the kernel for random weights and measures it.
Error benchmarkKernel(const KernelBenchmarkOptions &options, KernelBenchmarkResult &result);

} // namespace tacq

#endif // TACQ_KERNELBENCHMARK_H
