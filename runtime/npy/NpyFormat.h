//===- NpyFormat.h - Headers of .npy files ----------------------*- C++ -*-===//

#ifndef TACQ_NPY_NPYFORMAT_H
#define TACQ_NPY_NPYFORMAT_H

#include "tacq/Npy.h"

namespace tacq {

/// Reads a whole .npy file in memory. `what` begins the messages: "'x.npz', array 'ids'".
Error parseNpy(const uint8_t *bytes, size_t size, const std::string &what, NpyArray &array);

/// The header that comes before the elements, a multiple of 64 bytes.
Error makeNpyHeader(tacq_element_type_t type, const std::vector<int64_t> &dims,
                    const std::string &what, std::string &header, size_t &dataBytes);

} // namespace tacq

#endif // TACQ_NPY_NPYFORMAT_H
