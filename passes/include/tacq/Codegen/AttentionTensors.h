//===- AttentionTensors.h - What a kernel of attention reads ----*- C++ -*-===//
//
// The shapes and buffers of an attention operation, which kernels of processors and shaders share.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_CODEGEN_ATTENTIONTENSORS_H
#define TACQ_CODEGEN_ATTENTIONTENSORS_H

#include "tacq/Codegen/FlatCode.h"

namespace tacq {

/// Key or value rows of a head: row t starts at `start + t * stride`.
struct Rows {
  mlir::Value buffer, start, stride;
  int64_t features = 0;
};

/// The rows of a head of `[batch, position, head, features]`, of `length` positions.
Rows headRows(FlatCode &code, mlir::Value buffer, const Sym &length, const Sym &heads,
              mlir::Value batch, mlir::Value head, int64_t features);
/// Where the bias of a query begins; axes of extent 1 are for all batches and heads.
mlir::Value biasStart(FlatCode &code, mlir::Value bias, const Sym &queries, const Sym &keys,
                      mlir::Value batch, mlir::Value head, mlir::Value position);

/// Attention over the keys and values of the cache, `[batch, head, capacity, features]`, or of k
/// and v, `[batch, key, head, features]`.
class AttentionTensors {
public:
  AttentionTensors(AttentionOp op, std::optional<Sym> capacity) : op(op), capacity(capacity) {}

  /// Finds the buffers. Fails with a diagnostic.
  mlir::LogicalResult collect(FlatCode &code);

  /// The rows of a head of keys or values.
  Rows keyRows(FlatCode &code, mlir::Value batch, mlir::Value head) {
    return rows(code, keys, depth, batch, head);
  }
  Rows valueRows(FlatCode &code, mlir::Value batch, mlir::Value head) {
    return rows(code, values, valueDepth, batch, head);
  }
  /// Where the bias of a query begins.
  mlir::Value biasRow(FlatCode &code, mlir::Value batch, mlir::Value head, mlir::Value position);
  /// Where the key mask of a sequence begins.
  mlir::Value maskRow(FlatCode &code, mlir::Value batch) {
    return code.k.mul(batch, code.k.sym(total));
  }

  AttentionOp op;
  /// The rotary embedding of the queries, if it is part of the kernel; `queries` is its result.
  RopeOp queryRope() { return op.getQ().getDefiningOp<RopeOp>(); }

  Dims q, kNew, vNew;
  Sym total, past; // keys, and those of them before the first query
  int64_t depth = 0, valueDepth = 0;
  mlir::Value queries, keys, values, out, keyMask, bias;

private:
  Rows rows(FlatCode &code, mlir::Value buffer, int64_t features, mlir::Value batch,
            mlir::Value head);

  std::optional<Sym> capacity;
};

/// What a cache's kernel copies: the new keys (or values), behind the past ones where the present
/// is another buffer.
struct AppendedTensor {
  mlir::Value added, before, present;
  int64_t features = 0;
  bool isKey = false;
};

class CacheTensors {
public:
  CacheTensors(AttentionOp op, std::optional<Sym> capacity) : op(op), capacity(capacity) {}

  /// The rotary embedding of the new keys, if it is part of the kernel; they are its operand then.
  RopeOp keyRope() { return op.getK().getDefiningOp<RopeOp>(); }

  /// Finds the buffers. Fails with a diagnostic.
  mlir::LogicalResult collect(FlatCode &code);

  /// The first key that is written: with a capacity, the past is in the buffer already.
  const Sym &first() const { return capacity ? past : zero; }
  /// Copies the keys' and values' rows of a key of a head, wherever they come from.
  using CopyRow = llvm::function_ref<void(const AppendedTensor &tensor, mlir::Value from,
                                          mlir::Value fromStart, mlir::Value toStart)>;
  void appendKey(FlatCode &code, mlir::Value batch, mlir::Value head, mlir::Value key,
                 CopyRow copyRow);

  AttentionOp op;
  Dims added; // of the new keys
  Sym past, total;

private:
  mlir::LogicalResult add(FlatCode &code, mlir::Value tensor, mlir::Value before,
                          mlir::Value present);

  std::optional<Sym> capacity;
  llvm::SmallVector<AppendedTensor, 2> tensors;
  Sym zero;
};

} // namespace tacq

#endif // TACQ_CODEGEN_ATTENTIONTENSORS_H
