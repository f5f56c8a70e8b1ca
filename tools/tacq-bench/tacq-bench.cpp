//===- tacq-bench.cpp - How fast a module is ------------------------------===//
//
// The table and the names of the JSON members are those of llama-bench, so that results of the two
// can be put side by side.
//
//===----------------------------------------------------------------------===//

#include "Benchmark.h"
#include "BuildCommit.h"
#include "CommandLine.h"
#ifdef TACQ_HAS_COMPILER
#include "KernelMode.h"
#endif
#include "ProductMode.h"
#include "SessionStats.h"

#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>
#include <sys/stat.h>
#include <unistd.h>

using namespace tacq;
using namespace tacq::tools;
using nlohmann::ordered_json;

namespace {
struct Options {
  std::string module, device = "cpu", threads, rotate;
  int64_t prompt = 512, decode = 64, both = 0, repetitions = 5;
  bool json = false, overhead = false;
};

/// What a model took, the largest so far.
struct Memory {
  int64_t before = 0;       // resident before the module was opened: the tool and the compiler
  int64_t peakResident = 0; // of this process
  int64_t state = 0;        // caches
  int64_t activations = 0;  // and outputs

  int64_t taken() const { return peakResident - before; }
};

struct Measurement {
  BenchmarkResult speed;
  Memory memory;
  std::optional<TokenOverhead> overhead;
};

/// Results of one number of threads.
struct Round {
  int64_t threads = 0;
  std::string deviceName, deviceDescription, modelName;
  std::vector<Measurement> results;
};
} // namespace

static std::string utcTime() {
  char text[32];
  std::time_t now = std::time(nullptr);
  std::tm parts = {};
  gmtime_r(&now, &parts);
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

static int64_t fileSize(const std::string &path) {
  struct stat status = {};
  return stat(path.c_str(), &status) == 0 ? static_cast<int64_t>(status.st_size) : 0;
}

static std::string baseName(const std::string &path) {
  return path.substr(path.find_last_of('/') + 1);
}

static ordered_json toJson(const Options &options, const Round &round,
                           const Measurement &measurement, const std::string &time) {
  const BenchmarkResult &result = measurement.speed;
  char host[256] = "";
  gethostname(host, sizeof(host) - 1);
  ordered_json line;
  line["build_commit"] = TACQ_BUILD_COMMIT;
  line["build_version"] = tacq_version_string();
  line["host"] = host;
  line["cpu_info"] = round.deviceDescription;
  line["driver"] = round.deviceName;
  line["backends"] = round.deviceName.substr(0, round.deviceName.find(':'));
  line["model_filename"] = options.module;
  line["model_type"] = round.modelName;
  line["model_size"] = fileSize(options.module);
  line["n_threads"] = round.threads;
  line["n_prompt"] = result.what.prompt;
  line["n_gen"] = result.what.generated;
  line["n_depth"] = 0;
  line["test_time"] = time;
  line["avg_ns"] = static_cast<int64_t>(result.meanTime());
  line["stddev_ns"] = static_cast<int64_t>(result.deviationTime());
  line["avg_ts"] = result.meanSpeed();
  line["stddev_ts"] = result.deviationSpeed();
  line["best_ts"] = result.bestSpeed();
  line["samples_ns"] = result.samples;
  line["samples_ts"] = ordered_json::array();
  for (size_t i = 0; i < result.samples.size(); ++i)
    line["samples_ts"].push_back(result.speed(i));
  const Memory &memory = measurement.memory;
  line["resident_before_bytes"] = memory.before;
  line["peak_resident_bytes"] = memory.peakResident;
  line["cache_bytes"] = memory.state;
  line["activation_bytes"] = memory.activations;
  line["memory_ratio"] =
      static_cast<double>(memory.taken()) /
      static_cast<double>(fileSize(options.module) + memory.state + memory.activations);
  if (measurement.overhead) {
    line["overhead_us_per_token"] = measurement.overhead->microseconds;
    line["dispatches_per_token"] = measurement.overhead->dispatches;
  }
  return line;
}

static std::string caseName(const BenchmarkCase &what) {
  std::string name;
  if (what.prompt)
    name = "pp" + std::to_string(what.prompt);
  if (what.generated)
    name += (name.empty() ? "tg" : "+tg") + std::to_string(what.generated);
  return name;
}

static double inMiB(int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

static void printTable(const Options &options, const std::vector<Round> &rounds) {
  std::printf("| %-24s | %10s | %-10s | %7s | %12s | %20s | %9s |\n", "model", "size", "backend",
              "threads", "test", "t/s", "best t/s");
  std::printf("| %s | %s: | %s | %s: | %s: | %s: | %s: |\n", std::string(24, '-').c_str(),
              std::string(9, '-').c_str(), std::string(10, '-').c_str(),
              std::string(6, '-').c_str(), std::string(11, '-').c_str(),
              std::string(19, '-').c_str(), std::string(8, '-').c_str());
  double size = inMiB(fileSize(options.module));
  for (const Round &round : rounds)
    for (const auto &[result, memory, overhead] : round.results)
      std::printf("| %-24s | %10s | %-10s | %7lld | %12s | %21s | %9.2f |\n", // "±" has two bytes
                  baseName(options.module).c_str(), formatText("%.2f MiB", size).c_str(),
                  round.deviceName.substr(0, round.deviceName.find(':')).c_str(),
                  static_cast<long long>(round.threads), caseName(result.what).c_str(),
                  formatText("%.2f ± %.2f", result.meanSpeed(), result.deviationSpeed()).c_str(),
                  result.bestSpeed());
  const Round &last = rounds.back();
  const Memory &memory = last.results.back().memory;
  std::printf("\nmemory: %.1f MiB at most; module %.1f, cache %.1f, activations %.1f MiB\n",
              inMiB(memory.taken()), size, inMiB(memory.state), inMiB(memory.activations));
  for (const Round &round : rounds)
    for (const Measurement &result : round.results)
      if (result.overhead)
        std::printf("overhead, %lld threads: %.1f us a token besides its %.0f dispatches\n",
                    static_cast<long long>(round.threads), result.overhead->microseconds,
                    result.overhead->dispatches);
  std::printf("build: %s (%s), %s\n", TACQ_BUILD_COMMIT, tacq_version_string(),
              last.deviceDescription.c_str());
}

static Error runRound(const Options &options, const std::vector<BenchmarkCase> &cases,
                      Memory memory, Progress &progress, Round &round) {
  LanguageModelOptions modelOptions;
  modelOptions.device = round.threads > 0
                            ? options.device +
                                  (options.device.find(':') == std::string::npos ? ":" : ",") +
                                  "threads=" + std::to_string(round.threads)
                            : options.device;
  // Growing while it is measured would be another program.
  for (const BenchmarkCase &what : cases)
    modelOptions.capacity = std::max(modelOptions.capacity, what.prompt + what.generated);
  std::unique_ptr<LanguageModel> model;
  if (Error error = LanguageModel::open(options.module, modelOptions, model))
    return error;
  tacq_device_info_t info = {};
  info.struct_size = sizeof(info);
  if (Error error = take(tacq_device_get_info(model->device(), &info)))
    return error;
  round.deviceName = info.name;
  round.deviceDescription = info.description;
  if (const char *name = tacq_module_metadata(model->module(), "model_name"))
    round.modelName = name;
  for (const BenchmarkCase &what : cases) {
    Measurement &result = round.results.emplace_back();
    if (Error error = benchmark(*model, what, options.repetitions, progress, result.speed))
      return error;
    tacq_session_counters_t counters = {};
    counters.struct_size = sizeof(counters);
    if (Error error = take(tacq_session_get_counters(model->session(), &counters)))
      return error;
    auto held = static_cast<int64_t>(counters.bytes_transient + counters.bytes_output);
    memory.peakResident = peakResidentBytes();
    memory.state = std::max<int64_t>(memory.state, counters.bytes_state);
    memory.activations = std::max(memory.activations, held);
    result.memory = memory;
  }
  if (!options.overhead)
    return success();
  // By itself, since the clock is read twice a dispatch then; and one model at a time is resident.
  model.reset();
  modelOptions.profile = true;
  if (Error error = LanguageModel::open(options.module, modelOptions, model))
    return error;
  for (Measurement &result : round.results)
    if (result.speed.what.prompt == 0)
      if (Error error =
              measureOverhead(*model, result.speed.what.generated, result.overhead.emplace()))
        return error;
  return success();
}

static Error run(const Options &options) {
  std::vector<BenchmarkCase> cases;
  if (options.prompt > 0)
    cases.push_back({options.prompt, 0});
  if (options.decode > 0)
    cases.push_back({0, options.decode});
  if (options.both > 0)
    cases.push_back({options.prompt, options.both});
  if (cases.empty())
    return makeError(TACQ_INVALID_ARGUMENT, "--prompt and --decode are both 0");
  std::vector<int64_t> threads = {0};
  if (!options.threads.empty())
    if (Error error = parseCounts("--threads", options.threads, threads))
      return error;
  std::string time = utcTime();
  std::vector<Round> rounds;
  Memory memory;
  memory.before = peakResidentBytes();
  Progress progress("measuring",
                    static_cast<int64_t>(threads.size() * cases.size()) * (options.repetitions + 1),
                    "runs");
  for (int64_t count : threads) {
    rounds.emplace_back();
    rounds.back().threads = count;
    if (Error error = runRound(options, cases, memory, progress, rounds.back()))
      return error;
    if (count == 0)
      rounds.back().threads = sysconf(_SC_NPROCESSORS_ONLN);
  }
  progress.finish();
  if (!options.json) {
    printTable(options, rounds);
    return success();
  }
  ordered_json list = ordered_json::array();
  for (const Round &round : rounds)
    for (const Measurement &result : round.results)
      list.push_back(toJson(options, round, result, time));
  std::printf("%s\n", list.dump(2).c_str());
  return success();
}

int main(int argc, char **argv) {
  CLI::App app("Measures how fast a compiled language model is: tokens per second of reading a "
               "prompt (pp) and of generating token by token (tg). Each measurement starts from "
               "an empty cache and follows one run to warm up.",
               "tacq-bench");
  Options options;
  app.add_option("module", options.module, "The module, as tacq-compile wrote it")
      ->type_name("M.tacq");
  app.add_option("--prompt", options.prompt, "Tokens of the prompt (default: 512; 0: not measured)")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--decode", options.decode, "Tokens generated (default: 64; 0: not measured)")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--prompt-decode", options.both,
                 "Also measure the prompt followed by so many generated tokens (default: 0)")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--threads", options.threads, "Numbers of threads, as in 1,2 (default: all cores)")
      ->type_name("N,...");
  app.add_option("--repetitions", options.repetitions, "Measurements of each (default: 5)")
      ->check(CLI::PositiveNumber);
  app.add_option("--device", options.device, "The device without its threads (default: cpu)")
      ->type_name("DEVICE");
  app.add_flag("--overhead", options.overhead,
               "Also measure what a generated token takes besides its kernels");
  app.add_option("--rotate", options.rotate,
                 "Instead, measure the module's one product with its weight copied to so many "
                 "bytes, as in 1G")
      ->type_name("BYTES");
  app.add_flag("--json", options.json, "Print a list with llama-bench's names");
#ifdef TACQ_HAS_COMPILER
  KernelMode kernelMode(app);
#endif
  describeTool(app,
               "  tacq-bench m.tacq --prompt 512 --decode 64 --threads 1,2\n"
               "  tacq-bench m.tacq --prompt 0 --decode 128 --json\n"
               "  tacq-bench --kernel matvec --bits 2 --group 128 --circuit 0.35% --threads 1\n"
               "  tacq-bench --kernel matvec --bits 2 --streamed-bytes 1G --device vulkan:0\n");
  return runTool(app, argc, argv, [&] {
#ifdef TACQ_HAS_COMPILER
    if (kernelMode.isAsked())
      return kernelMode.run(options.device, options.threads, options.json);
#endif
    if (options.module.empty())
      return makeError(TACQ_INVALID_ARGUMENT, "a module is required (or --kernel); see --help");
    if (options.rotate.empty())
      return run(options);
    ProductBenchmarkOptions product;
    product.module = options.module;
    product.device = options.device;
    if (Error error = parseBytes("--rotate", options.rotate, product.streamedBytes))
      return error;
    return runProductMode(product, options.json);
  });
}
