//===- TuneKernels.cpp - Measure how kernels go through weights -----------===//

#include "TuneKernels.h"
#include "tacq/CPU/LinearTiling.h"
#include "tacq/CPU/MixedPacking.h"
#include "tacq/KernelBenchmark.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace tacq;

/// A choice other than the model's must be faster by more than measurements differ.
static constexpr double worthIt = 0.98;
static constexpr uint64_t largestStream = 128'000'000, smallestStream = 1'000'000;
/// Rows of the prompt: several tasks whatever their rows are.
static constexpr int64_t promptRows = 768;

namespace {

class Tuner {
public:
  Tuner(std::vector<const CpuTarget *> targets, uint64_t streamedBytes,
        std::vector<KernelTiling> &tilings)
      : targets(std::move(targets)), streamedBytes(streamedBytes), tilings(tilings) {}
  Error tune(MixedType type, const MixedWeight &weight);

private:
  template <typename Knob>
  Error choose(KernelBenchmarkOptions options, ArrayRef<Knob> choices,
               std::optional<Knob> KernelBenchmarkOptions::*knob, Knob &choice);

  std::vector<const CpuTarget *> targets; // the best one first
  uint64_t streamedBytes;
  std::vector<KernelTiling> &tilings;
};

} // namespace

/// The fastest of the choices, or `choice` as it is.
template <typename Knob>
Error Tuner::choose(KernelBenchmarkOptions options, ArrayRef<Knob> choices,
                    std::optional<Knob> KernelBenchmarkOptions::*knob, Knob &choice) {
  double bound = 0;
  options.*knob = choice;
  if (Error error = timeKernel(options, bound))
    return error;
  bound *= worthIt;
  const Knob model = choice;
  for (Knob candidate : choices) {
    if (candidate == model)
      continue;
    double seconds = 0;
    options.*knob = candidate;
    if (Error error = timeKernel(options, seconds))
      return error;
    if (seconds < bound) {
      bound = seconds;
      choice = candidate;
    }
  }
  return Error();
}

Error Tuner::tune(MixedType type, const MixedWeight &weight) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  KernelBenchmarkOptions options;
  options.weight = &weight;
  options.outputs = weight.rows;
  options.inputs = weight.columns;
  options.format = weight.format;
  int64_t taskRows = 0;
  for (const CpuTarget *target : targets) {
    TilingAttr model = modelTiling(*target, type);
    options.target = target->name;
    if (target == targets.front()) {
      taskRows = model.getTaskRows();
      options.rows = promptRows;
      options.streamedBytes = smallestStream;
      options.repetitions = 5;
      if (Error error =
              choose(options, taskRowsChoices(), &KernelBenchmarkOptions::taskRows, taskRows))
        return error;
    }
    WeightPrefetch prefetch = WeightPrefetch::of(model);
    options.rows = 1;
    options.streamedBytes = streamedBytes;
    options.repetitions = 9;
    if (Error error =
            choose(options, prefetchChoices(), &KernelBenchmarkOptions::prefetch, prefetch))
      return error;
    std::array<int64_t, 3> numbers = prefetch.numbers();
    tilings.push_back({target->name, text, taskRows, {numbers.begin(), numbers.end()}});
  }
  return Error();
}

Error tacq::tuneKernels(const llvm::StringMap<MixedWeight> &weights, MLIRContext &context,
                        ArrayRef<CpuTarget> targets, std::vector<KernelTiling> &tilings) {
  std::vector<const CpuTarget *> runnable;
  for (const CpuTarget &target : targets)
    if (hostRuns(target))
      runnable.push_back(&target);
  llvm::sort(runnable, [](auto *a, auto *b) { return a->rank > b->rank; });
  if (runnable.empty())
    return Error(TACQ_UNSUPPORTED,
                 "--tune-kernels measures on this machine, which runs none of the "
                 "CPU targets; tune where one of them runs and compile with the "
                 "plan");
  if (weights.empty())
    return Error(TACQ_UNSUPPORTED, "--tune-kernels chooses tiles of quantized weights, and none is "
                                   "quantized: give --bits or --plan");
  // Weights by their types, in the order of their names.
  llvm::MapVector<MixedType, const MixedWeight *> byType;
  std::vector<StringRef> names(weights.keys().begin(), weights.keys().end());
  llvm::sort(names);
  uint64_t bytes = 0;
  for (StringRef name : names) {
    const MixedWeight &weight = weights.find(name)->second;
    MixedType type = cpuMixedType(&context, weight);
    bytes += storedBytes(type, cpuMixedLayout(type, !weight.order.empty())).total();
    byType.insert({withoutCount(type), &weight});
  }
  tilings.clear();
  Tuner tuner(runnable, std::clamp(bytes, smallestStream, largestStream), tilings);
  for (auto [type, weight] : byType)
    if (Error error = tuner.tune(type, *weight))
      return error;
  return Error();
}
