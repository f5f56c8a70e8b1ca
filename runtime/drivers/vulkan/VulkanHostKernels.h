//===- VulkanHostKernels.h - Kernels that have no shader --------*- C++ -*-===//

#ifndef TACQ_DRIVERS_VULKAN_VULKANHOSTKERNELS_H
#define TACQ_DRIVERS_VULKAN_VULKANHOSTKERNELS_H

#include "VulkanDevice.h"
#include "cpu/CpuKernels.h"

namespace tacq {

/// Bytes of a buffer.
struct Range {
  VulkanBuffer *object = nullptr;
  int64_t begin = 0, end = 0;
  /// Of constants: where the host has them, too.
  const uint8_t *onHost = nullptr;
  bool overlaps(const Range &other) const {
    return object == other.object && begin < other.end && other.begin < end;
  }
};

/// Runs on the host what an executable has no shaders for, or the device cannot bind. The buffers
/// of such a dispatch are read from the device before it and written back behind it, unless the
/// host sees them where they are.
class HostKernels {
public:
  HostKernels(VulkanDevice &device, const tacq_program_desc_t &desc) : device(device), desc(desc) {}
  ~HostKernels();

  /// Makes sure of these and of those before.
  Error require(const std::vector<uint32_t> &numbers);
  /// All work of the device on these buffers has ended. Of `ranges`, those of the dispatch, the
  /// first `reads` are only read, those from `transferred` on need not keep what is in them.
  tacq_status_t *run(const tacq_dispatch_t &dispatch, const std::vector<Range> &ranges,
                     size_t reads, size_t transferred, tacq_run_t &active);

private:
  /// A part of a buffer that the host has a copy of, or sees.
  struct Part {
    Range range;
    bool isWritten = false, isTransferred = false;
    uint8_t *memory = nullptr; // of the range's first byte
    int64_t copyAt = 0;        // in `copies`, if it does not see it
  };
  void collectParts(const std::vector<Range> &ranges, size_t reads, size_t transferred);

  VulkanDevice &device;
  const tacq_program_desc_t desc;
  std::unique_ptr<CpuKernels> kernels;
  std::vector<uint32_t> required;
  // Of the dispatch.
  std::vector<Part> parts;
  std::vector<void *> bindings;
  CpuBuffer copies;
};

} // namespace tacq

#endif // TACQ_DRIVERS_VULKAN_VULKANHOSTKERNELS_H
