//===- ModuleWriter.h - Writes module files ---------------------*- C++ -*-===//
//
// Used by the compiler and by tests. Constants and executables go straight to a temporary file
// beside the destination, so memory does not grow with the model; everything else is filled into
// the FlatBuffers object `module()`. finish() verifies what was written by the rules the loader
// has, and renames. A writer that is destroyed before removes the temporary file.
//
//   std::unique_ptr<ModuleWriter> writer;
//   if (Error error = ModuleWriter::create("m.tacq", writer)) ...
//   uint32_t index;
//   if (Error error = writer->addConstant("w", data, size, index)) ...
//   writer->module().inputs.push_back(...);
//   if (Error error = writer->finish()) ...
//
// The bytes depend on the calls only: no time, no path, no pointer values.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_MODULEWRITER_H
#define TACQ_MODULEWRITER_H

#include "tacq/Error.h"
#include "tacq/format/module_generated.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace tacq {

class ModuleWriter {
public:
  /// Opens the temporary file PATH.tmp-PID-N. Fails with TACQ_IO.
  static Error create(const std::string &path, std::unique_ptr<ModuleWriter> &writer);
  ~ModuleWriter();
  ModuleWriter(const ModuleWriter &) = delete;
  ModuleWriter &operator=(const ModuleWriter &) = delete;

  /// Adds a constant in one piece; `index` is its number in the module's `constants`.
  Error addConstant(const std::string &name, const void *data, size_t size, uint32_t &index);

  /// Adds a constant piece by piece: begin, any number of append, end. Only one at a time.
  Error beginConstant(const std::string &name, uint32_t &index);
  Error append(const void *data, size_t size);
  Error endConstant();

  /// Adds an executable: fields other than offset and size are taken from `description`.
  Error addExecutable(const format::ExecutableT &description, const void *data, size_t size,
                      uint32_t &index);

  /// All the rest of the module. `constants` and `executables` belong to the writer.
  format::ModuleT &module() { return contents; }

  /// Bytes of the data section so far.
  uint64_t dataSize() const { return position; }

  /// Writes metadata and header, verifies, renames to the destination. TACQ_INVALID_MODULE with
  /// the violated rule when the contents are not consistent.
  Error finish();

private:
  ModuleWriter();
  Error writeBytes(const void *data, size_t size);
  Error pad(uint64_t alignment);

  struct File;
  std::unique_ptr<File> file;
  std::string destination;
  std::string temporary;
  format::ModuleT contents;
  uint64_t position = 0; // in the data section
  bool inConstant = false;
};

} // namespace tacq

#endif // TACQ_MODULEWRITER_H
