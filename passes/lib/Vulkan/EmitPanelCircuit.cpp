//===- EmitPanelCircuit.cpp - Circuits of panels --------------------------===//
//
// Slots are numbered through the panel, so that all invocations have equally many, wherever they
// are. As many as a chunk has are brought to shared memory before the input is waited for, and with
// them the tiles that they are of, which sums over the tiles' counts tell. So nothing of them is in
// registers while tiles are multiplied, and nothing has to be read behind that.
//
//===----------------------------------------------------------------------===//

#include "PanelLinear.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;
using Circuit = MixedFormat::Circuit;

/// Equally many slots of all invocations that are written out one after the other.
static constexpr int64_t largestUnrolled = 8;

PanelLinear::Counts PanelLinear::loadCounts(const Place &place, Value panel) {
  const MixedFormat &format = place.weight->format;
  int64_t tiles = format.columnsOfTiles, first = place.number * ownInvocations;
  Counts result;
  auto slotsBefore = [&](Value panel) {
    return toIndex(element(place.weight->words, plus(panel, format.circuitAt / wordBytes)));
  };
  result.first = slotsBefore(panel);
  result.next = slotsBefore(k.min(plus(panel, 1), k.index(format.rowsOfTiles - 1)));
  Value own = thread();
  for (int64_t base = 0; base < tiles; base += ownInvocations) {
    Value tile = plus(own, base - first);
    Value inside =
        k.logicalAnd(k.lessEqual(k.index(first), own),
                     k.less(own, k.index(first + std::min(ownInvocations, tiles - base))));
    Value at = k.add(times(panel, tiles), k.select(inside, tile, k.index(0)));
    Value byte = element(place.weight->bytes, plus(at, format.countsAt()));
    Value count = b.create<arith::ExtUIOp>(b.getI32Type(), byte);
    result.counts.push_back(k.select(inside, count, word(0)));
  }
  return result;
}

int64_t PanelLinear::slotWords(const MixedFormat &format) { return format.slotBytes() / wordBytes; }

static bool hasCounts(const MixedFormat &format) { return format.circuit == Circuit::Slots; }

/// Leaves the sums of the counts of all tiles up to each one in memory. All invocations come here;
/// a barrier has to follow.
void PanelLinear::sumCounts(const Place &place, const Counts &loaded) {
  int64_t tiles = place.weight->format.columnsOfTiles, first = place.number * ownInvocations;
  int64_t at = place.number * prefixTiles;
  Value own = thread(), before = word(0), group = quotient(own, k.index(subgroup()));
  int64_t groups = ownInvocations / subgroup(), firstGroup = first / subgroup();
  for (auto [i, count] : llvm::enumerate(loaded.counts)) {
    Value sum = count;
    if (subgroup() > 1)
      sum = b.create<spirv::GroupNonUniformIAddOp>(b.getI32Type(), spirv::Scope::Subgroup,
                                                   spirv::GroupOperation::InclusiveScan, count,
                                                   Value());
    // One subgroup may have them all.
    if (tiles > subgroup()) {
      when(k.equal(remainder(own, k.index(subgroup())), k.index(subgroup() - 1)),
           [&] { storeShared(sum, totalsMemory, group); });
      barrier();
      sum = loop(k.index(firstGroup), k.min(group, k.index(firstGroup + groups)), 1,
                 k.add(sum, before), [&](Value i, ValueRange carried) {
                   return SmallVector<Value>{k.add(carried[0], loadShared(totalsMemory, i))};
                 })[0];
    }
    int64_t base = i * ownInvocations, here = std::min(ownInvocations, tiles - base);
    when(k.logicalAnd(k.lessEqual(k.index(first), own), k.less(own, k.index(first + here))),
         [&] { storeShared(sum, prefixMemory, plus(own, at + base - first)); });
    if (i + 1 < loaded.counts.size()) {
      barrier();
      before = loadShared(prefixMemory, k.index(at + base + here - 1));
    }
  }
}

/// Where the number of all of a panel's slots is, once the counts are summed.
Value PanelLinear::lastPrefix(const Place &place) {
  return k.index(place.number * prefixTiles + place.weight->format.columnsOfTiles - 1);
}

Value PanelLinear::slotCount(const Place &place) {
  const MixedFormat &format = place.weight->format;
  if (!hasCounts(format))
    return k.index(format.columnsOfTiles * format.uniformSlots);
  return toIndex(loadShared(prefixMemory, lastPrefix(place)));
}

/// A word of the circuit at any byte.
Value PanelLinear::slotWord(const Place &place, Value byteAt) {
  if (place.weight->format.slotsAt() % wordBytes == 0)
    return element(place.weight->words, quotient(byteAt, k.index(wordBytes)));
  Value whole;
  for (int64_t i = 0; i < wordBytes; ++i) {
    Value byte = element(place.weight->bytes, plus(byteAt, i));
    Value part = b.create<arith::ExtUIOp>(b.getI32Type(), byte);
    part = i ? b.create<arith::ShLIOp>(part, word(8 * i)).getResult() : part;
    whole = whole ? b.create<arith::OrIOp>(whole, part).getResult() : part;
  }
  return whole;
}

/// Where the slots of a panel begin.
Value PanelLinear::slotsAt(const Place &place, Value panel, const Counts &counts) {
  const MixedFormat &format = place.weight->format;
  Value before =
      hasCounts(format) ? counts.first : times(panel, format.columnsOfTiles * format.uniformSlots);
  return plus(times(before, format.slotBytes()), format.slotsAt());
}

/// Reads the invocation's words of the first chunk, as far as it is known how many there are: of
/// the last panel, that is not.
PanelLinear::Values PanelLinear::loadChunk(const Place &place, Value panel, const Counts &counts) {
  const MixedFormat &format = place.weight->format;
  Value at = slotsAt(place, panel, counts);
  Value known = hasCounts(format) ? k.sub(counts.next, counts.first) : slotCount(place);
  Values words;
  for (int64_t i = 0; i < chunkSlots * slotWords(format) / ownInvocations; ++i) {
    Value number = plus(place.local, i * ownInvocations);
    Value inside = k.less(quotient(number, k.index(slotWords(format))), known);
    // Read without a branch, and not looked at yet, so that nothing has to wait.
    Value from = k.select(inside, k.add(at, times(number, wordBytes)), k.index(0));
    words.push_back(slotWord(place, from));
  }
  return words;
}

void PanelLinear::storeChunk(const Place &place, ValueRange words) {
  int64_t first = place.number * chunkWords;
  for (auto [i, own] : llvm::enumerate(words))
    storeShared(own, slotsMemory, plus(place.local, first + i * ownInvocations));
}

/// Brings the chunk that begins at slot `base` from the weight to shared memory.
void PanelLinear::copyChunk(const Place &place, Value panel, const Counts &counts, Value base) {
  int64_t each = slotWords(place.weight->format), first = place.number * chunkWords;
  Value at = k.add(slotsAt(place, panel, counts), times(base, each * wordBytes));
  Value slots = k.min(k.sub(k.max(slotCount(place), base), base), k.index(chunkSlots));
  loop(place.local, times(slots, each), ownInvocations, [&](Value i) {
    storeShared(slotWord(place, k.add(at, times(i, wordBytes))), slotsMemory, plus(i, first));
  });
}

/// Writes down which tiles the slots of a chunk are of.
void PanelLinear::storeTiles(const Place &place, Value base) {
  const MixedFormat &format = place.weight->format;
  if (!hasCounts(format))
    return;
  int64_t at = place.number * prefixTiles, to = place.number * chunkSlots;
  loop(place.local, k.index(format.columnsOfTiles), ownInvocations, [&](Value tile) {
    auto prefix = [&](Value tile) { return toIndex(loadShared(prefixMemory, plus(tile, at))); };
    Value before = k.select(k.equal(tile, k.index(0)), k.index(0),
                            prefix(k.sub(k.max(tile, k.index(1)), k.index(1))));
    Value from = k.max(before, base), end = k.min(prefix(tile), plus(base, chunkSlots));
    Value number = b.create<arith::IndexCastOp>(b.getI32Type(), tile);
    loop(from, end, 1,
         [&](Value slot) { storeShared(number, tilesMemory, plus(k.sub(slot, base), to)); });
  });
}

/// What slot `slot` of the chunk gives for row `local` modulo 16.
Value PanelLinear::slotTerm(const Place &place, Value base, Value slot) {
  const MixedFormat &format = place.weight->format;
  Value lane = remainder(place.local, k.index(formatTileRows));
  int64_t perWord = wordBytes / format.positionBytes, bits = 8 * format.positionBytes;
  auto shifted = [&](Value word, int64_t count, int64_t bits) {
    Value by = times(remainder(lane, k.index(count)), bits);
    return b.create<arith::ShRUIOp>(word, b.create<arith::IndexCastOp>(b.getI32Type(), by))
        .getResult();
  };
  Value at = plus(times(slot, slotWords(format)), place.number * chunkWords);
  Value positions = loadShared(slotsMemory, k.add(at, quotient(lane, k.index(perWord))));
  Value numbers = loadShared(slotsMemory,
                             k.add(plus(at, formatTileRows / perWord), quotient(lane, k.index(2))));
  Value position = toIndex(
      b.create<arith::AndIOp>(shifted(positions, perWord, bits), word((int64_t(1) << bits) - 1)));
  Value number = halfOf(shifted(numbers, 2, 16), false);
  Value tile = hasCounts(format)
                   ? toIndex(loadShared(tilesMemory, plus(slot, place.number * chunkSlots)))
                   : quotient(k.add(slot, base), k.index(format.uniformSlots));
  Value column = k.add(times(tile, formatTileColumns), position);
  // A module may lie.
  column = k.min(column, k.index(planeColumns() - 1));
  return k.mul(number, inputNumber(place, column));
}

/// Adds what the invocation's slots of the chunk give.
Value PanelLinear::addChunk(const Place &place, Value base, Value sum) {
  const MixedFormat &format = place.weight->format;
  Value first = quotient(place.local, k.index(formatTileRows));
  int64_t uniform = format.columnsOfTiles * format.uniformSlots;
  if (!hasCounts(format) && uniform <= chunkSlots && uniform % slotStride() == 0 &&
      uniform <= largestUnrolled * slotStride()) {
    for (int64_t slot = 0; slot < uniform; slot += slotStride())
      sum = k.add(sum, slotTerm(place, base, plus(first, slot)));
    return sum;
  }
  Value last = k.min(k.sub(k.max(slotCount(place), base), base), k.index(chunkSlots));
  return loop(first, last, slotStride(), sum, [&](Value slot, ValueRange carried) {
    return SmallVector<Value>{k.add(carried[0], slotTerm(place, base, slot))};
  })[0];
}

/// What a panel's slots give. All invocations come here.
Value PanelLinear::addSlots(ArrayRef<Place> places, Value panel, ArrayRef<Counts> counts) {
  auto addOwn = [&](Value base, Value sum) {
    return ofOwn(places, [&](const Place &place) { return Values{addChunk(place, base, sum)}; })[0];
  };
  Value sum = addOwn(k.index(0), f(0.0)), most = slotCount(places[0]);
  if (places.size() > 1)
    most = k.max(most, slotCount(places[1]));
  // Few panels have more than a chunk.
  return loop(k.index(chunkSlots), most, chunkSlots, sum, [&](Value base, ValueRange carried) {
    barrier();
    ofOwn(places, [&](const Place &place) {
      copyChunk(place, panel, counts[place.number], base);
      storeTiles(place, base);
      return Values();
    });
    barrier();
    return SmallVector<Value>{addOwn(base, carried[0])};
  })[0];
}

Value PanelLinear::addList(const Place &place, Value panel) {
  const MixedFormat &format = place.weight->format;
  int64_t entryBytes = format.positionBytes + halfBytes;
  int64_t entriesAt = format.circuitAt + wordBytes * (format.rows + 1);
  Value lane = remainder(place.local, k.index(formatTileRows));
  Value stored = k.add(times(panel, formatTileRows), lane);
  auto start = [&](Value row) {
    Value at = plus(k.min(row, k.index(format.rows)), format.circuitAt / wordBytes);
    return toIndex(element(place.weight->words, at));
  };
  Value first = k.add(start(stored), quotient(place.local, k.index(formatTileRows)));
  return loop(first, start(plus(stored, 1)), ownInvocations / formatTileRows, f(0.0),
              [&](Value entry, ValueRange carried) {
                Value at = plus(times(entry, entryBytes), entriesAt);
                Value shortAt = quotient(at, k.index(halfBytes)), column = k.index(0);
                for (int64_t i = 0; i < format.positionBytes / halfBytes; ++i) {
                  Value raw = element(place.weight->shorts, plus(shortAt, i));
                  Value part = toIndex(b.create<arith::ExtUIOp>(b.getI32Type(), raw));
                  column = k.add(column, times(part, int64_t(1) << (16 * i)));
                }
                Value value = load(place.weight->halves,
                                   quotient(plus(at, format.positionBytes), k.index(halfBytes)));
                Value product = k.mul(value, inputNumber(place, column));
                return SmallVector<Value>{k.add(carried[0], product)};
              })[0];
}
