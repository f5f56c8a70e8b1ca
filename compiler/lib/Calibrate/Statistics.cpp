//===- Statistics.cpp - What a sample of a task says of a model -----------===//

#include "tacq/Calibrate/Statistics.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Path.h"
#include <algorithm>

using namespace tacq;
using llvm::ArrayRef;
using llvm::MutableArrayRef;
using llvm::StringRef;

StatisticsSum StatisticsSum::zeros(size_t count) {
  StatisticsSum sum;
  sum.own.resize(count);
  return sum;
}

MutableArrayRef<double> StatisticsSum::mutableValues() {
  if (own.empty())
    own.assign(view.begin(), view.end());
  return own;
}

double InputStatistics::trace() const {
  double sum = 0;
  ArrayRef<double> values = hessian.values();
  for (int64_t i = 0; i < columns; ++i)
    sum += values[i * (i + 1) / 2 + i];
  return sum;
}

void InputStatistics::expand(std::vector<double> &matrix) const {
  matrix.resize(columns * columns);
  const double *value = hessian.values().data();
  for (int64_t i = 0; i < columns; ++i)
    for (int64_t j = 0; j <= i; ++j, ++value)
      matrix[i * columns + j] = matrix[j * columns + i] = *value;
}

std::string StatisticsSettings::str() const {
  return "loss=" + loss + " output=" + output + " labels=" + labels + " hessians=" + hessians;
}

uint64_t Statistics::sampleCount() const {
  uint64_t count = 0;
  for (auto &[data, ranges] : covered)
    for (const SampleRange &range : ranges)
      count += range.end - range.begin;
  return count;
}

double Statistics::meanLoss() const {
  double sum = 0, weights = 0;
  for (auto &[data, ranges] : covered)
    for (const SampleRange &range : ranges)
      for (double loss : range.losses) {
        sum += range.weight * loss;
        weights += range.weight;
      }
  return weights > 0 ? sum / weights : 0;
}

/// The first range that ends behind the sample.
template <typename Ranges> static auto rangeAt(Ranges &ranges, uint64_t sample) {
  return std::partition_point(ranges.begin(), ranges.end(),
                              [&](const SampleRange &range) { return range.end <= sample; });
}

bool Statistics::covers(StringRef data, uint64_t sample) const {
  auto ranges = covered.find(data.str());
  if (ranges == covered.end())
    return false;
  auto range = rangeAt(ranges->second, sample);
  return range != ranges->second.end() && range->begin <= sample;
}

bool Statistics::isWeighted() const {
  std::optional<double> first;
  for (auto &[data, ranges] : covered)
    for (const SampleRange &range : ranges)
      if (range.weight != *(first ? first : first = range.weight))
        return true;
  return false;
}

std::optional<double> Statistics::weightOf(StringRef data, uint64_t sample) const {
  auto ranges = covered.find(data.str());
  if (ranges == covered.end() || ranges->second.empty())
    return std::nullopt;
  auto range = rangeAt(ranges->second, sample);
  bool isCovered = range != ranges->second.end() && range->begin <= sample;
  return isCovered ? range->weight : ranges->second.front().weight;
}

/// Sorts the ranges and joins those that touch.
static void normalize(std::vector<SampleRange> &ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const SampleRange &a, const SampleRange &b) { return a.begin < b.begin; });
  std::vector<SampleRange> joined;
  for (SampleRange &range : ranges) {
    if (joined.empty() || joined.back().end != range.begin ||
        joined.back().weight != range.weight) {
      joined.push_back(std::move(range));
      continue;
    }
    joined.back().end = range.end;
    llvm::append_range(joined.back().losses, range.losses);
    llvm::append_range(joined.back().signatures, range.signatures);
  }
  ranges = std::move(joined);
}

void Statistics::cover(StringRef data, uint64_t sample, double loss, ArrayRef<double> signature) {
  std::vector<SampleRange> &ranges = covered[data.str()];
  auto next = rangeAt(ranges, sample);
  auto countsOnce = [](const SampleRange &range) { return range.weight == 1; };
  if (next != ranges.begin() && std::prev(next)->end == sample && countsOnce(*std::prev(next))) {
    std::prev(next)->end = sample + 1;
    std::prev(next)->losses.push_back(loss);
    llvm::append_range(std::prev(next)->signatures, signature);
    if (next != ranges.end() && next->begin == sample + 1)
      normalize(ranges);
  } else if (next != ranges.end() && next->begin == sample + 1 && countsOnce(*next)) {
    next->begin = sample;
    next->losses.insert(next->losses.begin(), loss);
    next->signatures.insert(next->signatures.begin(), signature.begin(), signature.end());
  } else {
    ranges.insert(next, {sample, sample + 1, {loss}, signature.vec()});
  }
}

std::vector<double> Statistics::signatures() const {
  std::vector<double> all;
  for (auto &[data, ranges] : covered)
    for (const SampleRange &range : ranges)
      llvm::append_range(all, range.signatures);
  return all;
}

void Statistics::dropFolds() {
  hasFolds = false;
  for (TensorStatistics &tensor : tensors)
    tensor.foldGradients = tensor.sketch = StatisticsSum();
  for (auto &[data, ranges] : covered)
    for (SampleRange &range : ranges)
      range.signatures.clear();
}

const TensorStatistics *Statistics::find(StringRef name) const {
  auto found = std::find_if(tensors.begin(), tensors.end(),
                            [&](const TensorStatistics &tensor) { return tensor.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

std::string Statistics::fewTokens(const std::string &name) const {
  const TensorStatistics *first = nullptr;
  uint64_t samples = sampleCount(), enough = 0;
  for (const TensorStatistics &tensor : tensors) {
    const InputStatistics &input = inputs[tensor.input];
    auto columns = uint64_t(input.columns);
    if (samples == 0 || input.tokens == 0 || input.tokens >= columns)
      continue;
    if (!first)
      first = &tensor;
    // As many as all tensors need, so that the next sample is not answered with a larger number.
    enough = std::max(enough, llvm::divideCeil(columns * samples, input.tokens));
  }
  if (!first)
    return "";
  const InputStatistics &input = inputs[first->input];
  return name + ": the sample has " + std::to_string(input.tokens) + " tokens for the " +
         std::to_string(input.columns) + " columns of the input of tensor '" + first->name +
         "', too few for a Hessian of full rank; calibrate on more: " + std::to_string(enough) +
         " samples of this length would do for all tensors";
}

void Statistics::scale(double factor) {
  auto multiply = [&](StatisticsSum &sum) {
    for (double &value : sum.mutableValues())
      value *= factor;
  };
  for (TensorStatistics &tensor : tensors) {
    multiply(tensor.gradient);
    multiply(tensor.foldGradients);
  }
  for (InputStatistics &input : inputs)
    multiply(input.hessian);
  for (auto &[data, ranges] : covered)
    for (SampleRange &range : ranges)
      range.weight *= factor;
}

static Error cannotMerge(const std::string &name, const std::string &otherName,
                         const std::string &reason) {
  return Error(TACQ_INVALID_INPUT, name + " and " + otherName + " cannot be merged: " + reason);
}

Error Statistics::merge(const Statistics &other, const std::string &name,
                        const std::string &otherName) {
  if (modelHash != other.modelHash)
    return cannotMerge(name, otherName,
                       "they are of different models, " + modelFile + " and " + other.modelFile +
                           " (by their content)");
  if (!(settings == other.settings))
    return cannotMerge(name, otherName,
                       "their settings differ, " + settings.str() + " and " + other.settings.str());
  for (auto &[data, ranges] : other.covered)
    for (const SampleRange &range : ranges)
      for (uint64_t sample = range.begin; sample < range.end; ++sample)
        if (covers(data, sample))
          return cannotMerge(name, otherName,
                             "both cover sample " + std::to_string(sample) +
                                 " (counted from 0) of the same data");
  auto sameTensor = [](const TensorStatistics &a, const TensorStatistics &b) {
    return a.name == b.name && a.rows == b.rows && a.columns == b.columns && a.input == b.input &&
           a.gradient.size() == b.gradient.size();
  };
  if (tensors.size() != other.tensors.size() || inputs.size() != other.inputs.size() ||
      !std::equal(tensors.begin(), tensors.end(), other.tensors.begin(), sameTensor))
    return cannotMerge(name, otherName,
                       "they list different tensors; different versions of TACQ "
                       "made them");

  auto add = [](StatisticsSum &sum, const StatisticsSum &more) {
    MutableArrayRef<double> values = sum.mutableValues();
    for (auto [i, value] : llvm::enumerate(more.values()))
      values[i] += value;
  };
  bool folds = hasFolds && other.hasFolds;
  if (!folds)
    dropFolds();
  for (auto [mine, theirs] : llvm::zip(tensors, other.tensors)) {
    add(mine.gradient, theirs.gradient);
    if (folds)
      add(mine.foldGradients, theirs.foldGradients);
  }
  for (auto [mine, theirs] : llvm::zip(inputs, other.inputs)) {
    add(mine.hessian, theirs.hessian);
    mine.tokens += theirs.tokens;
  }
  for (auto &[data, ranges] : other.covered) {
    std::vector<SampleRange> &mine = covered[data];
    for (const SampleRange &range : ranges)
      mine.push_back({range.begin, range.end, range.losses,
                      folds ? range.signatures : std::vector<double>(), range.weight});
    normalize(mine);
  }
  return Error();
}
