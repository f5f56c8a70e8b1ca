//===- ModuleView.cpp - Maps module files and verifies their frame --------===//

#include "tacq/ModuleView.h"

#define XXH_INLINE_ALL
#include <algorithm>
#include <xxhash.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "module files are mapped as they are; big-endian hosts are not supported"
#endif

using namespace tacq;

bool tacq::isForHost(const format::Executable &executable) {
  return executable.driver()->str() == "cpu" || executable.driver()->str() == "host";
}

bool tacq::hasKernel(const format::Executable &executable, uint32_t kernel) {
  const auto *absent = executable.absent();
  return !absent || !std::binary_search(absent->begin(), absent->end(), kernel);
}

size_t tacq::elementSize(format::ElementType type) {
  switch (type) {
  case format::ElementType_None:
    return 0;
  case format::ElementType_Bool:
  case format::ElementType_I8:
  case format::ElementType_U8:
    return 1;
  case format::ElementType_I16:
  case format::ElementType_U16:
  case format::ElementType_F16:
  case format::ElementType_BF16:
    return 2;
  case format::ElementType_I32:
  case format::ElementType_U32:
  case format::ElementType_F32:
    return 4;
  case format::ElementType_I64:
  case format::ElementType_U64:
  case format::ElementType_F64:
    return 8;
  }
  return 0;
}

Error ModuleView::open(const std::string &path, const ModuleViewOptions &options,
                       std::unique_ptr<ModuleView> &view) {
  int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    return makeError(TACQ_IO, "module '%s' cannot be opened: %s", path.c_str(), strerror(errno));
  struct stat info;
  if (fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(descriptor);
    return makeError(TACQ_IO, "module '%s' is not a regular file", path.c_str());
  }
  if (static_cast<uint64_t>(info.st_size) < sizeof(ModuleHeader)) {
    ::close(descriptor);
    return makeError(TACQ_INVALID_MODULE,
                     "module '%s' has %lld bytes, fewer than the %zu of a header; the file is "
                     "truncated or not a TACQ module",
                     path.c_str(), static_cast<long long>(info.st_size), sizeof(ModuleHeader));
  }
  size_t length = static_cast<size_t>(info.st_size);
  void *memory = mmap(nullptr, length, PROT_READ, MAP_PRIVATE, descriptor, 0);
  int mapError = errno;
  ::close(descriptor);
  if (memory == MAP_FAILED)
    return makeError(TACQ_IO, "module '%s' cannot be mapped: %s", path.c_str(), strerror(mapError));
  std::unique_ptr<ModuleView> result(new ModuleView());
  result->moduleName = path;
  result->base = static_cast<const uint8_t *>(memory);
  result->length = length;
  result->mapped = true;
  if (Error error = result->verify(options))
    return error;
  view = std::move(result);
  return success();
}

Error ModuleView::fromMemory(const void *memory, size_t size, const std::string &name,
                             const ModuleViewOptions &options, std::unique_ptr<ModuleView> &view) {
  if (!memory || reinterpret_cast<uintptr_t>(memory) % kModuleAlignment != 0)
    return makeError(TACQ_INVALID_ARGUMENT, "module '%s': the memory is not aligned to %llu bytes",
                     name.c_str(), static_cast<unsigned long long>(kModuleAlignment));
  std::unique_ptr<ModuleView> result(new ModuleView());
  result->moduleName = name;
  result->base = static_cast<const uint8_t *>(memory);
  result->length = size;
  if (Error error = result->verify(options))
    return error;
  view = std::move(result);
  return success();
}

ModuleView::~ModuleView() {
  if (mapped)
    munmap(const_cast<uint8_t *>(base), length);
}

Error ModuleView::verify(const ModuleViewOptions &options) {
  const char *name = moduleName.c_str();
  auto ull = [](uint64_t value) { return static_cast<unsigned long long>(value); };
  if (length < sizeof(ModuleHeader))
    return makeError(TACQ_INVALID_MODULE,
                     "module '%s' has %zu bytes, fewer than the %zu of a header; the file is "
                     "truncated or not a TACQ module",
                     name, length, sizeof(ModuleHeader));
  const ModuleHeader &h = header();
  if (memcmp(h.magic, kModuleMagic, sizeof(kModuleMagic)) != 0)
    return makeError(TACQ_INVALID_MODULE,
                     "module '%s' does not begin with 'TACQMOD'; it is not a TACQ module", name);
  if (h.version != kModuleVersion)
    return makeError(TACQ_INVALID_MODULE,
                     "module '%s' has format version %u, this runtime reads version %u; compile "
                     "the model again with the matching tacq-compile",
                     name, h.version, kModuleVersion);
  if (h.headerSize != sizeof(ModuleHeader))
    return makeError(TACQ_INVALID_MODULE,
                     "module '%s': the header says it has %u bytes, expected %zu; the file is "
                     "damaged",
                     name, h.headerSize, sizeof(ModuleHeader));
  if (XXH3_64bits(&h, offsetof(ModuleHeader, headerChecksum)) != h.headerChecksum)
    return makeError(TACQ_INVALID_MODULE,
                     "module '%s': the header's checksum is wrong; the file is damaged", name);
  if (h.fileSize != length)
    return makeError(TACQ_INVALID_MODULE,
                     "module '%s' has %zu bytes but its header says %llu; the file is %s", name,
                     length, ull(h.fileSize), length < h.fileSize ? "truncated" : "damaged");
  if (h.reserved[0] != 0 || h.reserved[1] != 0)
    return makeError(TACQ_INVALID_MODULE, "module '%s': reserved header fields are not zero", name);
  struct Section {
    const char *what;
    uint64_t offset, size;
  };
  const Section sections[] = {{"metadata", h.metadataOffset, h.metadataSize},
                              {"data section", h.dataOffset, h.dataSize}};
  for (const Section &section : sections) {
    if (section.offset % kModuleAlignment != 0)
      return makeError(TACQ_INVALID_MODULE,
                       "module '%s': the %s at offset %llu is not aligned to %llu bytes", name,
                       section.what, ull(section.offset), ull(kModuleAlignment));
    if (section.offset < sizeof(ModuleHeader) || section.offset > length ||
        section.size > length - section.offset)
      return makeError(TACQ_INVALID_MODULE,
                       "module '%s': the %s (offset %llu, %llu bytes) lies outside the file; the "
                       "file is truncated or damaged",
                       name, section.what, ull(section.offset), ull(section.size));
  }
  if (h.metadataSize != 0 && h.dataSize != 0 && h.metadataOffset < h.dataOffset + h.dataSize &&
      h.dataOffset < h.metadataOffset + h.metadataSize)
    return makeError(TACQ_INVALID_MODULE, "module '%s': metadata and data section overlap", name);

  const uint8_t *metadataStart = base + h.metadataOffset;
  if (XXH3_64bits(metadataStart, h.metadataSize) != h.metadataChecksum)
    return makeError(TACQ_INVALID_MODULE,
                     "module '%s': the checksum of the metadata (offset %llu, %llu bytes) is "
                     "wrong; the file is damaged",
                     name, ull(h.metadataOffset), ull(h.metadataSize));
  // The schema nests three tables deep; the count of tables is bounded by the size of the buffer.
  flatbuffers::Verifier verifier(metadataStart, h.metadataSize, /*max_depth=*/16,
                                 /*max_tables=*/1u << 28);
  if (h.metadataSize < 16 || h.metadataSize >= FLATBUFFERS_MAX_BUFFER_SIZE ||
      !format::ModuleBufferHasIdentifier(metadataStart) || !format::VerifyModuleBuffer(verifier))
    return makeError(TACQ_INVALID_MODULE,
                     "module '%s': the metadata (offset %llu, %llu bytes) is not a valid module "
                     "description; the file is damaged",
                     name, ull(h.metadataOffset), ull(h.metadataSize));
  root = format::GetModule(metadataStart);
  if (Error error = verifyModule(*root, h.dataSize, moduleName))
    return error;
  if (options.checkData && XXH3_64bits(base + h.dataOffset, h.dataSize) != h.dataChecksum)
    return makeError(TACQ_INVALID_MODULE,
                     "module '%s': the checksum of the data section (offset %llu, %llu bytes) is "
                     "wrong; the file is damaged",
                     name, ull(h.dataOffset), ull(h.dataSize));
  return success();
}
