//===- VectorTile.h - Vector loads and stores of a kernel's buffers -------===//

#ifndef TACQ_LIB_OPS_VECTORTILE_H
#define TACQ_LIB_OPS_VECTORTILE_H

#include "tacq/Codegen/KernelBuilder.h"

namespace tacq {

/// Vectors of `lanes` elements (in the compute type) of one buffer.
class VectorBuffer {
public:
  VectorBuffer(KernelBuilder &k, mlir::Value buffer, mlir::Type element, int64_t lanes);

  /// Lanes for elements of this type: one register.
  static int64_t lanesFor(KernelBuilder &k, mlir::Type element);

  mlir::VectorType type() const { return compute; }
  /// A single element.
  mlir::Value scalar(mlir::Value position);
  /// Consecutive elements; where a mask is given, lanes out of it read as zero.
  mlir::Value load(mlir::Value position, mlir::Value mask = {});
  /// Every second element from `position` on, of which the elements with mask bits are read:
  /// `low` and `high` are for the first and second half of what is passed over.
  mlir::Value loadSecond(mlir::Value position, mlir::Value low, mlir::Value high);
  /// Elements at position + offsets; `offsets` is a vector of index.
  mlir::Value gather(mlir::Value position, mlir::Value offsets, mlir::Value mask);
  void store(mlir::Value vector, mlir::Value position, mlir::Value mask = {});

private:
  mlir::Value widen(mlir::Value raw);

  KernelBuilder &k;
  mlir::Value buffer;
  mlir::Type element;
  mlir::VectorType compute, stored;
};

/// x in all lanes.
mlir::Value splat(KernelBuilder &k, mlir::VectorType type, mlir::Value x);
/// x * y + sum.
mlir::Value multiplyAdd(KernelBuilder &k, mlir::Value x, mlir::Value y, mlir::Value sum);
/// The sum of all lanes.
mlir::Value sumLanes(KernelBuilder &k, mlir::Value vector);
/// {0, step, 2 step, …} as a vector of index.
mlir::Value laneOffsets(KernelBuilder &k, int64_t lanes, mlir::Value step);

} // namespace tacq

#endif // TACQ_LIB_OPS_VECTORTILE_H
