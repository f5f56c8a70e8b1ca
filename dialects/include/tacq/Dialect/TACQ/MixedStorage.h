//===- MixedStorage.h - Bytes of a mixed-precision weight -------*- C++ -*-===//

#ifndef TACQ_DIALECT_TACQ_MIXEDSTORAGE_H
#define TACQ_DIALECT_TACQ_MIXEDSTORAGE_H

#include "tacq/Dialect/TACQ/TACQDialect.h"

namespace tacq {

/// The bytes of a weight's sections in their order, padding included; docs/Spec.md has the
/// formulas.
struct MixedStorage {
  int64_t codes = 0;
  /// Scales and zero points, and the scales of quantized scales.
  int64_t metadata = 0;
  int64_t codebooks = 0;
  int64_t permutation = 0;
  /// Values and positions.
  int64_t circuit = 0;

  int64_t total() const { return codes + metadata + codebooks + permutation + circuit; }
};

/// Columns of a row as they are stored: the last tile is only as wide as the planes' blocks need.
int64_t storedColumns(MixedType type, LayoutAttr layout);

/// The attribute of a tacq.quantize_rows whose result kernels of products may make themselves.
constexpr llvm::StringLiteral repeatedRowsAttribute = "repeated_rows";

/// Bytes of a number in the circuit's counts of slots for each tile.
int64_t slotCountBytes(LayoutAttr layout);
/// Bytes of a position: in a list a column of the matrix, in a slot one of the tile.
int64_t positionBytes(MixedType type, LayoutAttr layout);
/// Sorted rows stay within blocks of so many rows, so that an entry of the permutation is a byte:
/// the row of the weight, counted from the start of the block.
constexpr int64_t permutationBlock = 256;

/// The type without the number of the circuit's entries or slots of the whole matrix, which no
/// kernel depends on: weights that differ in nothing else share their kernels.
MixedType withoutCount(MixedType type);

/// The columns of quantized rows are a multiple of it.
constexpr int64_t quantizedColumns = 128;
/// Columns of the smallest block: groups, and stored columns, are whole blocks of it.
inline constexpr int64_t smallestBlock = 32;
/// How many steps of the remainders of 16-bit integers, which have 8 bits of their own, are one of
/// the integers before: a remainder is at most half of it.
inline constexpr int64_t remainderSteps = 254;
/// Columns of a block of quantized rows with `blocks` blocks, all planes together; nullopt if no
/// block size fits. Where several do, a row is one block for each of them.
std::optional<int64_t> quantizationBlock(int64_t columns, int64_t blocks, int64_t planes = 1);

/// Whether a weight of this type can be stored in this layout; the error names the rule.
llvm::LogicalResult verifyMixedLayout(llvm::function_ref<mlir::InFlightDiagnostic()> emitError,
                                      MixedType type, LayoutAttr layout);

/// The bytes of a weight in a layout that verifyMixedLayout accepts.
MixedStorage storedBytes(MixedType type, LayoutAttr layout);

/// All bytes of the weight times 8 over its number of elements.
double bitsPerWeight(MixedType type, LayoutAttr layout);

} // namespace tacq

#endif // TACQ_DIALECT_TACQ_MIXEDSTORAGE_H
