//===- OutputFile.h - Files that are written whole or not at all *- C++ -*-===//
//
// What is written goes to a temporary file beside the output's path, which gets its name when it is
// complete.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_OUTPUTFILE_H
#define TACQ_OUTPUTFILE_H

#include "tacq/Error.h"

#include <cstdio>

namespace tacq {

enum class OutputKind {
  /// Devices and pipes are refused: renaming a file over one would take it away.
  RegularFile,
  /// Devices and pipes are written to, not replaced.
  Any
};

/// Finds out whether an output can be written, before the work whose result it is to hold. Leaves
/// nothing behind. TACQ_IO if it cannot.
Error checkOutputFile(const std::string &path, OutputKind kind);

/// Opens PATH.tmp-PID-N for writing and reading. Fails with TACQ_IO, also if `path` is a device or
/// a folder.
Error openTemporary(const std::string &path, std::string &temporary, FILE *&file);

/// Whether two names are those of one existing file.
bool isSameFile(const std::string &a, const std::string &b);

} // namespace tacq

#endif // TACQ_OUTPUTFILE_H
