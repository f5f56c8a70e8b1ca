//===- Verification.h - Compares tensors with reference values --*- C++ -*-===//

#ifndef TACQ_TOOLS_VERIFICATION_H
#define TACQ_TOOLS_VERIFICATION_H

#include "TensorFiles.h"

#include <optional>

namespace tacq::tools {

/// An element passes when |value - reference| <= absolute + relative · |reference|. NaN equals NaN,
/// an infinity equals itself.
struct Tolerance {
  double absolute = 0;
  double relative = 0;
};

/// f64 1e-9, f32 2e-3 absolute and 1e-4 relative, f16 2e-2 and 1e-2, bf16 1e-1 and 5e-2; integers
/// and bools must be equal.
Tolerance defaultTolerance(tacq_element_type_t type);

struct Difference {
  double maxAbsolute = 0;
  /// Largest |value - reference| / |reference| where the reference is not 0.
  double maxRelative = 0;
  size_t failures = 0;
  size_t firstFailure = 0;
  double value = 0, reference = 0; // of the first failure
};

/// Element by element; both hold `count` elements.
Difference compare(tacq_element_type_t type, const void *values, tacq_element_type_t referenceType,
                   const void *references, size_t count, const Tolerance &tolerance);

} // namespace tacq::tools

#endif // TACQ_TOOLS_VERIFICATION_H
