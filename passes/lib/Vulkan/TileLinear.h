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

/// What a workgroup makes: so many features of so many rows of the input, and each of its
/// subgroups.
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

/// A weight of mixed precision, and what a thread does of it: columns of one row of each step.
class TileWeight {
public:
  TileWeight(WorkgroupCode &code, const MixedFormat &format, mlir::Value bytes);
  /// Whether there is code for the format.
  static bool supports(const MixedFormat &format, int64_t columns);

  /// Sets the place of the thread: the row of the matrix as stored, and its part of the columns of
  /// each step, which are `columns`.
  void setPlace(mlir::Value row, mlir::Value part, int64_t columns);
  /// What is read of a step: words of codes, the scale and the zero point.
  llvm::SmallVector<mlir::Value> load(mlir::Value tile, int64_t step);
  /// The words of f16 numbers of what was read, two columns each.
  llvm::SmallVector<mlir::Value> decode(mlir::ValueRange loaded);
  /// The first slot and the number of slots of the first tile, and those of the tile behind.
  llvm::SmallVector<mlir::Value> firstSlots();
  llvm::SmallVector<mlir::Value> nextSlots(mlir::ValueRange slots, mlir::Value tile);
  /// Adds what slots have in the thread's columns of a step to its numbers in shared memory, of
  /// which `first` is the first quad of the row.
  void addSlots(mlir::ValueRange slots, int64_t step, mlir::Value memory, mlir::Value first);

  const MixedFormat format;

private:
  mlir::Value levelPair(mlir::Value codes, mlir::ValueRange levels);

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
