//===- CircuitStability.cpp - How sure the choice of a circuit is ---------===//

#include "tacq/Quantize/CircuitStability.h"
#include "tacq/Quantize/Nearest.h"
#include <array>
#include <cmath>
#include <numeric>
#include <random>

using namespace tacq;
using llvm::ArrayRef;

namespace {

/// How often each fold is counted.
using FoldCounts = std::array<unsigned, sampleFolds>;

/// The sketched weights of all tensors, one after the other.
class Sketch {
public:
  Error collect(const Statistics &statistics, const std::string &name, unsigned bits);

  std::vector<float> saliency(const FoldCounts &counts) const;
  size_t size() const { return factors.size(); }

private:
  std::vector<float> factors;            // |W - Q| |W|
  std::vector<float> folds[sampleFolds]; // G of each fold
};

/// Which weights are in a circuit.
using Circuit = std::vector<char>;

/// Splits that a forecast from a drawn sample is the mean of.
constexpr unsigned drawnSplits = 4;

/// How the circuit changes while a sample grows: from a quarter to a half, and then to all of it.
struct Growth {
  double toHalf = 0, toAll = 0;
  /// The part of the larger circuit's saliency that the smaller one does not hold.
  double missedByQuarter = 0, missedByHalf = 0;

  void add(const Growth &other) {
    toHalf += other.toHalf;
    toAll += other.toAll;
    missedByQuarter += other.missedByQuarter;
    missedByHalf += other.missedByHalf;
  }
};

} // namespace

Error Sketch::collect(const Statistics &statistics, const std::string &name, unsigned bits) {
  if (!statistics.hasFolds)
    return Error(TACQ_INVALID_INPUT,
                 name + " has no folds of its samples: it is of an earlier TACQ, or was calibrated "
                        "without gradients; calibrate again");
  if (statistics.sampleCount() < uint64_t(sampleFolds))
    return Error(TACQ_INVALID_INPUT, name + " has " + std::to_string(statistics.sampleCount()) +
                                         " samples, too few to say how stable the circuit is; " +
                                         std::to_string(sampleFolds) + " would do");
  for (const TensorStatistics &tensor : statistics.tensors) {
    if (tensor.head)
      continue;
    int64_t rows = tensor.sketchedRows();
    std::vector<float> weight(tensor.sketch.values().begin(), tensor.sketch.values().end());
    WeightFormat format;
    format.bits = bits;
    MixedWeight quantized;
    if (Error error = quantizeNearest({weight.data(), rows, tensor.columns}, format, CircuitMask(),
                                      NearestOptions(), quantized))
      return Error(error.code(), name + ", '" + tensor.name + "': " + error.message());
    std::vector<float> decoded = quantized.decode();
    for (size_t i = 0; i < weight.size(); ++i)
      factors.push_back(std::fabs(weight[i] - decoded[i]) * std::fabs(weight[i]));
    ArrayRef<double> gradients = tensor.foldGradients.values();
    for (std::vector<float> &fold : folds) {
      fold.insert(fold.end(), gradients.begin(), gradients.begin() + int64_t(weight.size()));
      gradients = gradients.drop_front(weight.size());
    }
  }
  return Error();
}

std::vector<float> Sketch::saliency(const FoldCounts &counts) const {
  std::vector<float> sum(size());
  for (int64_t fold = 0; fold < sampleFolds; ++fold)
    for (size_t i = 0; counts[fold] > 0 && i < sum.size(); ++i)
      sum[i] += float(counts[fold]) * folds[fold][i];
  for (size_t i = 0; i < sum.size(); ++i)
    sum[i] *= factors[i];
  return sum;
}

/// Those with the largest saliency.
static Circuit choose(const std::vector<float> &saliency, size_t count) {
  std::vector<uint32_t> order(saliency.size());
  std::iota(order.begin(), order.end(), 0u);
  std::nth_element(order.begin(), order.begin() + int64_t(count), order.end(),
                   [&](uint32_t a, uint32_t b) {
                     return saliency[a] != saliency[b] ? saliency[a] > saliency[b] : a < b;
                   });
  Circuit circuit(saliency.size());
  for (uint32_t i : ArrayRef(order).take_front(count))
    circuit[i] = 1;
  return circuit;
}

static double common(const Circuit &a, const Circuit &b) {
  double both = 0, all = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    both += a[i] && b[i];
    all += a[i];
  }
  return all > 0 ? both / all : 1;
}

static double held(const Circuit &circuit, const std::vector<float> &saliency) {
  double sum = 0;
  for (size_t i = 0; i < circuit.size(); ++i)
    sum += circuit[i] ? saliency[i] : 0.0f;
  return sum;
}

static Interval interval(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  double sum = std::accumulate(values.begin(), values.end(), 0.0);
  size_t outside = values.size() / 20;
  return {sum / double(values.size()), values[outside], values[values.size() - 1 - outside]};
}

/// Of folds in an order, those before `end` and from `begin` on.
static FoldCounts someFolds(ArrayRef<int64_t> order, size_t begin, size_t end) {
  FoldCounts counts = {};
  for (int64_t fold : order.slice(begin, end - begin))
    ++counts[fold];
  return counts;
}

static std::vector<int64_t> drawnFolds(std::mt19937_64 &random) {
  std::vector<int64_t> drawn(sampleFolds);
  for (int64_t &fold : drawn)
    fold = int64_t(random() % sampleFolds);
  return drawn;
}

static FoldCounts drawnCounts(std::mt19937_64 &random) {
  return someFolds(drawnFolds(random), 0, sampleFolds);
}

static void shuffle(std::vector<int64_t> &order, std::mt19937_64 &random) {
  for (size_t i = order.size() - 1; i > 0; --i)
    std::swap(order[i], order[random() % (i + 1)]);
}

/// As the folds come in this order, all of which give this saliency and circuit.
static Growth growthOf(const Sketch &sketch, ArrayRef<int64_t> order, size_t count,
                       const std::vector<float> &toAll, const Circuit &all) {
  constexpr size_t half = sampleFolds / 2;
  std::vector<float> toHalf = sketch.saliency(someFolds(order, 0, half));
  Circuit quarter = choose(sketch.saliency(someFolds(order, 0, half / 2)), count);
  Circuit first = choose(toHalf, count);
  return {1 - common(quarter, first), 1 - common(first, all),
          1 - held(quarter, toHalf) / held(first, toHalf),
          1 - held(first, toAll) / held(all, toAll)};
}

/// A change once more in the proportion in which it has come down.
static double nextChange(double before, double last) {
  return before > 0 ? last * std::min(last / before, 1.0) : 0;
}

/// A forecast, and the limits of 90 % of those from samples that are drawn from this one. A drawn
/// sample has fewer different folds, which moves all of them; so the limits are parts of their
/// mean.
static Interval forecast(double mean, const std::vector<double> &drawn) {
  Interval limits = interval(drawn);
  if (!(limits.mean > 0))
    return {mean, mean, mean};
  return {mean, mean * limits.low / limits.mean, mean * limits.high / limits.mean};
}

Error tacq::circuitStability(const Statistics &statistics, const std::string &name,
                             const StabilityOptions &options, CircuitStability &result) {
  Sketch sketch;
  if (Error error = sketch.collect(statistics, name, options.bits))
    return error;
  auto count = size_t(std::llround(options.part * double(sketch.size())));
  result.circuit = count;
  result.weights = sketch.size();
  FoldCounts every;
  every.fill(1);
  std::vector<float> saliency = sketch.saliency(every);
  Circuit all = choose(saliency, count);
  std::vector<double> bootstrap, halves, toHalf, toAll, doubling, missed;
  std::vector<int64_t> order(sampleFolds);
  std::iota(order.begin(), order.end(), 0);
  std::mt19937_64 random(1);
  constexpr size_t half = sampleFolds / 2;
  Growth sum;
  for (unsigned i = 0; i < options.resamples; ++i) {
    bootstrap.push_back(common(all, choose(sketch.saliency(drawnCounts(random)), count)));
    shuffle(order, random);
    halves.push_back(common(choose(sketch.saliency(someFolds(order, 0, half)), count),
                            choose(sketch.saliency(someFolds(order, half, sampleFolds)), count)));
    Growth growth = growthOf(sketch, order, count, saliency, all);
    toHalf.push_back(growth.toHalf);
    toAll.push_back(growth.toAll);
    sum.add(growth);
  }
  for (unsigned i = 0; i < options.resamples; ++i) {
    std::vector<int64_t> drawn = drawnFolds(random);
    std::vector<float> drawnSaliency = sketch.saliency(someFolds(drawn, 0, sampleFolds));
    Circuit drawnCircuit = choose(drawnSaliency, count);
    Growth growth;
    for (unsigned split = 0; split < drawnSplits; ++split) {
      shuffle(drawn, random);
      growth.add(growthOf(sketch, drawn, count, drawnSaliency, drawnCircuit));
    }
    doubling.push_back(nextChange(growth.toHalf, growth.toAll) / drawnSplits);
    missed.push_back(nextChange(growth.missedByQuarter, growth.missedByHalf) / drawnSplits);
  }
  result.bootstrap = interval(bootstrap);
  result.halves = interval(halves);
  result.toHalf = interval(toHalf);
  result.toAll = interval(toAll);
  double times = 1.0 / std::max(options.resamples, 1u);
  result.doubling = forecast(nextChange(sum.toHalf, sum.toAll) * times, doubling);
  result.missed = forecast(nextChange(sum.missedByQuarter, sum.missedByHalf) * times, missed);
  return Error();
}

Error tacq::compareCircuits(const Statistics &a, const std::string &nameA, const Statistics &b,
                            const std::string &nameB, const StabilityOptions &options,
                            CircuitComparison &result) {
  if (a.modelHash != b.modelHash)
    return Error(TACQ_INVALID_INPUT, nameA + " and " + nameB + " are of different models, " +
                                         a.modelFile + " and " + b.modelFile +
                                         " (by their content)");
  Sketch first, second;
  if (Error error = first.collect(a, nameA, options.bits))
    return error;
  if (Error error = second.collect(b, nameB, options.bits))
    return error;
  if (first.size() != second.size())
    return Error(TACQ_INVALID_INPUT, nameA + " and " + nameB + " list different tensors");
  auto count = size_t(std::llround(options.part * double(first.size())));
  std::vector<double> shared, halves, captured;
  std::vector<int64_t> order(sampleFolds);
  std::iota(order.begin(), order.end(), 0);
  std::mt19937_64 random(1);
  for (unsigned i = 0; i < options.resamples; ++i) {
    Circuit circuitA = choose(first.saliency(drawnCounts(random)), count);
    std::vector<float> saliencyB = second.saliency(drawnCounts(random));
    Circuit circuitB = choose(saliencyB, count);
    shared.push_back(common(circuitA, circuitB));
    captured.push_back(held(circuitA, saliencyB) / held(circuitB, saliencyB));
    shuffle(order, random);
    constexpr size_t half = sampleFolds / 2;
    halves.push_back(common(choose(first.saliency(someFolds(order, 0, half)), count),
                            choose(first.saliency(someFolds(order, half, sampleFolds)), count)));
  }
  result.common = interval(shared);
  result.halves = interval(halves);
  result.captured = interval(captured);
  return Error();
}
