//===- MixedTile.h - Code for tiles of mixed-precision weights --*- C++ -*-===//
//
// What a kernel's code takes from the type and the layout of a weight: where the numbers are, how a
// tile's codes are multiplied or decoded, and how its slots are.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_CPU_MIXEDTILE_H
#define TACQ_LIB_CPU_MIXEDTILE_H

#include "DotCode.h"
#include "tacq/CPU/LinearTiling.h"
#include "tacq/Codegen/MixedFormat.h"

namespace tacq {

/// Code for the tiles of one weight in `buffer`.
class MixedTile : public DotCode {
public:
  MixedTile(KernelBuilder &k, const CpuTarget &target, const MixedFormat &format,
            mlir::Value buffer)
      : DotCode(k, target), format(format), buffer(buffer) {}

  const MixedFormat &format;
  mlir::Value buffer;

  /// Has what `multiply`, `scales` and `zeros` will read asked for so far ahead.
  void prefetchAhead(const WeightPrefetch &bytes) { ahead = bytes; }
  /// Makes what all tiles of a row of tiles have in common; before the functions below.
  void beginRow(mlir::Value rowOfTiles);

  mlir::Value tileAt(mlir::Value tile) { return k.add(codesAt, times(tile, wholeTileBytes())); }
  int64_t wholeTileBytes() const { return format.tileBytes(quantizedColumns); }
  /// The sums of products of the tile's columns [first, first + count), of 16 rows as f32. `x` has
  /// the tile's columns of the input.
  mlir::Value multiply(mlir::Value tileAt, int64_t width, int64_t first, int64_t count,
                       const InputColumns &x);
  /// Stores the codes, or their levels, as operands of `dot`: for each four columns those of the 16
  /// rows; or as those of `multiplyMatrices`: for each eight columns.
  void decode(mlir::Value tileAt, int64_t width, mlir::Value panel, mlir::Value panelAt,
              bool asMatrices);
  /// Stores the weights of a tile, of which `decode` made operands of `dot`, as f32: for each
  /// column those of the 16 rows.
  void scaleDecoded(mlir::Value number, int64_t width, mlir::Value decodedTile, mlir::Value floats);
  /// The largest byte that `decode` stores, if they are unsigned.
  unsigned largest() const { return format.codebook ? 255 : (1u << format.bits) - 1; }

  /// Scales and zero points of the 16 rows, for a block of the input.
  mlir::Value scales(mlir::Value block);
  mlir::Value zeros(mlir::Value block);

  /// The number of slots of a tile.
  mlir::Value slotCount(mlir::Value tile);
  void prefetchSlots(mlir::Value slotsAt) {
    prefetchLine(slotsAt, ahead.metadata, /*isNear=*/true);
  }
  /// Adds the products of a tile's slots to `sums`. With blocks of fewer columns than a tile the
  /// scales of the input, at `scalesAt`, are part of them.
  mlir::Value addSlots(mlir::Value sums, mlir::Value slotsAt, mlir::Value count,
                       const InputColumns &x, mlir::Value inputScales, mlir::Value inputScalesAt,
                       int64_t width);
  mlir::Value firstSlot() { return slotsStart; }
  /// A slot in registers, for several rows of the input.
  struct Slot {
    mlir::Value positions, values;
  };
  Slot loadSlot(mlir::Value at);
  /// The scales of a tile's blocks of the input, if products of slots have them; else null.
  mlir::Value loadBlockScales(mlir::Value inputScales, mlir::Value inputScalesAt, int64_t width);
  mlir::Value addSlot(const Slot &slot, mlir::Value sums, const InputColumns &x,
                      mlir::Value blockScales, int64_t width);
  bool slotsHaveInputScales() const { return format.block < quantizedColumns; }
  /// Adds what a tile has in slots to its weights, as `scaleDecoded` stores them; gives the next
  /// tile's first slot.
  mlir::Value addSlotsTo(mlir::Value floats, mlir::Value slotsAt, mlir::Value count);
  /// Adds the products of the list's entries of 16 rows with the input's columns.
  mlir::Value addList(mlir::Value sums,
                      llvm::function_ref<mlir::Value(mlir::Value position)> inputAt);

private:
  /// Bytes of four columns of a tile's rows.
  static constexpr int64_t quadBytes = vectorLanes * quadColumns;
  /// Codes or levels of 8 bits are operands less 128.
  bool hasSignedCodes() const { return isArm() && (format.codebook || format.bits == 8); }
  mlir::Value asOperand(mlir::Value bytes);
  void loadTables();
  bool multipliesInWords() const;
  using PlaneRegisters = llvm::SmallVector<mlir::Value, 2>;
  void forQuads(mlir::Value tileAt, int64_t width, int64_t first, int64_t count, int64_t firstPart,
                int64_t together,
                llvm::function_ref<void(int64_t column, llvm::ArrayRef<PlaneRegisters> raw)> use);
  int64_t moved(unsigned bits, int64_t shift) const;
  llvm::SmallVector<mlir::Value> multiplyInWords(mlir::Value tileAt, int64_t width, int64_t first,
                                                 int64_t count, const InputColumns &x,
                                                 int64_t firstPart, int64_t together);
  llvm::SmallVector<mlir::Value> multiplyParts(mlir::Value tileAt, int64_t width, int64_t first,
                                               int64_t count, const InputColumns &x,
                                               int64_t firstPart, int64_t together);
  bool multipliesByShift() const { return isArm() && !format.codebook && format.planes.size() > 1; }
  mlir::Value multiplyByShift(mlir::Value tileAt, int64_t width, int64_t first, int64_t count,
                              const InputColumns &x, int64_t part);
  mlir::Value shifted(mlir::Value sum, int by);
  mlir::Value codes(llvm::ArrayRef<mlir::Value> raw, int64_t column);
  mlir::Value levels(mlir::Value codes, int64_t part);
  mlir::Value levelsInPlace(mlir::Value raw, int64_t column, int64_t part);
  void prefetchLine(mlir::Value at, int64_t bytes, bool isNear);
  int64_t offsetOf(int64_t width, unsigned plane, int64_t column, int64_t part) const;
  mlir::Value load(mlir::Value tileAt, int64_t width, unsigned plane, int64_t column,
                   int64_t part) {
    return loadBytes(buffer, plus(tileAt, offsetOf(width, plane, column, part)), registerBytes);
  }
  mlir::Value decodeQuad(mlir::Value tileAt, int64_t width, int64_t column, int64_t part);
  void decodeByLevels(mlir::Value tileAt, int64_t width, mlir::Value panel, mlir::Value panelAt,
                      bool asMatrices);
  mlir::Value groupOf(mlir::Value block);

  WeightPrefetch ahead;
  mlir::Value codesAt, metadataStart, levelsStart, countsStart, slotsStart, row;
  /// A codebook's tables of each part, in registers.
  llvm::SmallVector<mlir::Value, 4> tables[4];
  mlir::Value decoded, listSums;
};

} // namespace tacq

#endif // TACQ_LIB_CPU_MIXEDTILE_H
