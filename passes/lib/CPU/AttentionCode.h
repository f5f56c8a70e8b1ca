//===- AttentionCode.h - Small products over keys and values ----*- C++ -*-===//
//
// What the kernels of attention and of its gradients have in common.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_CPU_ATTENTIONCODE_H
#define TACQ_LIB_CPU_ATTENTIONCODE_H

#include "VectorCode.h"
#include "tacq/CPU/CpuTarget.h"
#include "tacq/Codegen/AttentionTensors.h"

namespace tacq {

/// Row-major f32 matrix, on the stack or in a buffer of the kernel. With a step its rows are
/// columns of memory: element j of row i is at `start + i * stride + j * step`.
struct Matrix {
  mlir::Value buffer, start, stride, step;
};

class AttentionCode : public VectorCode {
public:
  AttentionCode(KernelBuilder &k, const CpuTarget &target)
      : VectorCode(k), usualTileVectors(target.vectorBits >= 512 ? 4 : 1) {}

  /// Rows [firstKey, firstKey + keyCount) as columns of a buffer whose rows are `stride` apart.
  /// Columns beyond, up to a vector's, repeat the last row; those after them are left as they are.
  void transposeRows(const Rows &rows, mlir::Value firstKey, mlir::Value keyCount,
                     mlir::Value columns, int64_t stride);
  /// What the key mask adds to the scores of a block: 0 or -infinity.
  void loadKeyMask(mlir::Value keyMask, mlir::Value maskRow, mlir::Value from,
                   mlir::Value keyCount);

  /// c += a · b for `rowCount` rows, which are covered with tiles of so many rows, from the largest
  /// on; with the smallest, rows up to its multiple are read and written. b has `depth` rows of
  /// `vectors` vectors, the last of which has only `lastLanes` lanes that may be read. A tile has
  /// `tileVectors` vectors, 0: as many as suit the largest tile of rows in general.
  void multiply(const Matrix &a, const Matrix &b, const Matrix &c, mlir::Value rowCount,
                mlir::Value depth, int64_t vectors, int64_t lastLanes,
                llvm::ArrayRef<int64_t> tileRows, int64_t tileVectors = 0);

  /// `features` elements times the splat `scale`, as f32 and padded with zeros to a whole vector.
  void copyScaled(mlir::Value from, mlir::Value fromStart, mlir::Value scale, mlir::Value to,
                  mlir::Value toStart, int64_t features);

  /// 16 rows to 16 columns.
  llvm::SmallVector<mlir::Value> transpose(llvm::SmallVector<mlir::Value> rows);
  /// Lanes [0, lanes), null for all.
  mlir::Value constantMask(int64_t lanes) {
    return lanes == vectorLanes ? mlir::Value() : mask(k.index(lanes));
  }

private:
  void multiplyTile(const Matrix &a, const Matrix &b, const Matrix &c, mlir::Value row,
                    int64_t rows, mlir::Value depth, int64_t firstVector, int64_t vectors,
                    mlir::Value lastMask);

  int64_t usualTileVectors;
};

} // namespace tacq

#endif // TACQ_LIB_CPU_ATTENTIONCODE_H
