//===- MixedFormat.h - Where the numbers of a mixed weight are --*- C++ -*-===//
//
// What the kernels of all targets take from the type and the layout of a weight.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_CODEGEN_MIXEDFORMAT_H
#define TACQ_CODEGEN_MIXEDFORMAT_H

#include "tacq/Dialect/TACQ/MixedStorage.h"

namespace tacq {

class LinearOp;

/// Whether a weight is of mixed precision; once weights are packed, all are or none.
bool hasMixedWeights(LinearOp linear);

/// Tiles that there are kernels for, and columns of a row that stand side by side in them.
constexpr int64_t formatTileRows = 16, formatTileColumns = 128, formatInterleave = 4;

/// The numbers of a type and layout, for input in blocks of `block` columns.
struct MixedFormat {
  enum class Circuit { None, List, Slots, Uniform };

  /// nullopt if there is no kernel for it.
  static std::optional<MixedFormat> get(MixedType type, LayoutAttr layout, int64_t block);

  int64_t rows, columns, storedColumns;
  unsigned bits;
  llvm::SmallVector<unsigned> planes;
  int64_t block;
  /// Columns of a group; a row that has one group is a group of all columns.
  int64_t group, groups;
  bool codebook, sorted;
  Circuit circuit;
  /// Slots of each tile of a uniform circuit.
  int64_t uniformSlots = 0;
  int64_t positionBytes;
  /// Tiles of a row of tiles whose columns are all the weight's; stored columns of the other one, 0
  /// if there is none.
  int64_t wholeTiles, lastColumns, columnsOfTiles, rowsOfTiles;
  int64_t scalesAt, zerosAt, levelsAt, permutationAt, circuitAt;

  int64_t rowOfTilesBytes() const { return tileBytes(storedColumns); }
  int64_t tileBytes(int64_t width) const;
  int64_t slotBytes() const;
  /// The circuit's counts and slots in its section.
  int64_t countsAt() const;
  int64_t slotsAt() const;
  bool oneGroup() const { return groups == 1; }
  /// Whether code that decodes tiles of one decodes those of the other.
  bool hasSameForm(const MixedFormat &other) const {
    return bits == other.bits && planes == other.planes && codebook == other.codebook &&
           group == other.group && groups == other.groups && circuit == other.circuit &&
           uniformSlots == other.uniformSlots;
  }
  bool hasSlots() const { return circuit == Circuit::Slots || circuit == Circuit::Uniform; }
};

} // namespace tacq

#endif // TACQ_CODEGEN_MIXEDFORMAT_H
