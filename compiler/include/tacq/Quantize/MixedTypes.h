//===- MixedTypes.h - The type of a quantized weight ------------*- C++ -*-===//

#ifndef TACQ_QUANTIZE_MIXEDTYPES_H
#define TACQ_QUANTIZE_MIXEDTYPES_H

#include "tacq/Dialect/TACQ/TACQDialect.h"
#include "tacq/Quantize/CircuitMask.h"

namespace tacq {

/// The type of a weight of this format with this circuit; slots are counted in tiles of 16 rows by
/// 128 columns, rows in the mask's order.
MixedType mixedTypeOf(mlir::MLIRContext &context, int64_t rows, int64_t columns,
                      const WeightFormat &format, const CircuitMask &mask);
MixedType mixedTypeOf(mlir::MLIRContext &context, const MixedWeight &weight);

} // namespace tacq

#endif // TACQ_QUANTIZE_MIXEDTYPES_H
