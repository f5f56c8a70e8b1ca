//===- OnnxTensor.h - Types and tensors of an ONNX model --------*- C++ -*-===//

#ifndef TACQ_LIB_IMPORT_ONNXTENSOR_H
#define TACQ_LIB_IMPORT_ONNXTENSOR_H

#include "OnnxProto.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"
#include "tacq/Import/ParameterStore.h"

namespace tacq {

/// A tensor of a (stripped) model, read in place.
struct ImportedTensor {
  mlir::RankedTensorType type;
  /// Row-major, little-endian; owned by the store or mapped by it.
  llvm::ArrayRef<char> bytes;
  SourceAttr source;
};

/// ONNX's name of a data type, for messages: "FLOAT8E4M3FN".
std::string dataTypeName(int32_t onnxType);

/// Why a value of this type cannot be compiled ("is a sequence"); empty if it can, or if the model
/// does not tell the type.
std::string unsupportedType(const onnx::TypeProto &type);
/// Element type, rank and constant sizes of a declared type; any of them may be unknown.
mlir::Type declaredType(const onnx::TypeProto &type, mlir::MLIRContext *context);
mlir::Type unknownType(mlir::MLIRContext *context);
bool hasUnknownElements(mlir::Type type);

/// Finds the bytes of a tensor. `modelFile` is the model's name in the store. An error's message is
/// to follow the tensor's name: TACQ_UNSUPPORTED for types that the compiler does not have,
/// TACQ_INVALID_INPUT if data are missing or do not fit.
Error readTensor(const onnx::TensorProto &tensor, llvm::StringRef modelFile,
                 mlir::MLIRContext *context, ParameterStore &store, ImportedTensor &result);

/// The tensor as an attribute; for small ones.
mlir::DenseElementsAttr denseAttribute(const ImportedTensor &tensor);

} // namespace tacq

#endif // TACQ_LIB_IMPORT_ONNXTENSOR_H
