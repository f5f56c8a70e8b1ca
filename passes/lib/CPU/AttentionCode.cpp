//===- AttentionCode.cpp - Small products over keys and values ------------===//

#include "AttentionCode.h"

using namespace mlir;
using namespace tacq;

/// 16 rows to 16 columns, by exchanging ever smaller blocks.
SmallVector<Value> AttentionCode::transpose(SmallVector<Value> rows) {
  for (int64_t size = vectorLanes / 2; size >= 1; size /= 2) {
    SmallVector<int64_t> low, high;
    for (int64_t lane = 0; lane < vectorLanes; ++lane) {
      bool second = lane & size;
      low.push_back(second ? vectorLanes + lane - size : lane);
      high.push_back(second ? vectorLanes + lane : lane + size);
    }
    for (int64_t i = 0; i < vectorLanes; ++i) {
      if (i & size)
        continue;
      Value first = rows[i], second = rows[i + size];
      rows[i] = b.create<vector::ShuffleOp>(first, second, low);
      rows[i + size] = b.create<vector::ShuffleOp>(first, second, high);
    }
  }
  return rows;
}

void AttentionCode::transposeRows(const Rows &keys, Value firstKey, Value keyCount, Value columns,
                                  int64_t stride) {
  int64_t depth = keys.features;
  loop(k.index(0), keyCount, vectorLanes, [&](Value first) {
    SmallVector<Value> starts;
    for (int64_t i = 0; i < vectorLanes; ++i) {
      Value key = k.add(firstKey, k.min(plus(first, i), plus(keyCount, -1)));
      starts.push_back(k.add(keys.start, k.mul(key, keys.stride)));
    }
    auto emitColumns = [&](Value at, Value active) {
      SmallVector<Value> rows;
      for (Value start : starts)
        rows.push_back(load(keys.buffer, k.add(start, at), active));
      for (auto [i, column] : llvm::enumerate(transpose(rows)))
        store(column, columns, k.add(times(plus(at, i), stride), first));
    };
    int64_t rest = depth % vectorLanes, whole = depth - rest;
    if (whole > 0)
      loop(k.index(0), k.index(whole), vectorLanes, [&](Value at) { emitColumns(at, Value()); });
    if (rest > 0)
      emitColumns(k.index(whole), constantMask(rest));
  });
}

void AttentionCode::loadKeyMask(Value keyMask, Value maskRow, Value from, Value keyCount) {
  auto type = VectorType::get(vectorLanes, cast<MemRefType>(keyMask.getType()).getElementType());
  Value zeros = b.create<arith::ConstantOp>(b.getZeroAttr(type));
  loop(k.index(0), keyCount, vectorLanes, [&](Value key) {
    Value raw = b.create<vector::MaskedLoadOp>(type, keyMask, ValueRange{k.add(from, key)},
                                               mask(k.sub(keyCount, key)), zeros);
    Value visible = b.create<arith::CmpIOp>(arith::CmpIPredicate::ne, raw, zeros);
    Value added = k.select(visible, splat(0.0f), splat(-std::numeric_limits<float>::infinity()));
    store(added, maskRow, key);
  });
}

void AttentionCode::copyScaled(Value from, Value fromStart, Value scale, Value to, Value toStart,
                               int64_t features) {
  for (int64_t at = 0; at < features; at += vectorLanes) {
    Value active = constantMask(std::min(vectorLanes, features - at));
    store(k.mul(load(from, plus(fromStart, at), active), scale), to, plus(toStart, at));
  }
}

void AttentionCode::multiply(const Matrix &a, const Matrix &bMatrix, const Matrix &c,
                             Value rowCount, Value depth, int64_t vectors, int64_t lastLanes,
                             ArrayRef<int64_t> tileRows, int64_t tileVectors) {
  if (tileVectors == 0)
    tileVectors = usualTileVectors;
  Value lastMask = constantMask(lastLanes), first = k.index(0);
  for (int64_t rows : tileRows) {
    Value last = rowCount;
    if (rows != tileRows.back()) {
      Value left = k.sub(rowCount, first);
      last = k.sub(rowCount, b.create<arith::RemUIOp>(left, k.index(rows)));
    }
    loop(first, last, rows, [&](Value row) {
      for (int64_t vector = 0; vector < vectors; vector += tileVectors) {
        int64_t count = std::min(tileVectors, vectors - vector);
        bool isLast = vector + count == vectors;
        multiplyTile(a, bMatrix, c, row, rows, depth, vector, count, isLast ? lastMask : Value());
      }
    });
    first = last;
  }
}

void AttentionCode::multiplyTile(const Matrix &a, const Matrix &bMatrix, const Matrix &c, Value row,
                                 int64_t rows, Value depth, int64_t firstVector, int64_t vectors,
                                 Value lastMask) {
  int64_t column = firstVector * vectorLanes;
  SmallVector<Value> places, tile, aStarts;
  auto laneMask = [&](int64_t vector) { return vector + 1 == vectors ? lastMask : Value(); };
  for (int64_t i = 0; i < rows; ++i) {
    Value rowStart = k.add(c.start, k.mul(plus(row, i), c.stride));
    aStarts.push_back(k.add(a.start, k.mul(plus(row, i), a.stride)));
    for (int64_t v = 0; v < vectors; ++v) {
      places.push_back(plus(rowStart, column + v * vectorLanes));
      tile.push_back(load(c.buffer, places.back(), laneMask(v)));
    }
  }
  Value bStart = plus(bMatrix.start, column);
  tile = loop(k.index(0), depth, 1, tile, [&](Value step, ValueRange carried) {
    SmallVector<Value> next(carried), row;
    Value from = k.add(bStart, k.mul(step, bMatrix.stride));
    for (int64_t v = 0; v < vectors; ++v)
      row.push_back(load(bMatrix.buffer, plus(from, v * vectorLanes), laneMask(v)));
    Value offset = a.step ? k.mul(step, a.step) : step;
    for (int64_t i = 0; i < rows; ++i) {
      Value element = splat(loadScalar(a.buffer, k.add(aStarts[i], offset)));
      for (int64_t v = 0; v < vectors; ++v) {
        Value &sum = next[i * vectors + v];
        sum = fma(element, row[v], sum);
      }
    }
    return next;
  });
  for (auto [i, place] : llvm::enumerate(places))
    store(tile[i], c.buffer, place, laneMask(i % vectors));
}
