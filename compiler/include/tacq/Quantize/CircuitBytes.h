//===- CircuitBytes.h - What a circuit costs in the module ------*- C++ -*-===//
//
// The bytes of a circuit's section and of the permutation of rows, as docs/Spec.md has them, before
// a layout is chosen.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_QUANTIZE_CIRCUITBYTES_H
#define TACQ_QUANTIZE_CIRCUITBYTES_H

#include <cstdint>

namespace tacq {

/// Tiles of a weight [rows, columns]. The last tile of a row may have fewer columns, the last row
/// of tiles fewer rows.
struct TileGrid {
  int64_t rows = 0, columns = 0;
  int64_t tileRows = 16, tileColumns = 128;

  int64_t down() const { return (rows + tileRows - 1) / tileRows; }
  int64_t across() const { return (columns + tileColumns - 1) / tileColumns; }
  int64_t tiles() const { return down() * across(); }
};

/// A section is padded to this.
constexpr int64_t sectionAlignment = 16;

/// An entry as TaCQ counts it: 16 bits for the position, 16 for the value.
constexpr int64_t entryBytes = 4;

/// A list of positions and values, and where each row begins. Without entries there is no circuit.
int64_t scatteredBytes(int64_t rows, int64_t columns, int64_t entries);

/// A slot: a position and a value for each row of a tile.
int64_t slotBytes(const TileGrid &grid);

/// Slots, their number in each tile, and where each row of tiles begins; with the permutation of
/// rows if they are sorted.
int64_t slotsBytes(const TileGrid &grid, int64_t slots, bool sorted);

/// What the kernel of tensors of one shape takes more for slots than for a list, of one target
/// (measured: 2.0 to 2.8 kB); and what it takes besides if rows are sorted, when gate and up are
/// products of their own, whose kernels and dispatches come to some 6 kB for a shape and 80 bytes
/// for a tensor.
constexpr int64_t slotCodeBytes = 2816, sortedCodeBytes = 6144, sortedTensorBytes = 96;

/// The same number of slots in each tile.
int64_t uniformBytes(const TileGrid &grid, int64_t slotsInTile);

} // namespace tacq

#endif // TACQ_QUANTIZE_CIRCUITBYTES_H
