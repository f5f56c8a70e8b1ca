//===- Drivers.h - The drivers that are part of the runtime -----*- C++ -*-===//

#ifndef TACQ_DRIVERS_DRIVERS_H
#define TACQ_DRIVERS_DRIVERS_H

#include "tacq/driver.h"

namespace tacq {

/// Runs executables of format elf64-x86-64 or elf64-aarch64 on the host's cores.
/// Options: threads=N.
const tacq_driver_t *cpuDriver();

#if TACQ_HAVE_VULKAN
/// Runs executables of format spirv on devices with Vulkan 1.1, if there is a Vulkan loader.
/// Options: the device's number, validate (the validation layer of Khronos).
const tacq_driver_t *vulkanDriver();
#endif

/// Does everything but compute: outputs that only kernels write are zero. No options.
const tacq_driver_t *nullDriver();

} // namespace tacq

#endif // TACQ_DRIVERS_DRIVERS_H
