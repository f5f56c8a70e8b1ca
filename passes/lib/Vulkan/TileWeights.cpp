//===- TileWeights.cpp - Decodes weights into tiles of f16 ----------------===//
//
// Codes become f16 numbers two at a time: as bits of 1024, from which the zero point is subtracted
// exactly. They stay where they are in a byte, and so are multiplied by a power of two, which the
// scale takes back: weights are stored times 64. Four columns that share a word are stored as the
// first, third, second and fourth of them, which are the pairs that a mask finds in the word; the
// input does the same.
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

SmallVector<Value> TileWeight::load(Value tile, int64_t step, ValueRange before) {
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
  int64_t low = 0;
  for (unsigned bits : format.planes) {
    int64_t own = wordColumns(bits);
    Value at = of;
    if (low) {
      Value skipped = k.index(formatTileRows * formatTileColumns * low / 32);
      if (isLast)
        skipped = k.select(isLast, k.index(formatTileRows * format.lastColumns * low / 32),
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
    low += bits;
  }
  // Where the step is of the same group as the one before, its numbers are.
  if (!before.empty() && step * stepColumns % std::min(format.group, formatTileColumns) != 0) {
    llvm::append_range(loaded, before.slice(loaded.size(), format.codebook ? 1 : 2));
    return loaded;
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
  Value scale = b.create<arith::MulFOp>(loaded[at++], k.constant(f16, tileWeightFactor));
  Value zero = format.codebook ? k.constant(f16, 128)
                               : b.create<arith::UIToFPOp>(f16, loaded[at]).getResult();
  // By how far codes are shifted in their bytes; those of several planes are put together.
  bool inPlace = planes.size() == 1 && !format.codebook;
  SmallVector<Value> scales, zeros;
  for (int64_t shift = 0; shift < (inPlace ? 8 : 1); shift += format.bits) {
    Value factor = k.constant(f16, 1.0 / double(1 << shift));
    scales.push_back(code.pair(b.create<arith::MulFOp>(scale, factor)));
    Value moved = b.create<arith::MulFOp>(zero, k.constant(f16, double(1 << shift)));
    zeros.push_back(code.pair(b.create<arith::AddFOp>(moved, k.constant(f16, 1024))));
  }
  SmallVector<Value> result;
  for (int64_t column = 0; column < columns; column += formatInterleave)
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
        word = b.create<arith::AndIOp>(word, code.inRegister(mask | mask << 16));
        if (low)
          word = b.create<arith::ShLIOp>(word, code.word(low));
        codes = codes ? b.create<arith::OrIOp>(codes, word).getResult() : word;
        low += bits;
      }
      if (format.codebook)
        codes = levelPair(codes, levels);
      Value bits = b.create<arith::OrIOp>(codes, code.word(0x64006400));
      result.push_back(code.scaledPair(bits, zeros[place], scales[place]));
    }
  return result;
}

/// The number of slots that a tile has; 0 behind the last one.
Value TileWeight::slotCount(Value tile) {
  if (format.circuit == Circuit::Uniform)
    return k.index(format.uniformSlots);
  Value own = k.min(tile, k.index(format.columnsOfTiles - 1));
  Value at = k.add(code.times(panel, format.columnsOfTiles), own);
  Value count = code.element(bytes, code.plus(at, format.countsAt()));
  return code.toIndex(b.create<arith::ExtUIOp>(b.getI32Type(), count));
}

/// What a slot has of the row: its column in the tile above the bits of its value.
Value TileWeight::slot(Value number) {
  Value at = code.plus(code.times(number, format.slotBytes()), format.slotsAt());
  Value from = k.add(at, code.times(lane, format.positionBytes));
  Value position = format.positionBytes == 1
                       ? code.element(bytes, from)
                       : code.element(shorts, code.quotient(from, k.index(halfBytes)));
  Value valueAt =
      k.add(code.plus(at, formatTileRows * format.positionBytes), code.times(lane, halfBytes));
  Value value = code.element(shorts, code.quotient(valueAt, k.index(halfBytes)));
  Value column = b.create<arith::ExtUIOp>(b.getI32Type(), position);
  return b.create<arith::OrIOp>(b.create<arith::ShLIOp>(column, code.word(16)),
                                b.create<arith::ExtUIOp>(b.getI32Type(), value));
}

/// Slots [from, from + count) of those of a tile; what is no slot of it has a column behind all.
void TileWeight::loadSlots(Value first, Value slots, Value from, int64_t count,
                           SmallVector<Value> &loaded) {
  for (int64_t i = 0; i < count; ++i) {
    Value number = code.plus(from, i);
    loaded.push_back(k.branch(
        k.less(number, slots), [&] { return SmallVector<Value>{slot(k.add(first, number))}; },
        [&] { return SmallVector<Value>{code.word(formatTileColumns << 16)}; })[0]);
  }
}

SmallVector<Value> TileWeight::firstSlots() {
  if (format.circuit == Circuit::None)
    return {};
  Value first = code.times(panel, format.columnsOfTiles * format.uniformSlots);
  if (format.circuit == Circuit::Slots)
    first = code.toIndex(code.element(words, code.plus(panel, format.circuitAt / wordBytes)));
  SmallVector<Value> slots = {first, slotCount(k.index(0))};
  loadSlots(slots[0], slots[1], k.index(0), slotsReadAhead, slots);
  slots.append({k.add(first, slots[1]), slotCount(k.index(1))});
  loadSlots(slots[slotValues], slots[slotValues + 1], k.index(0), slotsReadAhead, slots);
  slots.push_back(slotCount(k.index(2)));
  return slots;
}

SmallVector<Value> TileWeight::nextSlots(ValueRange slots, Value tile) {
  if (format.circuit == Circuit::None)
    return {};
  SmallVector<Value> next(slots.slice(slotValues, slotValues));
  Value count = slots.back();
  next.append({k.add(next[0], next[1]), count});
  loadSlots(next[slotValues], count, k.index(0), slotsReadAhead, next);
  next.push_back(slotCount(code.plus(tile, 2)));
  return next;
}

void TileWeight::addSlot(Value slot, int64_t step, Value memory, Value first) {
  Value own = b.create<arith::IndexCastOp>(b.getI32Type(),
                                           code.plus(part, step * stepColumns / columns));
  Value column = code.shiftRight(slot, 16);
  Value inPart = b.create<arith::DivUIOp>(column, code.word(columns));
  code.when(k.equal(inPart, own), [&] {
    Value added = k.mul(code.halfOf(slot, false), code.f(tileWeightFactor));
    // The pair of the column among those of its quad, and its half of the pair.
    Value inStep = code.remainder(code.toIndex(column), k.index(stepColumns));
    Value quadAt = k.add(first, code.quotient(inStep, k.index(quadHalves)));
    Value inQuad = code.quotient(code.remainder(inStep, k.index(quadHalves)),
                                 k.index(formatInterleave));
    Value pair = k.add(code.times(inQuad, 2), code.remainder(inStep, k.index(2)));
    Value isHigh =
        k.equal(code.remainder(code.quotient(inStep, k.index(2)), k.index(2)), k.index(1));
    Value quad = code.loadShared(memory, quadAt);
    SmallVector<Value> pairs;
    for (int64_t j = 0; j < 4; ++j)
      pairs.push_back(code.component(quad, j));
    Value old = pairs[0];
    for (int64_t j = 1; j < 4; ++j)
      old = k.select(k.equal(pair, k.index(j)), pairs[j], old);
    Value low = code.halfOf(old, false), high = code.halfOf(old, true);
    Value both = code.packPair(k.select(isHigh, low, k.add(low, added)),
                               k.select(isHigh, k.add(high, added), high));
    for (int64_t j = 0; j < 4; ++j)
      pairs[j] = k.select(k.equal(pair, k.index(j)), both, pairs[j]);
    code.storeShared(code.quad(pairs), memory, quadAt);
  });
}

void TileWeight::addSlots(ValueRange slots, int64_t step, Value memory, Value first) {
  if (format.circuit == Circuit::None)
    return;
  for (Value slot : slots.slice(2, slotsReadAhead))
    addSlot(slot, step, memory, first);
  code.loop(k.index(slotsReadAhead), slots[1], slotsAtOnce, [&](Value i) {
    SmallVector<Value> more;
    loadSlots(slots[0], slots[1], i, slotsAtOnce, more);
    for (Value slot : more)
      addSlot(slot, step, memory, first);
  });
}
