//===- RowTile.h - Tiles of products without matrices -----------*- C++ -*-===//
//
// A workgroup makes 64 features of some rows of the input, an invocation four by four of them. A
// step of columns of both factors is in shared memory meanwhile, so that what is decoded, or read,
// is so once for all rows of the tile.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_VULKAN_ROWTILE_H
#define TACQ_LIB_VULKAN_ROWTILE_H

#include "WorkgroupCode.h"

namespace tacq {

class RowTile : public WorkgroupCode {
public:
  void emit();

protected:
  using Values = llvm::SmallVector<mlir::Value>;

  RowTile(KernelBuilder &k, LinearOp op, VulkanProfileAttr profile)
      : WorkgroupCode(k, profile), op(op) {}
  ~RowTile() = default;

  /// What an invocation has of a tile: a row of each of so many panels, and rows of the input that
  /// stand side by side. The panels of a gated operation are half of each weight.
  static constexpr int64_t panelRows = 16, ownPanels = 4, ownRows = 4;
  static constexpr int64_t tileFeatures = panelRows * ownPanels;
  int64_t sharing() { return op.getGated() ? 2 : 1; }
  int64_t panelsOfWeight() { return ownPanels / sharing(); }
  int64_t tileRows() const { return workgroup() / panelRows * ownRows; }
  /// The feature of a panel that the invocation has, and its first row in the tile.
  mlir::Value lane() { return remainder(thread(), k.index(panelRows)); }
  mlir::Value firstRow() { return times(quotient(thread(), k.index(panelRows)), ownRows); }
  /// A row of the tile, the last one of the input for those behind it.
  mlir::Value inputRow(mlir::Value rowTile, mlir::Value inTile);

  /// Finds the buffers that all weights have, and chooses a workgroup. False if there is no code.
  bool collectRows();
  bool addOutput(unsigned weight, int64_t features);
  /// The sums of the invocation, those of a panel's feature side by side. All of the workgroup come
  /// here; `first` is the first of the tile's weights.
  virtual Values emitSums(size_t first, mlir::Value tile, mlir::Value rowTile) = 0;
  /// The feature that is stored as number `stored`.
  virtual mlir::Value featureOf(size_t weight, mlir::Value stored) { return stored; }

  LinearOp op;
  Sym rowCount;

private:
  struct Output {
    int64_t features;
    mlir::Value bias, buffer;
  };
  int64_t tilesOf(size_t weight);
  void emitTile(size_t first, mlir::Value tile, mlir::Value rowTile);

  /// 1, or 0 where there are too few rows.
  Sym many;
  mlir::Value residual;
  llvm::SmallVector<Output, 3> outputs;
};

} // namespace tacq

#endif // TACQ_LIB_VULKAN_ROWTILE_H
