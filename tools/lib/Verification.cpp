//===- Verification.cpp - Compares tensors with reference values ----------===//

#include "Verification.h"

#include "Elements.h"

#include <cmath>
#include <cstring>
#include <limits>

using namespace tacq;
using namespace tacq::tools;

Tolerance tools::defaultTolerance(tacq_element_type_t type) {
  switch (type) {
  case TACQ_F64:
    return {1e-9, 1e-9};
  case TACQ_F32:
    return {2e-3, 1e-4};
  case TACQ_F16:
    return {2e-2, 1e-2};
  case TACQ_BF16:
    return {1e-1, 5e-2};
  default:
    return {};
  }
}

Difference tools::compare(tacq_element_type_t type, const void *values,
                          tacq_element_type_t referenceType, const void *references, size_t count,
                          const Tolerance &tolerance) {
  Difference result;
  size_t size = tacq_element_size(type);
  for (size_t i = 0; i < count; ++i) {
    double value = elementAsDouble(type, values, i);
    double reference = elementAsDouble(referenceType, references, i);
    // Integers are compared as bytes where possible: above 2^53 they are not exact as doubles.
    bool same = !isFloat(type) && type == referenceType
                    ? std::memcmp(static_cast<const char *>(values) + i * size,
                                  static_cast<const char *>(references) + i * size, size) == 0
                    : value == reference || (std::isnan(value) && std::isnan(reference));
    if (same)
      continue;
    double error = std::fabs(value - reference);
    if (std::isnan(error))
      error = std::numeric_limits<double>::infinity();
    result.maxAbsolute = std::fmax(result.maxAbsolute, error);
    if (reference != 0)
      result.maxRelative = std::fmax(result.maxRelative, error / std::fabs(reference));
    bool passes = std::isfinite(reference) &&
                  error <= tolerance.absolute + tolerance.relative * std::fabs(reference) &&
                  isFloat(type);
    if (passes)
      continue;
    if (result.failures++ == 0) {
      result.firstFailure = i;
      result.value = value;
      result.reference = reference;
    }
  }
  return result;
}
