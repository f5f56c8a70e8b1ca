//===- MixedOperands.h - What a product with mixed weights binds *- C++ -*-===//

#ifndef TACQ_CODEGEN_MIXEDOPERANDS_H
#define TACQ_CODEGEN_MIXEDOPERANDS_H

#include "tacq/Codegen/FlatCode.h"
#include "tacq/Codegen/MixedFormat.h"

namespace tacq {

/// The buffers of a product with mixed-precision weights, and the extents of its input; a base of
/// the kernels of all targets.
class MixedOperands {
protected:
  struct Operand {
    MixedFormat format;
    mlir::Value buffer, bias, output;
  };
  /// The weights of an operation, with a bias where it has biases; those of a gated one have one
  /// output. Sets everything below. On failure, which is not emitted, `reason` says why there can
  /// be no kernel.
  mlir::FailureOr<llvm::SmallVector<Operand, 3>> collectOperands(FlatCode &code, LinearOp op,
                                                                 std::string &reason);

  /// Of a row of the input, as it is stored; the columns of a block that share a scale, where it is
  /// quantized.
  int64_t inputColumns = 0, blocks = 0, block = 0;
  /// How many integers stand for a number of the input, each with as many columns and blocks.
  int64_t planes = 1;
  int64_t planeColumns() const { return inputColumns / planes; }
  int64_t planeBlocks() const { return blocks / planes; }
  Sym rowCount;
  /// xScales is null if the input is not quantized.
  mlir::Value x, xScales, residual;
};

} // namespace tacq

#endif // TACQ_CODEGEN_MIXEDOPERANDS_H
