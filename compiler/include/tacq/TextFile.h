//===- TextFile.h - Text that a tool writes ---------------------*- C++ -*-===//

#ifndef TACQ_TEXTFILE_H
#define TACQ_TEXTFILE_H

#include "tacq/Error.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include <string>

namespace llvm {
class raw_ostream;
} // namespace llvm

namespace tacq {

/// Writes what `print` prints to a file beside `path` and renames it, so that nothing half-written
/// has that name. "-" is the standard output; a device or a pipe is written to, not replaced.
/// TACQ_IO on failure.
Error writeTextFile(const std::string &path, llvm::function_ref<void(llvm::raw_ostream &)> print);

} // namespace tacq

#endif // TACQ_TEXTFILE_H
