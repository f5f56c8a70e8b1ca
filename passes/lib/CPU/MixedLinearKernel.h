//===- MixedLinearKernel.h - Products with mixed weights --------*- C++ -*-===//
//
// A task is a group of rows of the input by two rows of tiles of a weight (by one of each of two
// weights, if gated): the panels of the task, of 16 results for each row.
//
// A single row (decoding) is bound by the weights' way from memory: the codes stream through
// registers, a tile of 16 rows by 128 columns at a time, and each lane keeps the sum of its row.
//
// For several rows a tile of each panel is decoded once into bytes on the stack; then tiles of the
// result, `rows` rows by the panels, are held in registers as integers over a block of columns, and
// are scaled and added to the task's sums in memory. What a tile has in slots is added row by row.
//
// What is computed of integers of 16 bits is done for each of their two planes, on the same sums.
//
// Input that is not quantized is multiplied with decoded tiles of f32, into which the slots are
// added.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_CPU_MIXEDLINEARKERNEL_H
#define TACQ_LIB_CPU_MIXEDLINEARKERNEL_H

#include "AmxCode.h"
#include "MixedTile.h"
#include "tacq/CPU/LinearTiling.h"
#include "tacq/Codegen/MixedOperands.h"

namespace tacq {

constexpr int64_t panels = 2;
/// Rows of a task with input that is not quantized.
constexpr int64_t floatRowsPerTask = 32;
/// Rows that AMX multiplies with the panels at a time, in four registers of sums.
constexpr int64_t amxRows = 2 * AmxCode::rows;
/// Bytes of a decoded tile.
constexpr int64_t panelBytes = quantizedColumns * vectorLanes;

class MixedLinearKernel : DotCode, MixedOperands {
public:
  MixedLinearKernel(KernelBuilder &k, LinearOp op, const CpuTarget &target,
                    const KernelOptions &options)
      : DotCode(k, target), op(op), target(target), options(options), gated(op.getGated()), amx(k) {
    // Twelve by two sums of 32 registers (AVX-512); three by one of two parts each of 16 (AVX2);
    // four by one of four parts each of 32 (NEON).
    rows = isWide() ? 12 : isArm() ? 4 : 3;
    tailRows = isWide() ? 4 : isArm() ? 2 : 3;
    jointPanels = isWide() ? panels : 1;
  }
  mlir::LogicalResult emit();

private:
  struct Weight {
    MixedFormat format;
    mlir::Value weight, bias, output;
    /// Groups of panels.
    int64_t groups;
    TilingAttr tiling;
  };
  /// A row of tiles of a weight that a task works on.
  struct Panel {
    const Weight *weight;
    std::unique_ptr<MixedTile> tile;
    mlir::Value rowOfTiles;
  };

  mlir::LogicalResult collect();
  TilingAttr tilingOf(MixedType weight) const;
  void emitTask(const Weight &weight, mlir::Value group, mlir::Value firstRow, mlir::Value lastRow);
  void emitPanels(const Weight &weight, mlir::Value group, mlir::Value firstRow,
                  mlir::Value lastRow);
  Panel beginPanel(const Weight &weight, mlir::Value rowOfTiles);
  mlir::Value singleRow(const Weight &weight, mlir::Value rowOfTiles, mlir::Value row);
  llvm::SmallVector<mlir::Value> addTile(MixedTile &tile, mlir::Value number, int64_t width,
                                         mlir::Value row, mlir::ValueRange carried);
  void emitTile(llvm::MutableArrayRef<Panel> task, llvm::SmallVectorImpl<mlir::Value> &slots,
                mlir::Value number, int64_t width, mlir::Value firstRow, mlir::Value lastRow);
  void emitAmxRows(llvm::MutableArrayRef<Panel> task, mlir::Value number, int64_t columns,
                   mlir::Value firstRow, mlir::Value row);
  void addBlock(Panel &panel, mlir::Value block, mlir::Value dots, mlir::Value scaleAt,
                mlir::Value sumsAt);
  void emitBlock(llvm::MutableArrayRef<Panel> task, mlir::Value number, int64_t width,
                 mlir::Value firstRow, mlir::Value row, mlir::Value lastRow, int64_t tileRows,
                 int64_t firstPanel);
  llvm::SmallVector<mlir::Value> products(llvm::MutableArrayRef<Panel> task,
                                          llvm::ArrayRef<mlir::Value> inputs, mlir::Value start,
                                          int64_t width, int64_t firstPanel);
  llvm::SmallVector<mlir::Value> matrixProducts(llvm::ArrayRef<mlir::Value> inputs,
                                                mlir::Value start, int64_t width,
                                                int64_t firstPanel);
  llvm::SmallVector<Panel, panels> beginTask(const Weight &weight, mlir::Value group);
  void emitResults(llvm::MutableArrayRef<Panel> task, const Weight &weight, mlir::Value group,
                   mlir::Value firstRow, mlir::Value lastRow);
  mlir::Value addList(MixedTile &tile, mlir::Value sum, mlir::Value row);
  void emitFloatPanels(const Weight &weight, mlir::Value group, mlir::Value firstRow,
                       mlir::Value lastRow);
  void loadInputFloats(const MixedFormat &format, mlir::Value tile, int64_t columns, int64_t width,
                       mlir::Value firstRow, mlir::Value count);
  void multiplyFloats(int64_t panel, int64_t width, mlir::Value count);
  mlir::Value addTileSlots(Panel &panel, int64_t number, mlir::Value slots, mlir::Value tile,
                           int64_t width, mlir::Value firstRow, mlir::Value lastRow);
  void emitResult(const Weight &weight, mlir::Value rowOfTiles, mlir::Value row, mlir::Value sum,
                  mlir::Value other, const Weight *otherWeight);

  /// What `body` does on sums in memory, for each plane of the input.
  void ofPlanes(llvm::function_ref<void()> body) {
    if (planes == 1)
      return body();
    loop(k.index(0), k.index(planes), 1, [&](mlir::Value number) {
      plane = number;
      body();
    });
    plane = mlir::Value();
  }
  /// The same on sums in registers, one plane after the other.
  void ofEachPlane(llvm::function_ref<void()> body) {
    for (int64_t number = 0; number < planes; ++number) {
      plane = number ? k.index(number) : mlir::Value();
      body();
    }
    plane = mlir::Value();
  }
  /// Where the columns of a tile of a row of the input are, in the plane.
  mlir::Value inputAt(mlir::Value row, mlir::Value tile) {
    if (plane)
      tile = k.add(tile, times(plane, planeColumns() / quantizedColumns));
    return times(k.add(k.mul(tile, k.sym(rowCount)), row), quantizedColumns);
  }
  mlir::Value inputScalesAt(mlir::Value row) {
    mlir::Value first = times(row, 2 * blocks);
    return plane ? k.add(first, times(plane, 2 * planeBlocks())) : first;
  }
  mlir::Value sumAt(mlir::Value row, int64_t panel) {
    return plus(times(row, panels * vectorLanes), panel * vectorLanes);
  }

  LinearOp op;
  const CpuTarget &target;
  const KernelOptions &options;
  bool gated;
  int64_t rows, tailRows, jointPanels;
  int64_t rowsPerTask = 0;
  /// The number of the plane of the input that is multiplied; null for the first.
  mlir::Value plane;
  /// AMX multiplies whole registers of columns, if there are any in a block.
  bool usesAmx() const { return target.amx && block % AmxCode::bytes == 0; }

  AmxCode amx;
  mlir::Value tileProducts; // of amxRows by the panels, i32
  mlir::Value decoded;      // a tile of each panel, as bytes
  mlir::Value sums;         // of a task, [rowsPerTask][panels][16]
  // Of input that is not quantized: a tile's weights, [128][16], and columns, [rowsPerTask][128].
  mlir::Value weightFloats, inputFloats;
  llvm::SmallVector<Weight> weights;
};

} // namespace tacq

#endif // TACQ_LIB_CPU_MIXEDLINEARKERNEL_H
