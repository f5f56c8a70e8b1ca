//===- ModuleFormat.h - The fixed part of a module file ---------*- C++ -*-===//
//
// A module file, all numbers little-endian:
//
//   offset 0            ModuleHeader
//   data.offset         constants and executables, each 64-byte aligned (4096 in today's files)
//   metadata.offset     a FlatBuffer of type tacq.format.Module (runtime/schema/module.fbs)
//   file_size           end of the file, nothing follows
//
// Gaps are zero. Checksums are XXH3-64 with seed 0. Equal contents give equal bytes.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_MODULEFORMAT_H
#define TACQ_MODULEFORMAT_H

#include <cstddef>
#include <cstdint>

namespace tacq {

inline constexpr char kModuleMagic[8] = {'T', 'A', 'C', 'Q', 'M', 'O', 'D', '\0'};
/// Changes with every incompatible change of the header or the schema.
inline constexpr uint32_t kModuleVersion = 1;
/// Alignment of constants, executables and the metadata in the file.
inline constexpr uint64_t kModuleAlignment = 64;
/// Where the writer puts the data section, so that it can be mapped on its own.
inline constexpr uint64_t kModuleDataOffset = 4096;
/// "Absent" in the schema's index fields.
inline constexpr uint32_t kNone = 0xFFFFFFFFu;

struct ModuleHeader {
  char magic[8];
  uint32_t version;
  uint32_t headerSize; // sizeof(ModuleHeader)
  uint64_t fileSize;
  uint64_t metadataOffset;
  uint64_t metadataSize;
  uint64_t dataOffset;
  uint64_t dataSize;
  uint64_t metadataChecksum;
  uint64_t dataChecksum;
  uint64_t reserved[2];    // zero
  uint64_t headerChecksum; // of the bytes before it
};
static_assert(sizeof(ModuleHeader) == 96 && offsetof(ModuleHeader, headerChecksum) == 88,
              "the header is part of the file format");

} // namespace tacq

#endif // TACQ_MODULEFORMAT_H
