//===- KernelMode.cpp - tacq-bench --kernel -------------------------------===//

#include "KernelMode.h"

#include "BuildCommit.h"
#include "tacq/KernelBenchmark.h"

#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

using namespace tacq;
using namespace tacq::tools;
using nlohmann::ordered_json;
using Circuit = WeightFormat::Circuit;

struct KernelMode::Options {
  std::string kernel, circuit = "0", layout = "slots", streamed = "160M", target = "host";
  int64_t outputs = 4096, inputs = 4096, rows = 0, bits = 2, group = 128;
  bool codebook = false;
};

KernelMode::KernelMode(CLI::App &app) : options(std::make_unique<Options>()) {
  Options &o = *options;
  const char *group = "One kernel on random weights, instead of a module";
  app.add_option("--kernel", o.kernel, "What to measure: matvec or matmul")
      ->check(CLI::IsMember({"matvec", "matmul"}))
      ->group(group);
  app.add_option("--m", o.outputs, "Outputs of the weight (default: 4096)")
      ->check(CLI::PositiveNumber)
      ->group(group);
  app.add_option("--k", o.inputs, "Inputs of the weight (default: 4096)")
      ->check(CLI::PositiveNumber)
      ->group(group);
  app.add_option("--n", o.rows, "Rows of the input (default: 1, matmul: 256)")
      ->check(CLI::PositiveNumber)
      ->group(group);
  app.add_option("--bits", o.bits, "Bits of a code, 2, 3, 4 or 8; 16: dense f16 (default: 2)")
      ->check(CLI::IsMember({2, 3, 4, 8, 16}))
      ->group(group);
  app.add_option("--group", o.group, "Columns of a group; 0: the whole row (default: 128)")
      ->check(CLI::IsMember({0, 32, 64, 128, 256}))
      ->group(group);
  app.add_option("--circuit", o.circuit,
                 "Share of the weights in the circuit, four bytes each, as in 0.35% (default: 0)")
      ->group(group);
  app.add_option("--circuit-layout", o.layout, "slots, uniform, scattered or none (default: slots)")
      ->check(CLI::IsMember({"slots", "uniform", "scattered", "none"}))
      ->group(group);
  app.add_flag("--codebook", o.codebook, "Levels for each row instead of scales and zero points")
      ->group(group);
  app.add_option("--streamed-bytes", o.streamed,
                 "Bytes of all copies of the weight, as in 160M (default)")
      ->group(group);
  app.add_option("--cpu", o.target, "The CPU target (default: host)")->group(group);
}

KernelMode::~KernelMode() = default;

bool KernelMode::isAsked() const { return !options->kernel.empty(); }

/// "0.35%" or "0.0035".
static bool parseShare(const std::string &text, double &share) {
  char *rest = nullptr;
  share = std::strtod(text.c_str(), &rest);
  std::string unit = rest;
  if (unit == "%")
    share /= 100;
  return rest != text.c_str() && (unit.empty() || unit == "%") && share >= 0 && share <= 1;
}

/// A number with the suffix K, M or G (powers of ten), or none.
static bool parseBytes(const std::string &text, uint64_t &bytes) {
  static const std::map<std::string, double> units = {{"", 1}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}};
  char *rest = nullptr;
  double number = std::strtod(text.c_str(), &rest);
  auto unit = units.find(rest);
  if (rest == text.c_str() || unit == units.end() || !(number >= 0 && number <= 1e15))
    return false;
  bytes = static_cast<uint64_t>(number * unit->second);
  return true;
}

Error KernelMode::run(const std::string &threads, bool json) const {
  const Options &o = *options;
  KernelBenchmarkOptions benchmark;
  benchmark.outputs = o.outputs;
  benchmark.inputs = o.inputs;
  benchmark.rows = o.rows != 0 ? o.rows : o.kernel == "matmul" ? 256 : 1;
  benchmark.format.bits = o.bits;
  benchmark.format.group = o.codebook || o.group >= o.inputs ? 0 : o.group;
  benchmark.format.codebook = o.codebook;
  benchmark.target = o.target;
  if (!parseShare(o.circuit, benchmark.circuitShare))
    return makeError(TACQ_INVALID_ARGUMENT, "--circuit is a share as in 0.35%%, not '%s'",
                     o.circuit.c_str());
  if (!parseBytes(o.streamed, benchmark.streamedBytes))
    return makeError(TACQ_INVALID_ARGUMENT, "--streamed-bytes is a number as in 160M, not '%s'",
                     o.streamed.c_str());
  if (benchmark.circuitShare > 0 && o.bits != 16)
    benchmark.format.circuit = o.layout == "slots"       ? Circuit::Slots
                               : o.layout == "uniform"   ? Circuit::Uniform
                               : o.layout == "scattered" ? Circuit::Scattered
                                                         : Circuit::None;
  std::vector<int64_t> counts = {1};
  if (!threads.empty())
    if (Error error = parseCounts("--threads", threads, counts))
      return error;
  ordered_json list = ordered_json::array();
  for (int64_t count : counts) {
    benchmark.threads = static_cast<unsigned>(count);
    KernelBenchmarkResult result;
    if (Error error = benchmarkKernel(benchmark, result))
      return error;
    double weights = static_cast<double>(o.outputs) * static_cast<double>(o.inputs);
    double bytesPerSecond = static_cast<double>(result.weightBytes) / result.seconds;
    ordered_json line;
    line["build_commit"] = TACQ_BUILD_COMMIT;
    line["kernel"] = o.kernel;
    line["target"] = result.target;
    line["m"] = o.outputs;
    line["k"] = o.inputs;
    line["n"] = benchmark.rows;
    line["bits"] = o.bits;
    line["group"] = benchmark.format.group;
    line["codebook"] = o.codebook;
    line["circuit_share"] = benchmark.circuitShare;
    line["circuit_layout"] = benchmark.format.circuit == Circuit::None ? "none" : o.layout;
    line["n_threads"] = count;
    line["microseconds"] = result.seconds * 1e6;
    line["gweights_per_s"] = weights / result.seconds / 1e9;
    line["gmacs_per_s"] = weights * static_cast<double>(benchmark.rows) / result.seconds / 1e9;
    line["gb_per_s"] = bytesPerSecond / 1e9;
    line["bandwidth_fraction"] = bytesPerSecond / result.readBytesPerSecond;
    line["read_gb_per_s"] = result.readBytesPerSecond / 1e9;
    line["bpw"] = result.bitsPerWeight;
    list.push_back(line);
    if (!json)
      std::printf("%s %s %lldx%lld n=%lld bits=%lld group=%lld circuit=%s threads=%lld: %.1f us, "
                  "%.1f Gweights/s, %.2f GB/s (%.2f of reading), %.1f GMAC/s, %.3f bpw\n",
                  o.kernel.c_str(), result.target.c_str(), static_cast<long long>(o.outputs),
                  static_cast<long long>(o.inputs), static_cast<long long>(benchmark.rows),
                  static_cast<long long>(o.bits), static_cast<long long>(benchmark.format.group),
                  line["circuit_layout"].get<std::string>().c_str(), static_cast<long long>(count),
                  result.seconds * 1e6, line["gweights_per_s"].get<double>(), bytesPerSecond / 1e9,
                  line["bandwidth_fraction"].get<double>(), line["gmacs_per_s"].get<double>(),
                  result.bitsPerWeight);
  }
  if (json)
    std::printf("%s\n", list.dump(2).c_str());
  return success();
}
