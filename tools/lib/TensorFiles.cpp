//===- TensorFiles.cpp - Tensors by the names of tools' flags -------------===//

#include "TensorFiles.h"

#include "Elements.h"
#include "tacq/OutputFile.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <sys/stat.h>

using namespace tacq;
using namespace tacq::tools;

Error tools::readArchive(const std::string &path,
                         const std::function<bool(const std::string &)> &wanted, Archive &archive) {
  std::unique_ptr<NpzReader> reader;
  if (Error error = NpzReader::open(path, reader))
    return error;
  for (const std::string &name : reader->names())
    if (wanted(name))
      if (Error error = reader->read(name, archive[name]))
        return error;
  return success();
}

Error tools::readTensor(const std::string &file, NpyArray &tensor) {
  size_t colon = file.rfind(".npz:");
  if (colon == std::string::npos) {
    if (endsWith(file, ".npz"))
      return makeError(TACQ_INVALID_ARGUMENT,
                       "%s holds several arrays; name one of them, as in %s:ARRAY", file.c_str(),
                       file.c_str());
    return readNpy(file, tensor);
  }
  std::unique_ptr<NpzReader> reader;
  if (Error error = NpzReader::open(file.substr(0, colon + 4), reader))
    return error;
  return reader->read(file.substr(colon + 5), tensor);
}

Error tools::writeTensor(const std::string &path, tacq_element_type_t type,
                         const std::vector<int64_t> &dims, const void *data) {
  if (type != TACQ_BF16)
    return writeNpy(path, type, dims, data);
  NpyArray wide;
  if (Error error = NpyArray::create(TACQ_F32, dims, wide))
    return error;
  convertToFloat(type, data, wide.elementCount(), wide.as<float>());
  return writeNpy(path, wide);
}

Error tools::writeText(const std::string &path, const std::string &text) {
  struct stat existing;
  // A device or a pipe is written to, not replaced.
  bool inPlace = stat(path.c_str(), &existing) == 0 && !S_ISREG(existing.st_mode) &&
                 !S_ISDIR(existing.st_mode);
  std::string temporary = path;
  FILE *file = inPlace ? std::fopen(path.c_str(), "wbe") : nullptr;
  if (inPlace && !file)
    return makeError(TACQ_IO, "'%s' cannot be written: %s", path.c_str(), std::strerror(errno));
  if (!inPlace)
    if (Error error = openTemporary(path, temporary, file))
      return error;
  bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  written &= std::fclose(file) == 0;
  if (written && (inPlace || std::rename(temporary.c_str(), path.c_str()) == 0))
    return success();
  int reason = errno;
  if (!inPlace)
    std::remove(temporary.c_str());
  return makeError(TACQ_IO, "'%s' cannot be written: %s", path.c_str(), std::strerror(reason));
}

bool tools::endsWith(const std::string &text, const std::string &end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}
