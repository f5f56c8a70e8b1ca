//===- Npz.cpp - .npz files -----------------------------------------------===//
//
// Read with libzip, which knows all that others write. Written by hand: stored entries with ZIP64
// fields and a fixed date, so that the bytes depend on the arrays alone (libzip enters local time).
//
//===----------------------------------------------------------------------===//

#include "NpyFormat.h"
#include "tacq/OutputFile.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <unistd.h>
#include <zip.h>
#include <zlib.h>

using namespace tacq;

// ---- reading -------------------------------------------------------------------------------

Error NpzReader::open(const std::string &path, std::unique_ptr<NpzReader> &reader) {
  int code = 0;
  zip_t *archive = zip_open(path.c_str(), ZIP_RDONLY, &code);
  if (!archive) {
    zip_error_t detail;
    zip_error_init_with_code(&detail, code);
    std::string text = zip_error_strerror(&detail);
    zip_error_fini(&detail);
    bool isIo = code == ZIP_ER_NOENT || code == ZIP_ER_OPEN || code == ZIP_ER_READ;
    return makeError(isIo ? TACQ_IO : TACQ_INVALID_INPUT, "'%s' cannot be opened as .npz: %s",
                     path.c_str(), text.c_str());
  }
  std::unique_ptr<NpzReader> result(new NpzReader());
  result->path = path;
  result->archive = archive;
  zip_int64_t count = zip_get_num_entries(archive, 0);
  for (zip_int64_t i = 0; i < count; ++i) {
    const char *entry = zip_get_name(archive, static_cast<zip_uint64_t>(i), 0);
    std::string name = entry ? entry : "";
    if (name.size() < 4 || name.compare(name.size() - 4, 4, ".npy") != 0)
      return makeError(TACQ_INVALID_INPUT, "'%s': '%s' is no .npy file", path.c_str(),
                       name.c_str());
    result->arrayNames.push_back(name.substr(0, name.size() - 4));
  }
  reader = std::move(result);
  return success();
}

NpzReader::~NpzReader() {
  if (archive)
    zip_discard(static_cast<zip_t *>(archive));
}

bool NpzReader::has(const std::string &name) const {
  return std::find(arrayNames.begin(), arrayNames.end(), name) != arrayNames.end();
}

Error NpzReader::read(const std::string &name, NpyArray &array) const {
  auto *zip = static_cast<zip_t *>(archive);
  auto found = std::find(arrayNames.begin(), arrayNames.end(), name);
  if (found == arrayNames.end()) {
    std::string known;
    for (const std::string &each : arrayNames)
      known += (known.empty() ? "" : ", ") + each;
    return makeError(TACQ_INVALID_INPUT, "'%s' has no array '%s'; it has %s", path.c_str(),
                     name.c_str(), known.empty() ? "none" : known.c_str());
  }
  auto index = static_cast<zip_uint64_t>(found - arrayNames.begin());
  std::string what = formatText("'%s', array '%s'", path.c_str(), name.c_str());
  zip_stat_t info;
  zip_file_t *file = nullptr;
  if (zip_stat_index(zip, index, 0, &info) != 0 || !(info.valid & ZIP_STAT_SIZE) ||
      !(file = zip_fopen_index(zip, index, 0)))
    return makeError(TACQ_INVALID_INPUT, "%s cannot be read: %s", what.c_str(), zip_strerror(zip));
  // Read in steps: the size that a damaged directory tells is not to be believed.
  std::vector<uint8_t> bytes;
  constexpr size_t kStep = size_t(16) << 20;
  for (;;) {
    size_t before = bytes.size();
    bytes.resize(before + std::min<uint64_t>(kStep, info.size - before + 1));
    zip_int64_t got = zip_fread(file, bytes.data() + before, bytes.size() - before);
    if (got < 0) {
      std::string text = zip_file_strerror(file);
      zip_fclose(file);
      return makeError(TACQ_INVALID_INPUT, "%s cannot be read: %s", what.c_str(), text.c_str());
    }
    bytes.resize(before + static_cast<size_t>(got));
    if (got == 0 || bytes.size() > info.size)
      break;
  }
  zip_fclose(file);
  return parseNpy(bytes.data(), bytes.size(), what, array);
}

// ---- writing -------------------------------------------------------------------------------

namespace {

void put(std::string &to, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i)
    to += static_cast<char>(value >> (8 * i) & 255);
}

constexpr uint64_t kFixedDate = 33; // 1 January 1980, the first day there is
constexpr uint32_t kIn64 = 0xFFFFFFFFu;

/// The part that local and central headers share: version to lengths of name and extra field.
void putCommon(std::string &to, uint32_t checksum, size_t nameSize, size_t extraSize) {
  put(to, 45, 2);    // needs ZIP64
  put(to, 0x800, 2); // names are UTF-8
  put(to, 0, 2);     // stored
  put(to, 0, 2);     // time
  put(to, kFixedDate, 2);
  put(to, checksum, 4);
  put(to, kIn64, 4);
  put(to, kIn64, 4);
  put(to, nameSize, 2);
  put(to, extraSize, 2);
}

uint32_t extendChecksum(uint32_t checksum, const void *data, size_t size) {
  auto *bytes = static_cast<const Bytef *>(data);
  while (size > 0) {
    auto step = static_cast<uInt>(std::min<size_t>(size, 1u << 30));
    checksum = static_cast<uint32_t>(crc32(checksum, bytes, step));
    bytes += step;
    size -= step;
  }
  return checksum;
}

} // namespace

Error NpzWriter::create(const std::string &path, std::unique_ptr<NpzWriter> &writer) {
  std::unique_ptr<NpzWriter> result(new NpzWriter());
  result->path = path;
  if (Error error = openTemporary(path, result->temporary, result->file))
    return error;
  writer = std::move(result);
  return success();
}

NpzWriter::~NpzWriter() {
  if (file) {
    fclose(file);
    unlink(temporary.c_str());
  }
}

Error NpzWriter::write(const void *data, size_t size) {
  if (size > 0 && fwrite(data, 1, size, file) != size)
    return makeError(TACQ_IO, "'%s' cannot be written: %s", path.c_str(), strerror(errno));
  position += size;
  return success();
}

Error NpzWriter::add(const std::string &name, tacq_element_type_t type,
                     const std::vector<int64_t> &dims, const void *data) {
  std::string npy;
  size_t bytes;
  std::string what = formatText("'%s', array '%s'", path.c_str(), name.c_str());
  if (Error error = makeNpyHeader(type, dims, what, npy, bytes))
    return error;
  for (const Entry &entry : entries)
    if (entry.name == name + ".npy")
      return makeError(TACQ_INVALID_ARGUMENT, "%s is written twice", what.c_str());
  Entry entry;
  entry.name = name + ".npy";
  if (entry.name.size() > 65535)
    return makeError(TACQ_INVALID_ARGUMENT, "%s: the name is too long", what.c_str());
  entry.offset = position;
  entry.size = npy.size() + bytes;
  entry.checksum = extendChecksum(extendChecksum(0, npy.data(), npy.size()), data, bytes);
  std::string header = "PK\x03\x04";
  putCommon(header, entry.checksum, entry.name.size(), 20);
  header += entry.name;
  put(header, 1, 2); // ZIP64
  put(header, 16, 2);
  put(header, entry.size, 8);
  put(header, entry.size, 8);
  if (Error error = write(header.data(), header.size()))
    return error;
  if (Error error = write(npy.data(), npy.size()))
    return error;
  if (Error error = write(data, bytes))
    return error;
  entries.push_back(std::move(entry));
  return success();
}

Error NpzWriter::add(const std::string &name, const NpyArray &array) {
  return add(name, array.type(), array.dims(), array.data());
}

Error NpzWriter::finish() {
  uint64_t directory = position;
  std::string text;
  for (const Entry &entry : entries) {
    text += "PK\x01\x02";
    put(text, 45, 2); // made by
    putCommon(text, entry.checksum, entry.name.size(), 28);
    put(text, 0, 2); // comment
    put(text, 0, 2); // disk
    put(text, 0, 2); // internal attributes
    put(text, 0, 4); // external attributes
    put(text, kIn64, 4);
    text += entry.name;
    put(text, 1, 2);
    put(text, 24, 2);
    put(text, entry.size, 8);
    put(text, entry.size, 8);
    put(text, entry.offset, 8);
  }
  uint64_t directorySize = text.size();
  text += "PK\x06\x06"; // ZIP64 end of directory
  put(text, 44, 8);
  put(text, 45, 2);
  put(text, 45, 2);
  put(text, 0, 4);
  put(text, 0, 4);
  put(text, entries.size(), 8);
  put(text, entries.size(), 8);
  put(text, directorySize, 8);
  put(text, directory, 8);
  text += "PK\x06\x07"; // its locator
  put(text, 0, 4);
  put(text, directory + directorySize, 8);
  put(text, 1, 4);
  text += "PK\x05\x06"; // end of directory
  put(text, 0, 4);
  put(text, std::min<uint64_t>(entries.size(), 0xFFFF), 2);
  put(text, std::min<uint64_t>(entries.size(), 0xFFFF), 2);
  put(text, kIn64, 4);
  put(text, kIn64, 4);
  put(text, 0, 2);
  Error error = write(text.data(), text.size());
  bool closed = fclose(file) == 0;
  file = nullptr;
  if (!error && (!closed || rename(temporary.c_str(), path.c_str()) != 0))
    error = makeError(TACQ_IO, "'%s' cannot be written: %s", path.c_str(), strerror(errno));
  if (error)
    unlink(temporary.c_str());
  return error;
}
