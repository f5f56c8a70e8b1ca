//===- MixedTileLevels.cpp - Codebooks of mixed-precision weights ---------===//

#include "MixedTile.h"

using namespace mlir;
using namespace tacq;

/// The levels of a part's rows, arranged for lookups: on x86 in lanes of 16 bytes, which have four
/// rows; on AArch64 a part is four rows, whose levels are one table.
void MixedTile::loadTables() {
  constexpr int64_t lane = 16;
  if (format.bits == 8)
    return;
  int64_t levels = int64_t(1) << format.bits, rowsOfPart = registerBytes / quadColumns;
  for (int64_t part = 0; part < parts(); ++part) {
    tables[part].clear();
    Value start = plus(levelsStart, part * rowsOfPart * levels);
    if (isArm()) {
      for (int64_t at = 0; at < rowsOfPart * levels; at += registerBytes)
        tables[part].push_back(asOperand(loadBytes(buffer, plus(start, at), registerBytes)));
    } else if (format.bits == 2) {
      // By level and row: for codes that are two bits higher in their bytes than others.
      Value table = loadBytes(buffer, start, registerBytes);
      SmallVector<int64_t> from;
      for (int64_t i = 0; i < registerBytes; ++i)
        from.push_back(i / lane * lane + i % 4 * 4 + i % lane / 4);
      tables[part] = {table, b.create<vector::ShuffleOp>(table, table, from)};
    } else if (format.bits == 3) {
      // Levels 0 to 3 of four rows, and levels 4 to 7.
      Value low = loadBytes(buffer, start, registerBytes);
      Value high = loadBytes(buffer, plus(start, registerBytes), registerBytes);
      for (int64_t first : {0, 4}) {
        SmallVector<int64_t> from;
        for (int64_t i = 0; i < registerBytes; ++i)
          from.push_back(i / 4 * 8 + first + i % 4);
        tables[part].push_back(b.create<vector::ShuffleOp>(low, high, from));
      }
    } else {
      // A table for each of a lane's four rows.
      for (int64_t rowOfLane = 0; rowOfLane < 4; ++rowOfLane) {
        Value table = b.create<arith::ConstantOp>(b.getZeroAttr(bytes()));
        for (int64_t i = 0; i < registerBytes / lane; ++i)
          table = b.create<vector::InsertStridedSliceOp>(
              loadBytes(buffer, plus(start, (i * 4 + rowOfLane) * lane), lane), table,
              ArrayRef<int64_t>{i * lane}, ArrayRef<int64_t>{1});
        tables[part].push_back(table);
      }
    }
  }
}

Value MixedTile::levels(Value codes, int64_t part) {
  ArrayRef<Value> table = tables[part];
  if (isArm()) {
    Value row = bytesConstant([&](int64_t i) { return i / quadColumns << format.bits; });
    return lookupInTable(table, b.create<arith::OrIOp>(codes, row));
  }
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

/// The levels of four columns with codes of 2 bits: every second one is looked up where it is, in
/// the table by level and row.
Value MixedTile::levelsInPlace(Value raw, int64_t column, int64_t part) {
  constexpr int64_t bits = 2, pair = 2 * bits;
  int64_t shift = column / quadColumns * bits % 8, high = shift % pair;
  Value rowOfLane = bytesConstant([=](int64_t i) { return i / 4 % 4 << (bits - high); });
  Value index = b.create<arith::OrIOp>(shiftAndMask(raw, int(shift - high), 3u << high), rowOfLane);
  return lookupInLanes(tables[part][high == 0 ? 0 : 1], index);
}

/// 256 levels a row are too many for registers.
void MixedTile::decodeByLevels(Value tileAt, int64_t width, Value panel, Value panelAt,
                               bool asMatrices) {
  loop(k.index(0), k.index(width * vectorLanes), 1, [&](Value i) {
    Value code = loadNumber(buffer, k.add(tileAt, i), 1);
    Value rowOfTile = b.create<arith::RemUIOp>(b.create<arith::DivUIOp>(i, k.index(quadColumns)),
                                               k.index(vectorLanes));
    Value at = k.add(levelsStart, k.add(times(rowOfTile, 256), code));
    Value level = b.create<memref::LoadOp>(buffer, ValueRange{at});
    if (hasSignedCodes())
      level = b.create<arith::XOrIOp>(level, k.integer(b.getI8Type(), 128));
    Value to = i;
    if (asMatrices) {
      // Where i is column % 4 + 4 * row + 64 * (column / 4).
      Value inQuad = b.create<arith::RemUIOp>(i, k.index(quadColumns));
      Value quad = b.create<arith::DivUIOp>(i, k.index(quadBytes));
      Value odd = b.create<arith::RemUIOp>(quad, k.index(2));
      to = k.add(times(k.sub(quad, odd), quadBytes), times(rowOfTile, 2 * quadColumns));
      to = k.add(to, k.add(times(odd, quadColumns), inQuad));
    }
    b.create<memref::StoreOp>(level, panel, ValueRange{k.add(panelAt, to)});
  });
}
