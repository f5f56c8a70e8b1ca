//===- OnnxTypes.h - ONNX's numbers of element types ------------*- C++ -*-===//
//
// The one table between the numbers of onnx.TensorProto.DataType, which models and attributes such
// as Cast's `to` hold, and the element types of tensors.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_DIALECT_TACQ_ONNXTYPES_H
#define TACQ_DIALECT_TACQ_ONNXTYPES_H

#include "mlir/IR/Types.h"
#include <optional>

namespace tacq {

/// The element type for ONNX's number of it; null if the compiler has no such type.
mlir::Type elementTypeOfOnnx(int64_t number, mlir::MLIRContext *context);

/// Whether the compiler has an element type for ONNX's number.
bool isOnnxElementType(int64_t number);

/// ONNX's number of an element type; none for types that ONNX does not have.
std::optional<int64_t> onnxNumberOf(mlir::Type element);

} // namespace tacq

#endif // TACQ_DIALECT_TACQ_ONNXTYPES_H
