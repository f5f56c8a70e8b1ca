//===- OutputFile.cpp - Files that are written whole or not at all --------===//

#include "tacq/OutputFile.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace tacq;

static Error cannotWrite(const std::string &path, const char *reason) {
  return makeError(TACQ_IO, "'%s' cannot be written: %s", path.c_str(), reason);
}

Error tacq::openTemporary(const std::string &path, std::string &temporary, FILE *&file) {
  file = nullptr;
  if (path.empty() || path.back() == '/')
    return cannotWrite(path, "it is not the name of a file");
  struct stat existing;
  if (stat(path.c_str(), &existing) == 0 && !S_ISREG(existing.st_mode))
    return cannotWrite(path, "it is not a regular file");
  // O_EXCL: two writers of one output, or a leftover, get different names.
  int descriptor = -1;
  for (int attempt = 0; attempt < 100 && descriptor < 0; ++attempt) {
    temporary = formatText("%s.tmp-%ld-%d", path.c_str(), static_cast<long>(getpid()), attempt);
    descriptor = open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor < 0 && errno != EEXIST)
      break;
  }
  if (descriptor < 0)
    return cannotWrite(path, strerror(errno));
  file = fdopen(descriptor, "w+b");
  if (file)
    return success();
  int reason = errno;
  close(descriptor);
  unlink(temporary.c_str());
  return cannotWrite(path, strerror(reason));
}

Error tacq::checkOutputFile(const std::string &path, OutputKind kind) {
  struct stat existing;
  if (kind == OutputKind::Any && stat(path.c_str(), &existing) == 0 && !S_ISREG(existing.st_mode) &&
      !S_ISDIR(existing.st_mode))
    return access(path.c_str(), W_OK) == 0 ? success() : cannotWrite(path, strerror(errno));
  // Permissions do not tell all (file systems are full or read-only): the way that the output will
  // go is tried.
  std::string temporary;
  FILE *file = nullptr;
  if (Error error = openTemporary(path, temporary, file))
    return error;
  fclose(file);
  unlink(temporary.c_str());
  return success();
}

bool tacq::isSameFile(const std::string &a, const std::string &b) {
  struct stat first, second;
  return stat(a.c_str(), &first) == 0 && stat(b.c_str(), &second) == 0 &&
         first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}
