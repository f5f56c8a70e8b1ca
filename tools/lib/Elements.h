//===- Elements.h - Numbers out of typed memory -----------------*- C++ -*-===//

#ifndef TACQ_TOOLS_ELEMENTS_H
#define TACQ_TOOLS_ELEMENTS_H

#include "tacq/runtime.h"

#include <cstddef>
#include <cstdint>

namespace tacq::tools {

bool isFloat(tacq_element_type_t type);
bool isInteger(tacq_element_type_t type);

/// Element `index` as a number; integers above 2^53 lose bits.
double elementAsDouble(tacq_element_type_t type, const void *data, size_t index);
/// Converts `count` elements of a float type.
void convertToFloat(tacq_element_type_t type, const void *data, size_t count, float *result);
/// Stores `value` as element `index` of an integer, bool or float type.
void storeElement(tacq_element_type_t type, void *data, size_t index, int64_t value);

} // namespace tacq::tools

#endif // TACQ_TOOLS_ELEMENTS_H
