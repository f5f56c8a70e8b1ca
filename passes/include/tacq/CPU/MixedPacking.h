//===- MixedPacking.h - Bytes of mixed-precision weights --------*- C++ -*-===//
//
// From what a quantizer makes to the sections that docs/Spec.md describes, and back.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_CPU_MIXEDPACKING_H
#define TACQ_CPU_MIXEDPACKING_H

#include "tacq/Dialect/TACQ/MixedStorage.h"
#include "tacq/Error.h"
#include "tacq/Quantize/MixedWeight.h"

namespace tacq {

/// A tile of every CPU target: one module's weights serve all of them.
constexpr int64_t cpuTileRows = 16, cpuTileColumns = 128;

/// The type of a quantizer's weight, whose slots are counted in tiles of the CPU targets.
MixedType cpuMixedType(mlir::MLIRContext *context, const MixedWeight &weight);

/// How the CPU targets store a weight of this type. Rows are sorted only if the circuit is in
/// slots.
LayoutAttr cpuMixedLayout(MixedType type, bool sorted = true);

/// What the bytes of a stored weight are for; together they are storedBytes(…).total().
struct MixedParts {
  uint64_t codes = 0, scales = 0, zeros = 0, levels = 0, circuitValues = 0, circuitPositions = 0,
           permutation = 0, padding = 0;
};
MixedParts mixedParts(MixedType type, LayoutAttr layout);

/// Packs a weight. `write` gets the bytes in order, a row of tiles at a time, and returns false to
/// stop. Fails if the weight is not of the type, or the type or layout is one that no kernel reads:
/// what they hold are f16 scales with ui8 zero points or rows of ui8 levels, little-endian.
Error packMixedWeight(const MixedWeight &weight, MixedType type, LayoutAttr layout,
                      llvm::function_ref<bool(const void *, size_t)> write);

/// The weight that has been packed, up to entries of its circuit that are +0, which are stored like
/// slots that a row does not need. Fails if the bytes are not those of such a weight.
Error unpackMixedWeight(llvm::ArrayRef<uint8_t> bytes, MixedType type, LayoutAttr layout,
                        MixedWeight &weight);

} // namespace tacq

#endif // TACQ_CPU_MIXEDPACKING_H
