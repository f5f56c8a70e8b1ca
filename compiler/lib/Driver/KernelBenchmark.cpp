//===- KernelBenchmark.cpp - How fast a generated kernel is ---------------===//

#include "tacq/KernelBenchmark.h"
#include "KernelCases.h"
#include "MachinePeaks.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "tacq/CPU/HotKernels.h"
#include "tacq/CPU/LinearTiling.h"
#include "tacq/Register.h"
#include "tacq/kernel_abi.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/TargetParser/Host.h"
#include <atomic>
#include <chrono>
#include <dlfcn.h>
#include <sys/mman.h>
#include <thread>

using namespace mlir;
using namespace tacq;

namespace {

class Benchmark {
public:
  explicit Benchmark(const KernelBenchmarkOptions &options) : options(options) {}
  ~Benchmark() {
    if (library)
      dlclose(library);
    if (copies)
      munmap(copies, copiesBytes);
  }
  Error prepare(KernelBenchmarkResult &result);
  std::vector<double> time();
  void measure(KernelBenchmarkResult &result);

private:
  Error compile(MLIRContext &context);
  Error copyStreamed();
  std::vector<double> runs(function_ref<void(unsigned worker, uint8_t *copy)> body);

  const KernelBenchmarkOptions &options;
  CpuTarget target;
  KernelCase what;
  uint8_t *copies = nullptr;
  size_t copiesBytes = 0, copyStride = 0, copyCount = 0;
  void *library = nullptr;
  tacq_kernel_fn kernel = nullptr;
  KernelSymbols symbols;
  Sym tasks;
};

} // namespace

Error Benchmark::compile(MLIRContext &context) {
  auto failed = [](const std::string &what) {
    return Error(TACQ_INTERNAL, "the kernel of the measurement " + what);
  };
  auto source = parseSourceString<ModuleOp>(what.text, &context);
  if (!source)
    return failed("is not understood");
  auto function = *source->getOps<func::FuncOp>().begin();
  OwningOpRef<ModuleOp> kernels = ModuleOp::create(UnknownLoc::get(&context));
  OpBuilder builder = OpBuilder::atBlockEnd(kernels->getBody());
  std::unique_ptr<KernelBuilder> built =
      KernelBuilder::create(builder, "k", function.getBody(), symbols);
  SmallVector<char, 0> elf;
  KernelOptions kernelOptions;
  for (Type input : function.getArgumentTypes())
    if (auto weight = dyn_cast<MixedType>(input)) {
      TilingAttr model = modelTiling(target, weight);
      kernelOptions.tilings.push_back(TilingAttr::get(
          &context, target.name, weight, options.taskRows.value_or(model.getTaskRows()),
          options.prefetch.value_or(model.getPrefetch())));
    }
  if (mlir::failed(emitCpuKernel(*built, target, kernelOptions)))
    return failed("cannot be made");
  tasks = built->taskCount();
  if (mlir::failed(compileCpuKernels(*kernels, target, elf)))
    return failed("cannot be compiled");
  SmallString<128> path;
  int descriptor;
  if (llvm::sys::fs::createTemporaryFile("kernel", "so", descriptor, path))
    return failed("cannot be written to a temporary file");
  {
    llvm::raw_fd_ostream stream(descriptor, /*shouldClose=*/true);
    stream.write(elf.data(), elf.size());
  }
  library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (llvm::sys::fs::remove(path))
    return failed("stays in a temporary file that cannot be removed");
  kernel = library ? reinterpret_cast<tacq_kernel_fn>(dlsym(library, "k")) : nullptr;
  return kernel ? Error() : failed("cannot be loaded");
}

/// Copies in memory of large pages, as long files are mapped at best.
Error Benchmark::copyStreamed() {
  constexpr size_t line = 64, behind = 4 << 20;
  copyStride = llvm::alignTo(what.streamed.size(), line);
  copyCount = std::max<size_t>(1, options.streamedBytes / copyStride);
  copiesBytes = copyStride * copyCount + behind;
  void *memory =
      mmap(nullptr, copiesBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return makeError(TACQ_OUT_OF_MEMORY, "there is no memory for the %zu bytes that are streamed",
                     copiesBytes);
  copies = static_cast<uint8_t *>(memory);
  madvise(memory, copiesBytes, MADV_HUGEPAGE);
  for (size_t i = 0; i < copyCount; ++i)
    std::copy(what.streamed.begin(), what.streamed.end(), copies + i * copyStride);
  return Error();
}

Error Benchmark::prepare(KernelBenchmarkResult &result) {
  std::optional<CpuTarget> known = parseCpuTarget(options.target);
  if (!known)
    return makeError(TACQ_INVALID_ARGUMENT, "there is no CPU target '%s' for this machine",
                     options.target.c_str());
  target = *known;
  llvm::StringMap<bool> features = llvm::sys::getHostCPUFeatures();
  for (const std::string &feature : target.requiredFeatures)
    if (!features.lookup(feature))
      return makeError(TACQ_INVALID_ARGUMENT,
                       "this machine cannot run the target '%s': it has no %s", target.name.c_str(),
                       feature.c_str());
  if (!admitTarget(target))
    return makeError(TACQ_UNSUPPORTED,
                     "the system does not let this process use the registers of '%s'",
                     target.name.c_str());
  result.target = target.name;
  DialectRegistry registry;
  registerAllDialects(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  context.loadAllAvailableDialects();
  if (Error error = makeKernelCase(options, context, what))
    return error;
  result.streamedBytes = what.streamed.size();
  result.bitsPerWeight = what.bitsPerWeight;
  result.macs = what.macs;
  if (Error error = compile(context))
    return error;
  return copyStreamed();
}

/// The seconds for one copy of each run through all of them. Threads wait for the run's beginning,
/// not between copies.
std::vector<double> Benchmark::runs(function_ref<void(unsigned, uint8_t *)> body) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> seconds;
  for (unsigned run = 0; run < options.repetitions; ++run) {
    std::atomic<unsigned> ready{0};
    auto work = [&](unsigned worker) {
      ++ready;
      while (ready < options.threads)
        std::this_thread::yield();
      for (size_t copy = 0; copy < copyCount; ++copy)
        body(worker, copies + copy * copyStride);
    };
    std::vector<std::thread> threads;
    for (unsigned worker = 1; worker < options.threads; ++worker)
      threads.emplace_back(work, worker);
    while (ready + 1 < options.threads)
      std::this_thread::yield();
    Clock::time_point start = Clock::now();
    work(0);
    for (std::thread &thread : threads)
      thread.join();
    std::chrono::duration<double> time = Clock::now() - start;
    seconds.push_back(time.count() / double(copyCount));
  }
  return seconds;
}

std::vector<double> Benchmark::time() {
  std::vector<int64_t> values;
  for (const Sym &symbol : symbols.list())
    values.push_back(*symbol.constant());
  int64_t workers = options.threads, count = *tasks.constant();
  return runs([&](unsigned worker, uint8_t *copy) {
    int64_t begin = count * worker / workers, end = count * (worker + 1) / workers;
    if (begin == end)
      return;
    SmallVector<void *> bindings;
    for (int64_t binding : what.bindings)
      bindings.push_back(binding < 0 ? copy + ~binding : what.buffers[binding].data());
    int32_t status[TACQ_STATUS_WORDS] = {};
    tacq_kernel_args arguments{bindings.data(), values.data(), status, nullptr, 0};
    kernel(&arguments, begin, end, int32_t(worker));
  });
}

void Benchmark::measure(KernelBenchmarkResult &result) {
  result.seconds = time();
  std::vector<uint64_t> sums(options.threads);
  std::vector<double> reading = runs([&](unsigned worker, uint8_t *copy) {
    sums[worker] += readMemory(copy + copyStride * worker / options.threads,
                               copy + copyStride * (worker + 1) / options.threads);
  });
  result.readBytesPerSecond =
      double(copyStride) / *std::min_element(reading.begin(), reading.end());
  std::vector<ComputePeak> peaks(options.threads);
  std::vector<std::thread> threads;
  for (ComputePeak &peak : peaks)
    threads.emplace_back([&] { peak = measureComputePeak(target, what.integers); });
  for (std::thread &thread : threads)
    thread.join();
  result.peakInstruction = peaks[0].instruction;
  for (const ComputePeak &peak : peaks)
    result.peakMacsPerSecond += peak.macsPerSecond;
}

double KernelBenchmarkResult::best() const {
  return *std::min_element(seconds.begin(), seconds.end());
}

double KernelBenchmarkResult::median() const {
  std::vector<double> sorted = seconds;
  std::sort(sorted.begin(), sorted.end());
  size_t middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

Error tacq::benchmarkKernel(const KernelBenchmarkOptions &options, KernelBenchmarkResult &result) {
  Benchmark benchmark(options);
  if (Error error = benchmark.prepare(result))
    return error;
  benchmark.measure(result);
  return Error();
}

Error tacq::timeKernel(const KernelBenchmarkOptions &options, double &seconds) {
  Benchmark benchmark(options);
  KernelBenchmarkResult result;
  if (Error error = benchmark.prepare(result))
    return error;
  std::vector<double> times = benchmark.time();
  seconds = *std::min_element(times.begin(), times.end());
  return Error();
}
