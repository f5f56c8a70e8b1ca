//===- CpuDevice.h - Objects of the cpu driver ------------------*- C++ -*-===//

#ifndef TACQ_DRIVERS_CPU_CPUDEVICE_H
#define TACQ_DRIVERS_CPU_CPUDEVICE_H

#include "CpuFeatures.h"
#include "CpuOptions.h"
#include "ThreadPool.h"
#include "tacq/Error.h"
#include "tacq/driver.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tacq {

struct CpuBuffer {
  uint8_t *memory = nullptr;
  int64_t size = 0;
  bool owned = true; // false: the caller's memory

  static CpuBuffer *of(tacq_driver_buffer_t *buffer) {
    return reinterpret_cast<CpuBuffer *>(buffer);
  }
};

struct CpuDevice {
  static constexpr size_t kAlignment = 64;

  CpuDevice(const tacq_host_t &host, const CpuOptions &options);
  static CpuDevice *of(tacq_driver_device_t *device) {
    return reinterpret_cast<CpuDevice *>(device);
  }
  Error allocate(int64_t size, bool zero, CpuBuffer &buffer);
  void release(CpuBuffer &buffer);
  /// Whether it can run code of this format that needs these features; else `reason` says why not.
  bool supports(const std::string &format, const std::vector<std::string> &needed,
                std::string &reason) const;

  const tacq_host_t host;
  const CpuFeatures features;
  ThreadPool pool;
};

tacq_status_t *createCpuProgram(tacq_driver_device_t *device, const tacq_program_desc_t *desc,
                                tacq_driver_program_t **program);
void destroyCpuProgram(tacq_driver_program_t *program);
tacq_status_t *runCpuProgram(tacq_driver_program_t *program, tacq_run_t *run);

} // namespace tacq

#endif // TACQ_DRIVERS_CPU_CPUDEVICE_H
