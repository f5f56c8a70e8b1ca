//===- AppendCode.h - Appends keys and values to the cache ------*- C++ -*-===//

#ifndef TACQ_LIB_CPU_APPENDCODE_H
#define TACQ_LIB_CPU_APPENDCODE_H

#include "RowCode.h"
#include "tacq/Codegen/AttentionTensors.h"

namespace tacq {

class AppendCode : public VectorCode {
public:
  AppendCode(KernelBuilder &k, AttentionOp op, std::optional<Sym> capacity)
      : VectorCode(k), tensors(op, capacity) {}
  /// Finds the buffers. Fails with a diagnostic.
  mlir::LogicalResult collect();
  /// Writes keys [begin, end) of a head and their values.
  void emitKeys(mlir::Value batch, mlir::Value head, mlir::Value begin, mlir::Value end);

  CacheTensors tensors;

private:
  void copyRow(mlir::Value from, mlir::Value fromStart, mlir::Value to, mlir::Value toStart,
               int64_t features);

  std::optional<RopeCode> keyRope;
};

} // namespace tacq

#endif // TACQ_LIB_CPU_APPENDCODE_H
