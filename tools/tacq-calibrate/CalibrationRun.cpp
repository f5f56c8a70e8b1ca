//===- CalibrationRun.cpp - Through the samples, with interruptions -------===//

#include "CalibrationRun.h"

#include "CalibrationData.h"
#include "Interruption.h"
#include "Progress.h"
#include "tacq/Calibrate/Calibrator.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <sys/stat.h>
#include <unistd.h>

using namespace tacq;
using namespace tacq::tools;

std::string tools::partialPath(const std::string &output) { return output + ".partial"; }

static bool exists(const std::string &path) { return access(path.c_str(), F_OK) == 0; }

namespace {
/// Says when to write what there is so far: every minute, and never for more than a twentieth of
/// the time.
class CheckpointClock {
public:
  using Clock = std::chrono::steady_clock;
  bool isDue() const { return Clock::now() - last > std::max(interval, 20 * cost); }
  void wrote(Clock::time_point begin) {
    last = Clock::now();
    cost = last - begin;
  }

private:
  static constexpr Clock::duration interval = std::chrono::seconds(60);
  Clock::time_point last = Clock::now();
  Clock::duration cost = {};
};
} // namespace

//===----------------------------------------------------------------------===//
// Before the work
//===----------------------------------------------------------------------===//

/// Samples s with s % N == i % N, so that both 0/N … N-1/N and 1/N … N/N are all samples.
static Error parseShard(const std::string &text, size_t &shard, size_t &shards) {
  unsigned long long first = 0, second = 0;
  char rest = 0;
  if (text.find_first_not_of("0123456789/") != std::string::npos ||
      std::sscanf(text.c_str(), "%9llu/%9llu%c", &first, &second, &rest) != 2 || second == 0 ||
      first > second)
    return makeError(TACQ_INVALID_ARGUMENT,
                     "--shard expects i/N with i from 0 to N - 1 (or 1 to N), got '%s'",
                     text.c_str());
  shards = second;
  shard = first % second;
  return success();
}

Error tools::checkOutput(const std::string &path) {
  struct stat status;
  if (stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
    return makeError(TACQ_INVALID_ARGUMENT, "the output %s is no regular file", path.c_str());
  std::string probe = path + ".tmp-" + std::to_string(getpid());
  FILE *file = std::fopen(probe.c_str(), "wbe");
  if (!file)
    return makeError(TACQ_IO, "%s cannot be written: %s", path.c_str(), std::strerror(errno));
  std::fclose(file);
  std::remove(probe.c_str());
  return success();
}

/// Takes over what an interrupted run has left.
static Error takeUp(const std::string &path, const CalibrationData &data, Statistics &current) {
  Statistics earlier;
  if (Error error = Statistics::read(path, earlier))
    return error;
  for (auto &[hash, ranges] : earlier.covered)
    if (hash != data.hash())
      return makeError(TACQ_INVALID_INPUT,
                       "%s cannot be resumed: it covers samples of other data; remove it to start "
                       "again",
                       path.c_str());
  return current.merge(earlier, "this calibration", path);
}

namespace {
class CalibrationRun {
public:
  explicit CalibrationRun(const CalibrationOptions &options) : options(options) {}

  Error run() {
    if (Error error = prepare())
      return error;
    if (todo.empty() && exists(options.output) && !exists(partialPath(options.output))) {
      std::fprintf(stderr, "%s is complete: nothing is left to do\n", options.output.c_str());
      return success();
    }
    InterruptionGuard guard;
    std::fprintf(stderr, "calibrating on %zu samples\n", todo.size());
    Progress progress("calibrating", static_cast<int64_t>(todo.size()), "samples");
    CheckpointClock clock;
    for (size_t i = 0; i < todo.size(); ++i) {
      if (Error error = addSample(todo[i]))
        return error;
      progress.advance();
      bool last = i + 1 == todo.size();
      if (!last && (interrupted() || clock.isDue())) {
        auto begin = CheckpointClock::Clock::now();
        if (Error error = calibrator->statistics().write(partialPath(options.output)))
          return error;
        clock.wrote(begin);
      }
      if (!last && interrupted())
        return makeError(TACQ_IO,
                         "interrupted after %zu of %zu samples; they are in %s: the same command "
                         "with --resume goes on",
                         i + 1, todo.size(), partialPath(options.output).c_str());
    }
    progress.finish();
    return finish();
  }

private:
  Error prepare();
  Error addSample(size_t sample);
  Error finish();
  Error printTimes() const;

  const CalibrationOptions &options;
  std::unique_ptr<CalibrationData> data;
  std::unique_ptr<Calibrator> calibrator;
  /// Samples of this shard that are not covered yet.
  std::vector<size_t> todo;
};
} // namespace

Error CalibrationRun::prepare() {
  size_t shard = 0, shards = 1;
  if (!options.shard.empty())
    if (Error error = parseShard(options.shard, shard, shards))
      return error;
  if (Error error = checkOutput(options.output))
    return error;
  if (Error error = CalibrationData::open(options.data, data))
    return error;
  CalibratorOptions calibratorOptions;
  calibratorOptions.settings.loss = options.hessiansOnly ? "none" : options.loss;
  calibratorOptions.settings.output = options.lossOutput;
  bool labels = data->hasLabels() && !options.allTokens;
  calibratorOptions.settings.labels = options.hessiansOnly    ? "none"
                                      : options.loss == "mse" ? "target"
                                      : labels                ? "labels"
                                                              : "tokens";
  calibratorOptions.threads = options.threads;
  calibratorOptions.head = options.head;
  calibratorOptions.profile = options.times;
  std::fprintf(stderr, "compiling %s for calibration\n", options.model.c_str());
  if (Error error = Calibrator::create(options.model, calibratorOptions, calibrator))
    return error;
  if (calibrator->usesFile(options.output))
    return makeError(TACQ_INVALID_ARGUMENT, "the output %s is a file of the model %s itself",
                     options.output.c_str(), options.model.c_str());
  if (Error error = data->bind(calibrator->inputs(), calibrator->classes(), options.allTokens))
    return error;

  Statistics &statistics = calibrator->statistics();
  std::string partial = partialPath(options.output);
  if (options.resume && (exists(partial) || exists(options.output))) {
    if (Error error = takeUp(exists(partial) ? partial : options.output, *data, statistics))
      return error;
  } else if (exists(partial)) {
    std::fprintf(stderr,
                 "warning: %s of an interrupted run is not used and will be replaced; --resume "
                 "would go on with it\n",
                 partial.c_str());
  }
  size_t samples = 0;
  for (size_t sample = shard; sample < data->size(); sample += shards) {
    ++samples;
    if (!statistics.covers(data->hash(), sample))
      todo.push_back(sample);
  }
  if (samples == 0)
    return makeError(TACQ_INVALID_ARGUMENT, "shard %s of %zu samples is empty",
                     options.shard.c_str(), data->size());
  if (statistics.sampleCount() != samples - todo.size())
    return makeError(TACQ_INVALID_INPUT,
                     "%s cannot be resumed: it covers samples of another shard; remove it to start "
                     "again",
                     partial.c_str());
  return success();
}

Error CalibrationRun::addSample(size_t sample) {
  std::map<std::string, TensorView> views;
  if (Error error = data->load(sample, views))
    return error;
  SampleFacts facts;
  if (Error error = calibrator->add(views, sample, facts))
    return Error(error.code(), data->place(sample) + ": " + error.message());
  calibrator->statistics().cover(data->hash(), sample, facts.loss, facts.signature);
  return success();
}

Error CalibrationRun::finish() {
  const Statistics &statistics = calibrator->statistics();
  if (Error error = statistics.write(options.output))
    return error;
  std::remove(partialPath(options.output).c_str());
  if (options.times)
    if (Error error = printTimes())
      return error;
  if (options.hessiansOnly)
    std::fprintf(stderr, "%s: %llu samples\n", options.output.c_str(),
                 static_cast<unsigned long long>(statistics.sampleCount()));
  else
    std::fprintf(stderr, "%s: %llu samples, mean loss %.6f\n", options.output.c_str(),
                 static_cast<unsigned long long>(statistics.sampleCount()), statistics.meanLoss());
  return success();
}

/// Where the time went: the parts, and the operators that took most of the module's.
Error CalibrationRun::printTimes() const {
  const CalibrationTimes &times = calibrator->times();
  std::fprintf(stderr, "compile %.2f s, module %.2f s, gradients and Hessians %.2f s\n",
               times.compile, times.run, times.sums);
  std::vector<InProcessModule::ProfileEntry> entries;
  if (Error error = calibrator->profile(entries))
    return error;
  std::map<std::string, std::pair<uint64_t, uint64_t>> totals;
  for (const InProcessModule::ProfileEntry &entry : entries) {
    bool backward = entry.node.compare(0, 8, "gradient") == 0;
    auto &[count, nanoseconds] = totals[(backward ? "gradient of " : "") + entry.op];
    count += entry.count;
    nanoseconds += entry.nanoseconds;
  }
  std::vector<std::pair<uint64_t, std::string>> order;
  for (const auto &[op, total] : totals)
    order.push_back({total.second, op});
  std::sort(order.rbegin(), order.rend());
  for (const auto &[nanoseconds, op] : order)
    std::fprintf(stderr, "%10.3f s  %8llu  %s\n", 1e-9 * static_cast<double>(nanoseconds),
                 static_cast<unsigned long long>(totals[op].first), op.c_str());
  return success();
}

Error tools::calibrate(const CalibrationOptions &options) { return CalibrationRun(options).run(); }
