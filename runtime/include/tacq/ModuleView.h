//===- ModuleView.h - Reads and verifies module files -----------*- C++ -*-===//
//
// A verified, read-only view of a module file: what the runtime and tacq-dump read. Once open()
// has succeeded, every index, offset and count in metadata() may be used without a check.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_MODULEVIEW_H
#define TACQ_MODULEVIEW_H

#include "tacq/Error.h"
#include "tacq/ModuleFormat.h"
#include "tacq/format/module_generated.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace tacq {

struct ModuleViewOptions {
  /// Verify the checksum of the data section, which reads all of it.
  bool checkData = true;
};

class ModuleView {
public:
  /// Maps the file. TACQ_IO when it cannot be opened, TACQ_INVALID_MODULE when it is damaged.
  static Error open(const std::string &path, const ModuleViewOptions &options,
                    std::unique_ptr<ModuleView> &view);
  /// The same for memory, which must be 64-byte aligned and outlive the view. `name` appears in
  /// messages.
  static Error fromMemory(const void *memory, size_t size, const std::string &name,
                          const ModuleViewOptions &options, std::unique_ptr<ModuleView> &view);
  ~ModuleView();
  ModuleView(const ModuleView &) = delete;
  ModuleView &operator=(const ModuleView &) = delete;

  const std::string &name() const { return moduleName; }
  const ModuleHeader &header() const { return *reinterpret_cast<const ModuleHeader *>(base); }
  const format::Module &metadata() const { return *root; }
  const uint8_t *metadataBytes() const { return base + header().metadataOffset; }
  /// Start of the data section.
  const uint8_t *data() const { return base + header().dataOffset; }
  uint64_t dataSize() const { return header().dataSize; }
  const uint8_t *bytes(const format::Constant &constant) const {
    return data() + constant.offset();
  }
  const uint8_t *bytes(const format::Executable &executable) const {
    return data() + executable.offset();
  }

private:
  ModuleView() = default;
  Error verify(const ModuleViewOptions &options);

  std::string moduleName;
  const uint8_t *base = nullptr;
  size_t length = 0;
  bool mapped = false;
  const format::Module *root = nullptr;
};

/// The rules of module.fbs that a FlatBuffers verifier cannot know. `name` is for messages.
Error verifyModule(const format::Module &module, uint64_t dataSize, const std::string &name);

/// Whether the executable is code for the processor of the machine.
bool isForHost(const format::Executable &executable);
/// Whether the executable has a kernel, or leaves it to the host.
bool hasKernel(const format::Executable &executable, uint32_t kernel);
/// Whether it has all of these kernels.
template <typename Numbers>
bool hasKernels(const format::Executable &executable, const Numbers &kernels) {
  return std::all_of(kernels.begin(), kernels.end(),
                     [&](uint32_t kernel) { return hasKernel(executable, kernel); });
}

/// Bytes of an element; 0 for None.
size_t elementSize(format::ElementType type);

/// Extent of a vector field, which may be absent.
template <typename Vector> size_t sizeOf(const Vector *vector) {
  return vector ? vector->size() : 0;
}
/// A string field, which may be absent.
inline const char *textOf(const flatbuffers::String *text) { return text ? text->c_str() : ""; }

} // namespace tacq

#endif // TACQ_MODULEVIEW_H
