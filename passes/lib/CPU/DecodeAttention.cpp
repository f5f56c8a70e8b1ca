//===- DecodeAttention.cpp - Attention of few queries ---------------------===//

#include "DecodeAttention.h"
#include "tacq/Codegen/MathExpansion.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;

namespace {

/// Keys whose scores are held at once, and keys of a task.
constexpr int64_t blockKeys = 64;
constexpr int64_t chunkKeys = 4 * blockKeys;
constexpr int64_t maxTileQueries = 8;
/// More query heads of a key head than that have enough to do for each key.
constexpr int64_t maxGroup = 32;
/// Words of a chunk's maxima and denominators, for each tile of queries.
constexpr int64_t momentWords = 2 * vectorLanes;
constexpr int64_t wordBytes = 4;
constexpr int64_t lineBytes = 64;
/// Heads of all sequences whose keys are divided; more give work to all threads. A counter has a
/// line of memory.
constexpr int64_t maxCounters = 64;
constexpr int64_t counterWords = 16;
constexpr float lowest = std::numeric_limits<float>::lowest();
constexpr float infinity = std::numeric_limits<float>::infinity();

} // namespace

DecodeAttention::DecodeAttention(KernelBuilder &k, const CpuTarget &target,
                                 AttentionTensors &tensors)
    : AttentionCode(k, target), t(tensors), nativeLanes(target.lanes()),
      // 16 registers of AVX2 hold 8 sums besides what they are made of.
      accumulators(target.byteProduct == ByteProduct::Avx2 ||
                           target.byteProduct == ByteProduct::AvxVnni
                       ? 8
                       : 16),
      paddedDepth(llvm::alignTo(t.depth, vectorLanes)),
      paddedValueDepth(llvm::alignTo(t.valueDepth, vectorLanes)) {
  std::optional<Sym> heads = Sym::divideExactly(t.q[2], t.kNew[2]);
  std::optional<int64_t> count = heads ? heads->constant() : std::nullopt;
  // A bias has a row for each query and head, which prefill reads in vectors.
  if (!count || *count < 1 || *count > maxGroup || t.bias)
    return;
  group = *count;
  tileQueries = std::min<int64_t>(llvm::PowerOf2Ceil(group), maxTileQueries);
  tileKeys = vectorLanes / tileQueries;
  maxRows = llvm::alignTo(2 * group, tileQueries);
}

Sym DecodeAttention::isChosen() {
  if (group == 0)
    return Sym(0);
  // As many queries as fill the tiles; none at all are the same.
  Sym rows = Sym::max(t.q[1] * Sym(group), Sym(1));
  return Sym::min(Sym::floorDiv(Sym(maxRows), rows), Sym(1));
}

Sym DecodeAttention::isSpread() {
  if (!t.op.getPresentKey())
    return Sym(0);
  Sym heads = Sym::max(t.q[0] * t.kNew[2], Sym(1));
  return Sym::min(Sym::floorDiv(Sym(maxCounters), heads), Sym(1));
}

Sym DecodeAttention::chunks() {
  return Sym::max(isSpread() * Sym::ceilDiv(t.total, chunkKeys), Sym(1));
}

Sym DecodeAttention::workspaceBytes() {
  Sym tiles = Sym::ceilDiv(t.q[1] * Sym(group), tileQueries);
  Sym words = chunks() * tiles * Sym(tileQueries * paddedValueDepth + momentWords);
  words = t.q[0] * t.kNew[2] * words + Sym(maxCounters * counterWords);
  return isChosen() * isSpread() * words * Sym(wordBytes);
}

LogicalResult DecodeAttention::prepare(AppendCode *appendCode) {
  append = appendCode;
  RopeOp rope = t.queryRope();
  if (append && rope) {
    if (failed(queryRope.emplace(k, rope).collect()))
      return failure();
    rotated = stackBuffer(paddedDepth, k.elementType(rope.getResult()));
  }
  Type f32 = b.getF32Type();
  int64_t tiles = maxRows / tileQueries;
  queries = stackBuffer(maxRows * paddedDepth, f32);
  scores = stackBuffer(blockKeys * tileQueries, f32);
  sums = stackBuffer(maxRows * paddedValueDepth, f32);
  maxima = stackBuffer(tiles * vectorLanes, f32);
  denominators = stackBuffer(tiles * vectorLanes, f32);
  factors = stackBuffer(vectorLanes, f32);
  limits = stackBuffer(tiles * vectorLanes, b.getI32Type());
  if (t.keyMask)
    maskRow = stackBuffer(blockKeys + vectorLanes, f32);
  if (!isSpread().isConstant(0))
    workspace = k.workspace(workspaceBytes(), b.getI32Type());
  return success();
}

Value DecodeAttention::shuffle(Value vector, function_ref<int64_t(int64_t)> from) {
  SmallVector<int64_t> lanes;
  for (int64_t lane = 0; lane < vectorLanes; ++lane)
    lanes.push_back(from(lane));
  return b.create<vector::ShuffleOp>(vector, vector, lanes);
}

Value DecodeAttention::foldKeys(Value vector, function_ref<Value(Value, Value)> combine) {
  for (int64_t apart = tileQueries; apart < vectorLanes; apart *= 2)
    vector = combine(vector, shuffle(vector, [&](int64_t lane) { return lane ^ apart; }));
  return vector;
}

void DecodeAttention::emitTask(Value batch, Value keyHead, Value chunk) {
  keys = t.keyRows(*this, batch, keyHead);
  values = t.valueRows(*this, batch, keyHead);
  copyQueries(batch, keyHead);
  Value first = k.index(0), end = k.sym(t.total), isAlone;
  if (workspace) {
    isAlone = k.equal(k.sym(chunks()), k.index(1));
    first = times(chunk, chunkKeys);
    end = k.select(isAlone, end, k.min(end, plus(first, chunkKeys)));
  }
  if (append)
    append->emitKeys(batch, keyHead, k.max(first, k.sym(t.past)), end);
  loop(first, end, blockKeys, [&](Value firstKey) {
    emitBlock(batch, firstKey, k.min(k.sub(end, firstKey), k.index(blockKeys)));
  });
  if (!workspace)
    return storeRows(batch, keyHead);
  when(isAlone, [&] { storeRows(batch, keyHead); });
  when(k.logicalNot(isAlone), [&] {
    Value batchAndHead = k.add(k.mul(batch, k.sym(t.kNew[2])), keyHead);
    Value words = times(tileCount(), tileQueries * paddedValueDepth + momentWords);
    Value ofHead =
        plus(k.mul(k.mul(batchAndHead, k.sym(chunks())), words), maxCounters * counterWords);
    Value at = k.add(ofHead, k.mul(chunk, words));
    Value momentCount = times(tileCount(), vectorLanes);
    savePartial(maxima, at, momentCount);
    savePartial(denominators, k.add(at, momentCount), momentCount);
    savePartial(sums, k.add(at, times(momentCount, 2)),
                times(tileCount(), tileQueries * paddedValueDepth));
    // Releases what is saved, and acquires what the others saved.
    Value counter = times(batchAndHead, counterWords);
    Value one = k.integer(b.getI32Type(), 1);
    Value before = b.create<memref::AtomicRMWOp>(arith::AtomicRMWKind::addi, one, workspace,
                                                 ValueRange{counter});
    Value count = plus(b.create<arith::IndexCastOp>(b.getIndexType(), before), 1);
    when(k.equal(count, k.sym(chunks())), [&] {
      b.create<memref::StoreOp>(k.integer(b.getI32Type(), 0), workspace, ValueRange{counter});
      combineChunks(ofHead, words);
      storeRows(batch, keyHead);
    });
  });
}

/// Queries times the scale, as f32; the last tile is filled with the last query.
void DecodeAttention::copyQueries(Value batch, Value keyHead) {
  Value scale = splat(float(t.op.getScale().convertToDouble()));
  Value keyEnd = k.sym(t.total);
  loop(k.index(0), times(tileCount(), tileQueries), 1, [&](Value row) {
    Value known = k.min(row, plus(rowCount(), -1));
    Value position = b.create<arith::DivUIOp>(known, k.index(group));
    Value inGroup = b.create<arith::RemUIOp>(known, k.index(group));
    Value from = k.add(k.mul(batch, k.sym(t.q[1])), position);
    from = k.add(k.mul(from, k.sym(t.q[2])), k.add(times(keyHead, group), inGroup));
    from = times(from, t.depth);
    Value source = t.queries;
    if (queryRope) {
      queryRope->emitHead(from, rotated, k.index(0), queryRope->angleOf(batch, position));
      source = rotated;
      from = k.index(0);
    }
    copyScaled(source, from, scale, queries, times(row, paddedDepth), t.depth);
    for (int64_t at = 0; at < paddedValueDepth; at += vectorLanes)
      store(splat(0.0f), sums, plus(times(row, paddedValueDepth), at));
    Value limit = keyEnd;
    if (t.op.getCausal())
      limit = k.min(limit, plus(k.add(position, k.sym(t.past)), 1));
    limit = b.create<arith::IndexCastOp>(b.getI32Type(), limit);
    Value tile = b.create<arith::DivUIOp>(row, k.index(tileQueries));
    Value query = b.create<arith::RemUIOp>(row, k.index(tileQueries));
    for (int64_t key = 0; key < tileKeys; ++key)
      b.create<memref::StoreOp>(limit, limits,
                                k.add(tileStart(tile), plus(query, key * tileQueries)));
  });
  loop(k.index(0), times(tileCount(), vectorLanes), vectorLanes, [&](Value at) {
    store(splat(lowest), maxima, at);
    store(splat(0.0f), denominators, at);
  });
}

/// The sums of the lanes of as many vectors as a vector has lanes.
static SmallVector<Value> addHalves(ImplicitLocOpBuilder &b, SmallVector<Value> vectors) {
  auto lanes = int64_t(vectors.size());
  for (int64_t size = lanes / 2; size >= 1; size /= 2) {
    SmallVector<int64_t> own, other;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      bool second = lane & size;
      own.push_back(second ? lanes + lane : lane);
      other.push_back(second ? lanes + lane - size : lane + size);
    }
    for (int64_t i = 0; i < size; ++i) {
      Value x = b.create<vector::ShuffleOp>(vectors[i], vectors[i + size], own);
      Value y = b.create<vector::ShuffleOp>(vectors[i], vectors[i + size], other);
      vectors[i] = b.create<arith::AddFOp>(x, y);
    }
  }
  return {vectors[0]};
}

/// 16 sums as one vector.
Value DecodeAttention::addLanes(SmallVector<Value> terms) {
  auto type = f32Vector();
  Value result = b.create<arith::ConstantOp>(b.getZeroAttr(type));
  for (int64_t first = 0; first < vectorLanes; first += nativeLanes) {
    Value part = addHalves(
        b, SmallVector<Value>(terms.begin() + first, terms.begin() + first + nativeLanes))[0];
    if (nativeLanes == vectorLanes)
      return part;
    result = b.create<vector::InsertStridedSliceOp>(part, result, ArrayRef<int64_t>{first},
                                                    ArrayRef<int64_t>{1});
  }
  return result;
}

void DecodeAttention::prefetchRow(const Rows &rows, Value row) {
  Type element = cast<MemRefType>(rows.buffer.getType()).getElementType();
  int64_t line = lineBytes * 8 / element.getIntOrFloatBitWidth();
  Value start = k.add(rows.start, k.mul(row, rows.stride));
  for (int64_t at = 0; at < rows.features; at += line)
    prefetch(rows.buffer, plus(start, at));
}

/// The scores of a tile: lane i is key i / tileQueries, query i % tileQueries.
Value DecodeAttention::scoresOf(Value tile, Value firstKey, Value keyCount, Value key) {
  auto type = VectorType::get(nativeLanes, b.getF32Type());
  int64_t whole = t.depth - t.depth % nativeLanes, rest = t.depth - whole;
  Value queryStart = times(tile, tileQueries * paddedDepth);
  auto keyVector = [&](Value at, int64_t lanes) -> Value {
    Type element = cast<MemRefType>(keys.buffer.getType()).getElementType();
    auto stored = VectorType::get(nativeLanes, element);
    Value raw;
    if (lanes == nativeLanes) {
      raw = b.create<vector::LoadOp>(stored, keys.buffer, ValueRange{at});
    } else {
      Value active = b.create<vector::CreateMaskOp>(VectorType::get(nativeLanes, b.getI1Type()),
                                                    ValueRange{k.index(lanes)});
      Value zeros = b.create<arith::ConstantOp>(b.getZeroAttr(stored));
      raw = b.create<vector::MaskedLoadOp>(stored, keys.buffer, ValueRange{at}, active, zeros);
    }
    return element.isF32() ? raw : b.create<arith::ExtFOp>(type, raw).getResult();
  };
  Value zero = b.create<arith::ConstantOp>(b.getZeroAttr(type));
  SmallVector<Value> result;
  int64_t queriesOfPart = std::min(tileQueries, accumulators);
  int64_t keysOfPart = accumulators / queriesOfPart;
  for (int64_t firstPart = 0; firstPart < tileKeys; firstPart += keysOfPart) {
    SmallVector<Value> starts;
    for (int64_t i = 0; i < keysOfPart; ++i) {
      Value row = k.min(plus(key, firstPart + i), plus(keyCount, -1));
      Value at = k.add(firstKey, row);
      starts.push_back(k.add(keys.start, k.mul(at, keys.stride)));
      // Only the first tile finds them elsewhere than in the first cache.
      prefetchRow(values, at);
      prefetchRow(keys, plus(at, blockKeys));
    }
    auto step = [&](Value at, int64_t lanes, ValueRange carried) {
      SmallVector<Value> next(carried), keyVectors;
      for (Value start : starts)
        keyVectors.push_back(keyVector(k.add(start, at), lanes));
      for (int64_t query = 0; query < tileQueries; ++query) {
        Value from = plus(k.add(queryStart, at), query * paddedDepth);
        Value element = b.create<vector::LoadOp>(type, queries, ValueRange{from});
        for (auto [i, vector] : llvm::enumerate(keyVectors)) {
          Value &sum = next[i * tileQueries + query];
          sum = fma(vector, element, sum);
        }
      }
      return next;
    };
    SmallVector<Value> terms(accumulators, zero);
    if (whole > 0)
      terms = loop(k.index(0), k.index(whole), nativeLanes, terms,
                   [&](Value at, ValueRange carried) { return step(at, nativeLanes, carried); });
    if (rest > 0)
      terms = step(k.index(whole), rest, terms);
    result.append(terms);
  }
  return addLanes(std::move(result));
}

void DecodeAttention::emitBlock(Value batch, Value firstKey, Value keyCount) {
  if (t.keyMask)
    loadKeyMask(t.keyMask, maskRow, k.add(t.maskRow(*this, batch), firstKey), keyCount);
  auto indices = VectorType::get(vectorLanes, b.getI32Type());
  SmallVector<int32_t> keyOfLane;
  for (int64_t lane = 0; lane < vectorLanes; ++lane)
    keyOfLane.push_back(lane / tileQueries);
  Value laneKeys =
      b.create<arith::ConstantOp>(DenseElementsAttr::get(indices, ArrayRef<int32_t>(keyOfLane)));
  auto maximum = [&](Value x, Value y) -> Value { return b.create<arith::MaxNumFOp>(x, y); };
  Value zero = k.index(0);
  loop(zero, tileCount(), 1, [&](Value tile) {
    Value limit = b.create<vector::LoadOp>(indices, limits, ValueRange{tileStart(tile)});
    Value before = load(maxima, tileStart(tile));
    Value largest = loop(zero, keyCount, tileKeys, before, [&](Value key, ValueRange carried) {
      Value score = scoresOf(tile, firstKey, keyCount, key);
      if (t.keyMask)
        score = k.add(
            score, shuffle(load(maskRow, key), [&](int64_t lane) { return lane / tileQueries; }));
      Value at = b.create<arith::IndexCastOp>(b.getI32Type(), k.add(firstKey, key));
      at = k.add(b.create<vector::BroadcastOp>(indices, at), laneKeys);
      Value visible = b.create<arith::CmpIOp>(arith::CmpIPredicate::slt, at, limit);
      score = k.select(visible, score, splat(-infinity));
      store(score, scores, times(key, tileQueries));
      return SmallVector<Value>{maximum(carried[0], score)};
    })[0];
    largest = foldKeys(largest, maximum);
    Value rescale = emitExpNonPositive(b, k.sub(before, largest));
    Value denominator = k.mul(load(denominators, tileStart(tile)), rescale);
    denominator = loop(zero, times(keyCount, tileQueries), vectorLanes, denominator,
                       [&](Value at, ValueRange carried) {
                         Value score = load(scores, at);
                         Value weight = emitExpNonPositive(b, k.sub(score, largest));
                         store(weight, scores, at);
                         return SmallVector<Value>{k.add(carried[0], weight)};
                       })[0];
    store(largest, maxima, tileStart(tile));
    store(denominator, denominators, tileStart(tile));
    rescaleSums(tile, rescale);
    Matrix weights{scores, zero, k.index(1), k.index(tileQueries)};
    Matrix block{values.buffer, k.add(values.start, k.mul(firstKey, values.stride)), values.stride,
                 Value()};
    Matrix result{sums, sumsStart(tile), k.index(paddedValueDepth), Value()};
    int64_t lastLanes = t.valueDepth - (paddedValueDepth - vectorLanes);
    // As many registers of sums as of scores.
    int64_t vectors = std::max<int64_t>(1, accumulators * nativeLanes / vectorLanes);
    int64_t rows = std::min(tileQueries, std::max<int64_t>(vectors / 2, 4));
    multiply(weights, block, result, k.index(tileQueries), keyCount, paddedValueDepth / vectorLanes,
             lastLanes, {rows}, vectors / rows);
  });
}

void DecodeAttention::rescaleSums(Value tile, Value rescale) {
  store(rescale, factors, k.index(0));
  loop(k.index(0), k.index(tileQueries), 1, [&](Value query) {
    Value factor = splat(loadScalar(factors, query));
    Value from = k.add(sumsStart(tile), times(query, paddedValueDepth));
    for (int64_t at = 0; at < paddedValueDepth; at += vectorLanes)
      store(k.mul(load(sums, plus(from, at)), factor), sums, plus(from, at));
  });
}

/// The workspace is integers, for the sake of its counters.
void DecodeAttention::savePartial(Value from, Value at, Value count) {
  auto words = VectorType::get(vectorLanes, b.getI32Type());
  loop(k.index(0), count, vectorLanes, [&](Value i) {
    Value bits = b.create<vector::BitCastOp>(words, load(from, i));
    b.create<vector::StoreOp>(bits, workspace, ValueRange{k.add(at, i)});
  });
}

Value DecodeAttention::loadPartial(Value at) {
  auto words = VectorType::get(vectorLanes, b.getI32Type());
  Value bits = b.create<vector::LoadOp>(words, workspace, ValueRange{at});
  return b.create<vector::BitCastOp>(f32Vector(), bits);
}

/// Leaves the moments and sums of all chunks where those of the last one were.
void DecodeAttention::combineChunks(Value first, Value words) {
  Value zero = k.index(0), chunkCount = k.sym(chunks());
  Value momentCount = times(tileCount(), vectorLanes);
  loop(zero, tileCount(), 1, [&](Value tile) {
    Value moments = k.add(first, tileStart(tile));
    auto ofChunk = [&](Value chunk) { return k.mul(chunk, words); };
    Value largest = loop(zero, chunkCount, 1, splat(lowest), [&](Value chunk, ValueRange carried) {
      Value own = loadPartial(k.add(moments, ofChunk(chunk)));
      return SmallVector<Value>{b.create<arith::MaxNumFOp>(carried[0], own)};
    })[0];
    loop(zero, k.index(tileQueries * paddedValueDepth), vectorLanes,
         [&](Value at) { store(splat(0.0f), sums, k.add(sumsStart(tile), at)); });
    Value sumsOfTile = k.add(k.add(first, times(momentCount, 2)), sumsStart(tile));
    Value denominator =
        loop(zero, chunkCount, 1, splat(0.0f), [&](Value chunk, ValueRange carried) {
          Value at = k.add(moments, ofChunk(chunk));
          Value factor = emitExpNonPositive(b, k.sub(loadPartial(at), largest));
          store(factor, factors, zero);
          loop(zero, k.index(tileQueries), 1, [&](Value query) {
            Value ofQuery = splat(loadScalar(factors, query));
            Value from = times(query, paddedValueDepth);
            for (int64_t i = 0; i < paddedValueDepth; i += vectorLanes) {
              Value to = plus(k.add(sumsStart(tile), from), i);
              Value part = loadPartial(plus(k.add(k.add(sumsOfTile, from), ofChunk(chunk)), i));
              store(fma(part, ofQuery, load(sums, to)), sums, to);
            }
          });
          return SmallVector<Value>{fma(loadPartial(k.add(at, momentCount)), factor, carried[0])};
        })[0];
    store(denominator, denominators, tileStart(tile));
  });
}

void DecodeAttention::storeRows(Value batch, Value keyHead) {
  loop(k.index(0), tileCount(), 1, [&](Value tile) {
    Value sum = foldKeys(load(denominators, tileStart(tile)),
                         [&](Value x, Value y) { return k.add(x, y); });
    // A query that sees no key gets zeros, and NaN stays what it is.
    Value seen = b.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, sum, splat(0.0f));
    store(k.select(seen, b.create<arith::DivFOp>(splat(1.0f), sum), splat(0.0f)), factors,
          k.index(0));
    Value first = times(tile, tileQueries);
    loop(first, k.min(plus(first, tileQueries), rowCount()), 1, [&](Value row) {
      Value position = b.create<arith::DivUIOp>(row, k.index(group));
      Value inGroup = b.create<arith::RemUIOp>(row, k.index(group));
      Value to = k.add(k.mul(batch, k.sym(t.q[1])), position);
      to = k.add(k.mul(to, k.sym(t.q[2])), k.add(times(keyHead, group), inGroup));
      to = times(to, t.valueDepth);
      Value factor = splat(loadScalar(factors, k.sub(row, first)));
      for (int64_t at = 0; at < paddedValueDepth; at += vectorLanes)
        store(k.mul(load(sums, plus(times(row, paddedValueDepth), at)), factor), t.out,
              plus(to, at), constantMask(std::min(vectorLanes, t.valueDepth - at)));
    });
  });
}
