//===- PipelineCache.cpp - Compiled shaders on disk -----------------------===//
//
// A file for each device and driver in the user's cache folder. It is an optimization: whatever is
// wrong with it, shaders are compiled again.
//
//===----------------------------------------------------------------------===//

#define XXH_INLINE_ALL
#include "VulkanDevice.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

using namespace tacq;

namespace {

struct CacheHeader {
  char magic[8];
  uint64_t size, checksum;
};
constexpr char kMagic[8] = {'T', 'A', 'C', 'Q', 'V', 'P', 'C', '1'};
/// Larger ones are not ours.
constexpr uint64_t kLargestCache = uint64_t(256) << 20;

std::vector<uint8_t> readCache(const std::string &path) {
  std::vector<uint8_t> data;
  FILE *file = fopen(path.c_str(), "rb");
  if (!file)
    return data;
  CacheHeader header;
  if (fread(&header, sizeof(header), 1, file) == 1 &&
      memcmp(header.magic, kMagic, sizeof(kMagic)) == 0 && header.size <= kLargestCache) {
    data.resize(header.size);
    if (fread(data.data(), 1, data.size(), file) != data.size() ||
        XXH3_64bits(data.data(), data.size()) != header.checksum)
      data.clear();
  }
  fclose(file);
  return data;
}

} // namespace

std::string VulkanDevice::cachePath() const {
  std::string folder;
  if (const char *cache = getenv("XDG_CACHE_HOME"); cache && *cache)
    folder = cache;
  else if (const char *home = getenv("HOME"); home && *home)
    folder = std::string(home) + "/.cache";
  else
    return {};
  folder += "/tacq";
  mkdir(folder.substr(0, folder.rfind('/')).c_str(), 0700);
  mkdir(folder.c_str(), 0700);
  std::string name = formatText("/vulkan-%04x-%04x-%08x-", properties.vendorID, properties.deviceID,
                                properties.driverVersion);
  for (uint8_t byte : properties.pipelineCacheUUID)
    name += formatText("%02x", byte);
  return folder + name + ".bin";
}

void VulkanDevice::loadPipelineCache() {
  std::string path = cachePath();
  std::vector<uint8_t> data;
  if (!path.empty())
    data = readCache(path);
  VkPipelineCacheCreateInfo info = {};
  info.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO;
  info.initialDataSize = data.size();
  info.pInitialData = data.data();
  if (api.CreatePipelineCache(device, &info, nullptr, &pipelineCache) != VK_SUCCESS) {
    info.initialDataSize = 0;
    if (api.CreatePipelineCache(device, &info, nullptr, &pipelineCache) != VK_SUCCESS)
      pipelineCache = VK_NULL_HANDLE;
  }
  savedCacheSize = data.size();
}

void VulkanDevice::savePipelineCache() {
  size_t size = 0;
  std::string path = cachePath();
  if (path.empty() || !pipelineCache ||
      api.GetPipelineCacheData(device, pipelineCache, &size, nullptr) != VK_SUCCESS ||
      size == savedCacheSize || size > kLargestCache)
    return;
  std::vector<uint8_t> data(size);
  if (api.GetPipelineCacheData(device, pipelineCache, &size, data.data()) != VK_SUCCESS)
    return;
  // Renamed when it is whole, since other processes may read it.
  std::string temporary = path + formatText(".%ld", static_cast<long>(getpid()));
  FILE *file = fopen(temporary.c_str(), "wb");
  if (!file)
    return;
  CacheHeader header = {};
  memcpy(header.magic, kMagic, sizeof(kMagic));
  header.size = size;
  header.checksum = XXH3_64bits(data.data(), size);
  bool written =
      fwrite(&header, sizeof(header), 1, file) == 1 && fwrite(data.data(), 1, size, file) == size;
  if (fclose(file) != 0 || !written || rename(temporary.c_str(), path.c_str()) != 0)
    unlink(temporary.c_str());
  else
    savedCacheSize = size;
}
