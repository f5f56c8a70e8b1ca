//===- RotatedModule.h - A product with many weights ------------*- C++ -*-===//

#ifndef TACQ_TOOLS_ROTATEDMODULE_H
#define TACQ_TOOLS_ROTATEDMODULE_H

#include "tacq/Error.h"

#include <cstdint>
#include <string>
#include <vector>

namespace tacq::tools {

/// The inputs of a rotated module whose extents say how often its loops go through all copies.
inline constexpr const char *kInOrder = "products in order";
inline constexpr const char *kOverlapping = "products side by side";
inline constexpr const char *kReadings = "readings";

struct Rotation {
  uint64_t weightBytes = 0, copies = 0;
  bool hasReading = false;
};

/// Writes the module at `from` to `to` with copies of its largest constant, of `bytes` bytes
/// together and at least one. What launches that read it did once is then done by three loops: for
/// each copy, one after the other; for each copy, each with results of its own; and for each copy
/// with the kernel that only reads, where there is one.
Error rotateModule(const std::string &from, const std::string &to, uint64_t bytes,
                   Rotation &rotation);

} // namespace tacq::tools

#endif // TACQ_TOOLS_ROTATEDMODULE_H
