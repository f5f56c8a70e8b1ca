//===- EmitPanelCircuit.cpp - Circuits of panels --------------------------===//
//
// Slots are numbered through the panel, so that all invocations have equally many, wherever they
// are. An invocation's first slots are read ahead; the tile of a slot is found in sums over the
// tiles' counts.
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

/// Leaves the sums of the counts of all tiles up to each one in memory, and returns that of all.
/// All invocations come here.
Value PanelLinear::sumCounts(const Place &place, const Counts &loaded) {
  const MixedFormat &format = place.weight->format;
  int64_t tiles = format.columnsOfTiles, first = place.number * ownInvocations;
  int64_t at = place.number * tilesOfPrefix;
  Value own = thread(), before = word(0);
  Value group = quotient(own, k.index(subgroup()));
  int64_t groups = ownInvocations / subgroup(), firstGroup = first / subgroup();
  for (auto [i, count] : llvm::enumerate(loaded.counts)) {
    Value sum = count;
    if (subgroup() > 1)
      sum = b.create<spirv::GroupNonUniformIAddOp>(b.getI32Type(), spirv::Scope::Subgroup,
                                                   spirv::GroupOperation::InclusiveScan, count,
                                                   Value());
    when(k.equal(remainder(own, k.index(subgroup())), k.index(subgroup() - 1)),
         [&] { storeShared(sum, totalsMemory, group); });
    barrier();
    sum = loop(k.index(firstGroup), k.min(group, k.index(firstGroup + groups)), 1,
               k.add(sum, before), [&](Value i, ValueRange carried) {
                 return SmallVector<Value>{k.add(carried[0], loadShared(totalsMemory, i))};
               })[0];
    // Tiles that there are not come behind all slots.
    int64_t base = i * ownInvocations, here = std::min(ownInvocations, tilesOfPrefix - base);
    Value local = plus(own, -first);
    Value isTile = k.less(local, k.index(std::min(ownInvocations, tiles - base)));
    Value stored = k.select(isTile, sum, word(std::numeric_limits<int32_t>::max()));
    when(k.logicalAnd(k.lessEqual(k.index(first), own), k.less(own, k.index(first + here))),
         [&] { storeShared(stored, prefixMemory, plus(local, at + base)); });
    barrier();
    int64_t last = std::min(base + ownInvocations, tiles) - 1;
    before = loadShared(prefixMemory, k.index(at + last));
  }
  // Sizes that are no power of two may leave entries that no count stands for.
  int64_t stored = int64_t(loaded.counts.size()) * ownInvocations;
  if (stored < tilesOfPrefix) {
    loop(k.add(k.index(at + stored), own), k.index(at + tilesOfPrefix), workgroup(),
         [&](Value i) { storeShared(word(std::numeric_limits<int32_t>::max()), prefixMemory, i); });
    barrier();
  }
  return toIndex(before);
}

/// The tile of a slot of the panel: the number of tiles whose slots all come before it.
Value PanelLinear::slotTile(const Place &place, Value slot) {
  const MixedFormat &format = place.weight->format;
  if (format.circuit == Circuit::Uniform)
    return quotient(slot, k.index(format.uniformSlots));
  Value number = b.create<arith::IndexCastOp>(b.getI32Type(), slot), at = k.index(0);
  Value prefixAt = k.index(place.number * tilesOfPrefix);
  for (int64_t step = llvm::PowerOf2Ceil(format.columnsOfTiles) / 2; step >= 1; step /= 2) {
    Value before = loadShared(prefixMemory, k.add(prefixAt, plus(at, step - 1)));
    Value isBefore = b.create<arith::CmpIOp>(arith::CmpIPredicate::sle, before, number);
    at = k.select(isBefore, plus(at, step), at);
  }
  return at;
}

Value PanelLinear::half(const Weight &weight, Value byteAt, bool aligned) {
  if (aligned)
    return load(weight.halves, quotient(byteAt, k.index(halfBytes)));
  Value parts[2];
  for (int64_t i = 0; i < 2; ++i) {
    Value byte = element(weight.bytes, plus(byteAt, i));
    parts[i] = b.create<arith::ExtUIOp>(b.getI32Type(), byte);
  }
  Value both = b.create<arith::OrIOp>(parts[0], b.create<arith::ShLIOp>(parts[1], word(8)));
  return halfOf(both, false);
}

/// The position in its tile and the value, as they are stored, of the slot that begins at a byte,
/// for row `local` modulo 16.
std::pair<Value, Value> PanelLinear::loadSlot(const Place &place, Value at) {
  const MixedFormat &format = place.weight->format;
  Value lane = remainder(place.local, k.index(formatTileRows));
  bool aligned = format.slotsAt() % halfBytes == 0;
  Value from = k.add(at, times(lane, format.positionBytes)), raw;
  if (format.positionBytes == 1)
    raw = element(place.weight->bytes, from);
  else
    raw = element(place.weight->shorts, quotient(from, k.index(halfBytes)));
  Value valueAt = k.add(plus(at, formatTileRows * format.positionBytes), times(lane, halfBytes));
  if (aligned)
    return {raw, element(place.weight->halves, quotient(valueAt, k.index(halfBytes)))};
  return {raw, half(*place.weight, valueAt, false)};
}

/// Before the tiles of the slots are known: of an invocation's first slots, positions and values.
PanelLinear::Slots PanelLinear::loadSlots(const Place &place, Value panel, const Counts &counts) {
  const MixedFormat &format = place.weight->format;
  Slots result;
  Value first = quotient(place.local, k.index(formatTileRows)), known;
  result.rest = plus(first, slotsAhead * slotStride());
  if (format.circuit == Circuit::Uniform) {
    int64_t slots = format.columnsOfTiles * format.uniformSlots;
    result.at = plus(times(panel, slots * format.slotBytes()), format.slotsAt());
    result.count = known = k.index(slots);
  } else {
    result.at = plus(times(counts.first, format.slotBytes()), format.slotsAt());
    // Of the last panel, it is not known how many there are, and nothing is read ahead.
    known = k.sub(counts.next, counts.first);
    result.rest = k.select(k.equal(panel, k.index(format.rowsOfTiles - 1)), first, result.rest);
    result.count = known;
  }
  result.known = known;
  for (int64_t i = 0; i < slotsAhead; ++i) {
    Value slot = plus(first, i * slotStride());
    // Read without a branch, and not looked at yet, so that nothing has to wait.
    Value at = k.add(result.at, times(slot, format.slotBytes()));
    auto [position, value] = loadSlot(place, k.select(k.less(slot, known), at, k.index(0)));
    result.positions.push_back(position);
    result.numbers.push_back(value);
    result.tiles.push_back(k.index(0));
  }
  return result;
}

PanelLinear::Values PanelLinear::flatten(const Slots &slots) {
  Values values = {slots.at, slots.count, slots.rest, slots.known};
  llvm::append_range(values, slots.positions);
  llvm::append_range(values, slots.numbers);
  llvm::append_range(values, slots.tiles);
  return values;
}

PanelLinear::Slots PanelLinear::slotsOf(const Place &place, ValueRange values) {
  int64_t ahead = slotsAhead;
  auto part = [&](int64_t i) { return Values(values.slice(4 + i * ahead, ahead)); };
  return {values[0], values[1], values[2], values[3], part(0), part(1), part(2)};
}

/// What the slots of the invocation give for row `local` modulo 16.
Value PanelLinear::addSlots(const Place &place, const Slots &slots) {
  Value sum = f(0.0), first = quotient(place.local, k.index(formatTileRows));
  auto product = [&](Value position, Value tile, Value number) {
    Value inTile = toIndex(b.create<arith::ExtUIOp>(b.getI32Type(), position));
    if (number.getType().isF16())
      number = b.create<arith::ExtFOp>(b.getF32Type(), number);
    Value column = k.add(times(tile, formatTileColumns), inTile);
    // What was read in place of a slot that there is not may be no position.
    column = k.min(column, k.index(inputColumns - 1));
    return k.mul(number, inputNumber(place, column));
  };
  for (auto [i, position] : llvm::enumerate(slots.positions)) {
    Value inside = k.less(plus(first, i * slotStride()), slots.known);
    sum = k.add(sum, k.select(inside, product(position, slots.tiles[i], slots.numbers[i]), f(0.0)));
  }
  // Those that were not read ahead.
  return loop(slots.rest, slots.count, slotStride(), sum, [&](Value slot, ValueRange carried) {
    int64_t bytes = place.weight->format.slotBytes();
    auto [position, value] = loadSlot(place, k.add(slots.at, times(slot, bytes)));
    return SmallVector<Value>{k.add(carried[0], product(position, slotTile(place, slot), value))};
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
                Value value = half(*place.weight, plus(at, format.positionBytes), true);
                Value product = k.mul(value, inputNumber(place, column));
                return SmallVector<Value>{k.add(carried[0], product)};
              })[0];
}
