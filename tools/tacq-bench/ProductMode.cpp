//===- ProductMode.cpp - tacq-bench --rotate ------------------------------===//

#include "ProductMode.h"

#include "BuildCommit.h"
#include "tacq/runtime.h"

#include <cstdio>
#include <nlohmann/json.hpp>

using namespace tacq;
using namespace tacq::tools;

Error tools::runProductMode(const ProductBenchmarkOptions &options, bool json) {
  ProductBenchmarkResult result;
  if (Error error = benchmarkProduct(options, result))
    return error;
  double fraction =
      result.readBytesPerSecond > 0 ? result.bytesPerSecond() / result.readBytesPerSecond : 0;
  if (!json) {
    std::printf("%llu bytes, %llu copies on %s: %.2f us behind each other, %.2f us side by side, "
                "%.1f GB/s (%.2f of %.1f GB/s of reading)\n",
                static_cast<unsigned long long>(result.weightBytes),
                static_cast<unsigned long long>(result.copies), result.device.c_str(),
                result.seconds * 1e6, result.overlappingSeconds * 1e6,
                result.bytesPerSecond() / 1e9, fraction, result.readBytesPerSecond / 1e9);
    return success();
  }
  nlohmann::ordered_json line;
  line["build_commit"] = TACQ_BUILD_COMMIT;
  line["build_version"] = tacq_version_string();
  line["device"] = result.device;
  line["streamed_bytes"] = result.weightBytes;
  line["copies"] = result.copies;
  line["microseconds"] = result.seconds * 1e6;
  line["overlapping_microseconds"] = result.overlappingSeconds * 1e6;
  line["gb_per_s"] = result.bytesPerSecond() / 1e9;
  line["read_gb_per_s"] = result.readBytesPerSecond / 1e9;
  line["bandwidth_fraction"] = fraction;
  std::printf("%s\n", nlohmann::ordered_json::array({line}).dump(2).c_str());
  return success();
}
