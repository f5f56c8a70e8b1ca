//===- TuningState.cpp - Where a tuning stands ----------------------------===//
//
// The file is a magic number, the fields, for each set of numbers its four arrays, and XXH3 of all
// of it; it is read where it was written, so the order of bytes is the machine's.
//
//===----------------------------------------------------------------------===//

#include "TuningState.h"
#include "tacq/TextFile.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Support/xxhash.h"
#include <cstring>

using namespace tacq;

static constexpr uint64_t magic = 0x32454e5554514354; // "TCQTUNE2"

namespace {
/// Appends or takes each field in turn, so that writing and reading cannot differ.
class Writer {
public:
  template <typename T> bool field(const T &value) {
    bytes.append(reinterpret_cast<const char *>(&value), sizeof(value));
    return true;
  }
  bool array(const std::vector<float> &values) {
    bytes.append(reinterpret_cast<const char *>(values.data()), values.size() * sizeof(float));
    return true;
  }
  std::string bytes;
};

class Reader {
public:
  explicit Reader(llvm::StringRef bytes) : bytes(bytes) {}
  template <typename T> bool field(T &value) {
    if (bytes.size() < sizeof(value))
      return false;
    std::memcpy(&value, bytes.data(), sizeof(value));
    bytes = bytes.drop_front(sizeof(value));
    return true;
  }
  bool array(std::vector<float> &values) {
    size_t size = values.size() * sizeof(float);
    if (bytes.size() < size)
      return false;
    std::memcpy(values.data(), bytes.data(), size);
    bytes = bytes.drop_front(size);
    return true;
  }
  llvm::StringRef bytes;
};

template <typename File, typename State> bool transfer(File &file, State &state) {
  bool good = file.field(state.step) && file.field(state.bestStep) &&
              file.field(state.looksWithoutProgress) && file.field(state.lowered) &&
              file.field(state.heldBefore) && file.field(state.best) &&
              file.field(state.sampleBefore);
  for (auto &numbers : state.numbers)
    good = good && file.array(numbers.values) && file.array(numbers.average) &&
           file.array(numbers.best) && file.array(numbers.adam.mean) &&
           file.array(numbers.adam.square);
  return good;
}
} // namespace

Error tacq::writeTuningState(const std::string &path, const TuningState &state) {
  Writer writer;
  writer.field(magic);
  writer.field(state.fingerprint);
  transfer(writer, state);
  writer.field(llvm::xxh3_64bits(llvm::arrayRefFromStringRef(writer.bytes)));
  return writeTextFile(path, [&](llvm::raw_ostream &os) { os << writer.bytes; });
}

Error tacq::readTuningState(const std::string &path, TuningState &state) {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer)
    return Error(TACQ_IO, path + " cannot be read: " + buffer.getError().message());
  llvm::StringRef bytes = (*buffer)->getBuffer();
  auto damaged = [&] {
    return Error(TACQ_INVALID_INPUT,
                 path + " is no state of a tuning, or is damaged; remove it to start again");
  };
  uint64_t found = 0, fingerprint = 0, checksum = 0;
  if (bytes.size() < 3 * sizeof(uint64_t))
    return damaged();
  llvm::StringRef content = bytes.drop_back(sizeof(checksum));
  std::memcpy(&checksum, content.end(), sizeof(checksum));
  Reader reader(content);
  reader.field(found);
  reader.field(fingerprint);
  if (found != magic || checksum != llvm::xxh3_64bits(llvm::arrayRefFromStringRef(content)))
    return damaged();
  if (fingerprint != state.fingerprint)
    return Error(TACQ_INVALID_INPUT, path + " cannot be resumed: it is of a tuning of other "
                                            "weights, data or settings; remove it to start again");
  if (!transfer(reader, state) || !reader.bytes.empty())
    return damaged();
  return success();
}
