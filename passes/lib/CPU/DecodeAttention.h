//===- DecodeAttention.h - Attention of few queries -------------*- C++ -*-===//
//
// While a model decodes, a key head is read by the few query heads that share it, and reading the
// cache is most of the work. Keys and values are read where they are, once for all queries:
//
//   scores  = q · kᵀ   a register tile of queries by keys, added up over the features; the sums of
//                      its lanes become one vector by exchanging and adding halves
//   weights            the softmax of a block of keys, in vectors over (key, query)
//   sums   += weights · v
//
// A task is a chunk of the keys of a head, so that many threads find work in few heads. What a
// chunk comes to (maximum, denominator and sums) goes to the workspace, and the task that finishes
// last of its head combines the chunks, in their order whoever that is. They are counted at the
// beginning of the workspace, whose words are 0 between launches.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_CPU_DECODEATTENTION_H
#define TACQ_LIB_CPU_DECODEATTENTION_H

#include "AppendCode.h"
#include "AttentionCode.h"

namespace tacq {

class DecodeAttention : AttentionCode {
public:
  DecodeAttention(KernelBuilder &k, const CpuTarget &target, AttentionTensors &tensors);

  /// 1 for sizes at which this code is to be used, else 0; the constant 0 where it cannot be.
  Sym isChosen();
  /// Tasks of a head: more than one where there is a cache and heads are few.
  Sym chunks();
  /// Bytes of the workspace; 0 without a cache.
  Sym workspaceBytes();

  /// Appends to the cache, too, if `append` is not null: each task what it reads itself. Fails with
  /// a diagnostic.
  mlir::LogicalResult prepare(AppendCode *append);
  void emitTask(mlir::Value batch, mlir::Value keyHead, mlir::Value chunk);

private:
  /// 1 if keys of a head may be several chunks, else 0.
  Sym isSpread();
  void copyQueries(mlir::Value batch, mlir::Value keyHead);
  void emitBlock(mlir::Value batch, mlir::Value firstKey, mlir::Value keyCount);
  mlir::Value scoresOf(mlir::Value tile, mlir::Value firstKey, mlir::Value keyCount,
                       mlir::Value key);
  mlir::Value addLanes(llvm::SmallVector<mlir::Value> terms);
  void prefetchRow(const Rows &rows, mlir::Value row);
  /// Folds lanes of the same query.
  mlir::Value foldKeys(mlir::Value vector,
                       llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> combine);
  mlir::Value shuffle(mlir::Value vector, llvm::function_ref<int64_t(int64_t)> from);
  void rescaleSums(mlir::Value tile, mlir::Value rescale);
  void combineChunks(mlir::Value first, mlir::Value words);
  void storeRows(mlir::Value batch, mlir::Value keyHead);
  void savePartial(mlir::Value from, mlir::Value at, mlir::Value count);
  mlir::Value loadPartial(mlir::Value at);

  mlir::Value tileStart(mlir::Value tile) { return times(tile, vectorLanes); }
  mlir::Value sumsStart(mlir::Value tile) { return times(tile, tileQueries * paddedValueDepth); }
  mlir::Value rowCount() { return times(k.sym(t.q[1]), group); }
  mlir::Value tileCount() {
    return b.create<mlir::arith::CeilDivUIOp>(rowCount(), k.index(tileQueries));
  }

  AttentionTensors &t;
  AppendCode *append = nullptr;
  std::optional<RopeCode> queryRope;
  int64_t nativeLanes;
  int64_t accumulators;    // of a register tile of scores
  int64_t group = 0;       // query heads of a key head
  int64_t tileQueries = 1; // a power of 2
  int64_t tileKeys = vectorLanes;
  int64_t maxRows = 0; // a multiple of tileQueries
  int64_t paddedDepth, paddedValueDepth;
  Rows keys, values;
  mlir::Value queries, rotated, scores, sums, maxima, denominators, limits, factors, maskRow,
      workspace;
};

} // namespace tacq

#endif // TACQ_LIB_CPU_DECODEATTENTION_H
