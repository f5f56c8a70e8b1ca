//===- Slots.h - Circuits in tiles ------------------------------*- C++ -*-===//
//
// A slot of a tile keeps one weight of each of its rows, so that a kernel reads circuits without
// gathering. Every row of a tile uses every slot of it: slot j holds each row's j-th most salient
// column of the tile.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_QUANTIZE_SLOTS_H
#define TACQ_QUANTIZE_SLOTS_H

#include "tacq/Quantize/CircuitBytes.h"
#include "tacq/Quantize/CircuitMask.h"

namespace tacq {

struct SlotOptions {
  /// 16 or 8.
  int64_t tileRows = 16;
  int64_t tileColumns = 128;
};

/// The circuit of one weight in tiles.
struct SlotCircuit {
  TileGrid grid;
  /// The positions; its order has the rows sorted, or is empty.
  CircuitMask mask;
  /// Of each tile, row of tiles by row of tiles; empty without a circuit.
  std::vector<uint8_t> slots;

  int64_t slotCount() const;
  bool isSorted() const { return !mask.order.empty(); }
};

/// Slots over all tensors in no more than 4 bytes for each entry of the scattered circuits, tables
/// and permutations included. A slot is worth the saliency that it keeps, and slots are taken at
/// the price of a byte at which the budget is spent. Rows of all tensors are sorted by how many
/// entries of the scattered circuit they hold, so that salient rows share tiles, or all stay as
/// they are, which saves the permutations: whichever keeps more. Tensors of the same shape have
/// circuits all or none. Both let layers share kernels, whose code would cost more than it saves.
/// For several scattered circuits of all tensors at once: what they share, sorting the saliency, is
/// most of the work.
std::vector<std::vector<SlotCircuit>>
selectSlots(llvm::ArrayRef<WeightView> saliency, llvm::ArrayRef<std::vector<CircuitMask>> scattered,
            const SlotOptions &options);

/// The same number of slots in every tile of every tensor, at least one and not more than the
/// narrowest tile has columns: the number whose bytes are closest to that budget.
std::vector<SlotCircuit> selectUniform(llvm::ArrayRef<WeightView> saliency,
                                       llvm::ArrayRef<CircuitMask> scattered,
                                       const SlotOptions &options);

/// The circuits of weights with this saliency, in a layout: `fraction` of the weights where they
/// are scattered, else what fits into 4 bytes for each of so many.
std::vector<CircuitMask> selectCircuit(WeightFormat::Circuit layout,
                                       llvm::ArrayRef<WeightView> saliency, double fraction);
/// The same for several fractions at once.
std::vector<std::vector<CircuitMask>> selectCircuits(WeightFormat::Circuit layout,
                                                     llvm::ArrayRef<WeightView> saliency,
                                                     llvm::ArrayRef<double> fractions);

} // namespace tacq

#endif // TACQ_QUANTIZE_SLOTS_H
