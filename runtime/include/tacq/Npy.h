//===- Npy.h - .npy and .npz files ------------------------------*- C++ -*-===//
//
// NumPy's array files, for the tools. Element types: bool, i8..i64, u8..u64, f16, f32, f64;
// little-endian, C order. Everything else is refused with a message that names the file and the
// array.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_NPY_H
#define TACQ_NPY_H

#include "tacq/Error.h"

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace tacq {

/// A contiguous tensor in memory of its own, aligned to 64 bytes. Copies share the memory.
class NpyArray {
public:
  NpyArray() = default;
  /// Zero-filled. TACQ_OUT_OF_MEMORY, or TACQ_INVALID_ARGUMENT for impossible shapes.
  static Error create(tacq_element_type_t type, std::vector<int64_t> dims, NpyArray &array);

  tacq_element_type_t type() const { return elementType; }
  const std::vector<int64_t> &dims() const { return extents; }
  int64_t elementCount() const { return count; }
  /// Bytes.
  size_t size() const { return static_cast<size_t>(count) * tacq_element_size(elementType); }
  void *data() { return memory.get(); }
  const void *data() const { return memory.get(); }
  template <typename T> T *as() { return static_cast<T *>(data()); }
  template <typename T> const T *as() const { return static_cast<const T *>(data()); }

private:
  tacq_element_type_t elementType = TACQ_ELEMENT_NONE;
  std::vector<int64_t> extents;
  int64_t count = 0;
  std::shared_ptr<uint8_t> memory;
};

/// Reads an .npy file. TACQ_IO when it cannot be read, TACQ_INVALID_INPUT when it is not valid.
Error readNpy(const std::string &path, NpyArray &array);

/// Writes an .npy file: to a temporary file beside it, which is then renamed. bf16 has no .npy
/// type and is refused; write it as f32.
Error writeNpy(const std::string &path, tacq_element_type_t type, const std::vector<int64_t> &dims,
               const void *data);
Error writeNpy(const std::string &path, const NpyArray &array);

/// The arrays of an .npz file; each one is read when it is asked for.
class NpzReader {
public:
  static Error open(const std::string &path, std::unique_ptr<NpzReader> &reader);
  ~NpzReader();
  NpzReader(const NpzReader &) = delete;
  NpzReader &operator=(const NpzReader &) = delete;

  /// In the file's order, without ".npy".
  const std::vector<std::string> &names() const { return arrayNames; }
  bool has(const std::string &name) const;
  /// TACQ_INVALID_INPUT when there is no such array; the message lists those there are.
  Error read(const std::string &name, NpyArray &array) const;

private:
  NpzReader() = default;
  std::string path;
  void *archive = nullptr; // zip_t
  std::vector<std::string> arrayNames;
};

/// Writes an .npz file without compression, array by array, to a temporary file; finish() renames
/// it. Equal arrays in equal order give equal bytes.
class NpzWriter {
public:
  static Error create(const std::string &path, std::unique_ptr<NpzWriter> &writer);
  ~NpzWriter();
  NpzWriter(const NpzWriter &) = delete;
  NpzWriter &operator=(const NpzWriter &) = delete;

  Error add(const std::string &name, tacq_element_type_t type, const std::vector<int64_t> &dims,
            const void *data);
  Error add(const std::string &name, const NpyArray &array);
  Error finish();

private:
  struct Entry {
    std::string name;
    uint64_t offset, size;
    uint32_t checksum;
  };
  NpzWriter() = default;
  Error write(const void *data, size_t size);

  std::string path, temporary;
  FILE *file = nullptr;
  uint64_t position = 0;
  std::vector<Entry> entries;
};

} // namespace tacq

#endif // TACQ_NPY_H
