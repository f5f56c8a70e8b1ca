//===- fuzz_module.cpp - Opens arbitrary bytes as a module ----------------===//
//
// The input's metadata is put into a file whose frame and checksums are right, so that the fuzzer
// works on the verifier. An accepted module is opened through the C API, and a session for it is
// created on the null device.
//
//===----------------------------------------------------------------------===//

#include "tacq/ModuleFormat.h"
#include "tacq/runtime.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdlib>
#include <cstring>

using namespace tacq;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
  constexpr size_t kDataOffset = 128, kDataSize = 1024;
  constexpr size_t kMetadataOffset = kDataOffset + kDataSize;
  size_t total = kMetadataOffset + size;
  auto *file = static_cast<uint8_t *>(aligned_alloc(64, (total + 63) / 64 * 64));
  if (!file)
    return 0;
  memset(file, 0, kMetadataOffset);
  if (size > 0)
    memcpy(file + kMetadataOffset, input, size);
  ModuleHeader header = {};
  memcpy(header.magic, kModuleMagic, sizeof(kModuleMagic));
  header.version = kModuleVersion;
  header.headerSize = sizeof(header);
  header.fileSize = total;
  header.dataOffset = kDataOffset;
  header.dataSize = kDataSize;
  header.metadataOffset = kMetadataOffset;
  header.metadataSize = size;
  header.dataChecksum = XXH3_64bits(file + kDataOffset, kDataSize);
  header.metadataChecksum = XXH3_64bits(file + kMetadataOffset, size);
  header.headerChecksum = XXH3_64bits(&header, offsetof(ModuleHeader, headerChecksum));
  memcpy(file, &header, sizeof(header));

  tacq_runtime_t *runtime = nullptr;
  tacq_device_t *device = nullptr;
  tacq_module_t *module = nullptr;
  tacq_session_t *session = nullptr;
  tacq_status_t *status = tacq_runtime_create(nullptr, &runtime);
  if (!status)
    status = tacq_device_open(runtime, "null", &device);
  if (!status)
    status = tacq_module_open_memory(runtime, file, total, "fuzz", nullptr, &module);
  if (!status)
    status = tacq_session_create(module, device, nullptr, &session);
  // Every failure has something to say.
  if (status && *tacq_status_message(status) == '\0')
    abort();
  tacq_status_free(status);
  tacq_session_release(session);
  tacq_module_release(module);
  tacq_device_release(device);
  tacq_runtime_release(runtime);
  free(file);
  return 0;
}
