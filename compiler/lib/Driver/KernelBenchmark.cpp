//===- KernelBenchmark.cpp - How fast a generated kernel is ---------------===//

#include "tacq/KernelBenchmark.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "tacq/CPU/HotKernels.h"
#include "tacq/CPU/MixedPacking.h"
#include "tacq/CPU/WeightPacking.h"
#include "tacq/Quantize/RandomCircuit.h"
#include "tacq/Register.h"
#include "tacq/kernel_abi.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MathExtras.h"
#include <chrono>
#include <cmath>
#include <dlfcn.h>
#include <numeric>
#include <random>
#include <sys/mman.h>
#include <thread>

using namespace mlir;
using namespace tacq;
using Circuit = WeightFormat::Circuit;

namespace {

class Benchmark {
public:
  explicit Benchmark(const KernelBenchmarkOptions &options) : options(options), random(7) {}
  ~Benchmark() {
    if (library)
      dlclose(library);
    if (copies)
      munmap(copies, copiesBytes);
  }
  Error prepare(KernelBenchmarkResult &result);
  void measure(KernelBenchmarkResult &result);

private:
  bool isDense() const { return options.format.bits == 16; }
  MixedWeight randomWeight();
  Error makeWeight(MLIRContext &context, KernelBenchmarkResult &result);
  std::string kernelText() const;
  Error compile(MLIRContext &context, const CpuTarget &target);
  Error copyWeight();
  void parallel(int64_t tasks, function_ref<void(int64_t begin, int64_t end, int worker)> body);
  double best(function_ref<void(const uint8_t *)> body);

  const KernelBenchmarkOptions &options;
  std::mt19937 random;
  std::string weightType, layoutText;
  std::vector<uint8_t> packed;
  uint8_t *copies = nullptr;
  size_t copiesBytes = 0, copyStride = 0, copyCount = 0;
  void *library = nullptr;
  tacq_kernel_fn kernel = nullptr;
  KernelSymbols symbols;
  Sym tasks;
};

} // namespace

MixedWeight Benchmark::randomWeight() {
  MixedWeight weight;
  weight.rows = options.outputs;
  weight.columns = options.inputs;
  weight.format = options.format;
  unsigned mask = (1u << weight.format.bits) - 1;
  weight.codes.resize(weight.rows * weight.columns);
  for (uint8_t &code : weight.codes)
    code = (random() >> 8) & mask;
  // f16 numbers from 2^-6 on.
  weight.scales.resize(weight.rows * weight.groups());
  for (uint16_t &scale : weight.scales)
    scale = 0x2400 + random() % 512;
  if (weight.format.codebook) {
    weight.levels.resize(weight.rows << weight.format.bits);
    for (uint8_t &level : weight.levels)
      level = random() >> 8;
  } else {
    weight.zeros.resize(weight.scales.size());
    for (uint8_t &zero : weight.zeros)
      zero = (random() >> 8) & mask;
  }
  CircuitMask circuit = randomCircuit(weight.rows, weight.columns, weight.format.circuit,
                                   options.circuitShare, random());
  if (circuit.empty())
    weight.format.circuit = Circuit::None;
  weight.starts = std::move(circuit.starts);
  weight.positions = std::move(circuit.positions);
  weight.order = std::move(circuit.order);
  weight.values.resize(weight.positions.size());
  for (uint16_t &value : weight.values)
    value = 0x3000 + random() % 1024;
  return weight;
}

Error Benchmark::makeWeight(MLIRContext &context, KernelBenchmarkResult &result) {
  auto write = [&](const void *data, size_t size) {
    auto *bytes = static_cast<const uint8_t *>(data);
    packed.insert(packed.end(), bytes, bytes + size);
    return true;
  };
  llvm::raw_string_ostream typeStream(weightType), layoutStream(layoutText);
  int64_t n = options.outputs, k = options.inputs;
  if (isDense()) {
    std::vector<uint16_t> numbers(n * k);
    for (uint16_t &number : numbers)
      number = 0x2400 + random() % 512;
    auto layout = PanelAttr::get(&context, cpuPanelWidth, Float16Type::get(&context));
    packWeight(numbers.data(), WeightOrder::NK, n, k, layout, write);
    typeStream << RankedTensorType::get({n, k}, Float16Type::get(&context));
    layoutStream << layout;
  } else {
    MixedWeight weight = randomWeight();
    MixedType type = cpuMixedType(&context, weight);
    LayoutAttr layout = cpuMixedLayout(type);
    if (Error error = packMixedWeight(weight, type, layout, write))
      return error;
    typeStream << withoutCount(type);
    layoutStream << layout;
  }
  result.weightBytes = packed.size();
  result.bitsPerWeight = 8.0 * double(packed.size()) / double(n * k);
  return Error();
}

/// Columns of a block of the quantized input.
static int64_t blockOf(const KernelBenchmarkOptions &options) {
  int64_t group = options.format.group;
  return group == 0 || group >= options.inputs ? quantizedColumns
                                               : std::min(group, quantizedColumns);
}

std::string Benchmark::kernelText() const {
  auto tensor = [&](std::initializer_list<int64_t> dims, const char *element) {
    std::string text = "tensor<" + std::to_string(options.rows);
    for (int64_t dim : dims)
      text += "x" + std::to_string(dim);
    return text + "x" + element + ">";
  };
  int64_t k = options.inputs;
  std::string result = tensor({options.outputs}, "f16");
  std::string x = tensor({k}, "f16"), scales, name;
  if (!isDense()) {
    x = tensor({int64_t(llvm::alignTo(k, quantizedColumns))}, "i8");
    scales = tensor({int64_t(llvm::divideCeil(k, blockOf(options))), 2}, "f32");
  }
  std::string text = "func.func @k(%x: " + x + (isDense() ? "" : ", %s: " + scales) +
                     ", %w: " + weightType + ") -> " + result + " {\n  %y = tacq.linear %x" +
                     (isDense() ? "" : " x_scales(%s)") +
                     ", weights(%w) {weight_order = [0 : i32], weight_layouts = [" + layoutText +
                     "], node_name = \"y\"} : (" + x + (isDense() ? "" : ", " + scales) + ", " +
                     weightType + ") -> " + result + "\n  return %y : " + result + "\n}\n";
  return text;
}

Error Benchmark::compile(MLIRContext &context, const CpuTarget &target) {
  auto failed = [](const std::string &what) {
    return Error(TACQ_INTERNAL, "the kernel of the measurement " + what);
  };
  auto source = parseSourceString<ModuleOp>(kernelText(), &context);
  if (!source)
    return failed("is not understood");
  auto function = *source->getOps<func::FuncOp>().begin();
  OwningOpRef<ModuleOp> kernels = ModuleOp::create(UnknownLoc::get(&context));
  OpBuilder builder = OpBuilder::atBlockEnd(kernels->getBody());
  std::unique_ptr<KernelBuilder> built =
      KernelBuilder::create(builder, "k", function.getBody(), symbols);
  SmallVector<char, 0> elf;
  if (mlir::failed(emitCpuKernel(*built, target)))
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

/// Copies of the weight in memory of large pages, as long files are mapped at best.
Error Benchmark::copyWeight() {
  constexpr size_t line = 64, behind = 4 << 20;
  copyStride = llvm::alignTo(packed.size(), line);
  copyCount = std::max<size_t>(1, options.streamedBytes / copyStride);
  copiesBytes = copyStride * copyCount + behind;
  void *memory =
      mmap(nullptr, copiesBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return makeError(TACQ_OUT_OF_MEMORY, "there is no memory for %zu bytes of weights",
                     copiesBytes);
  copies = static_cast<uint8_t *>(memory);
  madvise(memory, copiesBytes, MADV_HUGEPAGE);
  for (size_t i = 0; i < copyCount; ++i)
    std::copy(packed.begin(), packed.end(), copies + i * copyStride);
  return Error();
}

Error Benchmark::prepare(KernelBenchmarkResult &result) {
  std::optional<CpuTarget> target = parseCpuTarget(options.target);
  if (!target)
    return makeError(TACQ_INVALID_ARGUMENT, "this machine runs no CPU target '%s'",
                     options.target.c_str());
  result.target = target->name;
  DialectRegistry registry;
  registerAllDialects(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  context.loadAllAvailableDialects();
  if (Error error = makeWeight(context, result))
    return error;
  if (Error error = compile(context, *target))
    return error;
  return copyWeight();
}

void Benchmark::parallel(int64_t count, function_ref<void(int64_t, int64_t, int)> body) {
  int64_t workers = options.threads;
  std::vector<std::thread> threads;
  for (int64_t i = 1; i < workers; ++i)
    threads.emplace_back([=] { body(count * i / workers, count * (i + 1) / workers, int(i)); });
  body(0, count / workers, 0);
  for (std::thread &thread : threads)
    thread.join();
}

/// The time that one copy takes, of the fastest round through all of them.
double Benchmark::best(function_ref<void(const uint8_t *)> body) {
  using Clock = std::chrono::steady_clock;
  double best = std::numeric_limits<double>::max();
  for (unsigned i = 0; i < options.repetitions; ++i) {
    Clock::time_point start = Clock::now();
    for (size_t copy = 0; copy < copyCount; ++copy)
      body(copies + copy * copyStride);
    std::chrono::duration<double> time = Clock::now() - start;
    best = std::min(best, time.count() / double(copyCount));
  }
  return best;
}

void Benchmark::measure(KernelBenchmarkResult &result) {
  int64_t stored = llvm::alignTo(options.inputs, quantizedColumns);
  std::vector<uint16_t> halves(options.rows * options.inputs + quantizedColumns, 0x3800);
  std::vector<int8_t> integers(options.rows * stored, 0);
  for (int8_t &integer : integers)
    integer = int8_t(int(random() % 255) - 127);
  int64_t blocks = llvm::divideCeil(options.inputs, blockOf(options));
  std::vector<float> scales(options.rows * blocks * 2, 0.01f);
  std::vector<uint16_t> y(options.rows * options.outputs + quantizedColumns);
  std::vector<int64_t> values;
  for (const Sym &symbol : symbols.list())
    values.push_back(*symbol.constant());
  int64_t taskCount = *tasks.constant();
  result.seconds = best([&](const uint8_t *weight) {
    parallel(taskCount, [&](int64_t begin, int64_t end, int worker) {
      if (begin == end)
        return;
      auto *bytes = const_cast<uint8_t *>(weight);
      SmallVector<void *> bindings;
      if (isDense())
        bindings = {halves.data(), bytes, y.data()};
      else
        bindings = {integers.data(), scales.data(), bytes, y.data()};
      int32_t status[TACQ_STATUS_WORDS] = {};
      tacq_kernel_args arguments{bindings.data(), values.data(), status, nullptr, 0};
      kernel(&arguments, begin, end, worker);
    });
  });
  std::vector<uint64_t> sums(options.threads);
  int64_t words = copyStride / sizeof(uint64_t);
  double seconds = best([&](const uint8_t *weight) {
    auto *numbers = reinterpret_cast<const uint64_t *>(weight);
    parallel(words, [&](int64_t begin, int64_t end, int worker) {
      uint64_t sum = 0;
      for (int64_t i = begin; i < end; ++i)
        sum += numbers[i];
      sums[worker] += sum;
    });
  });
  result.readBytesPerSecond = double(copyStride) / seconds;
}

Error tacq::benchmarkKernel(const KernelBenchmarkOptions &options, KernelBenchmarkResult &result) {
  Benchmark benchmark(options);
  if (Error error = benchmark.prepare(result))
    return error;
  benchmark.measure(result);
  return Error();
}
