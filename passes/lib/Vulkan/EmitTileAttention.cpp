//===- EmitTileAttention.cpp - Attention of many queries ------------------===//
//
// A task is a tile of queries of a head, of which each subgroup has as many as a cooperative matrix
// has rows. Keys, and then values, come through shared memory, a block of them at a time, for all
// subgroups. There are two passes over the keys: the first finds the largest score of each query,
// so that the second needs not rescale sums, which are spread over invocations in an unknown way.
//
//===----------------------------------------------------------------------===//

#include "ShaderKernels.h"
#include "WorkgroupCode.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "tacq/Codegen/AttentionTensors.h"
#include "tacq/Codegen/MathExpansion.h"

using namespace mlir;
using namespace tacq;

namespace {

/// Rows, columns and depth of a cooperative matrix.
constexpr int64_t matrix = 16;
constexpr int64_t tileSubgroups = 4, tileQueries = tileSubgroups * matrix;
/// Keys of a block, and the rows of scores and weights in memory, padded so that neighbours do not
/// meet in the same banks.
constexpr int64_t blockKeys = 32, scoreStride = blockKeys + 4, weightStride = blockKeys + 8;
/// Words of 16 bytes hold so many f16 numbers; a row in memory is padded by one.
constexpr int64_t quadHalves = 8, matrixQuads = matrix / quadHalves;
int64_t rowQuads(int64_t features) { return features / quadHalves + 1; }
/// With fewer queries, those of one workgroup each take less time.
constexpr int64_t fewestQueries = 16;
constexpr float lowest = std::numeric_limits<float>::lowest();

class TileAttention : public WorkgroupCode {
public:
  TileAttention(KernelBuilder &k, AttentionOp op, VulkanProfileAttr profile,
                std::optional<Sym> capacity)
      : WorkgroupCode(k, profile), op(op), t(op, capacity) {}
  bool collect();
  void emit();

private:
  using Values = SmallVector<Value>;

  Value loadMatrix(Value memory, Value at, int64_t stride, const char *use, bool transpose);
  void stage(Value quads, Value start, Value stride, int64_t features, Value first, Value end);
  Value rowOfQuery(Value query);
  void scores(const Values &queries);
  Value scoreOf(Value column, Value key);
  void emitTile(Value batch, Value head, Value tile);

  AttentionOp op;
  AttentionTensors t;
  Value rows, scoreMemory, weightMemory, queryRows, keyRows, valueRows;
  // Of the tile: where the subgroup's scores begin, and the query whose scores the invocation has.
  Value scoresAt, weightsAt, part, position, endOfQuery, batch, head;
};

bool TileAttention::collect() {
  for (const char *feature : {"matrix16", "float16", "storage16"})
    if (!profile.has(feature))
      return false;
  // Numbers of f32 would be rounded.
  auto isHalf = [&](Value tensor) { return tensor && k.elementType(tensor).isF16(); };
  if (subgroup() != 2 * matrix || op.getBias() || !isHalf(op.getQ()) || !isHalf(op.getK()) ||
      !isHalf(op.getV()) || failed(t.collect(*this)))
    return false;
  int64_t bytes = blockKeys * rowQuads(std::max(t.depth, t.valueDepth)) * 16 +
                  tileQueries * (scoreStride * 4 + weightStride * 2);
  return t.depth % matrix == 0 && t.valueDepth % matrix == 0 && t.depth <= 128 &&
         t.valueDepth <= 128 && bytes <= mostSharedBytes();
}

Value TileAttention::loadMatrix(Value memory, Value at, int64_t stride, const char *use,
                                bool transpose) {
  auto type = gpu::MMAMatrixType::get({matrix, matrix}, b.getF16Type(), use);
  return b.create<gpu::SubgroupMmaLoadMatrixOp>(type, memory, ValueRange{at},
                                                b.getIndexAttr(stride),
                                                transpose ? b.getUnitAttr() : UnitAttr());
}

/// Puts rows [first, first + blockKeys) into memory, zeros for those from `end` on. Positions count
/// words of 16 bytes.
void TileAttention::stage(Value quads, Value start, Value stride, int64_t features, Value first,
                          Value end) {
  int64_t quadsOfRow = features / quadHalves, all = blockKeys * quadsOfRow;
  Value none = b.create<spirv::ConstantOp>(
      quadType(), DenseElementsAttr::get(quadType(), b.getI32IntegerAttr(0).getValue()));
  Value last = k.sub(end, k.index(1));
  SmallVector<std::pair<Value, Value>> read;
  for (int64_t i = 0; i < all; i += workgroup()) {
    Value own = plus(thread(), i);
    // Where they are not a multiple of the invocations, some read the last one, too.
    if (i + workgroup() > all)
      own = k.min(own, k.index(all - 1));
    Value row = quotient(own, k.index(quadsOfRow)), column = remainder(own, k.index(quadsOfRow));
    Value key = k.add(first, row);
    Value number = element(quads, k.add(k.add(start, k.mul(k.min(key, last), stride)), column));
    read.push_back(
        {k.add(times(row, quadsOfRow + 1), column), k.select(k.less(key, end), number, none)});
  }
  for (auto [at, number] : read)
    storeShared(number, rows, at);
}

/// The scores of the subgroup's queries and the keys in memory.
void TileAttention::scores(const Values &queries) {
  auto type = gpu::MMAMatrixType::get({matrix, matrix}, b.getF32Type(), "COp");
  for (int64_t key = 0; key < blockKeys; key += matrix) {
    Value sum = b.create<gpu::SubgroupMmaConstantMatrixOp>(type, f(0.0));
    for (auto [i, query] : llvm::enumerate(queries)) {
      Value keys = loadMatrix(rows, k.index(key * rowQuads(t.depth) + int64_t(i) * matrixQuads),
                              rowQuads(t.depth), "BOp", true);
      sum = b.create<gpu::SubgroupMmaComputeOp>(type, query, keys, sum, UnitAttr(), UnitAttr());
    }
    b.create<gpu::SubgroupMmaStoreMatrixOp>(sum, scoreMemory, ValueRange{plus(scoresAt, key)},
                                            b.getIndexAttr(scoreStride), UnitAttr());
  }
}

/// The score of the invocation's query and a key of the block, in column `column`; the lowest
/// number if the query must not see the key.
Value TileAttention::scoreOf(Value column, Value key) {
  Value lane = remainder(thread(), k.index(subgroup()));
  Value at = k.add(scoresAt, k.add(times(quotient(lane, k.index(2)), scoreStride), column));
  Value score = k.mul(loadShared(scoreMemory, at), f(op.getScale().convertToDouble()));
  Value visible = k.less(key, endOfQuery);
  if (t.keyMask) {
    Value own = k.min(key, k.sub(k.sym(t.total), k.index(1)));
    Value mask = element(t.keyMask, k.add(t.maskRow(*this, batch), own));
    Value hidden = k.integer(mask.getType(), 0);
    visible = k.logicalAnd(
        visible, b.create<arith::CmpIOp>(arith::CmpIPredicate::ne, mask, hidden).getResult());
  }
  return k.select(visible, score, f(lowest));
}

void TileAttention::emitTile(Value ownBatch, Value ownHead, Value tile) {
  batch = ownBatch;
  head = ownHead;
  Value own = thread(), number = quotient(own, k.index(subgroup()));
  Value lane = remainder(own, k.index(subgroup()));
  scoresAt = times(number, matrix * scoreStride);
  weightsAt = times(number, matrix * weightStride);
  // Two invocations have a query each, and every other key of it.
  part = remainder(lane, k.index(2));
  Value count = k.sym(t.q[1]), heads = k.sym(t.q[2]);
  position =
      k.add(times(tile, tileQueries), k.add(times(number, matrix), quotient(lane, k.index(2))));
  Value total = k.sym(t.total), endOfTile = total;
  endOfQuery = total;
  if (op.getCausal()) {
    Value lastOfTile = k.min(times(plus(tile, 1), tileQueries), count);
    endOfTile = k.min(total, k.add(lastOfTile, k.sym(t.past)));
    endOfQuery = k.min(total, plus(k.add(position, k.sym(t.past)), 1));
  }
  Value keyHead = quotient(head, quotient(heads, k.sym(t.kNew[2])));
  Rows keys = t.keyRows(*this, batch, keyHead), values = t.valueRows(*this, batch, keyHead);
  auto inQuads = [&](Value halves) { return quotient(halves, k.index(quadHalves)); };
  Value keyStart = inQuads(keys.start), keyStride = inQuads(keys.stride);
  Value valueStart = inQuads(values.start), valueStride = inQuads(values.stride);

  // The queries, half of a subgroup's matrices at a time, through the rows' memory.
  Values queries;
  int64_t depthQuads = t.depth / quadHalves;
  Value queryStart = times(k.add(k.mul(k.mul(batch, count), heads), head), depthQuads);
  for (int64_t from = 0; from < tileQueries; from += blockKeys) {
    stage(queryRows, queryStart, times(heads, depthQuads), t.depth,
          plus(times(tile, tileQueries), from), count);
    barrier();
    Value local = remainder(number, k.index(blockKeys / matrix));
    auto loadQueries = [&] {
      Values result;
      for (int64_t i = 0; i < t.depth; i += matrix)
        result.push_back(loadMatrix(rows,
                                    plus(times(local, matrix * rowQuads(t.depth)), i / quadHalves),
                                    rowQuads(t.depth), "AOp", false));
      return result;
    };
    // At first all subgroups load, then those that find what is theirs.
    Value isOwn = k.equal(quotient(number, k.index(blockKeys / matrix)), k.index(from / blockKeys));
    queries = from == 0 ? loadQueries() : k.branch(isOwn, loadQueries, [&] { return queries; });
    barrier();
  }

  Value zero = k.index(0);
  Value largest = loop(zero, endOfTile, blockKeys, f(lowest), [&](Value first, ValueRange now) {
    stage(keyRows, keyStart, keyStride, t.depth, first, endOfTile);
    barrier();
    scores(queries);
    barrier();
    Value result = now[0];
    for (int64_t i = 0; i < blockKeys; i += 2) {
      Value column = plus(part, i);
      result = b.create<arith::MaxNumFOp>(result, scoreOf(column, k.add(first, column)));
    }
    return Values{result};
  })[0];
  largest = b.create<arith::MaxNumFOp>(largest, shuffleXor(largest, 1));

  auto type = gpu::MMAMatrixType::get({matrix, matrix}, b.getF32Type(), "COp");
  Values carried = {f(0.0)};
  carried.append(t.valueDepth / matrix,
                 b.create<gpu::SubgroupMmaConstantMatrixOp>(type, f(0.0)).getResult());
  carried = loop(zero, endOfTile, blockKeys, carried, [&](Value first, ValueRange now) {
    stage(keyRows, keyStart, keyStride, t.depth, first, endOfTile);
    barrier();
    scores(queries);
    barrier();
    stage(valueRows, valueStart, valueStride, t.valueDepth, first, endOfTile);
    Value denominator = now[0];
    for (int64_t i = 0; i < blockKeys; i += 2) {
      Value column = plus(part, i), score = scoreOf(column, k.add(first, column));
      Value seen = b.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, score, f(lowest));
      Value weight = k.select(seen, emitExpNonPositive(b, k.sub(score, largest)), f(0.0));
      weight = b.create<arith::TruncFOp>(b.getF16Type(), weight);
      denominator = k.add(denominator, b.create<arith::ExtFOp>(b.getF32Type(), weight));
      Value at = k.add(weightsAt, k.add(times(quotient(lane, k.index(2)), weightStride), column));
      storeShared(weight, weightMemory, at);
    }
    barrier();
    Values next = {denominator};
    llvm::append_range(next, now.drop_front());
    for (int64_t key = 0; key < blockKeys; key += matrix) {
      Value weights = loadMatrix(weightMemory, plus(weightsAt, key), weightStride, "AOp", false);
      for (int64_t i = 0; i < t.valueDepth; i += matrix) {
        Value own = loadMatrix(rows, k.index(key * rowQuads(t.valueDepth) + i / quadHalves),
                               rowQuads(t.valueDepth), "BOp", false);
        Value &sum = next[size_t(1 + i / matrix)];
        sum = b.create<gpu::SubgroupMmaComputeOp>(type, weights, own, sum, UnitAttr(), UnitAttr());
      }
    }
    barrier();
    return next;
  });
  Value denominator = k.add(carried[0], shuffleXor(carried[0], 1));
  Value seen = b.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, denominator, f(0.0));
  Value factor = k.select(seen, k.div(f(1.0), denominator), f(0.0));
  for (int64_t i = 0; i < t.valueDepth; i += matrix) {
    b.create<gpu::SubgroupMmaStoreMatrixOp>(carried[size_t(1 + i / matrix)], scoreMemory,
                                            ValueRange{scoresAt}, b.getIndexAttr(scoreStride),
                                            UnitAttr());
    barrier();
    when(k.less(position, count), [&] {
      Value row = k.add(scoresAt, times(quotient(lane, k.index(2)), scoreStride));
      Value to = k.add(k.mul(k.add(k.mul(batch, count), position), heads), head);
      to = plus(times(to, t.valueDepth), i);
      for (int64_t j = 0; j < matrix / 2; ++j) {
        Value column = plus(times(part, matrix / 2), j);
        store(k.mul(loadShared(scoreMemory, k.add(row, column)), factor), t.out, k.add(to, column));
      }
    });
    barrier();
  }
}

void TileAttention::emit() {
  setWorkgroup(tileSubgroups * subgroup());
  rows = shared(blockKeys * rowQuads(std::max(t.depth, t.valueDepth)), quadType());
  queryRows = view(t.queries, quadType());
  keyRows = view(t.keys, quadType());
  valueRows = view(t.values, quadType());
  scoreMemory = shared(tileQueries * scoreStride, b.getF32Type());
  weightMemory = shared(tileQueries * weightStride, b.getF16Type());
  Dims tasks = {t.q[0], t.q[2], Sym::ceilDiv(t.q[1], tileQueries)};
  Sym many = Sym::min(1, Sym::floorDiv(t.q[1], fewestQueries));
  k.parallel(many * elementCount(tasks), [&](Value task) {
    KernelBuilder::Index at = k.delinearize(task, tasks);
    emitTile(at[0], at[1], at[2]);
  });
}

} // namespace

bool tacq::emitTileAttentionShader(KernelBuilder &kernel, AttentionOp op, VulkanProfileAttr profile,
                                   std::optional<Sym> capacity) {
  TileAttention shader(kernel, op, profile, capacity);
  if (!shader.collect())
    return false;
  shader.emit();
  return true;
}
