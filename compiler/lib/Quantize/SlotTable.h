//===- SlotTable.h - What each slot of a weight is worth --------*- C++ -*-===//

#ifndef TACQ_LIB_QUANTIZE_SLOTTABLE_H
#define TACQ_LIB_QUANTIZE_SLOTTABLE_H

#include "tacq/Quantize/Slots.h"

namespace tacq {

/// For each order of the rows (empty: the natural one), what slots are worth, [tile][slot]: that of
/// number j is the sum of the j-th largest saliencies of the tile's rows.
std::vector<std::vector<float>> slotWorths(WeightView saliency, const TileGrid &grid,
                                           llvm::ArrayRef<std::vector<uint32_t>> orders);

/// The slots of a weight whose rows are in some order, the most valuable first. A tile's slots are
/// in the order of their numbers, since a row's j-th best column is never worth more than those
/// before it: any prefix of the table is a circuit.
class SlotTable {
public:
  /// `worths` are those of slotWorths() for this order. No more than `limit` slots are listed.
  SlotTable(WeightView saliency, const TileGrid &grid, std::vector<uint32_t> order,
            llvm::ArrayRef<float> worths, uint64_t limit);

  int64_t size() const { return static_cast<int64_t>(entries.size()); }
  float worth(int64_t i) const { return entries[i].worth; }
  /// What the first n slots are worth.
  double worthOf(int64_t n) const { return sums[n]; }
  /// How many slots are worth more than this.
  int64_t countAbove(double worth) const;
  std::pair<int64_t, int64_t> shape() const { return {grid.rows, grid.columns}; }
  bool isSorted() const { return !order.empty(); }
  int64_t bytes(int64_t n) const { return slotsBytes(grid, n, isSorted()); }

  /// The circuit of the first n slots.
  SlotCircuit circuit(int64_t n) const;

private:
  struct Entry {
    float worth;
    uint32_t tile, slot;
  };

  WeightView saliency;
  TileGrid grid;
  std::vector<uint32_t> order;
  std::vector<Entry> entries;
  std::vector<double> sums;
};

/// The circuit with these numbers of slots in the tiles.
SlotCircuit makeSlotCircuit(WeightView saliency, const TileGrid &grid, std::vector<uint32_t> order,
                            std::vector<uint8_t> slots);

} // namespace tacq

#endif // TACQ_LIB_QUANTIZE_SLOTTABLE_H
