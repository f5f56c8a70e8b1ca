//===- Benchmark.cpp - Tokens per second ----------------------------------===//

#include "Benchmark.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

using namespace tacq;
using namespace tacq::tools;

static double mean(const std::vector<double> &values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// Of a sample; 0 for a single value.
static double deviation(const std::vector<double> &values) {
  if (values.size() < 2)
    return 0;
  double middle = mean(values), sum = 0;
  for (double value : values)
    sum += (value - middle) * (value - middle);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

static std::vector<double> speeds(const BenchmarkResult &result) {
  std::vector<double> values;
  for (size_t i = 0; i < result.samples.size(); ++i)
    values.push_back(result.speed(i));
  return values;
}

double BenchmarkResult::meanSpeed() const { return mean(speeds(*this)); }
double BenchmarkResult::deviationSpeed() const { return deviation(speeds(*this)); }
double BenchmarkResult::bestSpeed() const {
  std::vector<double> values = speeds(*this);
  return *std::max_element(values.begin(), values.end());
}
double BenchmarkResult::meanTime() const { return mean({samples.begin(), samples.end()}); }
double BenchmarkResult::deviationTime() const {
  return deviation({samples.begin(), samples.end()});
}

// Any tokens do: the time of a dense model does not depend on them. They differ so that no two rows
// of the embedding are the same.
static int64_t tokenAt(const LanguageModel &model, int64_t i) {
  int64_t vocabulary = model.vocabulary() > 0 ? model.vocabulary() : 256;
  return (i * 7919 + 13) % vocabulary;
}

namespace {
struct DispatchSums {
  uint64_t count = 0, time = 0;
};
} // namespace

static void addUp(void *user, const tacq_profile_entry_t *entry) {
  auto *sums = static_cast<DispatchSums *>(user);
  sums->count += entry->count;
  sums->time += entry->total_ns;
}

Error tools::measureOverhead(LanguageModel &model, int64_t tokens, TokenOverhead &overhead) {
  DispatchSums before, after;
  double time = 0;
  for (bool warm : {false, true}) {
    if (Error error = model.reset())
      return error;
    if (warm)
      if (Error error = take(tacq_session_profile(model.session(), addUp, &before)))
        return error;
    auto start = std::chrono::steady_clock::now();
    for (int64_t i = 0; i < tokens; ++i)
      if (Error error = model.step({tokenAt(model, i)}))
        return error;
    time =
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
  }
  if (Error error = take(tacq_session_profile(model.session(), addUp, &after)))
    return error;
  auto count = static_cast<double>(tokens);
  overhead.microseconds = (time - static_cast<double>(after.time - before.time) * 1e-3) / count;
  overhead.dispatches = static_cast<double>(after.count - before.count) / count;
  return success();
}

Error tools::benchmark(LanguageModel &model, const BenchmarkCase &what, int64_t repetitions,
                       Progress &progress, BenchmarkResult &result) {
  result.what = what;
  std::vector<int64_t> prompt(what.prompt);
  for (int64_t i = 0; i < what.prompt; ++i)
    prompt[i] = tokenAt(model, i);

  for (int64_t repetition = -1; repetition < repetitions; ++repetition) {
    if (Error error = model.reset())
      return error;
    auto start = std::chrono::steady_clock::now();
    if (what.prompt > 0)
      if (Error error = model.step(prompt))
        return error;
    if (model.choosesTokens() && what.generated > 0) {
      if (Error error = model.generate(
              what.generated, [](int64_t) { return true; }, tokenAt(model, what.prompt)))
        return error;
    } else {
      for (int64_t i = 0; i < what.generated; ++i)
        if (Error error = model.step({tokenAt(model, what.prompt + i)}))
          return error;
    }
    int64_t time = std::chrono::duration_cast<std::chrono::nanoseconds>(
                       std::chrono::steady_clock::now() - start)
                       .count();
    if (repetition >= 0)
      result.samples.push_back(time > 0 ? time : 1);
    progress.advance();
  }
  return success();
}
