//===- RowShaders.h - Code of shaders for a row -----------------*- C++ -*-===//
//
// Normalization, quantization and rotary embedding of one row. Their kernels go over rows with it,
// and so do the kernels of operations that are fused with them.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_VULKAN_ROWSHADERS_H
#define TACQ_LIB_VULKAN_ROWSHADERS_H

#include "WorkgroupCode.h"

namespace tacq {

/// The element of a row in this column, in f32.
using ElementOfRow = llvm::function_ref<mlir::Value(mlir::Value column)>;

/// A row of a normalization, which a workgroup does.
class NormRow : public WorkgroupCode {
public:
  NormRow(KernelBuilder &k, NormOp op, VulkanProfileAttr profile)
      : WorkgroupCode(k, profile), op(op) {}
  /// Finds the buffers of the operands, and chooses a workgroup. Fails with a diagnostic.
  mlir::LogicalResult collect();
  /// Before the first row of a task.
  void beginTask() { columns = k.sym(k.dims(op.getX()).back()); }
  /// Makes the moments of the row that begins at `row` in x.
  void beginRow(mlir::Value row);
  /// An element of the result.
  mlir::Value result(mlir::Value row, mlir::Value column);

  mlir::Value columns; // of a row; from beginTask on

private:
  mlir::Value sumRow(mlir::Value row, llvm::function_ref<mlir::Value(mlir::Value)> term);
  mlir::Value centered(mlir::Value x) { return mean ? k.sub(x, mean) : x; }

  NormOp op;
  mlir::Value x, gain, bias, memory;
  mlir::Value mean, scale; // of the row
};

/// Blocks of rows as integers. A block is done by an invocation, or by neighbouring ones of a
/// subgroup, which have a part of it each.
class QuantizeRow : public WorkgroupCode {
public:
  QuantizeRow(KernelBuilder &k, QuantizeRowsOp op, VulkanProfileAttr profile)
      : WorkgroupCode(k, profile), op(op) {}
  /// Finds the buffers of the results. Fails with a diagnostic.
  mlir::LogicalResult collect();
  /// For a kernel that does not have the results in buffers, or from `collect`: at most so many
  /// invocations do a block.
  mlir::LogicalResult chooseParts(int64_t most);
  /// A part of block `number` of the row, whose elements are given.
  void emitPart(mlir::Value row, mlir::Value number, mlir::Value part, ElementOfRow element);
  /// A part of a block whose elements are given, all of them inside. Words of four integers go
  /// where `storeWord` takes them, with the number of their plane, the block's two scales to
  /// `scaleAt`, and those of the second plane as many blocks behind.
  void emitKept(llvm::ArrayRef<mlir::Value> elements, mlir::Value part,
                llvm::function_ref<void(mlir::Value word, int64_t column, int64_t plane)> storeWord,
                mlir::Value scales, mlir::Value scaleAt);

  QuantizeRowsOp op;
  int64_t columns = 0, blocks = 0, parts = 1, partColumns = 0;

private:
  struct Factors {
    mlir::Value isNumber, isFinite, scale, inverse;
  };
  mlir::Value ofBlock(mlir::Value value,
                      llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> combine);
  mlir::Value largest(mlir::Value before, mlir::Value x);
  /// Of a block, from the largest bits of its parts.
  Factors factorsOf(mlir::Value bits);
  /// The integer of an element, of a plane.
  mlir::Value integerOf(const Factors &factors, mlir::Value x, int64_t plane);
  /// Four integers in a word; adds them to the sum.
  mlir::Value pack(llvm::ArrayRef<mlir::Value> integers, mlir::Value &sum);
  void emitScales(const Factors &factors, mlir::Value part, llvm::ArrayRef<mlir::Value> sums,
                  mlir::Value buffer, mlir::Value at);

  mlir::Value words, scales;
  /// Of a plane.
  int64_t block = 0, stored = 0;
};

/// How many of the rows are left to a quantization's own kernel.
Sym rowsToQuantize(QuantizeRowsOp op, const Sym &rows, VulkanProfileAttr profile);

class RopeRow : public ShaderCode {
public:
  RopeRow(KernelBuilder &k, RopeOp op) : ShaderCode(k), op(op) {}
  /// Finds the buffers of the operands. Fails with a diagnostic.
  mlir::LogicalResult collect();
  /// Feature `feature` of the row of x that begins at `start`, rotated.
  mlir::Value element(mlir::Value batch, mlir::Value position, mlir::Value start,
                      mlir::Value feature);

private:
  RopeOp op;
  mlir::Value x, cosines, sines;
};

} // namespace tacq

#endif // TACQ_LIB_VULKAN_ROWSHADERS_H
