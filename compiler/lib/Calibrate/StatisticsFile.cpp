//===- StatisticsFile.cpp - Reading and writing statistics ----------------===//

#include "tacq/Calibrate/Statistics.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/raw_ostream.h"
#include <cerrno>
#include <cmath>
#include <cstring>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace tacq;
using llvm::ArrayRef;
using llvm::StringRef;
namespace json = llvm::json;

static constexpr char magic[8] = {'T', 'A', 'C', 'Q', 'S', 'T', 'A', 'T'};
static constexpr uint32_t version = 1;
static constexpr uint64_t alignment = 64;

namespace {
struct Header {
  char magic[8];
  uint32_t version;
  uint32_t reserved;
  /// Of the whole file.
  uint64_t size;
  /// Metadata follow the header; the sums begin at the next multiple of 64 bytes.
  uint64_t metadataSize;
  /// XXH3 (128 bits) of everything behind the header.
  uint64_t checksum[2];
  uint64_t padding;
  /// XXH3 (64 bits) of the fields before.
  uint64_t headerChecksum;
};
static_assert(sizeof(Header) == alignment);

uint64_t headerChecksum(const Header &header) {
  return XXH3_64bits(&header, offsetof(Header, headerChecksum));
}

uint64_t aligned(uint64_t size) { return (size + alignment - 1) / alignment * alignment; }

/// A file that is hashed while it is written, and removed unless it is finished.
class TemporaryFile {
public:
  explicit TemporaryFile(const std::string &path)
      : path(path), temporary(path + ".tmp-" + std::to_string(getpid())),
        file(std::fopen(temporary.c_str(), "wb")), state(XXH3_createState()) {
    XXH3_128bits_reset(state);
    ok = file != nullptr;
    code = ok ? 0 : errno;
  }
  ~TemporaryFile() {
    XXH3_freeState(state);
    if (file)
      std::fclose(file);
    if (!renamed)
      std::remove(temporary.c_str());
  }

  void append(const void *data, size_t size, bool hashed = true) {
    if (hashed)
      XXH3_128bits_update(state, data, size);
    if (ok && std::fwrite(data, 1, size, file) != size)
      fail();
    position += size;
  }
  void pad() {
    static const char zeros[alignment] = {};
    append(zeros, aligned(position) - position);
  }
  /// Writes the header, with the checksum of what was appended, and renames.
  Error finish(Header header) {
    XXH128_hash_t hash = XXH3_128bits_digest(state);
    header.checksum[0] = hash.low64;
    header.checksum[1] = hash.high64;
    header.size = position;
    header.headerChecksum = headerChecksum(header);
    if (ok && std::fseek(file, 0, SEEK_SET) != 0)
      fail();
    if (ok && std::fwrite(&header, sizeof(header), 1, file) != 1)
      fail();
    // What only fits the cache of the system is noticed here.
    if (ok && (std::fflush(file) != 0 || fsync(fileno(file)) != 0))
      fail();
    if (file && std::fclose(file) != 0 && ok)
      fail();
    file = nullptr;
    if (ok && std::rename(temporary.c_str(), path.c_str()) != 0)
      fail();
    renamed = ok;
    if (ok)
      return Error();
    return Error(TACQ_IO,
                 path + " cannot be written: " + std::strerror(code) + "; nothing is left of it");
  }

private:
  void fail() {
    code = errno;
    ok = false;
  }

  std::string path, temporary;
  FILE *file;
  XXH3_state_t *state;
  uint64_t position = 0;
  bool ok = false, renamed = false;
  int code = 0;
};
} // namespace

//===----------------------------------------------------------------------===//
// Metadata
//===----------------------------------------------------------------------===//

static json::Value metadata(const Statistics &statistics) {
  json::Object data;
  for (auto &[hash, ranges] : statistics.covered) {
    json::Array list;
    for (const SampleRange &range : ranges) {
      json::Object entry{{"begin", int64_t(range.begin)},
                         {"end", int64_t(range.end)},
                         {"losses", json::Array(range.losses)},
                         {"signatures", json::Array(range.signatures)}};
      if (range.weight != 1)
        entry["weight"] = range.weight;
      list.push_back(std::move(entry));
    }
    data[hash] = std::move(list);
  }
  json::Array tensors, inputs;
  for (const TensorStatistics &tensor : statistics.tensors)
    tensors.push_back(json::Object{{"name", tensor.name},
                                   {"rows", tensor.rows},
                                   {"columns", tensor.columns},
                                   {"input", int64_t(tensor.input)},
                                   {"head", tensor.head},
                                   {"gradient", !tensor.gradient.empty()}});
  for (const InputStatistics &input : statistics.inputs)
    inputs.push_back(json::Object{{"columns", input.columns}, {"tokens", int64_t(input.tokens)}});
  const StatisticsSettings &settings = statistics.settings;
  return json::Object{{"model", statistics.modelFile},
                      {"model_hash", statistics.modelHash},
                      {"settings", json::Object{{"loss", settings.loss},
                                                {"output", settings.output},
                                                {"labels", settings.labels},
                                                {"hessians", settings.hessians}}},
                      {"folds", statistics.hasFolds ? sampleFolds : 0},
                      {"covered", std::move(data)},
                      {"tensors", std::move(tensors)},
                      {"inputs", std::move(inputs)}};
}

// JSON.h finds these by their argument's namespace.
namespace tacq {
static bool fromJSON(const json::Value &value, SampleRange &range, json::Path path) {
  json::ObjectMapper map(value, path);
  return map && map.map("begin", range.begin) && map.map("end", range.end) &&
         map.map("losses", range.losses) && map.mapOptional("signatures", range.signatures) &&
         map.mapOptional("weight", range.weight);
}

static bool fromJSON(const json::Value &value, TensorStatistics &tensor, json::Path path) {
  json::ObjectMapper map(value, path);
  bool gradient = false;
  uint64_t input = 0;
  if (!map || !map.map("name", tensor.name) || !map.map("rows", tensor.rows) ||
      !map.map("columns", tensor.columns) || !map.map("input", input) ||
      !map.map("head", tensor.head) || !map.map("gradient", gradient))
    return false;
  tensor.input = static_cast<uint32_t>(input);
  // The numbers themselves are found when the sizes have been checked.
  static const double some = 0;
  tensor.gradient = gradient ? StatisticsSum(ArrayRef(some)) : StatisticsSum();
  return true;
}

static bool fromJSON(const json::Value &value, InputStatistics &input, json::Path path) {
  json::ObjectMapper map(value, path);
  return map && map.map("columns", input.columns) && map.map("tokens", input.tokens);
}

static bool fromJSON(const json::Value &value, StatisticsSettings &settings, json::Path path) {
  json::ObjectMapper map(value, path);
  return map && map.map("loss", settings.loss) && map.map("output", settings.output) &&
         map.map("labels", settings.labels) && map.map("hessians", settings.hessians);
}

static bool fromJSON(const json::Value &value, Statistics &statistics, json::Path path) {
  json::ObjectMapper map(value, path);
  int64_t folds = 0;
  if (!map || !map.mapOptional("folds", folds))
    return false;
  statistics.hasFolds = folds == sampleFolds;
  return map.map("model", statistics.modelFile) && map.map("model_hash", statistics.modelHash) &&
         map.map("settings", statistics.settings) && map.map("covered", statistics.covered) &&
         map.map("tensors", statistics.tensors) && map.map("inputs", statistics.inputs);
}
} // namespace tacq

/// Extents and ranges that code may rely on; empty if they are fine.
static std::string inconsistency(const Statistics &statistics) {
  constexpr int64_t largest = int64_t(1) << 31;
  for (const InputStatistics &input : statistics.inputs)
    if (input.columns <= 0 || input.columns >= largest)
      return "an input has " + std::to_string(input.columns) + " columns";
  for (const TensorStatistics &tensor : statistics.tensors) {
    if (tensor.input >= statistics.inputs.size())
      return "tensor '" + tensor.name + "' names an input that is not there";
    if (tensor.rows <= 0 || tensor.rows >= largest ||
        tensor.columns != statistics.inputs[tensor.input].columns)
      return "tensor '" + tensor.name + "' has impossible extents";
  }
  for (auto &[data, ranges] : statistics.covered) {
    uint64_t end = 0;
    for (const SampleRange &range : ranges) {
      if (range.begin < end || range.end <= range.begin ||
          range.losses.size() != range.end - range.begin ||
          range.signatures.size() !=
              (statistics.hasFolds ? range.losses.size() * signatureSize : 0))
        return "its ranges of samples overlap or are empty";
      if (!(range.weight > 0) || !std::isfinite(range.weight))
        return "its samples have weights that are not positive";
      end = range.end;
    }
  }
  return "";
}

//===----------------------------------------------------------------------===//
// Statistics
//===----------------------------------------------------------------------===//

Error Statistics::write(const std::string &path) const {
  std::string text;
  llvm::raw_string_ostream(text) << metadata(*this);
  TemporaryFile out(path);
  Header header = {};
  std::memcpy(header.magic, magic, sizeof(magic));
  header.version = version;
  header.metadataSize = text.size();
  out.append(&header, sizeof(header), /*hashed=*/false);
  out.append(text.data(), text.size());
  out.pad();
  auto append = [&](const StatisticsSum &sum) {
    out.append(sum.values().data(), sum.values().size() * sizeof(double));
    out.pad();
  };
  for (const TensorStatistics &tensor : tensors)
    append(tensor.gradient);
  if (hasFolds)
    for (const TensorStatistics &tensor : tensors) {
      append(tensor.foldGradients);
      append(tensor.sketch);
    }
  for (const InputStatistics &input : inputs)
    append(input.hessian);
  return out.finish(header);
}

Error Statistics::read(const std::string &path, Statistics &statistics) {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false, /*IsVolatile=*/false,
                                            llvm::Align(alignment));
  if (!buffer)
    return Error(TACQ_IO, path + " cannot be read: " + buffer.getError().message());
  auto invalid = [&](const std::string &reason) {
    return Error(TACQ_INVALID_INPUT, path + " " + reason);
  };
  StringRef bytes = (*buffer)->getBuffer();
  Header header;
  if (bytes.size() < sizeof(magic) || std::memcmp(bytes.data(), magic, sizeof(magic)) != 0)
    return invalid("is no statistics file of tacq-calibrate");
  if (bytes.size() < sizeof(header))
    return invalid("is truncated: its header is not complete");
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header.version != version)
    return invalid("has version " + std::to_string(header.version) + "; this TACQ reads version " +
                   std::to_string(version));
  if (header.headerChecksum != headerChecksum(header))
    return invalid("was altered: the checksum of its header does not fit");
  if (header.size != bytes.size())
    return invalid("is truncated: it has " + std::to_string(bytes.size()) + " of " +
                   std::to_string(header.size) + " bytes");
  StringRef content = bytes.drop_front(sizeof(header));
  XXH128_hash_t hash = XXH3_128bits(content.data(), content.size());
  if (hash.low64 != header.checksum[0] || hash.high64 != header.checksum[1])
    return invalid("was altered: its checksum does not fit");

  // A writer of another kind may have made it, so what it says is checked nevertheless.
  if (header.metadataSize > content.size())
    return invalid("is damaged: its metadata are larger than the file");
  llvm::Expected<json::Value> value = json::parse(content.take_front(header.metadataSize));
  json::Path::Root root("statistics");
  if (!value || !fromJSON(*value, statistics, root)) {
    std::string reason = llvm::toString(value ? root.getError() : value.takeError());
    return invalid("is damaged: its metadata cannot be read: " + reason);
  }
  if (std::string reason = inconsistency(statistics); !reason.empty())
    return invalid("is damaged: " + reason);

  uint64_t offset = aligned(sizeof(header) + header.metadataSize);
  bool fits = true;
  auto take = [&](uint64_t count) -> StatisticsSum {
    fits = fits && offset <= bytes.size() && count <= (bytes.size() - offset) / sizeof(double);
    if (!fits)
      return StatisticsSum();
    auto *numbers = reinterpret_cast<const double *>(bytes.data() + offset);
    offset = aligned(offset + count * sizeof(double));
    return StatisticsSum(ArrayRef(numbers, count));
  };
  for (TensorStatistics &tensor : statistics.tensors)
    if (!tensor.gradient.empty())
      tensor.gradient = take(uint64_t(tensor.rows) * uint64_t(tensor.columns));
  if (statistics.hasFolds)
    for (TensorStatistics &tensor : statistics.tensors) {
      uint64_t sketched = uint64_t(tensor.sketchedRows()) * uint64_t(tensor.columns);
      tensor.foldGradients = take(sampleFolds * sketched);
      tensor.sketch = take(sketched);
    }
  for (InputStatistics &input : statistics.inputs)
    input.hessian = take(uint64_t(input.columns) * uint64_t(input.columns + 1) / 2);
  if (!fits || offset != bytes.size())
    return invalid("is damaged: its sums do not fill the file");
  statistics.file = std::move(*buffer);
  return Error();
}
