//===- Bf16Tiles.h - Matrix products of rounded factors ---------*- C++ -*-===//
//
// Products of rows with panels of 16 output features in matrix tiles of bf16, with sums in f32. A
// task's rows and panels are rounded a piece of K at a time, the panels in the order of the tiles,
// and each is then used as often as the other has tiles.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_CPU_BF16TILES_H
#define TACQ_LIB_CPU_BF16TILES_H

#include "AmxCode.h"

namespace tacq {

class Bf16Tiles : VectorCode {
public:
  /// `rows`: of a task at most, a multiple of `tileRows`. `panels`: of a task, a multiple of 2.
  /// `depth`: K, a multiple of `stepColumns`.
  Bf16Tiles(KernelBuilder &k, int64_t rows, int64_t panels, int64_t depth);

  static constexpr int64_t tileRows = 2 * AmxCode::rows;
  static constexpr int64_t stepColumns = 32;

  /// sums[row][panel][16] += the products of the rows [firstRow, lastRow) of `x` with the panels
  /// that begin at the elements `starts` of `weights`. `sums` has place for whole tiles of rows;
  /// what stands behind the last row is undefined.
  void emit(mlir::Value x, mlir::Value firstRow, mlir::Value lastRow,
            llvm::ArrayRef<mlir::Value> weights, llvm::ArrayRef<mlir::Value> starts,
            mlir::Value sums);

private:
  void copyRows(mlir::Value x, mlir::Value firstRow, mlir::Value lastRow, mlir::Value column,
                int64_t columns);
  void copyPanel(mlir::Value weight, mlir::Value start, int64_t panel, int64_t columns);
  void emitTiles(mlir::Value row, int64_t panel, int64_t columns, mlir::Value sums);
  mlir::Value roundPair(mlir::Value low, mlir::Value high);

  AmxCode amx;
  int64_t panels, depth;
  /// [row][column], and [panel][column / 2][16][2].
  mlir::Value rounded, pairs;
};

} // namespace tacq

#endif // TACQ_LIB_CPU_BF16TILES_H
