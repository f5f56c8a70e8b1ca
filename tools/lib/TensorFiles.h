//===- TensorFiles.h - Tensors by the names of tools' flags -----*- C++ -*-===//

#ifndef TACQ_TOOLS_TENSORFILES_H
#define TACQ_TOOLS_TENSORFILES_H

#include "tacq/Npy.h"

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace tacq::tools {

using Archive = std::map<std::string, NpyArray>;

/// Reads those arrays of an .npz file whose names are `wanted`.
Error readArchive(const std::string &path, const std::function<bool(const std::string &)> &wanted,
                  Archive &archive);
/// Reads "x.npy", or "file.npz:key".
Error readTensor(const std::string &file, NpyArray &tensor);
/// Writes an .npy file; an existing one is replaced only when everything is written. bf16, which
/// such files cannot hold, becomes f32.
Error writeTensor(const std::string &path, tacq_element_type_t type,
                  const std::vector<int64_t> &dims, const void *data);

/// Replaces a file by `text`, by way of a temporary file beside it.
Error writeText(const std::string &path, const std::string &text);

bool endsWith(const std::string &text, const std::string &end);

} // namespace tacq::tools

#endif // TACQ_TOOLS_TENSORFILES_H
