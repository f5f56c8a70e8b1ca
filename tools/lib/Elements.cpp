//===- Elements.cpp - Numbers out of typed memory -------------------------===//

#include "Elements.h"
#include "tacq/Half.h"

#include <cmath>
#include <cstring>

using namespace tacq;
using namespace tacq::tools;

bool tools::isFloat(tacq_element_type_t type) { return type >= TACQ_F16 && type <= TACQ_F64; }
bool tools::isInteger(tacq_element_type_t type) { return type >= TACQ_I8 && type <= TACQ_U64; }

static float floatOfBFloat(uint16_t bits) {
  uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

template <typename T> static T at(const void *data, size_t index) {
  T value;
  std::memcpy(&value, static_cast<const char *>(data) + index * sizeof(T), sizeof(T));
  return value;
}

double tools::elementAsDouble(tacq_element_type_t type, const void *data, size_t index) {
  switch (type) {
  case TACQ_BOOL:
    return at<uint8_t>(data, index) != 0;
  case TACQ_I8:
    return at<int8_t>(data, index);
  case TACQ_I16:
    return at<int16_t>(data, index);
  case TACQ_I32:
    return at<int32_t>(data, index);
  case TACQ_I64:
    return static_cast<double>(at<int64_t>(data, index));
  case TACQ_U8:
    return at<uint8_t>(data, index);
  case TACQ_U16:
    return at<uint16_t>(data, index);
  case TACQ_U32:
    return at<uint32_t>(data, index);
  case TACQ_U64:
    return static_cast<double>(at<uint64_t>(data, index));
  case TACQ_F16:
    return floatFromHalf(at<uint16_t>(data, index));
  case TACQ_BF16:
    return floatOfBFloat(at<uint16_t>(data, index));
  case TACQ_F32:
    return at<float>(data, index);
  case TACQ_F64:
    return at<double>(data, index);
  case TACQ_ELEMENT_NONE:
    break;
  }
  return NAN;
}

void tools::convertToFloat(tacq_element_type_t type, const void *data, size_t count,
                           float *result) {
  if (type == TACQ_F32) {
    std::memcpy(result, data, count * sizeof(float));
    return;
  }
  for (size_t i = 0; i < count; ++i)
    result[i] = static_cast<float>(elementAsDouble(type, data, i));
}

void tools::storeElement(tacq_element_type_t type, void *data, size_t index, int64_t value) {
  size_t size = tacq_element_size(type);
  char *place = static_cast<char *>(data) + index * size;
  if (type == TACQ_F32) {
    float real = static_cast<float>(value);
    std::memcpy(place, &real, size);
  } else if (type == TACQ_F64) {
    double real = static_cast<double>(value);
    std::memcpy(place, &real, size);
  } else if (type == TACQ_F16 || type == TACQ_BF16) {
    // Masks are the only inputs of these types that tools build: 0 or 1.
    uint16_t one = type == TACQ_F16 ? 0x3C00 : 0x3F80;
    uint16_t bits = value ? one : 0;
    std::memcpy(place, &bits, size);
  } else {
    std::memcpy(place, &value, size); // little-endian
  }
}
