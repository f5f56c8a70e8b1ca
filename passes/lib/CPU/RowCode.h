//===- RowCode.h - Code for a row, for kernels of several operations -*- C++ -*-===//
//
// Normalization, quantization and rotary embedding of one row. Their kernels go over rows with it,
// and so do the kernels of operations that are fused with them.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_CPU_ROWCODE_H
#define TACQ_LIB_CPU_ROWCODE_H

#include "VectorCode.h"

namespace tacq {

class NormCode : public VectorCode {
public:
  NormCode(KernelBuilder &k, NormOp op) : VectorCode(k), op(op) {}
  /// Finds the buffers of the operands. Fails with a diagnostic.
  mlir::LogicalResult collect();
  /// Before the first row of a task.
  void beginTask();
  /// The row of x that begins at `row`, to that of y which begins at `to`.
  void emitRow(mlir::Value row, mlir::Value y, mlir::Value to);

  mlir::Value columns; // of a row; from beginTask on

private:
  /// The sum over a row of `term`, which gets 16 elements (0 beyond the row) and their mask.
  mlir::Value sumRow(mlir::Value row,
                     llvm::function_ref<mlir::Value(mlir::Value x, mlir::Value mask)> term);

  NormOp op;
  mlir::Value x, gain, bias;
  mlir::Value whole; // columns in full vectors of a step
};

class QuantizeRowsCode : public VectorCode {
public:
  QuantizeRowsCode(KernelBuilder &k, QuantizeRowsOp op);
  /// Row number `row`, whose elements begin at `from` in x.
  void emitRow(mlir::Value x, mlir::Value from, mlir::Value row);

  Sym rows;
  int64_t columns;

private:
  mlir::VectorType integers(unsigned bits) {
    return mlir::VectorType::get(vectorLanes, b.getIntegerType(bits));
  }
  mlir::Value integerSplat(int32_t value);
  void emitBlock(mlir::Value x, mlir::Value from, mlir::Value to, mlir::Value scaleAt,
                 int64_t columns);
  void storeIntegers(llvm::ArrayRef<mlir::Value> rounded, mlir::Value scale, mlir::Value to,
                     mlir::Value scaleAt);

  int64_t block, planes;
  mlir::Value q, scales;
};

class RopeCode : public VectorCode {
public:
  RopeCode(KernelBuilder &k, RopeOp op) : VectorCode(k), op(op) {}
  /// Finds the buffers of the operands. Fails with a diagnostic.
  mlir::LogicalResult collect();
  /// Where the rotation of a position begins.
  mlir::Value angleOf(mlir::Value batch, mlir::Value position);
  /// The head that begins at `from` in x, to `y` at `to`.
  void emitHead(mlir::Value from, mlir::Value y, mlir::Value to, mlir::Value angle);

  Dims dims; // of x
  mlir::Value x;
  int64_t features = 0;

private:
  void rotateVector(mlir::Value from, mlir::Value y, mlir::Value to, mlir::Value angle,
                    mlir::Value at, mlir::Value active);
  void rotatePair(mlir::Value from, mlir::Value y, mlir::Value to, mlir::Value angle,
                  mlir::Value at);

  RopeOp op;
  Dims table;
  mlir::Value cosines, sines;
  int64_t pairs = 0;
};

} // namespace tacq

#endif // TACQ_LIB_CPU_ROWCODE_H
