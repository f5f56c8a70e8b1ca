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

constexpr int64_t tileRows = 4, tileVectors = 2;
/// Columns a tile has where vectors go along the depth.
constexpr int64_t dotColumns = 2;
constexpr int64_t taskRows = 16, taskColumns = 128;

class MatMulEmitter {
public:
  MatMulEmitter(KernelBuilder &k, const MatMulProblem &problem)
      : k(k), p(problem), element(k.elementType(p.a)), lanes(VectorBuffer::lanesFor(element)),
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
    int64_t width = dots ? dotColumns : tileVectors * lanes;
    int64_t height = std::clamp<int64_t>(p.m.constant().value_or(tileRows), 1, tileRows);
    auto columns = k.b.create<scf::ForOp>(column0, columnEnd, k.index(width));
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointToStart(columns.getBody());
    Value column = columns.getInductionVar();
    // Whole tiles, then what is left of the rows one by one.
    Value rows = k.sub(rowEnd, row0);
    Value tiled = k.sub(rows, k.b.create<arith::RemUIOp>(rows, k.index(height)));
    Value middle = k.add(row0, tiled);
    emitRows(row0, middle, height, column, width, columnEnd);
    if (height > 1 && !(p.m.constant() && *p.m.constant() % height == 0))
      emitRows(middle, rowEnd, 1, column, width, columnEnd);
  }

private:
  void emitRows(Value from, Value to, int64_t height, Value column, int64_t width,
                Value columnEnd) {
    auto loop = k.b.create<scf::ForOp>(from, to, k.index(height));
    OpBuilder::InsertionGuard guard(k.b);
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
    for (int64_t c = 0; c < dotColumns; ++c)
      columns.push_back(k.add(bBase, k.mul(k.min(k.add(column, k.index(c)), last), bColumn)));
    Value zeros = splat(k, a.type(), k.constant(computeType(element), 0));
    SmallVector<Value> init(height * dotColumns, zeros);
    auto step = [&](Value at, Value mask, ValueRange carried) {
      SmallVector<Value> left, next;
      for (int64_t r = 0; r < height; ++r)
        left.push_back(a.load(k.add(rows[r], at), mask));
      for (int64_t c = 0; c < dotColumns; ++c) {
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
      for (int64_t c = 0; c < dotColumns; ++c) {
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
  Value batch, aBase, bBase, outBase;
};

} // namespace

void tacq::emitMatMul(KernelBuilder &k, const MatMulProblem &problem) {
  Dims blocks = {problem.batches, Sym::ceilDiv(problem.m, taskRows),
                 Sym::ceilDiv(problem.n, taskColumns)};
  MatMulEmitter emitter(k, problem);
  k.parallel(elementCount(blocks), [&](Value task) {
    KernelBuilder::Index at = k.delinearize(task, blocks);
    emitter.emitTask(at[0], k.mul(at[1], k.index(taskRows)), k.mul(at[2], k.index(taskColumns)));
  });
}
