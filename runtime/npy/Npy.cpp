//===- Npy.cpp - .npy files -----------------------------------------------===//

#include "NpyFormat.h"
#include "tacq/OutputFile.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sys/stat.h>
#include <unistd.h>

using namespace tacq;

static const char kMagic[] = "\x93NUMPY";
static constexpr size_t kMagicSize = 6;

static const struct {
  const char *code; // without byte order
  tacq_element_type_t type;
} kTypes[] = {{"b1", TACQ_BOOL}, {"i1", TACQ_I8},  {"i2", TACQ_I16}, {"i4", TACQ_I32},
              {"i8", TACQ_I64},  {"u1", TACQ_U8},  {"u2", TACQ_U16}, {"u4", TACQ_U32},
              {"u8", TACQ_U64},  {"f2", TACQ_F16}, {"f4", TACQ_F32}, {"f8", TACQ_F64}};

Error NpyArray::create(tacq_element_type_t type, std::vector<int64_t> dims, NpyArray &array) {
  int64_t count = 1, bytes = static_cast<int64_t>(tacq_element_size(type));
  if (bytes == 0)
    return makeError(TACQ_INVALID_ARGUMENT, "an array needs an element type");
  bool zero = false;
  for (int64_t extent : dims) {
    if (extent < 0)
      return makeError(TACQ_INVALID_ARGUMENT, "an array has the negative extent %lld",
                       static_cast<long long>(extent));
    zero |= extent == 0;
    if (extent > 0 && (__builtin_mul_overflow(count, extent, &count) ||
                       __builtin_mul_overflow(bytes, extent, &bytes)))
      return makeError(TACQ_INVALID_ARGUMENT, "an array is too large for 64 bits");
  }
  if (zero)
    count = bytes = 0;
  size_t padded = (static_cast<size_t>(bytes) + 64) / 64 * 64;
  // calloc leaves the pages of large arrays untouched; the room before is for the alignment.
  void *block = calloc(1, padded + 64);
  if (!block)
    return makeError(TACQ_OUT_OF_MEMORY, "%zu bytes for an array cannot be allocated", padded);
  auto address = (reinterpret_cast<uintptr_t>(block) + 63) / 64 * 64;
  array.elementType = type;
  array.extents = std::move(dims);
  array.count = count;
  array.memory = std::shared_ptr<uint8_t>(reinterpret_cast<uint8_t *>(address),
                                          [block](uint8_t *) { free(block); });
  return success();
}

namespace {

/// Reads the dictionary literal of a header: strings, booleans, and tuples of integers.
class HeaderParser {
public:
  HeaderParser(const char *text, size_t size) : at(text), end(text + size) {}

  bool parse(std::string &descr, bool &fortranOrder, std::vector<int64_t> &shape) {
    bool seen[3] = {};
    if (!take('{'))
      return false;
    while (!take('}')) {
      std::string key;
      if (!string(key) || !take(':'))
        return false;
      if (key == "descr") {
        seen[0] = true;
        if (!string(descr))
          return false;
      } else if (key == "fortran_order") {
        seen[1] = true;
        if (word("True"))
          fortranOrder = true;
        else if (word("False"))
          fortranOrder = false;
        else
          return false;
      } else if (key == "shape") {
        seen[2] = true;
        if (!tuple(shape))
          return false;
      } else
        return false;
      if (!take(',') && !peek('}'))
        return false;
    }
    return seen[0] && seen[1] && seen[2];
  }

private:
  void skip() {
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\t'))
      ++at;
  }
  bool peek(char c) {
    skip();
    return at < end && *at == c;
  }
  bool take(char c) {
    if (!peek(c))
      return false;
    ++at;
    return true;
  }
  bool word(const char *text) {
    skip();
    size_t length = strlen(text);
    if (static_cast<size_t>(end - at) < length || memcmp(at, text, length) != 0)
      return false;
    at += length;
    return true;
  }
  bool string(std::string &text) {
    skip();
    if (at >= end || (*at != '\'' && *at != '"'))
      return false;
    char quote = *at++;
    const char *start = at;
    while (at < end && *at != quote)
      ++at;
    if (at >= end)
      return false;
    text.assign(start, at++);
    return true;
  }
  bool tuple(std::vector<int64_t> &values) {
    if (!take('('))
      return false;
    while (!take(')')) {
      skip();
      int64_t value = 0;
      const char *start = at;
      for (; at < end && *at >= '0' && *at <= '9'; ++at)
        if (__builtin_mul_overflow(value, int64_t(10), &value) ||
            __builtin_add_overflow(value, int64_t(*at - '0'), &value))
          return false;
      if (at == start)
        return false;
      values.push_back(value);
      if (!take(',') && !peek(')'))
        return false;
    }
    return true;
  }

  const char *at;
  const char *end;
};

} // namespace

Error tacq::parseNpy(const uint8_t *bytes, size_t size, const std::string &what, NpyArray &array) {
  auto bad = [&](const std::string &text) {
    return makeError(TACQ_INVALID_INPUT, "%s: %s", what.c_str(), text.c_str());
  };
  if (size < 12 || memcmp(bytes, kMagic, kMagicSize) != 0)
    return bad("this is not an .npy file");
  int version = bytes[6];
  size_t headerAt = version == 1 ? 10 : 12;
  size_t headerSize = bytes[8] | static_cast<size_t>(bytes[9]) << 8;
  if (version == 2 || version == 3)
    headerSize |= static_cast<size_t>(bytes[10]) << 16 | static_cast<size_t>(bytes[11]) << 24;
  else if (version != 1)
    return bad(formatText("the .npy format has version %d, known are 1, 2 and 3", version));
  if (headerSize > size - headerAt)
    return bad("the file ends inside the .npy header; it is truncated");
  std::string descr;
  bool fortranOrder = false;
  std::vector<int64_t> shape;
  if (!HeaderParser(reinterpret_cast<const char *>(bytes) + headerAt, headerSize)
           .parse(descr, fortranOrder, shape))
    return bad("the .npy header cannot be understood; structured types are not supported");
  tacq_element_type_t type = TACQ_ELEMENT_NONE;
  bool ordered = !descr.empty() && strchr("<|=>", descr[0]);
  for (const auto &entry : kTypes)
    if (descr.compare(ordered ? 1 : 0, std::string::npos, entry.code) == 0)
      type = entry.type;
  if (type == TACQ_ELEMENT_NONE)
    return bad(formatText("elements of type '%s' are not supported", descr.c_str()));
  if (descr[0] == '>' && tacq_element_size(type) > 1)
    return bad("the elements are big-endian; save the array in native byte order");
  size_t longAxes = 0;
  for (int64_t extent : shape)
    longAxes += extent > 1;
  if (fortranOrder && longAxes > 1)
    return bad("the array is in Fortran order; save numpy.ascontiguousarray(x) instead");
  // The file bounds what is allocated.
  int64_t needed = static_cast<int64_t>(tacq_element_size(type));
  for (int64_t extent : shape)
    if (__builtin_mul_overflow(needed, extent, &needed))
      return bad("the shape is too large");
  size_t dataAt = headerAt + headerSize;
  if (static_cast<uint64_t>(needed) > size - dataAt)
    return bad(formatText("the array needs %lld bytes but the file has %zu; it is truncated",
                          static_cast<long long>(needed), size - dataAt));
  if (static_cast<uint64_t>(needed) < size - dataAt)
    return bad(formatText("the array needs %lld bytes but the file has %zu",
                          static_cast<long long>(needed), size - dataAt));
  if (Error error = NpyArray::create(type, std::move(shape), array))
    return bad(error.message());
  if (needed > 0)
    memcpy(array.data(), bytes + dataAt, static_cast<size_t>(needed));
  return success();
}

Error tacq::makeNpyHeader(tacq_element_type_t type, const std::vector<int64_t> &dims,
                          const std::string &what, std::string &header, size_t &dataBytes) {
  const char *code = nullptr;
  for (const auto &entry : kTypes)
    if (entry.type == type)
      code = entry.code;
  if (!code)
    return makeError(TACQ_UNSUPPORTED, "%s: .npy has no element type %s", what.c_str(),
                     tacq_element_name(type));
  int64_t bytes = static_cast<int64_t>(tacq_element_size(type));
  std::string text = formatText("{'descr': '%c%s', 'fortran_order': False, 'shape': (",
                                tacq_element_size(type) == 1 ? '|' : '<', code);
  for (size_t i = 0; i < dims.size(); ++i) {
    text += std::to_string(dims[i]);
    text += dims.size() == 1 ? "," : i + 1 < dims.size() ? ", " : "";
    if (dims[i] < 0 || __builtin_mul_overflow(bytes, dims[i], &bytes))
      return makeError(TACQ_INVALID_ARGUMENT, "%s: impossible shape", what.c_str());
  }
  text += "), }";
  bool isLong = text.size() + 75 > 65535;
  size_t prefix = isLong ? 12 : 10;
  text.append(63 - (prefix + text.size()) % 64, ' ');
  text += '\n';
  header.assign(kMagic, kMagicSize);
  header += static_cast<char>(isLong ? 2 : 1);
  header += '\0';
  for (size_t i = 0; i < prefix - 8; ++i)
    header += static_cast<char>(text.size() >> (8 * i) & 255);
  header += text;
  dataBytes = static_cast<size_t>(bytes);
  return success();
}

Error tacq::readNpy(const std::string &path, NpyArray &array) {
  FILE *file = fopen(path.c_str(), "rb");
  if (!file)
    return makeError(TACQ_IO, "'%s' cannot be opened: %s", path.c_str(), strerror(errno));
  std::vector<uint8_t> bytes;
  struct stat info;
  if (fstat(fileno(file), &info) != 0 || !S_ISREG(info.st_mode)) {
    fclose(file);
    return makeError(TACQ_IO, "'%s' is not a regular file", path.c_str());
  }
  bytes.resize(static_cast<size_t>(info.st_size));
  size_t got = fread(bytes.data(), 1, bytes.size(), file);
  bool failed = ferror(file) != 0;
  fclose(file);
  if (failed)
    return makeError(TACQ_IO, "'%s' cannot be read: %s", path.c_str(), strerror(errno));
  return parseNpy(bytes.data(), got, "'" + path + "'", array);
}

Error tacq::writeNpy(const std::string &path, tacq_element_type_t type,
                     const std::vector<int64_t> &dims, const void *data) {
  std::string header;
  size_t bytes;
  if (Error error = makeNpyHeader(type, dims, "'" + path + "'", header, bytes))
    return error;
  std::string temporary;
  FILE *file = nullptr;
  if (Error error = openTemporary(path, temporary, file))
    return error;
  bool written = fwrite(header.data(), 1, header.size(), file) == header.size() &&
                 (bytes == 0 || fwrite(data, 1, bytes, file) == bytes);
  int writeError = errno;
  if (fclose(file) != 0 && written) {
    written = false;
    writeError = errno;
  }
  if (written && rename(temporary.c_str(), path.c_str()) == 0)
    return success();
  if (written)
    writeError = errno;
  unlink(temporary.c_str());
  return makeError(TACQ_IO, "'%s' cannot be written: %s", path.c_str(), strerror(writeError));
}

Error tacq::writeNpy(const std::string &path, const NpyArray &array) {
  return writeNpy(path, array.type(), array.dims(), array.data());
}
