//===- ProductBenchmark.cpp - One product on any device -------------------===//

#include "ProductBenchmark.h"

#include "Handles.h"
#include "RotatedModule.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <unistd.h>
#include <vector>

using namespace tacq;
using namespace tacq::tools;

namespace {

/// What is measured should take longer than what a clock and a submission add.
constexpr double kShortest = 5e-3;
constexpr int64_t kMostPasses = 16;

class Measurement {
public:
  explicit Measurement(const ProductBenchmarkOptions &options) : options(options) {}

  Error open(const std::string &path) {
    if (Error error = load(path, options.device, loaded))
      return error;
    tacq_session_t *created = nullptr;
    if (Error error =
            take(tacq_session_create(loaded.module.get(), loaded.device.get(), nullptr, &created)))
      return error;
    session.reset(created);
    for (size_t i = 0; i < tacq_module_input_count(loaded.module.get()); ++i) {
      tacq_tensor_info_t info;
      if (Error error = inputInfo(loaded.module.get(), i, info))
        return error;
      std::vector<int64_t> dims(info.dims, info.dims + info.rank);
      if (std::count(dims.begin(), dims.end(), -1) == 0)
        if (Error error = set(i, dims))
          return error;
    }
    return success();
  }

  /// The seconds of a pass through all copies, in the best repetition.
  Error time(const char *loop, double &seconds) {
    for (const char *each : {kInOrder, kOverlapping, kReadings})
      if (tacq_module_find_input(loaded.module.get(), each) >= 0)
        if (Error error = passes(each, 0))
          return error;
    double once = 0, more = 0;
    if (Error error = best(loop, 1, once))
      return error;
    int64_t count = std::clamp<int64_t>(int64_t(std::ceil(kShortest / once)), 1, kMostPasses);
    if (Error error = best(loop, 1 + count, more))
      return error;
    seconds = std::max(more - once, 1e-9) / static_cast<double>(count);
    return success();
  }

  Error describe(ProductBenchmarkResult &result) const {
    tacq_device_info_t info = {};
    info.struct_size = sizeof(info);
    if (Error error = take(tacq_device_get_info(loaded.device.get(), &info)))
      return error;
    result.device = info.description;
    return success();
  }

private:
  Error set(size_t index, const std::vector<int64_t> &dims) {
    tacq_tensor_info_t info;
    if (Error error = inputInfo(loaded.module.get(), index, info))
      return error;
    size_t count = 1;
    for (int64_t extent : dims)
      count *= static_cast<size_t>(extent);
    std::vector<char> &bytes = data[index];
    // Numbers of f16 and f32 that are small and not 0.
    bytes.assign(std::max<size_t>(1, count) * tacq_element_size(info.element_type), 0x24);
    return take(tacq_session_set_input_data(session.get(), index, info.element_type, dims.data(),
                                            dims.size(), bytes.data(), bytes.size()));
  }

  Error passes(const char *loop, int64_t count) {
    return set(static_cast<size_t>(tacq_module_find_input(loaded.module.get(), loop)), {count});
  }

  Error best(const char *loop, int64_t count, double &seconds) {
    if (Error error = passes(loop, count))
      return error;
    seconds = INFINITY;
    // The first run records the commands.
    for (int repetition = -1; repetition < options.repetitions; ++repetition) {
      tacq_session_counters_t before = {}, after = {};
      before.struct_size = after.struct_size = sizeof(before);
      if (Error error = take(tacq_session_get_counters(session.get(), &before)))
        return error;
      if (Error error = take(tacq_session_run(session.get())))
        return error;
      if (Error error = take(tacq_session_get_counters(session.get(), &after)))
        return error;
      uint64_t device = after.device_ns - before.device_ns;
      uint64_t time = device ? device : after.run_ns - before.run_ns;
      if (repetition >= 0)
        seconds = std::min(seconds, static_cast<double>(time) * 1e-9);
    }
    return success();
  }

  const ProductBenchmarkOptions &options;
  Loaded loaded;
  Session session;
  std::map<size_t, std::vector<char>> data;
};

} // namespace

TemporaryModule::TemporaryModule() {
  static int made = 0;
  const char *folder = std::getenv("TMPDIR");
  path = formatText("%s/tacq-%d-%d.tacq", folder && *folder ? folder : "/tmp",
                    static_cast<int>(getpid()), made++);
}

TemporaryModule::~TemporaryModule() { unlink(path.c_str()); }

Error tools::benchmarkProduct(const ProductBenchmarkOptions &options,
                              ProductBenchmarkResult &result) {
  TemporaryModule file;
  Rotation rotation;
  if (Error error = rotateModule(options.module, file.path, options.streamedBytes, rotation))
    return error;
  result.weightBytes = rotation.weightBytes;
  result.copies = rotation.copies;
  Measurement measurement(options);
  if (Error error = measurement.open(file.path))
    return error;
  if (Error error = measurement.describe(result))
    return error;
  auto copies = static_cast<double>(rotation.copies);
  if (Error error = measurement.time(kInOrder, result.seconds))
    return error;
  result.seconds /= copies;
  if (Error error = measurement.time(kOverlapping, result.overlappingSeconds))
    return error;
  result.overlappingSeconds /= copies;
  if (!rotation.hasReading)
    return success();
  double reading = 0;
  if (Error error = measurement.time(kReadings, reading))
    return error;
  result.readBytesPerSecond = static_cast<double>(rotation.weightBytes) * copies / reading;
  return success();
}
