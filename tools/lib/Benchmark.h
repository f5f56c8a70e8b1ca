//===- Benchmark.h - Tokens per second --------------------------*- C++ -*-===//

#ifndef TACQ_TOOLS_BENCHMARK_H
#define TACQ_TOOLS_BENCHMARK_H

#include "LanguageModel.h"
#include "Progress.h"

namespace tacq::tools {

/// One line of the table: `prompt` tokens in one run, then `generated` tokens one at a time. The
/// names of results follow llama-bench.
struct BenchmarkCase {
  int64_t prompt = 0;
  int64_t generated = 0;
};

struct BenchmarkResult {
  BenchmarkCase what;
  /// Nanoseconds of each repetition.
  std::vector<int64_t> samples;

  int64_t tokens() const { return what.prompt + what.generated; }
  double speed(size_t sample) const {
    return 1e9 * static_cast<double>(tokens()) / samples[sample];
  }
  double meanSpeed() const;
  double deviationSpeed() const;
  double bestSpeed() const;
  double meanTime() const;
  double deviationTime() const;
};

/// Runs the case once to warm up, then `repetitions` times, each from an empty cache.
Error benchmark(LanguageModel &model, const BenchmarkCase &what, int64_t repetitions,
                Progress &progress, BenchmarkResult &result);

/// What generating a token takes besides its kernels: sizes and offsets, the walk over the
/// schedule, inputs and outputs. Waking and awaiting workers is part of the dispatches.
struct TokenOverhead {
  double microseconds = 0; // of a token, outside of dispatches
  double dispatches = 0;   // of a token
};

/// Of `tokens` generated tokens after as many to warm up. The model must have been opened with a
/// profile.
Error measureOverhead(LanguageModel &model, int64_t tokens, TokenOverhead &overhead);

} // namespace tacq::tools

#endif // TACQ_TOOLS_BENCHMARK_H
