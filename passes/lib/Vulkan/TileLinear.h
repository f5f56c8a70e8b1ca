//===- TileLinear.h - Tiles of products of many rows ------------*- C++ -*-===//
//
// The kernel of EmitTileLinear.cpp; how the weights of a tile are decoded is in TileWeights.cpp.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_VULKAN_TILELINEAR_H
#define TACQ_LIB_VULKAN_TILELINEAR_H

#include "WorkgroupCode.h"
#include "tacq/Codegen/MixedFormat.h"

namespace tacq {

/// What a workgroup makes: so many features of so many rows of the input, and each of its subgroups.
struct TileShape {
  int64_t features = 128, rows = 128;
  int64_t ownFeatures = 64, ownRows = 64;
  int64_t subgroups() const { return features / ownFeatures * (rows / ownRows); }
};

/// Columns that are in shared memory at once, and the steps of a tile of the weights.
constexpr int64_t stepColumns = 32, stepsOfTile = formatTileColumns / stepColumns;
/// Words of 16 bytes: of f16 numbers, and of a row of shared memory, padded so that neighbouring
/// rows do not meet in its banks.
constexpr int64_t quadHalves = 8, rowOfQuads = stepColumns / quadHalves + 1;

/// Slots of a tile that are read before they are needed, and of others that are read at once.
constexpr int64_t slotsReadAhead = 6, slotsAtOnce = 4, slotValues = 2 + slotsReadAhead;
/// Weights are in shared memory times this, so that small ones are not rounded more than others.
constexpr double tileWeightFactor = 64;

/// A weight of mixed precision, and what a thread does of it: columns of one row of each step.
class TileWeight {
public:
  TileWeight(WorkgroupCode &code, const MixedFormat &format, mlir::Value bytes);
  /// Whether there is code for the format.
  static bool supports(const MixedFormat &format, int64_t columns);

  /// Sets the place of the thread: the row of the matrix as stored, and its part of the columns of
  /// each step, which are `columns`.
  void setPlace(mlir::Value row, mlir::Value part, int64_t columns);
  /// What is read of a step: words of codes, the scale and the zero point. `before` is what was read
  /// of the step before, if there is one.
  llvm::SmallVector<mlir::Value> load(mlir::Value tile, int64_t step, mlir::ValueRange before);
  /// The words of f16 numbers of what was read, two columns each.
  llvm::SmallVector<mlir::Value> decode(mlir::ValueRange loaded);
  /// Of the first tile and the one that follows, or of the two behind, `tile` being the first of
  /// them: the first slot, the number of slots, and some of them; and the number of slots of the
  /// tile behind both.
  llvm::SmallVector<mlir::Value> firstSlots();
  llvm::SmallVector<mlir::Value> nextSlots(mlir::ValueRange slots, mlir::Value tile);
  /// Adds what slots have in the thread's columns of a step to its numbers in shared memory, of
  /// which `first` is the first quad of the row.
  void addSlots(mlir::ValueRange slots, int64_t step, mlir::Value memory, mlir::Value first);

  const MixedFormat format;

private:
  mlir::Value levelPair(mlir::Value codes, mlir::ValueRange levels);
  mlir::Value slotCount(mlir::Value tile);
  mlir::Value slot(mlir::Value number);
  void loadSlots(mlir::Value first, mlir::Value slots, mlir::Value from, int64_t count,
                 llvm::SmallVector<mlir::Value> &loaded);
  void addSlot(mlir::Value slot, int64_t step, mlir::Value memory, mlir::Value first);

  WorkgroupCode &code;
  KernelBuilder &k;
  mlir::ImplicitLocOpBuilder &b;
  mlir::Value bytes, words, halves, shorts;
  mlir::Value panel, lane, part;
  llvm::SmallVector<mlir::Value> levels;
  int64_t columns = 0;
};

} // namespace tacq

#endif // TACQ_LIB_VULKAN_TILELINEAR_H
