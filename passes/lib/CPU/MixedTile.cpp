//===- MixedTile.cpp - Code for tiles of mixed-precision weights ----------===//

#include "MixedTile.h"
#include "tacq/CPU/MixedPacking.h"
#include "llvm/Support/MathExtras.h"
#include <map>

using namespace mlir;
using namespace tacq;

static constexpr int64_t halfBytes = 2, startBytes = 4;
/// Bytes of four columns of a tile's rows.
static constexpr int64_t quadBytes = vectorLanes * DotCode::quadColumns;

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
  return loadHalves(buffer, plus(times(at, halfBytes), format.scalesAt));
}

Value MixedTile::zeros(Value block) {
  // Levels stand for level - 128.
  if (format.codebook)
    return splat(128.0f);
  Value at = metadataStart;
  if (!format.oneGroup())
    at = k.add(at, times(groupOf(block), vectorLanes));
  return loadByteNumbers(buffer, plus(at, format.zerosAt));
}

//===----------------------------------------------------------------------===//
// Codes
//===----------------------------------------------------------------------===//

/// The register of a plane that holds the codes of a column.
Value MixedTile::load(Value tileAt, int64_t width, unsigned plane, int64_t column, int64_t half) {
  int64_t at = half * registerBytes;
  for (unsigned i = 0; i < plane; ++i)
    at += vectorLanes * width * format.planes[i] / 8;
  int64_t blockColumns = quadColumns * 8 / format.planes[plane];
  return loadBytes(buffer, plus(tileAt, at + column / blockColumns * quadBytes), registerBytes);
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

Value MixedTile::multiply(Value tileAt, int64_t width, int64_t first, int64_t count, Value input,
                          Value x) {
  SmallVector<Value> totals;
  if (format.codebook && format.bits == 8) {
    // Decoded once for a tile.
    if (!decoded)
      decoded = stackBuffer(quantizedColumns * vectorLanes, b.getI8Type());
    if (first == 0)
      decode(tileAt, width, decoded, k.index(0));
  }
  for (int64_t half = 0; half < halves(); ++half) {
    // Codes are multiplied where they are in their bytes as far as that is exact: a sum for each
    // position, which is shifted at the end. Two of each keep the chains of additions short.
    std::map<std::pair<int, int>, Value> sums;
    auto add = [&](int shift, int64_t chain, Value codes, int64_t column, unsigned largest) {
      Value &sum = sums[{shift, int(chain)}];
      sum = dot(sum ? sum : zeroSums(), codes, loadQuad(input, plus(x, column)), largest);
    };
    for (int64_t column = first; format.codebook && column < first + count; column += quadColumns) {
      SmallVector<Value> raw;
      if (format.bits == 8) {
        Value at = k.index(column / quadColumns * quadBytes + half * registerBytes);
        add(0, column / quadColumns % 4, loadBytes(decoded, at, registerBytes), column, 255);
        continue;
      }
      for (unsigned plane = 0; plane < format.planes.size(); ++plane)
        raw.push_back(load(tileAt, width, plane, column, half));
      add(0, column / quadColumns % 4, levels(codes(raw, column), half), column, 255);
    }
    unsigned low = 0;
    for (unsigned plane = 0; !format.codebook && plane < format.planes.size(); ++plane) {
      unsigned bits = format.planes[plane];
      int64_t pieces = 8 / bits, blockColumns = pieces * quadColumns;
      for (int64_t column = first; column < first + count; column += blockColumns) {
        Value raw = load(tileAt, width, plane, column, half);
        int64_t chain = bits >= 4 ? column / blockColumns % 2 : 0;
        for (int64_t piece = 0; piece < pieces; ++piece) {
          unsigned mask = (1u << bits) - 1, shift = piece * bits;
          int64_t at = column + piece * quadColumns;
          if (mask << shift <= fastLimit() || bits == 8)
            add(int(shift) - int(low), chain, shiftAndMask(raw, 0, mask << shift), at,
                mask << shift);
          else
            add(-int(low), chain, shiftAndMask(raw, int(shift), mask), at, mask);
        }
      }
      low += bits;
    }
    Value total;
    for (auto &[key, sum] : sums) {
      if (int shift = key.first) {
        Value by = b.create<arith::ConstantOp>(DenseElementsAttr::get(
            cast<ShapedType>(sum.getType()), b.getI32IntegerAttr(std::abs(shift))));
        sum = shift > 0 ? b.create<arith::ShRSIOp>(sum, by).getResult()
                        : b.create<arith::ShLIOp>(sum, by).getResult();
      }
      total = total ? b.create<arith::AddIOp>(total, sum).getResult() : sum;
    }
    totals.push_back(total);
  }
  return sumsToFloat(totals);
}

void MixedTile::decode(Value tileAt, int64_t width, Value panel, Value panelAt) {
  if (format.codebook && format.bits == 8)
    return decodeByLevels(tileAt, width, panel, panelAt);
  for (int64_t column = 0; column < width; column += quadColumns)
    for (int64_t half = 0; half < halves(); ++half) {
      SmallVector<Value> raw;
      for (unsigned plane = 0; plane < format.planes.size(); ++plane)
        raw.push_back(load(tileAt, width, plane, column, half));
      Value all = codes(raw, column);
      if (format.codebook)
        all = levels(all, half);
      Value to = plus(panelAt, column / quadColumns * quadBytes + half * registerBytes);
      b.create<vector::StoreOp>(all, panel, ValueRange{to});
    }
}

//===----------------------------------------------------------------------===//
// Codebooks
//===----------------------------------------------------------------------===//

/// The levels of a half's rows, arranged for lookups in lanes of 16 bytes: a lane has four rows.
void MixedTile::loadTables() {
  constexpr int64_t lane = 16;
  if (format.bits == 8)
    return;
  int64_t levels = int64_t(1) << format.bits, rowsOfHalf = registerBytes / quadColumns;
  for (int64_t half = 0; half < halves(); ++half) {
    tables[half].clear();
    Value start = plus(levelsStart, half * rowsOfHalf * levels);
    if (format.bits == 2) {
      tables[half].push_back(loadBytes(buffer, start, registerBytes));
    } else if (format.bits == 3) {
      // Levels 0 to 3 of four rows, and levels 4 to 7.
      Value low = loadBytes(buffer, start, registerBytes);
      Value high = loadBytes(buffer, plus(start, registerBytes), registerBytes);
      for (int64_t first : {0, 4}) {
        SmallVector<int64_t> from;
        for (int64_t i = 0; i < registerBytes; ++i)
          from.push_back(i / 4 * 8 + first + i % 4);
        tables[half].push_back(b.create<vector::ShuffleOp>(low, high, from));
      }
    } else {
      // A table for each of a lane's four rows.
      for (int64_t rowOfLane = 0; rowOfLane < 4; ++rowOfLane) {
        Value table = b.create<arith::ConstantOp>(b.getZeroAttr(bytes()));
        for (int64_t i = 0; i < registerBytes / lane; ++i)
          table = b.create<vector::InsertStridedSliceOp>(
              loadBytes(buffer, plus(start, (i * 4 + rowOfLane) * lane), lane), table,
              ArrayRef<int64_t>{i * lane}, ArrayRef<int64_t>{1});
        tables[half].push_back(table);
      }
    }
  }
}

Value MixedTile::levels(Value codes, int64_t half) {
  ArrayRef<Value> table = tables[half];
  if (format.bits == 4) {
    Value all = lookupInLanes(table[0], codes);
    for (int64_t rowOfLane = 1; rowOfLane < 4; ++rowOfLane) {
      SmallVector<bool> isRow;
      for (int64_t i = 0; i < registerBytes; ++i)
        isRow.push_back(i / quadColumns % 4 == rowOfLane);
      Value mask = b.create<arith::ConstantOp>(
          DenseElementsAttr::get(vector(registerBytes, 1), ArrayRef(isRow)));
      all = b.create<arith::SelectOp>(mask, lookupInLanes(table[rowOfLane], codes), all);
    }
    return all;
  }
  Value rowOfLane = bytesConstant([](int64_t i) { return i / 4 % 4 * 4; });
  Value low = format.bits == 3 ? b.create<arith::AndIOp>(codes, splatByte(3)).getResult() : codes;
  Value index = b.create<arith::OrIOp>(low, rowOfLane);
  Value found = lookupInLanes(table[0], index);
  if (format.bits == 2)
    return found;
  Value isHigh = b.create<arith::CmpIOp>(
      arith::CmpIPredicate::ne, b.create<arith::AndIOp>(codes, splatByte(4)), splatByte(0));
  return b.create<arith::SelectOp>(isHigh, lookupInLanes(table[1], index), found);
}

/// 256 levels a row are too many for registers.
void MixedTile::decodeByLevels(Value tileAt, int64_t width, Value panel, Value panelAt) {
  loop(k.index(0), k.index(width * vectorLanes), 1, [&](Value i) {
    Value code = loadNumber(buffer, k.add(tileAt, i), 1);
    Value rowOfTile = b.create<arith::RemUIOp>(b.create<arith::DivUIOp>(i, k.index(quadColumns)),
                                               k.index(vectorLanes));
    Value at = k.add(levelsStart, k.add(times(rowOfTile, 256), code));
    Value level = b.create<memref::LoadOp>(buffer, ValueRange{at});
    b.create<memref::StoreOp>(level, panel, ValueRange{k.add(panelAt, i)});
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

Value MixedTile::addSlots(Value sums, Value slotsAt, Value count, Value input, Value x,
                          Value inputScales, Value inputScalesAt, int64_t width) {
  // With several blocks in a tile: scale and sum of each, of which a lookup takes the scale.
  Value blockScales;
  if (slotsHaveInputScales()) {
    int64_t blocks = llvm::divideCeil(width, format.block);
    Value active = mask(k.index(2 * blocks));
    blockScales = VectorCode::load(inputScales, inputScalesAt, active);
  }
  auto addSlot = [&](Value at, Value sums) {
    Value positions = loadBytes(buffer, at, vectorLanes);
    Value found = lookupColumns(input, x, positions);
    if (blockScales) {
      Value block = b.create<arith::ExtUIOp>(vector(vectorLanes, 32), positions);
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
    return fma(loadHalves(buffer, plus(at, vectorLanes * format.positionBytes)), found, sums);
  };
  Value end = k.add(slotsAt, times(count, format.slotBytes()));
  return loop(slotsAt, end, format.slotBytes(), sums, [&](Value at, ValueRange carried) {
    return SmallVector<Value>{addSlot(at, carried[0])};
  })[0];
}

Value MixedTile::addList(Value sums, Value input, Value x, Value inputScales, Value inputScalesAt) {
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
      Value number = b.create<memref::LoadOp>(input, ValueRange{k.add(x, position)});
      Value block = b.create<arith::DivUIOp>(position, k.index(format.block));
      Value scale = loadScalar(inputScales, k.add(inputScalesAt, times(block, 2)));
      Value product = k.mul(b.create<arith::SIToFPOp>(b.getF32Type(), number), scale);
      return SmallVector<Value>{fma(value, product, carried[0])};
    })[0];
    storeScalar(sum, listSums, i);
  });
  return VectorCode::load(listSums, k.index(0));
}
