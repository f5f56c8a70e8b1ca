//===- OnnxTensor.cpp - Types and tensors of an ONNX model ----------------===//

#include "OnnxTensor.h"

#include "OnnxScan.h"
#include "mlir/IR/Builders.h"
#include "tacq/Dialect/TACQ/OnnxTypes.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;
using llvm::Twine;
using tacq::Error;

std::string tacq::dataTypeName(int32_t onnxType) {
  // Debian's ONNX does not know the names after BFLOAT16.
  static const char *const names[] = {
      "UNDEFINED",      "FLOAT",    "UINT8",        "INT8",           "UINT16",
      "INT16",          "INT32",    "INT64",        "STRING",         "BOOL",
      "FLOAT16",        "DOUBLE",   "UINT32",       "UINT64",         "COMPLEX64",
      "COMPLEX128",     "BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2",
      "FLOAT8E5M2FNUZ", "UINT4",    "INT4",         "FLOAT4E2M1",     "FLOAT8E8M0",
      "UINT2",          "INT2"};
  if (onnxType >= 0 && onnxType < static_cast<int32_t>(std::size(names)))
    return names[onnxType];
  return "number " + std::to_string(onnxType);
}

std::string tacq::unsupportedType(const onnx::TypeProto &type) {
  switch (type.value_case()) {
  case onnx::TypeProto::kTensorType: {
    // A model that leaves the type open (0) is fine: it is inferred.
    int32_t element = type.tensor_type().elem_type();
    return element == 0 || isOnnxElementType(element)
               ? ""
               : "has elements of type " + dataTypeName(element);
  }
  case onnx::TypeProto::kSequenceType:
    return "is a sequence";
  case onnx::TypeProto::kMapType:
    return "is a map";
  case onnx::TypeProto::kOptionalType:
    return "is an optional";
  case onnx::TypeProto::kSparseTensorType:
    return "is a sparse tensor";
  case onnx::TypeProto::VALUE_NOT_SET:
    return "";
  default:
    return "has a type that is no tensor";
  }
}

Type tacq::unknownType(MLIRContext *context) {
  return UnrankedTensorType::get(UnknownType::get(context));
}

bool tacq::hasUnknownElements(Type type) {
  auto shaped = dyn_cast<ShapedType>(type);
  return shaped && isa<UnknownType>(shaped.getElementType());
}

Type tacq::declaredType(const onnx::TypeProto &type, MLIRContext *context) {
  if (!type.has_tensor_type())
    return unknownType(context);
  Type element = elementTypeOfOnnx(type.tensor_type().elem_type(), context);
  if (!element)
    element = UnknownType::get(context);
  if (!type.tensor_type().has_shape())
    return UnrankedTensorType::get(element);
  SmallVector<int64_t> shape;
  for (const onnx::TensorShapeProto::Dimension &dim : type.tensor_type().shape().dim()) {
    bool known = dim.has_dim_value() && dim.dim_value() >= 0;
    shape.push_back(known ? dim.dim_value() : ShapedType::kDynamic);
  }
  return RankedTensorType::get(shape, element);
}

static Error invalid(const Twine &reason) { return Error(TACQ_INVALID_INPUT, reason.str()); }

/// The number of elements, or an error if it is negative or does not fit.
static Error shapeOf(const onnx::TensorProto &tensor, uint64_t width, SmallVector<int64_t> &shape,
                     uint64_t &bytes) {
  bytes = width;
  bool empty = false;
  for (int64_t dim : tensor.dims()) {
    if (dim < 0)
      return invalid("has a negative dimension, " + Twine(dim));
    empty |= dim == 0;
    shape.push_back(dim);
  }
  for (int64_t dim : tensor.dims()) {
    bool overflow = false;
    bytes = empty ? 0 : llvm::SaturatingMultiply<uint64_t>(bytes, dim, &overflow);
    if (overflow || bytes > static_cast<uint64_t>(INT64_MAX))
      return invalid("has dimensions that no memory can hold");
  }
  return Error();
}

static Error readExternal(const onnx::TensorProto &tensor, uint64_t expected, MLIRContext *context,
                          ParameterStore &store, ImportedTensor &result) {
  StringRef location;
  uint64_t offset = 0, length = expected;
  for (const onnx::StringStringEntryProto &entry : tensor.external_data()) {
    StringRef key = entry.key(), value = entry.value();
    if (key == "location")
      location = value;
    if (key == "offset" && value.getAsInteger(10, offset))
      return invalid("has the external offset '" + value + "', which is no number");
    if (key == "length" && value.getAsInteger(10, length))
      return invalid("has the external length '" + value + "', which is no number");
  }
  ArrayRef<char> content;
  if (location.empty())
    return invalid("is external but does not say in which file");
  if (Error error = store.map(location, content))
    return invalid("needs external data: " + error.message());
  if (length != expected)
    return invalid("has " + Twine(length) + " bytes in '" + location + "', its type needs " +
                   Twine(expected));
  if (offset > content.size() || length > content.size() - offset)
    return invalid("needs bytes " + Twine(offset) + " to " + Twine(offset) + " + " + Twine(length) +
                   " of '" + location + "', which has only " + Twine(content.size()) +
                   "; the file is not the model's or was cut");
  result.bytes = content.slice(offset, length);
  result.source = SourceAttr::get(context, location, offset, length);
  return Error();
}

/// True if values of this element type are stored in that field of TensorProto.
static bool fieldFits(uint64_t field, Type element) {
  switch (field) {
  case 4:
    return element.isF32();
  case 5:
    return element.isF16() || element.isBF16() ||
           (element.isIntOrIndex() && element.getIntOrFloatBitWidth() <= 32 &&
            !element.isUnsignedInteger(32));
  case 7:
    return element.isSignlessInteger(64);
  case 9:
    return true;
  case 10:
    return element.isF64();
  case 11:
    return element.isUnsignedInteger(32) || element.isUnsignedInteger(64);
  default:
    return false;
  }
}

Error tacq::readTensor(const onnx::TensorProto &tensor, StringRef modelFile, MLIRContext *context,
                       ParameterStore &store, ImportedTensor &result) {
  Type element = elementTypeOfOnnx(tensor.data_type(), context);
  if (tensor.data_type() == 0)
    return invalid("has no element type");
  if (!element)
    return Error(TACQ_UNSUPPORTED, "has elements of type " + dataTypeName(tensor.data_type()));
  unsigned width = elementBytes(element);
  SmallVector<int64_t> shape;
  uint64_t expected = 0;
  if (Error error = shapeOf(tensor, width, shape, expected))
    return error;
  result.type = RankedTensorType::get(shape, element);
  if (tensor.data_location() == onnx::TensorProto::EXTERNAL)
    return readExternal(tensor, expected, context, store, result);

  std::optional<DataReference> data = readReference(tensor.raw_data());
  if (!data) {
    if (expected != 0)
      return invalid("has no data");
    result.source = SourceAttr::get(context, modelFile, 0, 0);
    return Error();
  }
  if (data->field == 0)
    return invalid("has its values in several pieces; save it as raw data");
  if (!fieldFits(data->field, element))
    return invalid("has its values in a field that is not for elements of type " +
                   dataTypeName(tensor.data_type()));
  ArrayRef<char> content;
  if (Error error = store.map(modelFile, content))
    return error;
  ArrayRef<char> payload = content.slice(data->offset, data->length);
  bool isFixed = data->field == 4 || data->field == 9 || data->field == 10;
  if (isFixed) {
    if (data->length != expected)
      return invalid("has " + Twine(data->length) + " bytes of data, its type needs " +
                     Twine(expected));
    result.bytes = payload;
    result.source = SourceAttr::get(context, modelFile, data->offset, data->length);
    return Error();
  }
  std::vector<char> elements;
  uint64_t used = 0;
  if (!decodeVarints(payload, expected / width, width, elements, used) || used != payload.size())
    return invalid("has not as many values as its dimensions say");
  result.bytes = store.own(std::move(elements));
  result.source = SourceAttr::get(context, modelFile, data->offset, 0);
  return Error();
}

DenseElementsAttr tacq::denseAttribute(const ImportedTensor &tensor) {
  if (tensor.bytes.empty())
    return DenseElementsAttr::get(tensor.type, ArrayRef<Attribute>());
  if (tensor.type.getElementType().isInteger(1)) {
    SmallVector<bool> values;
    for (char byte : tensor.bytes)
      values.push_back(byte != 0);
    return DenseElementsAttr::get(tensor.type, values);
  }
  // The raw buffer is read with aligned loads; a mapped tensor starts anywhere.
  SmallVector<uint64_t> aligned(llvm::divideCeil(tensor.bytes.size(), sizeof(uint64_t)));
  std::memcpy(aligned.data(), tensor.bytes.data(), tensor.bytes.size());
  return DenseElementsAttr::getFromRawBuffer(
      tensor.type,
      ArrayRef<char>(reinterpret_cast<const char *>(aligned.data()), tensor.bytes.size()));
}
