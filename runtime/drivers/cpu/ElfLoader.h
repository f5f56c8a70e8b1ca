//===- ElfLoader.h - Loads executables for the host -------------*- C++ -*-===//
//
// Position-independent ELF64 shared objects as `ld.lld -shared -Bsymbolic` makes them, from memory.
// Every field is checked before it is used; code pages end up read-execute, data pages read-write
// or read-only, none both writable and executable. Code of a module runs with the rights of the
// process: load modules from whom you would load libraries.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_DRIVERS_CPU_ELFLOADER_H
#define TACQ_DRIVERS_CPU_ELFLOADER_H

#include "tacq/Error.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace tacq {

class LoadedElf {
public:
  /// `what` begins the messages: "module 'm.tacq', executable 'x86-64-v3'".
  static Error load(const void *data, size_t size, const std::string &what,
                    std::unique_ptr<LoadedElf> &result);
  ~LoadedElf();
  LoadedElf(const LoadedElf &) = delete;
  LoadedElf &operator=(const LoadedElf &) = delete;

  /// The address of an exported function, or nullptr.
  void *function(const char *name) const;

private:
  struct Segment {
    uint64_t begin, end; // addresses in the image
    uint32_t flags;      // PF_R, PF_W, PF_X
  };
  LoadedElf() = default;
  Error parse(const uint8_t *data, size_t size);
  Error readDynamic(uint64_t address, uint64_t size);
  Error countSymbols(uint64_t sysvHash, uint64_t gnuHash);
  Error relocate(uint64_t address, uint64_t size);
  Error symbolValue(uint32_t index, uint64_t &value) const;
  Error protect();
  Error bad(const char *format, ...) const __attribute__((format(printf, 2, 3)));
  /// Whether the range lies in a segment with all of `flags`.
  bool inside(uint64_t address, uint64_t size, uint32_t flags) const;
  const char *text(uint64_t offset) const; // in the string table, or nullptr

  std::string what;
  uint8_t *image = nullptr;
  uint64_t imageSize = 0;
  std::vector<Segment> segments;
  uint64_t strings = 0, stringsSize = 0;
  uint64_t symbols = 0;
  uint32_t symbolCount = 0;
};

/// A function that executables may import, or nullptr.
void *findImport(const char *name);

} // namespace tacq

#endif // TACQ_DRIVERS_CPU_ELFLOADER_H
