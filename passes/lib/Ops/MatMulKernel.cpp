//===- MatMulKernel.cpp - Matrix products of any element type -------------===//
//
// A task is a block of rows and columns of one matrix of the result. Within it, tiles of a few rows
// and columns are kept in registers while the depth is walked through. If the columns of b are
// consecutive, a vector holds columns and elements of a are broadcast; if b is transposed, vectors
// go along the depth, and the lanes are added up at the end.
//
//===----------------------------------------------------------------------===//

#include "MatMulKernel.h"
#include "KernelMath.h"
#include "VectorTile.h"

using namespace mlir;
using namespace tacq;

namespace {

constexpr int64_t taskRows = 24, taskColumns = 128;
/// Rows of the tiles that a task is covered with, from the largest on.
constexpr int64_t tileHeights[] = {6, 3, 1};

class MatMulEmitter {
public:
  MatMulEmitter(KernelBuilder &k, const MatMulProblem &problem)
      : k(k), p(problem), element(k.elementType(p.a)), lanes(VectorBuffer::lanesFor(k, element)),
        a(k, k.inputBuffer(*k.inputOf(p.a)), element, lanes),
        b(k, k.inputBuffer(*k.inputOf(p.b)), element, lanes),
        out(k, k.outputBuffer(0), element, lanes), m(k.sym(p.m)), n(k.sym(p.n)),
        depth(k.sym(p.depth)), zero(k.index(0)), one(k.index(1)), aRow(p.aTransposed ? one : depth),
        aDepth(p.aTransposed ? m : one), bDepth(p.bTransposed ? one : n),
        bColumn(p.bTransposed ? depth : one), dots(p.bTransposed && !p.aTransposed) {}

  void emitTask(Value batch, Value row0, Value column0) {
    std::array<Value, 3> offsets = p.offsets(batch);
    aBase = offsets[0], bBase = offsets[1], outBase = offsets[2];
    this->batch = batch;
    Value rowEnd = k.min(k.add(row0, k.index(taskRows)), m);
    Value columnEnd = k.min(k.add(column0, k.index(taskColumns)), n);
    // What the larger tiles leave is covered by the smaller ones.
    Value row = row0;
    for (int64_t height : tileHeights) {
      std::optional<int64_t> rows = p.m.constant();
      if (rows && *rows < height)
        continue;
      Value left = k.sub(rowEnd, row);
      Value end = rowEnd;
      if (height > 1)
        end = k.add(row, k.sub(left, k.b.create<arith::RemUIOp>(left, k.index(height))));
      emitRows(row, end, height, column0, columnEnd);
      row = end;
      if (rows && *rows % height == 0 && taskRows % height == 0)
        break;
    }
  }

private:
  /// Vectors of accumulators that a row of a tile has; two to four registers are for operands.
  int64_t vectorsFor(int64_t height) const {
    bool wide = k.vectorBits >= 512;
    if (dots)
      return height == 6 ? (wide ? 4 : 2) : 4;
    return height == 1 ? 8 : height == 3 || wide ? 4 : 2;
  }

  void emitRows(Value from, Value to, int64_t height, Value column0, Value columnEnd) {
    tileVectors = vectorsFor(height);
    int64_t width = dots ? tileVectors : tileVectors * lanes;
    auto columns = k.b.create<scf::ForOp>(column0, columnEnd, k.index(width));
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointToStart(columns.getBody());
    Value column = columns.getInductionVar();
    auto loop = k.b.create<scf::ForOp>(from, to, k.index(height));
    k.b.setInsertionPointToStart(loop.getBody());
    Value row = loop.getInductionVar();
    if (dots)
      return emitDotTile(row, height, column, columnEnd);
    if (p.n.constant() && *p.n.constant() % width == 0)
      return emitTile(row, height, column, columnEnd, /*masked=*/false);
    Value whole = k.lessEqual(k.add(column, k.index(width)), columnEnd);
    auto tile = [&](bool masked) {
      emitTile(row, height, column, columnEnd, masked);
      return SmallVector<Value>();
    };
    k.branch(whole, [&] { return tile(false); }, [&] { return tile(true); });
  }

  Value initial(Value row) {
    if (p.initial)
      return p.initial(batch, row);
    return k.constant(computeType(element), 0);
  }

  void emitTile(Value row, int64_t height, Value column, Value columnEnd, bool masked) {
    SmallVector<Value> columns, masks, init, rows;
    auto maskType = VectorType::get({lanes}, k.b.getI1Type());
    for (int64_t v = 0; v < tileVectors; ++v) {
      columns.push_back(k.add(column, k.index(v * lanes)));
      Value left = k.sub(columnEnd, columns.back());
      masks.push_back(masked ? Value(k.b.create<vector::CreateMaskOp>(maskType, left)) : Value());
    }
    for (int64_t r = 0; r < height; ++r) {
      rows.push_back(k.add(row, k.index(r)));
      Value first = splat(k, a.type(), initial(rows.back()));
      init.append(tileVectors, first);
    }
    Value allLanes, laneStep;
    if (p.bTransposed) {
      allLanes = k.b.create<vector::CreateMaskOp>(maskType, k.index(lanes));
      laneStep = laneOffsets(k, lanes, bColumn);
    }
    SmallVector<Value> sums = k.reduce(p.depth, init, [&](ValueRange at, ValueRange carried) {
      SmallVector<Value> vectors, next;
      for (int64_t v = 0; v < tileVectors; ++v) {
        Value position = k.add(bBase, k.add(k.mul(at[0], bDepth), k.mul(columns[v], bColumn)));
        if (p.bTransposed)
          vectors.push_back(b.gather(position, laneStep, masked ? masks[v] : allLanes));
        else
          vectors.push_back(b.load(position, masks[v]));
      }
      for (int64_t r = 0; r < height; ++r) {
        Value position = k.add(aBase, k.add(k.mul(rows[r], aRow), k.mul(at[0], aDepth)));
        Value x = splat(k, a.type(), a.scalar(position));
        for (int64_t v = 0; v < tileVectors; ++v)
          next.push_back(multiplyAdd(k, x, vectors[v], carried[r * tileVectors + v]));
      }
      return next;
    });
    for (int64_t r = 0; r < height; ++r)
      for (int64_t v = 0; v < tileVectors; ++v)
        out.store(sums[r * tileVectors + v], k.add(outBase, k.add(k.mul(rows[r], n), columns[v])),
                  masks[v]);
  }

  void emitDotTile(Value row, int64_t height, Value column, Value columnEnd) {
    SmallVector<Value> rows, columns;
    for (int64_t r = 0; r < height; ++r)
      rows.push_back(k.add(aBase, k.mul(k.add(row, k.index(r)), aRow)));
    // The last tile reads its last column twice.
    Value last = k.sub(columnEnd, one);
    for (int64_t c = 0; c < tileVectors; ++c)
      columns.push_back(k.add(bBase, k.mul(k.min(k.add(column, k.index(c)), last), bColumn)));
    Value zeros = splat(k, a.type(), k.constant(computeType(element), 0));
    SmallVector<Value> init(height * tileVectors, zeros);
    auto step = [&](Value at, Value mask, ValueRange carried) {
      SmallVector<Value> left, next;
      for (int64_t r = 0; r < height; ++r)
        left.push_back(a.load(k.add(rows[r], at), mask));
      for (int64_t c = 0; c < tileVectors; ++c) {
        Value right = b.load(k.add(columns[c], at), mask);
        for (int64_t r = 0; r < height; ++r)
          next.push_back(multiplyAdd(k, left[r], right, carried[c * height + r]));
      }
      return next;
    };
    Value whole = k.sub(depth, k.b.create<arith::RemUIOp>(depth, k.index(lanes)));
    auto loop = k.b.create<scf::ForOp>(zero, whole, k.index(lanes), init);
    {
      OpBuilder::InsertionGuard guard(k.b);
      k.b.setInsertionPointToStart(loop.getBody());
      k.b.create<scf::YieldOp>(step(loop.getInductionVar(), {}, loop.getRegionIterArgs()));
    }
    SmallVector<Value> sums(loop.getResults());
    if (!p.depth.constant() || *p.depth.constant() % lanes != 0) {
      auto maskType = VectorType::get({lanes}, k.b.getI1Type());
      Value mask = k.b.create<vector::CreateMaskOp>(maskType, k.sub(depth, whole));
      sums = step(whole, mask, sums);
    }
    for (int64_t r = 0; r < height; ++r) {
      Value outRow = k.add(row, k.index(r));
      for (int64_t c = 0; c < tileVectors; ++c) {
        Value sum = k.add(sumLanes(k, sums[c * height + r]), initial(outRow));
        Value outColumn = k.min(k.add(column, k.index(c)), last);
        storeScalar(sum, k.add(outBase, k.add(k.mul(outRow, n), outColumn)));
      }
    }
  }

  void storeScalar(Value value, Value position) {
    if (storageType(element) != value.getType())
      value = k.b.create<arith::TruncFOp>(storageType(element), value);
    k.b.create<memref::StoreOp>(value, k.outputBuffer(0), position);
  }

  KernelBuilder &k;
  const MatMulProblem &p;
  Type element;
  int64_t lanes;
  VectorBuffer a, b, out;
  Value m, n, depth, zero, one;
  // Strides, in elements.
  Value aRow, aDepth, bDepth, bColumn;
  /// Vectors go along the depth.
  bool dots;
  /// Of the current tile: vectors of columns in a row, or columns where vectors go along the depth.
  int64_t tileVectors = 1;
  Value batch, aBase, bBase, outBase;
};

} // namespace

/// A task is an element of the result.
static void emitScalarMatMul(KernelBuilder &k, const MatMulProblem &p) {
  Dims results = {p.batches, p.m, p.n};
  Type element = k.elementType(p.a), compute = computeType(element);
  auto load = [&](Value tensor, Value position) -> Value {
    Value raw = k.b.create<memref::LoadOp>(k.inputBuffer(*k.inputOf(tensor)), position);
    if (isFloat(element) && raw.getType() != compute)
      raw = k.b.create<arith::ExtFOp>(compute, raw);
    return raw;
  };
  k.parallel(elementCount(results), [&](Value task) {
    KernelBuilder::Index at = k.delinearize(task, results);
    auto [aBase, bBase, outBase] = p.offsets(at[0]);
    Value m = k.sym(p.m), n = k.sym(p.n), depth = k.sym(p.depth), one = k.index(1);
    Value aRow = p.aTransposed ? one : depth, aDepth = p.aTransposed ? m : one;
    Value bColumn = p.bTransposed ? depth : one, bDepth = p.bTransposed ? one : n;
    Value aAt = k.add(aBase, k.mul(at[1], aRow)), bAt = k.add(bBase, k.mul(at[2], bColumn));
    Value init = p.initial ? p.initial(at[0], at[1]) : k.constant(compute, 0);
    Value sum = k.reduce(p.depth, init, [&](ValueRange i, ValueRange carried) {
      Value x = load(p.a, k.add(aAt, k.mul(i[0], aDepth)));
      Value y = load(p.b, k.add(bAt, k.mul(i[0], bDepth)));
      return SmallVector<Value>{addAnyOrder(k, carried[0], mulFast(k, x, y))};
    })[0];
    if (storageType(element) != sum.getType())
      sum = k.b.create<arith::TruncFOp>(storageType(element), sum);
    k.b.create<memref::StoreOp>(sum, k.outputBuffer(0),
                                k.add(outBase, k.add(k.mul(at[1], n), at[2])));
  });
}

void tacq::emitMatMul(KernelBuilder &k, const MatMulProblem &problem) {
  if (k.isScalar())
    return emitScalarMatMul(k, problem);
  Dims blocks = {problem.batches, Sym::ceilDiv(problem.m, taskRows),
                 Sym::ceilDiv(problem.n, taskColumns)};
  MatMulEmitter emitter(k, problem);
  k.parallel(elementCount(blocks), [&](Value task) {
    KernelBuilder::Index at = k.delinearize(task, blocks);
    emitter.emitTask(at[0], k.mul(at[1], k.index(taskRows)), k.mul(at[2], k.index(taskColumns)));
  });
}
