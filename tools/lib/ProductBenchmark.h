//===- ProductBenchmark.h - One product on any device -----------*- C++ -*-===//

#ifndef TACQ_TOOLS_PRODUCTBENCHMARK_H
#define TACQ_TOOLS_PRODUCTBENCHMARK_H

#include "tacq/Error.h"

#include <cstdint>
#include <string>

namespace tacq::tools {

/// The name of a module file that is removed at the end.
class TemporaryModule {
public:
  TemporaryModule();
  ~TemporaryModule();
  TemporaryModule(const TemporaryModule &) = delete;
  TemporaryModule &operator=(const TemporaryModule &) = delete;

  std::string path;
};

struct ProductBenchmarkOptions {
  std::string module, device = "vulkan:0";
  /// The weight is copied so often that all copies have as many bytes, and runs go through them.
  uint64_t streamedBytes = 160'000'000;
  int repetitions = 5;
};

struct ProductBenchmarkResult {
  std::string device;
  uint64_t weightBytes = 0, copies = 0;
  /// Of a product that waits for the one before, as in a model, and of products side by side.
  double seconds = 0, overlappingSeconds = 0;
  /// What the device reads of the same copies with a kernel that does nothing else; 0 where the
  /// module has no such kernel.
  double readBytesPerSecond = 0;

  double bytesPerSecond() const { return double(weightBytes) / seconds; }
};

/// Measures the launches of the module that read its largest constant. Refuses modules with control
/// flow or with shapes that are not fixed, which are those of no single product.
Error benchmarkProduct(const ProductBenchmarkOptions &options, ProductBenchmarkResult &result);

} // namespace tacq::tools

#endif // TACQ_TOOLS_PRODUCTBENCHMARK_H
