//===- MixedTile.cpp - Code for tiles of mixed-precision weights ----------===//

#include "MixedTile.h"
#include "tacq/CPU/MixedPacking.h"
#include "llvm/Support/MathExtras.h"
#include <limits>
#include <map>

using namespace mlir;
using namespace tacq;

static constexpr int64_t halfBytes = 2, startBytes = 4, lineBytes = 64;

//===----------------------------------------------------------------------===//
// Rows of tiles
//===----------------------------------------------------------------------===//

void MixedTile::beginRow(Value rowOfTiles) {
  row = rowOfTiles;
  codesAt = times(row, format.rowOfTilesBytes());
  metadataStart = times(row, format.groups * vectorLanes);
  if (format.codebook) {
    levelsStart = plus(times(row, vectorLanes << format.bits), format.levelsAt);
    loadTables();
  }
  if (format.circuit == MixedFormat::Circuit::Uniform) {
    int64_t bytes = format.columnsOfTiles * format.uniformSlots * format.slotBytes();
    slotsStart = plus(times(row, bytes), format.slotsAt());
  } else if (format.circuit == MixedFormat::Circuit::Slots) {
    countsStart = plus(times(row, format.columnsOfTiles), format.countsAt());
    Value start = loadNumber(buffer, plus(times(row, startBytes), format.circuitAt), startBytes);
    slotsStart = plus(times(start, format.slotBytes()), format.slotsAt());
  }
}

Value MixedTile::groupOf(Value block) {
  int64_t blocks = format.group / format.block;
  return blocks == 1 ? block : b.create<arith::DivUIOp>(block, k.index(blocks)).getResult();
}

Value MixedTile::scales(Value block) {
  Value at = metadataStart;
  if (!format.oneGroup())
    at = k.add(at, times(groupOf(block), vectorLanes));
  at = plus(times(at, halfBytes), format.scalesAt);
  if (!format.oneGroup())
    prefetchLine(at, ahead.metadata, /*isNear=*/true);
  return loadHalves(buffer, at);
}

Value MixedTile::zeros(Value block) {
  // Levels stand for level - 128; signed ones are that already.
  if (format.codebook)
    return splat(hasSignedCodes() ? 0.0f : 128.0f);
  Value at = metadataStart;
  if (!format.oneGroup())
    at = k.add(at, times(groupOf(block), vectorLanes));
  at = plus(at, format.zerosAt);
  if (!format.oneGroup())
    prefetchLine(at, ahead.metadata / halfBytes, /*isNear=*/true);
  Value bytes = loadBytes(buffer, at, vectorLanes);
  Value numbers = bytesToFloat(bytes, /*isSigned=*/false);
  return hasSignedCodes() ? k.sub(numbers, splat(128.0f)) : numbers;
}

//===----------------------------------------------------------------------===//
// Codes
//===----------------------------------------------------------------------===//

/// A code or level of 8 bits, as `dot` takes it.
Value MixedTile::asOperand(Value bytes) {
  return hasSignedCodes() ? b.create<arith::XOrIOp>(bytes, splatByte(128)).getResult() : bytes;
}

void MixedTile::prefetchLine(Value at, int64_t bytes, bool isNear) {
  // What the operation calls locality: 3 is the first cache, 2 the second.
  if (bytes != 0)
    b.create<memref::PrefetchOp>(buffer, ValueRange{plus(at, bytes)}, /*isWrite=*/false,
                                 /*localityHint=*/isNear ? 3 : 2, /*isDataCache=*/true);
}

/// Where in a tile the register of a plane is that holds the codes of a column.
int64_t MixedTile::offsetOf(int64_t width, unsigned plane, int64_t column, int64_t part) const {
  int64_t at = part * registerBytes;
  for (unsigned i = 0; i < plane; ++i)
    at += vectorLanes * width * format.planes[i] / 8;
  int64_t blockColumns = quadColumns * 8 / format.planes[plane];
  return at + column / blockColumns * quadBytes;
}

/// The codes of four columns, from the registers of the planes.
Value MixedTile::codes(ArrayRef<Value> raw, int64_t column) {
  Value all;
  unsigned low = 0;
  for (auto [plane, bits] : llvm::zip(raw, format.planes)) {
    int64_t piece = column / quadColumns % (8 / bits);
    unsigned mask = ((1u << bits) - 1) << low;
    Value part = shiftAndMask(plane, int(piece * bits) - int(low), mask);
    all = all ? b.create<arith::OrIOp>(all, part).getResult() : part;
    low += bits;
  }
  return all;
}

Value MixedTile::multiply(Value tileAt, int64_t width, int64_t first, int64_t count,
                          const InputColumns &x) {
  SmallVector<Value> totals;
  if (format.codebook && format.bits == 8) {
    // Decoded once for a tile.
    if (!decoded)
      decoded = stackBuffer(quantizedColumns * vectorLanes, b.getI8Type());
    if (first == 0)
      decode(tileAt, width, decoded, k.index(0), /*asMatrices=*/false);
  }
  // On AArch64 the loads of two neighbouring parts are one instruction.
  int64_t together = isArm() ? 2 : 1;
  for (int64_t part = 0; part < parts(); part += together) {
    // One part after the other: LLVM would load each quad once for all, and has no registers for so
    // many.
    InputColumns own = x;
    if (part > 0 && !isArm())
      own.at = indexAfter(x.at, totals.back());
    SmallVector<Value> sums;
    if (multipliesInWords())
      sums = multiplyInWords(tileAt, width, first, count, own, part, together);
    else if (!multipliesByShift())
      sums = multiplyParts(tileAt, width, first, count, own, part, together);
    else
      for (int64_t i = 0; i < together; ++i)
        sums.push_back(multiplyByShift(tileAt, width, first, count, x, part + i));
    for (Value sum : sums)
      totals.push_back(isArm() ? opaque(sum, /*isOrdered=*/true) : sum);
  }
  return sumsToFloat(totals);
}

bool MixedTile::multipliesInWords() const {
  return multipliesPairs() && !format.codebook && format.bits < 8;
}

/// Calls `use` for each quad of the columns [first, first + count) with the registers that have its
/// codes: of each part, of each plane. Each is loaded once. All that is done with a quad is done
/// together, or LLVM would keep the quads in registers from one plane or part to the next.
void MixedTile::forQuads(Value tileAt, int64_t width, int64_t first, int64_t count,
                         int64_t firstPart, int64_t together,
                         function_ref<void(int64_t column, ArrayRef<PlaneRegisters> raw)> use) {
  SmallVector<PlaneRegisters> raw(together, PlaneRegisters(format.planes.size()));
  for (int64_t column = first; column < first + count; column += quadColumns) {
    for (auto [plane, bits] : llvm::enumerate(format.planes))
      if (column == first || column % (quadColumns * 8 / bits) == 0)
        for (int64_t i = 0; i < together; ++i) {
          Value codes = load(tileAt, width, plane, column, firstPart + i);
          // Interleaved with the products: many at a time would block other loads.
          if (int64_t at = offsetOf(width, plane, column, firstPart + i); at % lineBytes == 0) {
            for (bool isNear : {false, true})
              prefetchLine(plus(tileAt, at), isNear ? ahead.near : ahead.far, isNear);
          }
          raw[i][plane] = format.codebook ? codes : asOperand(codes);
        }
    use(column, raw);
  }
}

/// How far codes of a plane that are at `shift` in their bytes are moved down; those that are not
/// moved to 0 are multiplied as a multiple of themselves.
int64_t MixedTile::moved(unsigned bits, int64_t shift) const {
  if (bits == 8 || hasManyRegisters())
    return (((1u << bits) - 1) << shift) <= fastLimit() ? 0 : shift;
  // A shift for two pieces of a byte, and few different sums.
  constexpr int64_t half = 4;
  return bits < half ? shift / half * half : shift;
}

/// Pairs of products are added up in 16 bits as long as that is exact: widening each takes half as
/// many instructions again.
SmallVector<Value> MixedTile::multiplyInWords(Value tileAt, int64_t width, int64_t first,
                                              int64_t count, const InputColumns &x,
                                              int64_t firstPart, int64_t together) {
  struct WordSum {
    Value words, total;
    int64_t largest = 0;
  };
  // Of each part, by how many bits they are too high.
  SmallVector<std::map<int, WordSum>> sums(together);
  auto close = [&](WordSum &sum) {
    Value wide = widen(sum.words);
    sum.total = sum.total ? b.create<arith::AddIOp>(sum.total, wide).getResult() : wide;
    sum.words = Value();
    sum.largest = 0;
  };
  auto add = [&](int64_t part, int64_t tooHigh, Value codes, Value quad, unsigned largestCode) {
    WordSum &sum = sums[part][int(tooHigh)];
    int64_t largest = largestPair(largestCode);
    if (sum.words && sum.largest + largest > std::numeric_limits<int16_t>::max())
      close(sum);
    Value words = pairs(codes, quad);
    sum.words = sum.words ? b.create<arith::AddIOp>(sum.words, words).getResult() : words;
    sum.largest += largest;
  };
  InputColumns ordered = x;
  // LLVM would start on more sums than there are registers.
  constexpr int64_t columnsAtATime = 32;
  forQuads(tileAt, width, first, count, firstPart, together,
           [&](int64_t column, ArrayRef<PlaneRegisters> raw) {
             if (column > first && column % columnsAtATime == 0)
               ordered.at = indexAfter(ordered.at, sums[0].begin()->second.words);
             Value quad = loadQuad(ordered, column);
             unsigned bits = format.bits, mask = (1u << bits) - 1;
             int64_t shift = column / quadColumns * bits % 8, by = moved(bits, shift);
             for (int64_t i = 0; i < together; ++i)
               if (format.planes.size() > 1)
                 add(i, 0, codes(raw[i], column), quad, mask);
               else
                 add(i, shift - by, shiftAndMask(raw[i][0], int(by), mask << (shift - by)), quad,
                     mask << (shift - by));
           });
  SmallVector<Value> totals;
  for (auto &sumsOfPart : sums) {
    Value total;
    for (auto &[tooHigh, sum] : sumsOfPart) {
      close(sum);
      Value own = shifted(sum.total, tooHigh);
      total = total ? b.create<arith::AddIOp>(total, own).getResult() : own;
    }
    totals.push_back(total);
  }
  return totals;
}

/// A sum for each part and position of the codes in their bytes: codes are multiplied where they
/// are as far as that is exact and there are registers, and sums are shifted at the end. Two of
/// each keep the chains of additions short.
SmallVector<Value> MixedTile::multiplyParts(Value tileAt, int64_t width, int64_t first,
                                            int64_t count, const InputColumns &x, int64_t firstPart,
                                            int64_t together) {
  SmallVector<std::map<std::pair<int, int>, Value>> sums(together);
  auto add = [&](int64_t i, int64_t shift, int64_t chain, Value codes, int64_t column,
                 unsigned largest) {
    Value &sum = sums[i][{int(shift), int(chain)}];
    sum = dot(sum ? sum : zeroSums(), codes, loadQuad(x, column), largest);
  };
  if (format.codebook && format.bits == 8)
    for (int64_t column = first; column < first + count; column += quadColumns)
      for (int64_t i = 0; i < together; ++i) {
        Value at = k.index(column / quadColumns * quadBytes + (firstPart + i) * registerBytes);
        add(i, 0, column / quadColumns % (4 / together), loadBytes(decoded, at, registerBytes),
            column, 255);
      }
  auto addQuad = [&](int64_t i, int64_t column, const PlaneRegisters &raw) {
    int64_t quad = column / quadColumns;
    if (format.codebook || (format.planes.size() > 1 && !hasManyRegisters())) {
      bool inPlace = format.codebook && format.bits == 2 && !isArm();
      Value all = inPlace ? levelsInPlace(raw[0], column, firstPart + i) : codes(raw, column);
      if (format.codebook && !inPlace)
        all = levels(all, firstPart + i);
      return add(i, 0, quad % (4 / together), all, column, largest());
    }
    int64_t low = 0;
    for (auto [plane, bits] : llvm::enumerate(format.planes)) {
      unsigned mask = (1u << bits) - 1;
      int64_t shift = quad * bits % 8, by = moved(bits, shift);
      int64_t chain = bits >= 4 ? quad * bits / 8 % 2 : 0;
      add(i, shift - by - low, chain, shiftAndMask(raw[plane], int(by), mask << (shift - by)),
          column, mask << (shift - by));
      low += bits;
    }
  };
  bool isDecoded = format.codebook && format.bits == 8;
  // Codes of a register go one part after the other; AArch64's levels, which are in many registers,
  // quad by quad.
  int64_t step = isArm() && format.codebook ? quadColumns : quadColumns * 8 / format.planes.back();
  for (int64_t column = first; !isDecoded && column < first + count; column += step)
    for (int64_t i = 0; i < together; ++i)
      forQuads(tileAt, width, column, std::min(step, first + count - column), firstPart + i, 1,
               [&](int64_t at, ArrayRef<PlaneRegisters> raw) { addQuad(i, at, raw[0]); });
  SmallVector<Value> totals;
  for (auto &sumsOfPart : sums) {
    Value total;
    for (auto &[key, sum] : sumsOfPart) {
      Value own = shifted(sum, key.first);
      total = total ? b.create<arith::AddIOp>(total, own).getResult() : own;
    }
    totals.push_back(total);
  }
  return totals;
}

/// To lower or, below 0, to higher bits.
Value MixedTile::shifted(Value sum, int by) {
  if (by == 0)
    return sum;
  Value bits = b.create<arith::ConstantOp>(
      DenseElementsAttr::get(cast<ShapedType>(sum.getType()), b.getI32IntegerAttr(std::abs(by))));
  return by > 0 ? b.create<arith::ShRSIOp>(sum, bits).getResult()
                : b.create<arith::ShLIOp>(sum, bits).getResult();
}

/// With one sum, for planes whose codes are in too many positions for a sum of each: of the
/// products of the codes that are highest in their bytes first, which is shifted on the way to the
/// lower ones. Its bits that fall out are 0. The processors in question add to the same sum in
/// every cycle.
Value MixedTile::multiplyByShift(Value tileAt, int64_t width, int64_t first, int64_t count,
                                 const InputColumns &x, int64_t part) {
  struct Factor {
    Value raw;
    int shift;
    unsigned mask;
    int64_t column;
  };
  // By how many bits their products are too high.
  std::map<int, SmallVector<Factor>> factors;
  int low = 0;
  for (auto [plane, bits] : llvm::enumerate(format.planes)) {
    int64_t pieces = 8 / bits, blockColumns = pieces * quadColumns;
    for (int64_t column = first; column < first + count; column += blockColumns) {
      Value raw = asOperand(load(tileAt, width, plane, column, part));
      for (int64_t piece = 0; piece < pieces; ++piece) {
        unsigned mask = (1u << bits) - 1;
        int shift = int(piece * bits);
        int64_t at = column + piece * quadColumns;
        if (mask << shift <= fastLimit() || bits == 8)
          factors[shift - low].push_back({raw, 0, mask << shift, at});
        else
          factors[-low].push_back({raw, shift, mask, at});
      }
    }
    low += int(bits);
  }
  auto addAll = [&](Value sum, ArrayRef<Factor> all) {
    for (const Factor &factor : all)
      sum = dot(sum ? sum : zeroSums(), shiftAndMask(factor.raw, factor.shift, factor.mask),
                loadQuad(x, factor.column), factor.mask);
    return sum;
  };
  // Those that are too low, from the lowest on, and those that are too high meet at 0.
  Value below, above;
  int at = 0;
  for (auto &[shift, all] : factors) {
    if (shift >= 0)
      break;
    below = addAll(below ? shifted(below, at - shift) : below, all);
    at = shift;
  }
  if (below)
    below = shifted(below, at);
  for (auto &[shift, all] : llvm::reverse(factors)) {
    if (shift < 0)
      break;
    if (above)
      above = shifted(above, at - shift);
    if (shift == 0 && below)
      above = above ? b.create<arith::AddIOp>(above, below).getResult() : below;
    above = addAll(above, all);
    at = shift;
  }
  return above;
}

Value MixedTile::decodeQuad(Value tileAt, int64_t width, int64_t column, int64_t part) {
  SmallVector<Value> raw;
  for (unsigned plane = 0; plane < format.planes.size(); ++plane)
    raw.push_back(load(tileAt, width, plane, column, part));
  Value all = codes(raw, column);
  return format.codebook ? levels(all, part) : asOperand(all);
}

void MixedTile::decode(Value tileAt, int64_t width, Value panel, Value panelAt, bool asMatrices) {
  if (format.codebook && format.bits == 8)
    return decodeByLevels(tileAt, width, panel, panelAt, asMatrices);
  auto store = [&](Value bytes, int64_t at) {
    b.create<vector::StoreOp>(bytes, panel, ValueRange{plus(panelAt, at)});
  };
  int64_t step = asMatrices ? 2 * quadColumns : quadColumns;
  for (int64_t column = 0; column < width; column += step)
    for (int64_t part = 0; part < parts(); ++part) {
      Value all = decodeQuad(tileAt, width, column, part);
      int64_t at = column / quadColumns * quadBytes;
      if (!asMatrices) {
        store(all, at + part * registerBytes);
        continue;
      }
      // Columns beyond the tile may be anything: the input is 0 there.
      int64_t second = std::min(column + quadColumns, width - quadColumns);
      Value next = decodeQuad(tileAt, width, second, part);
      store(pickNumbers(all, next, {0, 4, 1, 5}), at + 2 * part * registerBytes);
      store(pickNumbers(all, next, {2, 6, 3, 7}), at + (2 * part + 1) * registerBytes);
    }
}

void MixedTile::scaleDecoded(Value number, int64_t width, Value decodedTile, Value floats) {
  VectorType numbers = vector(vectorLanes, 32);
  auto constant = [&](int64_t value) {
    return b.create<arith::ConstantOp>(DenseElementsAttr::get(numbers, int32_t(value)));
  };
  int64_t quadsOfBlock = format.block / quadColumns;
  loop(k.index(0), k.index(width / quadColumns), 1, [&](Value quad) {
    Value block = k.add(times(number, quantizedColumns / format.block),
                        b.create<arith::DivUIOp>(quad, k.index(quadsOfBlock)));
    Value scale = scales(block), zero = zeros(block);
    Value raw = b.create<vector::BitCastOp>(
        numbers, loadBytes(decodedTile, times(quad, quadBytes), quadBytes));
    for (int64_t column = 0; column < quadColumns; ++column) {
      Value code;
      if (hasSignedCodes())
        code = b.create<arith::ShRSIOp>(
            b.create<arith::ShLIOp>(raw, constant(8 * (quadColumns - 1 - column))), constant(24));
      else
        code = b.create<arith::AndIOp>(b.create<arith::ShRUIOp>(raw, constant(8 * column)),
                                       constant(255));
      Value weight = k.mul(k.sub(b.create<arith::SIToFPOp>(f32Vector(), code), zero), scale);
      store(weight, floats, k.add(times(quad, quadBytes), k.index(column * vectorLanes)));
    }
  });
}

//===----------------------------------------------------------------------===//
// The circuit
//===----------------------------------------------------------------------===//

Value MixedTile::slotCount(Value tile) {
  if (format.circuit == MixedFormat::Circuit::Uniform)
    return k.index(format.uniformSlots);
  return loadNumber(buffer, k.add(countsStart, tile), 1);
}

MixedTile::Slot MixedTile::loadSlot(Value at) {
  return {loadBytes(buffer, at, vectorLanes),
          loadHalves(buffer, plus(at, vectorLanes * format.positionBytes))};
}

Value MixedTile::loadBlockScales(Value inputScales, Value inputScalesAt, int64_t width) {
  if (!slotsHaveInputScales())
    return Value();
  // Scale and sum of each.
  int64_t blocks = llvm::divideCeil(width, format.block);
  return VectorCode::load(inputScales, inputScalesAt, mask(k.index(2 * blocks)));
}

Value MixedTile::addSlot(const Slot &slot, Value sums, const InputColumns &x, Value blockScales,
                         int64_t width) {
  Value found = lookupColumns(x, slot.positions);
  if (blockScales) {
    Value block = b.create<arith::ExtUIOp>(vector(vectorLanes, 32), slot.positions);
    Value scale = splat(0.0f);
    int64_t blocks = llvm::divideCeil(width, format.block);
    for (int64_t i = 0; i < blocks; ++i) {
      auto first = b.create<arith::ConstantOp>(
          DenseElementsAttr::get(vector(vectorLanes, 32), int32_t(i * format.block)));
      Value from = b.create<arith::CmpIOp>(arith::CmpIPredicate::uge, block, first);
      Value own = b.create<vector::ExtractOp>(blockScales, 2 * i);
      scale = b.create<arith::SelectOp>(from, splat(own), scale);
    }
    found = k.mul(found, scale);
  }
  return fma(slot.values, found, sums);
}

Value MixedTile::addSlots(Value sums, Value slotsAt, Value count, const InputColumns &x,
                          Value inputScales, Value inputScalesAt, int64_t width) {
  Value blockScales = loadBlockScales(inputScales, inputScalesAt, width);
  Value end = k.add(slotsAt, times(count, format.slotBytes()));
  return loop(slotsAt, end, format.slotBytes(), sums, [&](Value at, ValueRange carried) {
    return SmallVector<Value>{addSlot(loadSlot(at), carried[0], x, blockScales, width)};
  })[0];
}

Value MixedTile::addSlotsTo(Value floats, Value slotsAt, Value count) {
  Value end = k.add(slotsAt, times(count, format.slotBytes()));
  loop(slotsAt, end, format.slotBytes(), [&](Value at) {
    loop(k.index(0), k.index(vectorLanes), 1, [&](Value i) {
      Value position =
          loadNumber(buffer, k.add(at, times(i, format.positionBytes)), format.positionBytes);
      // The lookups of quantized input, too, take no other bits.
      position = b.create<arith::RemUIOp>(position, k.index(quantizedColumns));
      Value value = loadHalf(
          buffer, k.add(plus(at, vectorLanes * format.positionBytes), times(i, halfBytes)));
      Value to = k.add(times(position, vectorLanes), i);
      storeScalar(k.add(loadScalar(floats, to), value), floats, to);
    });
  });
  return end;
}

Value MixedTile::addList(Value sums, function_ref<Value(Value position)> inputAt) {
  if (!listSums)
    listSums = stackBuffer(vectorLanes, b.getF32Type());
  int64_t entryBytes = format.positionBytes + halfBytes;
  int64_t entriesAt = format.circuitAt + startBytes * (format.rows + 1);
  store(sums, listSums, k.index(0));
  Value first = times(row, vectorLanes);
  Value count = k.min(k.index(vectorLanes), k.sub(k.index(format.rows), first));
  loop(k.index(0), count, 1, [&](Value i) {
    Value start = plus(times(k.add(first, i), startBytes), format.circuitAt);
    auto entry = [&](Value number) { return plus(times(number, entryBytes), entriesAt); };
    Value begin = entry(loadNumber(buffer, start, startBytes));
    Value end = entry(loadNumber(buffer, plus(start, startBytes), startBytes));
    Value sum = loadScalar(listSums, i);
    sum = loop(begin, end, entryBytes, sum, [&](Value at, ValueRange carried) {
      Value position = loadNumber(buffer, at, format.positionBytes);
      Value value = loadHalf(buffer, plus(at, format.positionBytes));
      return SmallVector<Value>{fma(value, inputAt(position), carried[0])};
    })[0];
    storeScalar(sum, listSums, i);
  });
  return VectorCode::load(listSums, k.index(0));
}
