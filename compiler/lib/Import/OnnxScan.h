//===- OnnxScan.h - Finding tensor data inside of an ONNX file --*- C++ -*-===//
//
// Protobuf's parser copies every tensor and does not say where in the file it was. The scan walks
// over the wire format first and writes the model again without the tensors' data: each gets a
// `raw_data` that is no data but a DataReference. What is left is small and parsed by protobuf.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_IMPORT_ONNXSCAN_H
#define TACQ_LIB_IMPORT_ONNXSCAN_H

#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <optional>
#include <string>

namespace tacq {

/// Where a tensor's data is.
struct DataReference {
  /// TensorProto's field: 4 float_data, 5 int32_data, 7 int64_data, 9 raw_data, 10 double_data,
  /// 11 uint64_data; 0 if the data are in more than one piece.
  uint64_t field;
  uint64_t offset;
  uint64_t length;
};

/// Writes the stripped model; an error is the second half of "not a readable ONNX model: ...".
/// It is empty on success.
std::string stripTensorData(llvm::StringRef file, std::string &stripped);

/// Reads the reference out of a stripped tensor's raw_data.
std::optional<DataReference> readReference(llvm::StringRef rawData);

} // namespace tacq

#endif // TACQ_LIB_IMPORT_ONNXSCAN_H
