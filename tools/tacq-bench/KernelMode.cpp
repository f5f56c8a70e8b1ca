//===- KernelMode.cpp - tacq-bench --kernel -------------------------------===//

#include "KernelMode.h"

#include "BuildCommit.h"
#include "ProductMode.h"
#include "tacq/KernelBenchmark.h"
#include "tacq/Vulkan/VulkanTarget.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <unistd.h>

using namespace tacq;
using namespace tacq::tools;
using nlohmann::ordered_json;
using Circuit = WeightFormat::Circuit;
using Kernel = KernelBenchmarkOptions::Kernel;

struct KernelMode::Options {
  std::string kernel, circuit = "0", layout = "slots", streamed = "160M", target = "host", save;
  int64_t outputs = 4096, inputs = 4096, rows = 0, bits = 2, group = 128;
  int64_t heads = 32, keyHeads = 8, headSize = 128, past = 1024;
  std::optional<int64_t> taskRows;
  std::vector<int64_t> prefetch;
  bool codebook = false;
};

KernelMode::KernelMode(CLI::App &app) : options(std::make_unique<Options>()) {
  Options &o = *options;
  const char *group = "One kernel on random weights, instead of a module";
  app.add_option("--kernel", o.kernel, "What to measure: matvec, matmul or attention")
      ->check(CLI::IsMember({"matvec", "matmul", "attention"}))
      ->group(group);
  app.add_option("--m", o.outputs, "Outputs of the weight (default: 4096)")
      ->check(CLI::PositiveNumber)
      ->group(group);
  app.add_option("--k", o.inputs, "Inputs of the weight (default: 4096)")
      ->check(CLI::PositiveNumber)
      ->group(group);
  app.add_option("--n", o.rows, "Rows of the input, or queries (default: 1, matmul: 256)")
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
  app.add_option("--task-rows", o.taskRows,
                 "Rows of the input that a task multiplies (default: the cost model's)")
      ->check(CLI::IsMember({96, 192, 384}))
      ->group(group);
  app.add_option(
         "--prefetch", o.prefetch,
         "Bytes ahead of a single row's product that codes are asked for into the first and "
         "into the second cache, and metadata and slots (default: the cost model's)")
      ->check(CLI::Range(int64_t(0), largestPrefetch))
      ->expected(3)
      ->group(group);
  app.add_option("--heads", o.heads, "Heads of attention (default: 32)")
      ->check(CLI::PositiveNumber)
      ->group(group);
  app.add_option("--kv-heads", o.keyHeads, "Its heads of keys and values (default: 8)")
      ->check(CLI::PositiveNumber)
      ->group(group);
  app.add_option("--head-size", o.headSize, "Its extent of a head (default: 128)")
      ->check(CLI::PositiveNumber)
      ->group(group);
  app.add_option("--past", o.past, "Its entries of the cache, in f16 (default: 1024)")
      ->check(CLI::PositiveNumber)
      ->group(group);
  app.add_option("--streamed-bytes", o.streamed,
                 "Bytes of all copies of the weight or cache, as in 160M (default)")
      ->group(group);
  app.add_option("--target", o.target,
                 "Another target that this machine runs, as in x86-64-v3 (default: host); with "
                 "--device vulkan a profile (default: the best one that the device has)")
      ->group(group);
  app.add_option("--save", o.save,
                 "With --device vulkan: only write the kernel's module, for --rotate on a machine "
                 "without a compiler")
      ->type_name("M.tacq")
      ->group(group);
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

Error KernelMode::benchmarkOptions(KernelBenchmarkOptions &benchmark) const {
  const Options &o = *options;
  benchmark.kernel = o.kernel == "attention" ? Kernel::Attention : Kernel::Linear;
  benchmark.rows = o.rows != 0 ? o.rows : o.kernel == "matmul" ? 256 : 1;
  benchmark.outputs = o.outputs;
  benchmark.inputs = o.inputs;
  benchmark.format.bits = o.bits;
  benchmark.format.group = o.codebook || o.group >= o.inputs ? 0 : o.group;
  benchmark.format.codebook = o.codebook;
  benchmark.taskRows = o.taskRows;
  if (o.prefetch.size() == 3)
    benchmark.prefetch = {o.prefetch[0], o.prefetch[1], o.prefetch[2]};
  benchmark.heads = o.heads;
  benchmark.keyHeads = o.keyHeads;
  benchmark.headSize = o.headSize;
  benchmark.past = o.past;
  benchmark.target = o.target.rfind("cpu=", 0) == 0 ? o.target.substr(4) : o.target;
  if (o.codebook && o.bits > 4)
    return makeError(TACQ_INVALID_ARGUMENT, "--codebook is for 2, 3 or 4 bits, not %lld",
                     static_cast<long long>(o.bits));
  if (!parseShare(o.circuit, benchmark.circuitShare))
    return makeError(TACQ_INVALID_ARGUMENT, "--circuit is a share as in 0.35%%, not '%s'",
                     o.circuit.c_str());
  if (Error error = parseBytes("--streamed-bytes", o.streamed, benchmark.streamedBytes))
    return error;
  if (benchmark.circuitShare > 0 && o.bits != 16)
    benchmark.format.circuit = o.layout == "slots"       ? Circuit::Slots
                               : o.layout == "uniform"   ? Circuit::Uniform
                               : o.layout == "scattered" ? Circuit::Scattered
                                                         : Circuit::None;
  return success();
}

ordered_json KernelMode::toJson(const KernelBenchmarkOptions &benchmark,
                                const KernelBenchmarkResult &result) const {
  const Options &o = *options;
  char host[256] = "";
  gethostname(host, sizeof(host) - 1);
  double seconds = result.best();
  double memory = result.memorySeconds(), compute = result.computeSeconds();
  ordered_json line;
  line["build_commit"] = TACQ_BUILD_COMMIT;
  line["build_version"] = tacq_version_string();
  line["host"] = host;
  line["kernel"] = o.kernel;
  line["target"] = result.target;
  line["n_threads"] = benchmark.threads;
  line["n"] = benchmark.rows;
  if (benchmark.kernel == Kernel::Attention) {
    line["heads"] = o.heads;
    line["kv_heads"] = o.keyHeads;
    line["head_size"] = o.headSize;
    line["past"] = o.past;
  } else {
    line["m"] = o.outputs;
    line["k"] = o.inputs;
    line["bits"] = o.bits;
    line["group"] = benchmark.format.group;
    line["codebook"] = o.codebook;
    line["circuit_share"] = benchmark.circuitShare;
    line["circuit_layout"] = benchmark.format.circuit == Circuit::None ? "none" : o.layout;
    line["bpw"] = result.bitsPerWeight;
    line["gweights_per_s"] = double(o.outputs) * double(o.inputs) / seconds / 1e9;
  }
  line["microseconds"] = seconds * 1e6;
  line["median_microseconds"] = result.median() * 1e6;
  line["gmacs_per_s"] = result.macs / seconds / 1e9;
  line["streamed_bytes"] = result.streamedBytes;
  line["gb_per_s"] = double(result.streamedBytes) / seconds / 1e9;
  line["read_gb_per_s"] = result.readBytesPerSecond / 1e9;
  line["bandwidth_fraction"] = memory / seconds;
  line["peak_gmacs_per_s"] = result.peakMacsPerSecond / 1e9;
  line["peak_instruction"] = result.peakInstruction;
  line["compute_fraction"] = compute / seconds;
  // The part of what the machine allows: the scarcer of the two decides.
  line["bound"] = memory > compute ? "memory" : "compute";
  line["roofline"] = std::max(memory, compute) / seconds;
  return line;
}

static void printLine(const ordered_json &line) {
  std::string what = line["kernel"].get<std::string>();
  if (line.contains("m")) {
    what += formatText(" %lldx%lld, %lld bits, group %lld", line["m"].get<long long>(),
                       line["k"].get<long long>(), line["bits"].get<long long>(),
                       line["group"].get<long long>());
    if (line["codebook"])
      what += ", codebook";
    what += ", circuit " + line["circuit_layout"].get<std::string>();
    what += formatText(", %.3f bpw", line["bpw"].get<double>());
  } else {
    what += formatText(" %lld/%lld heads of %lld, past %lld", line["heads"].get<long long>(),
                       line["kv_heads"].get<long long>(), line["head_size"].get<long long>(),
                       line["past"].get<long long>());
  }
  std::printf("%s, n %lld, %lld threads, %s: %.1f us (median %.1f)", what.c_str(),
              line["n"].get<long long>(), line["n_threads"].get<long long>(),
              line["target"].get<std::string>().c_str(), line["microseconds"].get<double>(),
              line["median_microseconds"].get<double>());
  if (line.contains("gweights_per_s"))
    std::printf(", %.1f Gweights/s", line["gweights_per_s"].get<double>());
  std::printf(", %.2f GB/s (%.2f of reading), %.1f GMAC/s (%.2f of %s), %.2f of the %s bound\n",
              line["gb_per_s"].get<double>(), line["bandwidth_fraction"].get<double>(),
              line["gmacs_per_s"].get<double>(), line["compute_fraction"].get<double>(),
              line["peak_instruction"].get<std::string>().c_str(), line["roofline"].get<double>(),
              line["bound"].get<std::string>().c_str());
}

/// A module of the kernel for the device's profiles, which is kept if it has a name.
Error KernelMode::runOnVulkan(const std::string &device, bool json) const {
  const Options &o = *options;
  if (o.kernel == "attention")
    return makeError(TACQ_UNSUPPORTED,
                     "--kernel attention is measured on the CPU only; leave --device out");
  KernelBenchmarkOptions benchmark;
  if (Error error = benchmarkOptions(benchmark))
    return error;
  std::vector<std::string> profiles = vulkanProfileNames();
  if (o.target != "host")
    profiles = {o.target.rfind("vulkan=", 0) == 0 ? o.target.substr(7) : o.target};
  TemporaryModule file;
  ProductBenchmarkOptions product;
  product.module = o.save.empty() ? file.path : o.save;
  product.device = device;
  product.streamedBytes = benchmark.streamedBytes;
  if (Error error = compileKernelModule(benchmark, profiles, product.module))
    return error;
  return o.save.empty() ? runProductMode(product, json) : success();
}

Error KernelMode::run(const std::string &device, const std::string &threads, bool json) const {
  if (device.rfind("vulkan", 0) == 0)
    return runOnVulkan(device, json);
  if (device != "cpu")
    return makeError(TACQ_INVALID_ARGUMENT, "--kernel runs on cpu or vulkan, not on '%s'",
                     device.c_str());
  if (!options->save.empty())
    return makeError(TACQ_INVALID_ARGUMENT, "--save is for kernels of --device vulkan");
  KernelBenchmarkOptions benchmark;
  if (Error error = benchmarkOptions(benchmark))
    return error;
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
    list.push_back(toJson(benchmark, result));
    if (!json)
      printLine(list.back());
  }
  if (json)
    std::printf("%s\n", list.dump(2).c_str());
  return success();
}
