//===- OnnxTypes.cpp - ONNX's numbers of element types --------------------===//

#include "tacq/Dialect/TACQ/OnnxTypes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace tacq;

namespace {
struct Entry {
  int64_t number;
  Type (*make)(MLIRContext *context);
};
} // namespace

template <unsigned Width> static Type signlessType(MLIRContext *context) {
  return IntegerType::get(context, Width);
}
template <unsigned Width> static Type unsignedType(MLIRContext *context) {
  return IntegerType::get(context, Width, IntegerType::Unsigned);
}
template <typename Float> static Type floatType(MLIRContext *context) {
  return Float::get(context);
}

/// ONNX's signed integers are signless here, as arithmetic on them is.
static constexpr Entry kEntries[] = {
    {1, floatType<Float32Type>},   // FLOAT
    {2, unsignedType<8>},          // UINT8
    {3, signlessType<8>},          // INT8
    {4, unsignedType<16>},         // UINT16
    {5, signlessType<16>},         // INT16
    {6, signlessType<32>},         // INT32
    {7, signlessType<64>},         // INT64
    {9, signlessType<1>},          // BOOL
    {10, floatType<Float16Type>},  // FLOAT16
    {11, floatType<Float64Type>},  // DOUBLE
    {12, unsignedType<32>},        // UINT32
    {13, unsignedType<64>},        // UINT64
    {16, floatType<BFloat16Type>}, // BFLOAT16
};

Type tacq::elementTypeOfOnnx(int64_t number, MLIRContext *context) {
  for (const Entry &entry : kEntries)
    if (entry.number == number)
      return entry.make(context);
  return {};
}

bool tacq::isOnnxElementType(int64_t number) {
  return llvm::any_of(kEntries, [&](const Entry &entry) { return entry.number == number; });
}

std::optional<int64_t> tacq::onnxNumberOf(Type element) {
  for (const Entry &entry : kEntries)
    if (entry.make(element.getContext()) == element)
      return entry.number;
  return std::nullopt;
}
