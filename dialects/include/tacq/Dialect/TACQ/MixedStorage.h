//===- MixedStorage.h - Bytes of a mixed-precision weight -------*- C++ -*-===//

#ifndef TACQ_DIALECT_TACQ_MIXEDSTORAGE_H
#define TACQ_DIALECT_TACQ_MIXEDSTORAGE_H

#include "tacq/Dialect/TACQ/TACQDialect.h"

namespace tacq {

/// The bytes of a weight's sections, padding included; docs/Spec.md has the formulas.
struct MixedStorage {
  int64_t codes = 0;
  /// Scales and zero points, and the scales of quantized scales.
  int64_t metadata = 0;
  int64_t codebooks = 0;
  /// Values and positions.
  int64_t circuit = 0;
  int64_t permutation = 0;

  int64_t total() const { return codes + metadata + codebooks + circuit + permutation; }
};

/// Whether a weight of this type can be stored in this layout; the error names the rule.
llvm::LogicalResult verifyMixedLayout(llvm::function_ref<mlir::InFlightDiagnostic()> emitError,
                                      MixedType type, LayoutAttr layout);

/// The bytes of a weight in a layout that verifyMixedLayout accepts.
MixedStorage storedBytes(MixedType type, LayoutAttr layout);

/// All bytes of the weight times 8 over its number of elements.
double bitsPerWeight(MixedType type, LayoutAttr layout);

} // namespace tacq

#endif // TACQ_DIALECT_TACQ_MIXEDSTORAGE_H
