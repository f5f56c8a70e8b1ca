//===- VulkanHostKernels.cpp - Kernels that have no shader ----------------===//

#include "VulkanHostKernels.h"
#include "Status.h"

#include <algorithm>
#include <cfenv>

using namespace tacq;

namespace {

/// What kernels of the host expect of the first byte of an object (tacq/kernel_abi.h).
constexpr int64_t kAlignment = CpuDevice::kAlignment;

} // namespace

HostKernels::~HostKernels() {
  if (kernels)
    device.processor().release(copies);
}

Error HostKernels::require(const std::vector<uint32_t> &numbers) {
  if (kernels && std::all_of(numbers.begin(), numbers.end(),
                             [&](uint32_t number) { return kernels->has(number); }))
    return success();
  std::vector<uint32_t> all = required;
  all.insert(all.end(), numbers.begin(), numbers.end());
  auto loaded = std::make_unique<CpuKernels>(device.processor());
  if (Error error = loaded->loadFor(desc, all))
    return error;
  kernels = std::move(loaded);
  required = std::move(all);
  return success();
}

/// Ranges of an object that overlap, as those of an operation in place do, are one part.
void HostKernels::collectParts(const std::vector<Range> &ranges, size_t reads, size_t transferred) {
  parts.clear();
  for (size_t i = 0; i < ranges.size(); ++i) {
    if (!ranges[i].object || ranges[i].onHost)
      continue;
    Part part{ranges[i], i >= reads, i < transferred};
    for (size_t other = 0; other < parts.size();) {
      Part &known = parts[other];
      if (!known.range.overlaps(part.range)) {
        ++other;
        continue;
      }
      part.range.begin = std::min(part.range.begin, known.range.begin);
      part.range.end = std::max(part.range.end, known.range.end);
      part.isWritten |= known.isWritten;
      part.isTransferred |= known.isTransferred;
      parts.erase(parts.begin() + static_cast<ptrdiff_t>(other));
      other = 0;
    }
    parts.push_back(part);
  }
}

tacq_status_t *HostKernels::run(const tacq_dispatch_t &dispatch, const std::vector<Range> &ranges,
                                size_t reads, size_t transferred, tacq_run_t &active) {
  collectParts(ranges, reads, transferred);
  int64_t copied = 0;
  for (Part &part : parts)
    if (!part.range.object->readable) {
      part.copyAt = copied;
      copied += (part.range.begin % kAlignment + part.range.end - part.range.begin + kAlignment) &
                ~(kAlignment - 1);
    }
  CpuDevice &cpu = device.processor();
  if (copies.size < copied) {
    cpu.release(copies);
    if (Error error = cpu.allocate(copied, /*zero=*/true, copies))
      return toStatus(error);
  }
  for (Part &part : parts) {
    const Range &range = part.range;
    if (range.object->readable) {
      part.memory = range.object->mapped + range.begin;
      continue;
    }
    part.memory = copies.memory + part.copyAt + range.begin % kAlignment;
    if (part.isTransferred)
      if (Error error =
              device.read(part.memory, *range.object, range.begin, range.end - range.begin))
        return toStatus(error);
  }
  bindings.assign(ranges.size(), nullptr);
  for (size_t i = 0; i < ranges.size(); ++i) {
    const Range &range = ranges[i];
    if (range.onHost)
      bindings[i] = const_cast<uint8_t *>(range.onHost);
    else if (range.object)
      for (const Part &part : parts)
        if (part.range.object == range.object && part.range.begin <= range.begin &&
            range.end <= part.range.end)
          bindings[i] = part.memory + (range.begin - part.range.begin);
  }
  fenv_t environment;
  fegetenv(&environment);
  fesetenv(FE_DFL_ENV);
  tacq_status_t *failed = kernels->run(dispatch, bindings.data(), active, desc.module);
  fesetenv(&environment);
  if (failed)
    return failed;
  for (const Part &part : parts) {
    const Range &range = part.range;
    if (!part.isWritten || !part.isTransferred)
      continue;
    range.object->mirrored = 0;
    if (!range.object->readable)
      if (Error error =
              device.upload(*range.object, range.begin, part.memory, range.end - range.begin))
        return toStatus(error);
  }
  return nullptr;
}
