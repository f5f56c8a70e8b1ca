//===- ElementBytes.cpp - Elements as a module stores them ----------------===//

#include "ElementBytes.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"

using namespace mlir;
using namespace tacq;

format::ElementType tacq::formatType(Type type) {
  using namespace tacq::format;
  if (isa<MixedType>(type))
    return ElementType_None;
  if (type.isF16())
    return ElementType_F16;
  if (type.isBF16())
    return ElementType_BF16;
  if (type.isF32())
    return ElementType_F32;
  if (type.isF64())
    return ElementType_F64;
  bool isUnsigned = type.isUnsignedInteger();
  switch (type.getIntOrFloatBitWidth()) {
  case 1:
    return ElementType_Bool;
  case 8:
    return isUnsigned ? ElementType_U8 : ElementType_I8;
  case 16:
    return isUnsigned ? ElementType_U16 : ElementType_I16;
  case 32:
    return isUnsigned ? ElementType_U32 : ElementType_I32;
  default:
    return isUnsigned ? ElementType_U64 : ElementType_I64;
  }
}

std::vector<char> tacq::elementBytes(ElementsAttr value) {
  Type element = value.getElementType();
  std::vector<char> bytes;
  unsigned width = std::max(8u, element.getIntOrFloatBitWidth()) / 8;
  auto append = [&](const APInt &bits) {
    uint64_t raw = bits.getZExtValue();
    bytes.insert(bytes.end(), reinterpret_cast<char *>(&raw),
                 reinterpret_cast<char *>(&raw) + width);
  };
  if (isa<FloatType>(element))
    for (const APFloat &real : value.getValues<APFloat>())
      append(real.bitcastToAPInt());
  else
    for (const APInt &integer : value.getValues<APInt>())
      append(integer);
  return bytes;
}
