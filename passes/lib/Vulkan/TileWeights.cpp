//===- TileWeights.cpp - Decodes weights into tiles of f16 ----------------===//
//
// Codes become f16 numbers two at a time: as bits of 1024, where they are in a byte. A
// multiplication by a power of two and an addition, both exact, make of that by how much a code is
// above the zero point. Only the product with the scale is rounded: weights are those of f16, the
// largest and the subnormal ones, too. Four columns that share a word are stored as the first,
// third, second and fourth of them, which are the pairs that a mask finds in the word; the input
// does the same.
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
    : format(format), code(code), k(code.k), b(code.b), bytes(bytes), words(code.wordsOf(bytes)) {}

void TileWeight::viewNarrow() {
  halves = code.view(bytes, b.getF16Type());
  if (format.circuit != Circuit::None)
    shorts = code.view(bytes, b.getI16Type());
}

bool TileWeight::supports(const MixedFormat &format) {
  return (format.oneGroup() || format.group % stepColumns == 0) &&
         format.lastColumns % stepColumns == 0 && format.scalesAt % wordBytes == 0 &&
         format.levelsAt % wordBytes == 0 && format.circuitAt % wordBytes == 0 &&
         (!format.codebook || format.bits <= 4) &&
         (format.circuit == Circuit::None || format.circuit == Circuit::List ||
          format.positionBytes == 1);
}

void TileWeight::setPlace(Value row, Value ofTile) {
  // Rows behind the last one are decoded as the last panel's, and not used.
  panel = k.min(code.quotient(row, k.index(formatTileRows)), k.index(format.rowsOfTiles - 1));
  lane = code.remainder(row, k.index(formatTileRows));
  stored = k.add(code.times(panel, formatTileRows), lane);
  step = ofTile;
  levels.clear();
  if (!format.codebook)
    return;
  int64_t wordsOfRow = (int64_t(1) << format.bits) / wordBytes;
  Value at = code.plus(code.times(stored, wordsOfRow), format.levelsAt / wordBytes);
  for (int64_t i = 0; i < wordsOfRow; ++i)
    levels.push_back(code.element(words, code.plus(at, i)));
}

/// The words of a plane that the invocation has of a tile.
SmallVector<Value> TileWeight::planeWords(Value tile, size_t plane) {
  Value first = code.times(step, stepColumns), isLast;
  if (format.lastColumns) {
    // Columns that are not stored meet zeros of the input: any others will do.
    isLast = k.equal(tile, k.index(format.wholeTiles));
    first = k.min(first, k.select(isLast, k.index(format.lastColumns - stepColumns),
                                  k.index(formatTileColumns - stepColumns)));
  }
  Value at = k.add(code.times(panel, format.rowOfTilesBytes() / wordBytes),
                   code.times(tile, format.tileBytes(formatTileColumns) / wordBytes));
  int64_t low = 0, own = wordColumns(format.planes[plane]);
  for (size_t i = 0; i < plane; ++i)
    low += format.planes[i];
  if (low) {
    Value skipped = k.index(formatTileRows * formatTileColumns * low / 32);
    if (isLast)
      skipped = k.select(isLast, k.index(formatTileRows * format.lastColumns * low / 32), skipped);
    at = k.add(at, skipped);
  }
  at = k.add(at, code.times(code.quotient(first, k.index(own)), formatTileRows));
  at = k.add(at, lane);
  SmallVector<Value> result;
  for (int64_t column = 0; column < stepColumns; column += own)
    result.push_back(code.element(words, code.plus(at, column / own * formatTileRows)));
  return result;
}

/// The levels of two codes, which are in the halves of a word.
Value TileWeight::levelPair(Value codes) {
  Value result;
  for (int64_t half = 0; half < 2; ++half) {
    Value own = half ? code.shiftRight(codes, 16)
                     : b.create<arith::AndIOp>(codes, code.word(0xFFFF)).getResult();
    Value level = levelOf(own);
    if (half)
      level = b.create<arith::ShLIOp>(level, code.word(16));
    result = result ? b.create<arith::OrIOp>(result, level).getResult() : level;
  }
  return result;
}

/// The level of a code, as a byte in a word.
Value TileWeight::levelOf(Value code) {
  Value word = levels[0];
  for (size_t i = 1; i < levels.size(); ++i) {
    Value isAbove = b.create<arith::CmpIOp>(arith::CmpIPredicate::uge, code,
                                            this->code.word(int64_t(i) * wordBytes));
    word = k.select(isAbove, levels[i], word);
  }
  Value inWord = b.create<arith::AndIOp>(code, this->code.word(3));
  Value shift = b.create<arith::ShLIOp>(inWord, this->code.word(3));
  return b.create<arith::AndIOp>(b.create<arith::ShRUIOp>(word, shift), this->code.word(255));
}

SmallVector<Value> TileWeight::codeBytes(Value tile) {
  SmallVector<SmallVector<Value>> planes;
  for (size_t plane = 0; plane < format.planes.size(); ++plane)
    planes.push_back(planeWords(tile, plane));
  SmallVector<Value> result;
  for (int64_t column = 0; column < stepColumns; column += formatInterleave) {
    Value codes;
    int64_t low = 0;
    for (auto [plane, bits] : llvm::enumerate(format.planes)) {
      int64_t own = wordColumns(bits), mask = (1 << bits) - 1;
      Value word = code.shiftRight(planes[plane][size_t(column / own)],
                                   column % own / formatInterleave * bits);
      if (bits < 8)
        word = b.create<arith::AndIOp>(word, code.word(mask * 0x01010101));
      if (low)
        word = b.create<arith::ShLIOp>(word, code.word(low));
      codes = codes ? b.create<arith::OrIOp>(codes, word).getResult() : word;
      low += bits;
    }
    if (format.codebook) {
      Value all;
      for (int64_t shift = 0; shift < 32; shift += 8) {
        Value own = b.create<arith::AndIOp>(code.shiftRight(codes, shift), code.word(255));
        Value level = levelOf(own);
        if (shift)
          level = b.create<arith::ShLIOp>(level, code.word(shift));
        all = all ? b.create<arith::OrIOp>(all, level).getResult() : level;
      }
      codes = all;
    }
    result.push_back(codes);
  }
  return result;
}

SmallVector<Value> TileWeight::decode(Value tile) {
  Type f16 = b.getF16Type();
  SmallVector<SmallVector<Value>> planes;
  for (size_t plane = 0; plane < format.planes.size(); ++plane)
    planes.push_back(planeWords(tile, plane));
  Value number = code.times(panel, format.groups);
  if (!format.oneGroup()) {
    Value column = k.add(code.times(tile, formatTileColumns), code.times(step, stepColumns));
    Value group = code.quotient(column, k.index(format.group));
    number = k.add(number, k.min(group, k.index(format.groups - 1)));
  }
  number = k.add(code.times(number, formatTileRows), lane);
  Value scale = code.pair(code.element(halves, code.plus(number, format.scalesAt / halfBytes)));
  Value zero = k.constant(f16, 128);
  if (!format.codebook) {
    Value integer = code.element(bytes, code.plus(number, format.zerosAt));
    zero = b.create<arith::UIToFPOp>(f16, integer);
  }
  // By how far codes are shifted in their bytes; those of several planes are put together.
  bool inPlace = planes.size() == 1 && !format.codebook;
  SmallVector<Value> factors, offsets;
  for (int64_t shift = 0; shift < (inPlace ? 8 : 1); shift += format.bits) {
    double factor = 1.0 / double(1 << shift);
    factors.push_back(code.pair(k.constant(f16, factor)));
    offsets.push_back(code.pair(b.create<arith::SubFOp>(k.constant(f16, -1024 * factor), zero)));
  }
  SmallVector<Value> result;
  for (int64_t column = 0; column < stepColumns; column += formatInterleave)
    for (int64_t odd = 0; odd < 2; ++odd) {
      Value codes;
      int64_t low = 0;
      size_t place = 0;
      for (auto [plane, bits] : llvm::enumerate(format.planes)) {
        int64_t own = wordColumns(bits);
        int64_t shift = column % own / formatInterleave * bits, mask = (1 << bits) - 1;
        if (inPlace) {
          place = shift / bits;
          mask <<= shift;
          shift = 0;
        }
        Value word = code.shiftRight(planes[plane][column / own], shift + odd * 8);
        word = b.create<arith::AndIOp>(word, code.word(mask | mask << 16));
        if (low)
          word = b.create<arith::ShLIOp>(word, code.word(low));
        codes = codes ? b.create<arith::OrIOp>(codes, word).getResult() : word;
        low += bits;
      }
      if (format.codebook)
        codes = levelPair(codes);
      Value bits = b.create<arith::OrIOp>(codes, code.word(0x64006400));
      result.push_back(code.scaledPair(bits, factors[place], offsets[place], scale));
    }
  return result;
}

/// Slots of a tile of the panel.
Value TileWeight::slotCount(Value tile) {
  Value at = k.add(code.times(panel, format.columnsOfTiles), tile);
  Value count = code.element(bytes, code.plus(at, format.countsAt()));
  return code.toIndex(b.create<arith::ExtUIOp>(b.getI32Type(), count));
}

/// The number of the first entry of a stored row in the list.
Value TileWeight::entryStart(Value row) {
  Value own = k.min(row, k.index(format.rows));
  return code.toIndex(code.element(words, code.plus(own, format.circuitAt / wordBytes)));
}

Value TileWeight::circuitBefore(Value tile) {
  switch (format.circuit) {
  case Circuit::None:
    return k.index(0);
  case Circuit::List:
    return entryStart(stored);
  case Circuit::Uniform:
    return code.times(k.add(code.times(panel, format.columnsOfTiles), tile), format.uniformSlots);
  case Circuit::Slots:
    break;
  }
  // The invocations of a panel add up the counts of its tiles, if they are of one subgroup.
  bool isShared = code.subgroup() >= formatTileRows;
  Value sum = code.loop(isShared ? lane : k.index(0), tile, isShared ? formatTileRows : 1,
                        code.word(0), [&](Value i, ValueRange carried) {
                          Value count = b.create<arith::IndexCastOp>(b.getI32Type(), slotCount(i));
                          return SmallVector<Value>{k.add(carried[0], count)};
                        })[0];
  for (int64_t mask = 1; isShared && mask < formatTileRows; mask *= 2)
    sum = k.add(sum, code.shuffleXor(sum, mask));
  Value start = code.element(words, code.plus(panel, format.circuitAt / wordBytes));
  return code.toIndex(k.add(start, sum));
}

Value TileWeight::addCircuit(Value before, Value tile, Value memory, Value first) {
  if (format.circuit == Circuit::None)
    return before;
  auto integer = [&](Value narrow) {
    return code.toIndex(b.create<arith::ExtUIOp>(b.getI32Type(), narrow));
  };
  Value firstColumn = k.add(code.times(tile, formatTileColumns), code.times(step, stepColumns));
  if (format.circuit == Circuit::List) {
    // All entries of the row: the few in the step are the invocation's.
    int64_t entryBytes = format.positionBytes + halfBytes;
    int64_t entriesAt = format.circuitAt + wordBytes * (format.rows + 1);
    code.loop(before, entryStart(code.plus(stored, 1)), 1, [&](Value entry) {
      Value at = code.plus(code.times(entry, entryBytes), entriesAt);
      Value shortAt = code.quotient(at, k.index(halfBytes)), column = k.index(0);
      for (int64_t i = 0; i < format.positionBytes / halfBytes; ++i)
        column = k.add(column, code.times(integer(code.element(shorts, code.plus(shortAt, i))),
                                          int64_t(1) << (16 * i)));
      Value inStep = k.logicalAnd(k.lessEqual(firstColumn, column),
                                  k.less(column, code.plus(firstColumn, stepColumns)));
      code.when(inStep, [&] {
        Value value = code.load(halves, code.plus(shortAt, format.positionBytes / halfBytes));
        add(code.remainder(column, k.index(stepColumns)), value, memory, first);
      });
    });
    return before;
  }
  Value count = format.circuit == Circuit::Uniform ? k.index(format.uniformSlots) : slotCount(tile);
  Value end = k.add(before, count);
  code.loop(before, end, 1, [&](Value slot) {
    Value at = code.plus(code.times(slot, format.slotBytes()), format.slotsAt());
    Value from = k.add(at, code.times(lane, format.positionBytes));
    Value column = integer(code.element(bytes, from));
    Value valueAt =
        k.add(code.plus(at, formatTileRows * format.positionBytes), code.times(lane, halfBytes));
    // Slots may begin at an odd byte.
    Value value = format.slotsAt() % halfBytes == 0
                      ? code.load(halves, code.quotient(valueAt, k.index(halfBytes)))
                      : code.loadHalf(words, valueAt);
    code.when(k.equal(code.quotient(column, k.index(stepColumns)), step),
              [&] { add(code.remainder(column, k.index(stepColumns)), value, memory, first); });
  });
  return end;
}

/// Adds a value to the number of a column of the step.
void TileWeight::add(Value column, Value value, Value memory, Value first) {
  // The pair of the column among those of its quad, and its half of the pair.
  Value inStep = code.remainder(column, k.index(stepColumns));
  Value quadAt = k.add(first, code.quotient(inStep, k.index(quadHalves)));
  Value inQuad =
      code.quotient(code.remainder(inStep, k.index(quadHalves)), k.index(formatInterleave));
  Value pair = k.add(code.times(inQuad, 2), code.remainder(inStep, k.index(2)));
  Value isHigh = k.equal(code.remainder(code.quotient(inStep, k.index(2)), k.index(2)), k.index(1));
  Value quad = code.loadShared(memory, quadAt);
  SmallVector<Value> pairs;
  for (int64_t j = 0; j < 4; ++j)
    pairs.push_back(code.component(quad, j));
  Value old = pairs[0];
  for (int64_t j = 1; j < 4; ++j)
    old = k.select(k.equal(pair, k.index(j)), pairs[j], old);
  Value low = code.halfOf(old, false), high = code.halfOf(old, true);
  Value both = code.packPair(k.select(isHigh, low, k.add(low, value)),
                             k.select(isHigh, k.add(high, value), high));
  for (int64_t j = 0; j < 4; ++j)
    pairs[j] = k.select(k.equal(pair, k.index(j)), both, pairs[j]);
  code.storeShared(code.quad(pairs), memory, quadAt);
}
