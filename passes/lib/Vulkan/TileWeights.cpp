//===- TileWeights.cpp - Decodes weights into tiles of f16 ----------------===//
//
// Codes become f16 numbers two at a time: as the low bits of 1024, from which the zero point is
// subtracted exactly. Four columns that share a word are stored as the first, third, second and
// fourth of them, which are the pairs that a mask finds in the word; the input does the same.
//
//===----------------------------------------------------------------------===//

#include "TileLinear.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"

using namespace mlir;
using namespace tacq;
using Circuit = MixedFormat::Circuit;

static constexpr int64_t wordBytes = 4, halfBytes = 2;
/// Columns of a word of a plane.
static int64_t wordColumns(unsigned bits) { return 32 / bits; }

TileWeight::TileWeight(WorkgroupCode &code, const MixedFormat &format, Value bytes)
    : format(format), code(code), k(code.k), b(code.b), bytes(bytes), words(code.wordsOf(bytes)),
      halves(code.view(bytes, b.getF16Type())) {
  if (format.circuit != Circuit::None)
    shorts = code.view(bytes, b.getI16Type());
}

bool TileWeight::supports(const MixedFormat &format, int64_t columns) {
  return (format.oneGroup() || format.group % stepColumns == 0) &&
         format.lastColumns % stepColumns == 0 && format.scalesAt % wordBytes == 0 &&
         format.levelsAt % wordBytes == 0 && format.circuitAt % wordBytes == 0 &&
         (!format.codebook || format.bits <= 4) && format.circuit != Circuit::List &&
         format.slotsAt() % halfBytes == 0;
}

void TileWeight::setPlace(Value row, Value own, int64_t count) {
  Value last = k.index(format.rowsOfTiles - 1);
  panel = k.min(code.quotient(row, k.index(formatTileRows)), last);
  lane = code.remainder(row, k.index(formatTileRows));
  part = own;
  columns = count;
  levels.clear();
  if (!format.codebook)
    return;
  int64_t wordsOfRow = (int64_t(1) << format.bits) / wordBytes;
  Value stored = k.add(code.times(panel, formatTileRows), lane);
  Value at = code.plus(code.times(stored, wordsOfRow), format.levelsAt / wordBytes);
  for (int64_t i = 0; i < wordsOfRow; ++i)
    levels.push_back(code.element(words, code.plus(at, i)));
}

SmallVector<Value> TileWeight::load(Value tile, int64_t step) {
  SmallVector<Value> loaded;
  Value first = code.plus(code.times(part, columns), step * stepColumns);
  Value isLast;
  if (format.lastColumns) {
    // Columns that are not stored meet zeros of the input: any others will do.
    isLast = k.equal(tile, k.index(format.wholeTiles));
    Value end = k.select(isLast, k.index(format.lastColumns - columns),
                         k.index(formatTileColumns - columns));
    first = k.min(first, end);
  }
  Value of = k.add(code.times(panel, format.rowOfTilesBytes() / wordBytes),
                   code.times(tile, format.tileBytes(formatTileColumns) / wordBytes));
  of = k.add(of, lane);
  int64_t before = 0;
  for (unsigned bits : format.planes) {
    int64_t own = wordColumns(bits);
    Value at = of;
    if (before) {
      Value skipped = k.index(formatTileRows * formatTileColumns * before / 32);
      if (isLast)
        skipped = k.select(isLast, k.index(formatTileRows * format.lastColumns * before / 32),
                           skipped);
      at = k.add(at, skipped);
    }
    at = k.add(at, code.times(code.quotient(first, k.index(own)), formatTileRows));
    for (int64_t column = 0; column < columns; column += own) {
      Value word = code.element(words, code.plus(at, column / own * formatTileRows));
      if (own > columns) {
        // The thread has a part of the word's columns: those of some bits of each byte.
        Value quad = code.quotient(code.remainder(first, k.index(own)), k.index(formatInterleave));
        Value shift = b.create<arith::IndexCastOp>(b.getI32Type(), code.times(quad, bits));
        word = b.create<arith::ShRUIOp>(word, shift);
      }
      loaded.push_back(word);
    }
    before += bits;
  }
  Value number = code.times(panel, format.groups);
  if (!format.oneGroup()) {
    Value column = code.plus(code.times(tile, formatTileColumns), step * stepColumns);
    Value group = code.quotient(column, k.index(format.group));
    number = k.add(number, k.min(group, k.index(format.groups - 1)));
  }
  number = k.add(code.times(number, formatTileRows), lane);
  loaded.push_back(code.element(halves, code.plus(number, format.scalesAt / halfBytes)));
  if (!format.codebook) {
    Value zero = code.element(bytes, code.plus(number, format.zerosAt));
    loaded.push_back(b.create<arith::ExtUIOp>(b.getI32Type(), zero));
  }
  return loaded;
}

/// The levels of two codes, which are in the halves of a word.
Value TileWeight::levelPair(Value codes, ValueRange levels) {
  Value result;
  for (int64_t half = 0; half < 2; ++half) {
    Value own = half ? code.shiftRight(codes, 16)
                     : b.create<arith::AndIOp>(codes, code.word(0xFFFF)).getResult();
    Value word = levels[0];
    for (size_t i = 1; i < levels.size(); ++i) {
      Value isAbove = b.create<arith::CmpIOp>(arith::CmpIPredicate::uge, own,
                                              code.word(int64_t(i) * wordBytes));
      word = k.select(isAbove, levels[i], word);
    }
    Value shift = b.create<arith::ShLIOp>(b.create<arith::AndIOp>(own, code.word(3)), code.word(3));
    Value level = b.create<arith::AndIOp>(b.create<arith::ShRUIOp>(word, shift), code.word(255));
    if (half)
      level = b.create<arith::ShLIOp>(level, code.word(16));
    result = result ? b.create<arith::OrIOp>(result, level).getResult() : level;
  }
  return result;
}

SmallVector<Value> TileWeight::decode(ValueRange loaded) {
  Type f16 = b.getF16Type();
  size_t at = 0;
  SmallVector<SmallVector<Value>> planes;
  for (unsigned bits : format.planes) {
    planes.emplace_back();
    for (int64_t column = 0; column < columns; column += wordColumns(bits))
      planes.back().push_back(loaded[at++]);
  }
  Value scale = code.pair(loaded[at++]), zero;
  if (format.codebook)
    zero = code.pair(k.constant(f16, 1024 + 128));
  else
    zero = code.pair(b.create<arith::AddFOp>(b.create<arith::UIToFPOp>(f16, loaded[at++]),
                                             k.constant(f16, 1024)));
  SmallVector<Value> result;
  for (int64_t column = 0; column < columns; column += formatInterleave)
    for (int64_t odd = 0; odd < 2; ++odd) {
      Value codes;
      int64_t low = 0;
      for (auto [plane, bits] : llvm::enumerate(format.planes)) {
        int64_t own = wordColumns(bits);
        int64_t shift = column % own / formatInterleave * bits + odd * 8;
        int64_t mask = (1 << bits) - 1;
        Value word = code.shiftRight(planes[plane][column / own], shift);
        word = b.create<arith::AndIOp>(word, code.word(mask | mask << 16));
        if (low)
          word = b.create<arith::ShLIOp>(word, code.word(low));
        codes = codes ? b.create<arith::OrIOp>(codes, word).getResult() : word;
        low += bits;
      }
      if (format.codebook)
        codes = levelPair(codes, levels);
      result.push_back(code.scaledPair(codes, zero, scale));
    }
  return result;
}

SmallVector<Value> TileWeight::firstSlots() {
  if (format.circuit == Circuit::None)
    return {};
  if (format.circuit == Circuit::Uniform)
    return {code.times(panel, format.columnsOfTiles * format.uniformSlots),
            k.index(format.uniformSlots)};
  Value start = code.element(words, code.plus(panel, format.circuitAt / wordBytes));
  return nextSlots({code.toIndex(start), k.index(0)}, k.index(0));
}

SmallVector<Value> TileWeight::nextSlots(ValueRange slots, Value tile) {
  if (format.circuit == Circuit::None)
    return {};
  Value first = k.add(slots[0], slots[1]);
  if (format.circuit == Circuit::Uniform)
    return {first, slots[1]};
  Value at = k.add(code.times(panel, format.columnsOfTiles), tile);
  Value count = code.element(bytes, code.plus(at, format.countsAt()));
  return {first, code.toIndex(b.create<arith::ExtUIOp>(b.getI32Type(), count))};
}

void TileWeight::addSlots(ValueRange slots, int64_t step, Value memory, Value first) {
  if (format.circuit == Circuit::None)
    return;
  Value own = code.plus(part, step * stepColumns / columns);
  code.loop(k.index(0), slots[1], 1, [&](Value i) {
    Value at = code.plus(code.times(k.add(slots[0], i), format.slotBytes()), format.slotsAt());
    Value from = k.add(at, code.times(lane, format.positionBytes)), position;
    if (format.positionBytes == 1)
      position = code.element(bytes, from);
    else
      position = code.element(shorts, code.quotient(from, k.index(halfBytes)));
    Value column = code.toIndex(b.create<arith::ExtUIOp>(b.getI32Type(), position));
    code.when(k.equal(code.quotient(column, k.index(columns)), own), [&] {
      Value valueAt = k.add(code.plus(at, formatTileRows * format.positionBytes),
                            code.times(lane, halfBytes));
      Value value = code.load(halves, code.quotient(valueAt, k.index(halfBytes)));
      // The pair of the column among those of its quad, and its half of the pair.
      Value inStep = code.remainder(column, k.index(stepColumns));
      Value quadAt = k.add(first, code.quotient(inStep, k.index(quadHalves)));
      Value pair = k.add(code.times(code.quotient(code.remainder(inStep, k.index(quadHalves)),
                                                  k.index(formatInterleave)),
                                    2),
                         code.remainder(inStep, k.index(2)));
      Value isHigh = k.equal(code.remainder(code.quotient(inStep, k.index(2)), k.index(2)),
                             k.index(1));
      Value quad = code.loadShared(memory, quadAt);
      SmallVector<Value> pairs;
      for (int64_t j = 0; j < 4; ++j) {
        Value old = code.component(quad, j);
        Value low = code.halfOf(old, false), high = code.halfOf(old, true);
        Value sumLow = k.select(isHigh, low, k.add(low, value));
        Value sumHigh = k.select(isHigh, k.add(high, value), high);
        Value both = code.packPair(sumLow, sumHigh);
        pairs.push_back(k.select(k.equal(pair, k.index(j)), both, old));
      }
      code.storeShared(code.quad(pairs), memory, quadAt);
    });
  });
}
