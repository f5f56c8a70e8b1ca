//===- EmitPanelCircuit.cpp - Circuits of panels --------------------------===//
//
// Slots are numbered through the panel: where those of a tile begin is known by a sum over the
// tiles' counts, and an invocation finds the tile of its slot in it. So all invocations have
// equally many, wherever they are.
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

/// Loads what sumCounts needs, so that it is there after the codes have been multiplied.
void PanelLinear::loadCounts(Place &place, unsigned number) {
  const MixedFormat &format = place.weight->format;
  int64_t tiles = format.columnsOfTiles, first = number * ownInvocations;
  Value start = plus(place.panel, format.circuitAt / wordBytes);
  place.slotsAt = plus(times(toIndex(element(place.weight->words, start)), format.slotBytes()),
                       format.slotsAt());
  Value own = thread();
  for (int64_t base = 0; base < tiles; base += ownInvocations) {
    Value tile = plus(own, base - first);
    Value inside =
        k.logicalAnd(k.lessEqual(k.index(first), own),
                     k.less(own, k.index(first + std::min(ownInvocations, tiles - base))));
    Value at = k.add(times(place.panel, tiles), k.select(inside, tile, k.index(0)));
    Value byte = element(place.weight->bytes, plus(at, format.countsAt()));
    Value count = b.create<arith::ExtUIOp>(b.getI32Type(), byte);
    place.counts.push_back(k.select(inside, count, word(0)));
  }
}

/// Makes the sums of the counts of all tiles up to each one. All invocations come here.
void PanelLinear::sumCounts(Place &place, unsigned number) {
  const MixedFormat &format = place.weight->format;
  int64_t tiles = format.columnsOfTiles, first = number * ownInvocations;
  int64_t at = number * tilesOfPrefix;
  Value own = thread(), before = word(0);
  Value group = quotient(own, k.index(subgroup()));
  int64_t groups = ownInvocations / subgroup(), firstGroup = first / subgroup();
  for (auto [i, count] : llvm::enumerate(place.counts)) {
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
  int64_t stored = int64_t(place.counts.size()) * ownInvocations;
  if (stored < tilesOfPrefix) {
    loop(k.add(k.index(at + stored), own), k.index(at + tilesOfPrefix), workgroup(),
         [&](Value i) { storeShared(word(std::numeric_limits<int32_t>::max()), prefixMemory, i); });
    barrier();
  }
  place.prefix = prefixMemory;
  place.prefixAt = k.index(at);
  place.slots = toIndex(before);
}

/// The tile of a slot of the panel: the number of tiles whose slots all come before it.
Value PanelLinear::slotTile(const Place &place, Value slot) {
  const MixedFormat &format = place.weight->format;
  if (format.circuit == Circuit::Uniform)
    return quotient(slot, k.index(format.uniformSlots));
  Value number = b.create<arith::IndexCastOp>(b.getI32Type(), slot), at = k.index(0);
  for (int64_t step = llvm::PowerOf2Ceil(format.columnsOfTiles) / 2; step >= 1; step /= 2) {
    Value before = loadShared(place.prefix, k.add(place.prefixAt, plus(at, step - 1)));
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

Value PanelLinear::inputNumber(const Place &place, Value column) {
  Value byte = element(x, k.add(times(place.row, inputColumns), column));
  Value integer = b.create<arith::ExtSIOp>(b.getI32Type(), byte);
  Value number = k.add(times(place.row, blocks), quotient(column, k.index(block)));
  return k.mul(b.create<arith::SIToFPOp>(b.getF32Type(), integer), load(xScales, times(number, 2)));
}

/// What the slots of the invocation give for row `local` modulo 16.
Value PanelLinear::addSlots(const Place &place) {
  const MixedFormat &format = place.weight->format;
  Value lane = remainder(place.local, k.index(formatTileRows));
  int64_t stride = ownInvocations / formatTileRows;
  Value first = quotient(place.local, k.index(formatTileRows));
  bool aligned = format.slotsAt() % halfBytes == 0;
  auto addSlot = [&](Value slot, Value sum) {
    Value inside = k.less(slot, place.slots);
    Value own = k.min(slot, k.sub(place.slots, k.index(1)));
    Value tile = slotTile(place, own);
    Value at = k.add(place.slotsAt, times(own, format.slotBytes()));
    Value from = k.add(at, times(lane, format.positionBytes));
    Value position;
    if (format.positionBytes == 1) {
      Value byte = element(place.weight->bytes, from);
      position = b.create<arith::ExtUIOp>(b.getI32Type(), byte);
    } else {
      Value raw = element(place.weight->shorts, quotient(from, k.index(halfBytes)));
      position = b.create<arith::ExtUIOp>(b.getI32Type(), raw);
    }
    Value value = half(
        *place.weight,
        k.add(plus(at, formatTileRows * format.positionBytes), times(lane, halfBytes)), aligned);
    Value column = k.add(times(tile, formatTileColumns), toIndex(position));
    Value product = k.mul(value, inputNumber(place, column));
    return k.add(sum, k.select(inside, product, f(0.0)));
  };
  return loop(first, place.slots, stride * slotsAtOnce, f(0.0),
              [&](Value slot, ValueRange carried) {
                Value sum = carried[0];
                for (int64_t i = 0; i < slotsAtOnce; ++i)
                  sum = addSlot(plus(slot, i * stride), sum);
                return SmallVector<Value>{sum};
              })[0];
}

Value PanelLinear::addList(const Place &place) {
  const MixedFormat &format = place.weight->format;
  int64_t entryBytes = format.positionBytes + halfBytes;
  int64_t entriesAt = format.circuitAt + wordBytes * (format.rows + 1);
  Value lane = remainder(place.local, k.index(formatTileRows));
  Value stored = k.add(times(place.panel, formatTileRows), lane);
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
