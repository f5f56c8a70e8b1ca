//===- TensorFiles.h - Tensors in .npy and .npz files -----------*- C++ -*-===//

#ifndef TACQ_TOOLS_TENSORFILES_H
#define TACQ_TOOLS_TENSORFILES_H

#include "tacq/Error.h"

#include <map>
#include <string>
#include <vector>

namespace tacq::tools {

/// A contiguous, row-major tensor in memory of its own.
struct Tensor {
  tacq_element_type_t type = TACQ_ELEMENT_NONE;
  std::vector<int64_t> dims;
  std::vector<char> data;

  int64_t count() const;
};

using Archive = std::map<std::string, Tensor>;

/// Reads all arrays of an .npz file. Messages name the file.
Error readArchive(const std::string &path, Archive &archive);
/// Reads "x.npy", or "file.npz:key".
Error readTensor(const std::string &file, Tensor &tensor);
/// Writes an .npy file; an existing one is replaced only when everything is written.
Error writeTensor(const std::string &path, tacq_element_type_t type,
                  const std::vector<int64_t> &dims, const void *data);

/// Replaces a file by `text`, by way of a temporary file beside it.
Error writeText(const std::string &path, const std::string &text);

bool endsWith(const std::string &text, const std::string &end);

} // namespace tacq::tools

#endif // TACQ_TOOLS_TENSORFILES_H
