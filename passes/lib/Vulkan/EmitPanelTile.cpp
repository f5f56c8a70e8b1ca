//===- EmitPanelTile.cpp - Tiles of panels --------------------------------===//
//
// An invocation reads 16 bytes of codes at once, which are words of four rows, and multiplies all
// columns of a part of a tile that way, so that what it does for a group is done once for some 64
// columns; neighbouring invocations read neighbouring rows and parts. Codes are not shifted out of
// a word: those of a mask are multiplied where they are, and the sums shifted in the end. The next
// tile is read before the one at hand is multiplied.
//
//===----------------------------------------------------------------------===//

#include "PanelLinear.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;

/// Passes over the tiles that are written out one after the other.
static constexpr int64_t largestUnrolled = 4;

PanelLinear::Tile PanelLinear::loadTile(const Place &place, Value panel, Value tile) {
  const MixedFormat &format = place.weight->format;
  Value panelAt = times(panel, format.rowOfTilesBytes() / quadBytes);
  Value tileAt = k.add(panelAt, times(tile, format.tileBytes(formatTileColumns) / quadBytes));
  Tile result;
  int64_t before = 0;
  for (int64_t bits : format.planes) {
    int64_t blocksOfPart = partColumns * bits / 32;
    Value at = k.add(tileAt, k.add(times(place.part, blocksOfPart * rowQuads), place.rowQuad));
    if (before) {
      // A plane of the whole tile has 16 rows of so many bits for each column.
      Value width = k.index(formatTileColumns * before / 8);
      if (format.lastColumns)
        width = k.select(k.equal(tile, k.index(format.wholeTiles)),
                         k.index(format.lastColumns * before / 8), width);
      at = k.add(at, width);
    }
    for (int64_t number = 0; number < blocksOfPart; ++number)
      result.codes.push_back(element(place.weight->quads, plus(at, number * rowQuads)));
    before += bits;
  }
  Value group = k.index(0);
  if (!format.oneGroup())
    group = quotient(k.add(times(tile, formatTileColumns), times(place.part, partColumns)),
                     k.index(format.group));
  Value row = k.add(times(panel, format.groups), group);
  Value at = k.add(times(row, formatTileRows / 2), times(place.rowQuad, 2));
  at = plus(at, format.scalesAt / wordBytes);
  for (int64_t i = 0; i < 2; ++i)
    result.scales.push_back(element(place.weight->words, plus(at, i)));
  if (!format.codebook)
    result.zeros = element(place.weight->words, plus(k.add(times(row, rowQuads), place.rowQuad),
                                                     format.zerosAt / wordBytes));
  return result;
}

PanelLinear::Values PanelLinear::flatten(const Tile &tile) {
  Values values = tile.codes;
  llvm::append_range(values, tile.scales);
  if (tile.zeros)
    values.push_back(tile.zeros);
  return values;
}

PanelLinear::Tile PanelLinear::tileOf(const Place &place, ValueRange values) {
  size_t codes = partColumns * place.weight->format.bits / 32;
  Tile tile;
  tile.codes = Values(values.take_front(codes));
  tile.scales = Values(values.slice(codes, 2));
  if (!place.weight->format.codebook)
    tile.zeros = values[codes + 2];
  return tile;
}

PanelLinear::Values PanelLinear::inputWords(const Place &place, Value tile, int64_t plane) {
  Value at =
      k.add(times(tile, formatTileColumns / quadBytes), times(place.part, partColumns / quadBytes));
  at = plus(at, plane * planeColumns() / quadBytes);
  Values words;
  for (int64_t i = 0; i < partColumns / quadBytes; ++i) {
    Value quad = inputQuad(place, plus(at, i));
    for (int64_t j = 0; j < 4; ++j)
      words.push_back(component(quad, j));
  }
  return words;
}

static int64_t repeated(int64_t byte) { return byte * 0x01010101; }

/// For four rows, the sums of the products of codes and input of a part of a tile.
PanelLinear::Rows PanelLinear::planeDots(const Place &place, const Tile &tile,
                                         ArrayRef<Value> input) {
  const MixedFormat &format = place.weight->format;
  Rows result(4);
  int64_t low = 0, first = 0;
  for (int64_t bits : format.planes) {
    int64_t quads = 8 / bits, blocksOfPart = partColumns * bits / 32;
    bool inPlace = quads <= 4;
    SmallVector<Rows> sums(quads, Rows(4));
    for (int64_t number = 0; number < blocksOfPart; ++number) {
      Value codes = tile.codes[first + number];
      for (int64_t row = 0; row < 4; ++row) {
        Value word = component(codes, row);
        for (int64_t quad = 0; quad < quads; ++quad) {
          int64_t by = quad * bits, mask = repeated((1 << bits) - 1);
          Value factor = input[number * quads + quad];
          Value masked = inPlace ? word : shiftRight(word, by);
          if (bits < 8)
            masked =
                b.create<arith::AndIOp>(masked, this->word(int32_t(inPlace ? mask << by : mask)));
          Value &sum = sums[inPlace ? quad : 0][row];
          sum = dot(sum, factor, masked);
        }
      }
    }
    for (int64_t row = 0; row < 4; ++row)
      for (int64_t quad = 0; quad < (inPlace ? quads : 1); ++quad) {
        Value sum = sums[quad][row];
        if (quad)
          sum = b.create<arith::ShRSIOp>(sum, word(quad * bits));
        if (low)
          sum = b.create<arith::ShLIOp>(sum, word(low));
        result[row] = result[row] ? k.add(result[row], sum) : sum;
      }
    low += bits;
    first += blocksOfPart;
  }
  return result;
}

/// A level is a sum over the sets of bits that its code has, of numbers that belong to the sets:
/// term `set` of each of four rows. So levels need not be looked up.
SmallVector<PanelLinear::Rows> PanelLinear::levelTerms(const Place &place, Value panel) {
  const MixedFormat &format = place.weight->format;
  int64_t count = int64_t(1) << format.bits;
  SmallVector<Rows> terms(count, Rows(4));
  Value first = k.add(times(panel, formatTileRows), times(place.rowQuad, 4));
  for (int64_t row = 0; row < 4; ++row) {
    Value at = plus(times(plus(first, row), count / wordBytes), format.levelsAt / wordBytes);
    for (int64_t i = 0; i < count; ++i) {
      Value word = element(place.weight->words, plus(at, i / wordBytes));
      terms[i][row] = b.create<arith::AndIOp>(shiftRight(word, i % wordBytes * 8), this->word(255));
    }
    for (int64_t bit = 1; bit < count; bit *= 2)
      for (int64_t set = 0; set < count; ++set)
        if (set & bit)
          terms[set][row] = k.sub(terms[set][row], terms[set ^ bit][row]);
  }
  return terms;
}

PanelLinear::Rows PanelLinear::levelDots(const Place &place, const Tile &tile,
                                         ArrayRef<Value> input, ArrayRef<Rows> terms) {
  const MixedFormat &format = place.weight->format;
  Value all;
  for (Value quad : input)
    all = dot(all, quad, word(repeated(1)));
  Rows result(4);
  for (int64_t row = 0; row < 4; ++row) {
    SmallVector<Value> sums(terms.size());
    for (auto [i, quad] : llvm::enumerate(input)) {
      SmallVector<Value> sets(terms.size());
      size_t bit = 1, first = 0;
      for (unsigned bits : format.planes) {
        int64_t quads = 8 / bits;
        Value own = component(tile.codes[first + i / quads], row);
        first += partColumns * bits / 32;
        for (unsigned j = 0; j < bits; ++j, bit *= 2)
          sets[bit] =
              b.create<arith::AndIOp>(shiftRight(own, i % quads * bits + j), word(repeated(1)));
      }
      for (size_t set = 1; set < sets.size(); ++set) {
        size_t highest = llvm::bit_floor(set);
        if (set != highest)
          sets[set] = b.create<arith::AndIOp>(sets[highest], sets[set ^ highest]);
        sums[set] = dot(sums[set], quad, sets[set]);
      }
    }
    result[row] = k.mul(all, terms[0][row]);
    for (size_t set = 1; set < sums.size(); ++set)
      result[row] = k.add(result[row], k.mul(sums[set], terms[set][row]));
  }
  return result;
}

PanelLinear::Rows PanelLinear::scalesOf(const Tile &tile) {
  Rows result;
  for (Value word : tile.scales)
    for (bool high : {false, true})
      result.push_back(halfOf(word, high));
  return result;
}

PanelLinear::Rows PanelLinear::zerosOf(const Place &place, const Tile &tile) {
  // Levels stand for level - 128.
  if (place.weight->format.codebook)
    return Rows(4, f(128.0));
  Rows result;
  for (int64_t row = 0; row < 4; ++row) {
    Value zero = b.create<arith::AndIOp>(shiftRight(tile.zeros, 8 * row), word(255));
    result.push_back(b.create<arith::SIToFPOp>(b.getF32Type(), zero));
  }
  return result;
}

/// What the low section gives for four rows, of the tiles that are the invocation's; `first` is the
/// first of them.
PanelLinear::Rows PanelLinear::sumTiles(const Place &place, Value panel, const Tile &first) {
  const MixedFormat &format = place.weight->format;
  SmallVector<Rows> terms;
  if (format.codebook)
    terms = levelTerms(place, panel);
  int64_t step = tileStep(), passes = llvm::divideCeil(format.columnsOfTiles, step);
  auto addTile = [&](Value number, const Tile &tile, ValueRange carried) {
    // Beyond the last tile, or the columns of it, what was read is of another place.
    Value column = k.add(times(number, formatTileColumns), times(place.part, partColumns)), inside;
    if (format.lastColumns || format.columnsOfTiles % step != 0)
      inside = k.less(column, k.index(format.storedColumns));
    Value own = inside ? k.select(inside, number, k.index(0)) : number;
    Values next(carried.begin(), carried.end());
    Rows scales, zeros;
    if (!format.oneGroup()) {
      scales = scalesOf(tile);
      zeros = zerosOf(place, tile);
    }
    Value block = quotient(k.add(times(own, formatTileColumns), times(place.part, partColumns)),
                           k.index(this->block));
    for (int64_t plane = 0; plane < planes; ++plane) {
      Values input = inputWords(place, own, plane);
      Rows sums =
          format.codebook ? levelDots(place, tile, input, terms) : planeDots(place, tile, input);
      Value ofPlane = plus(block, plane * planeBlocks());
      Value scale = inputFactor(place, ofPlane, false), offset = inputFactor(place, ofPlane, true);
      // The block's sum is taken once, at its beginning.
      if (this->block != partColumns)
        offset =
            k.select(k.equal(remainder(column, k.index(this->block)), k.index(0)), offset, f(0.0));
      if (inside) {
        scale = k.select(inside, scale, f(0.0));
        offset = k.select(inside, offset, f(0.0));
      }
      for (int64_t row = 0; row < 4; ++row) {
        Value low = k.mul(b.create<arith::SIToFPOp>(b.getF32Type(), sums[row]), scale);
        if (!format.oneGroup())
          low = k.mul(scales[row], k.sub(low, k.mul(zeros[row], offset)));
        next[row] = k.add(next[row], low);
      }
      if (format.oneGroup())
        next[4] = k.add(next[4], offset);
    }
    return next;
  };
  Values sums(format.oneGroup() ? 5 : 4, f(0.0));
  // The tile behind one, for as long as there is one.
  auto following = [&](Value number) { return loadTile(place, panel, insideTile(place, number)); };
  if (passes <= largestUnrolled) {
    Tile tile = first;
    for (int64_t pass = 0; pass < passes; ++pass) {
      Tile next = pass + 1 < passes ? following(plus(place.tile, (pass + 1) * step)) : Tile();
      sums = addTile(plus(place.tile, pass * step), tile, sums);
      tile = next;
    }
  } else {
    Values carried = flatten(first);
    size_t width = carried.size();
    llvm::append_range(carried, sums);
    carried = loop(k.index(0), k.index(passes), 1, carried, [&](Value pass, ValueRange now) {
      Value number = k.add(place.tile, times(pass, step));
      Values next = flatten(following(plus(number, step)));
      llvm::append_range(
          next, addTile(number, tileOf(place, now.take_front(width)), now.drop_front(width)));
      return next;
    });
    sums = Values(ArrayRef(carried).drop_front(width));
  }
  Rows result(sums.begin(), sums.begin() + 4);
  if (!format.oneGroup())
    return result;
  Rows scales = scalesOf(first), zeros = zerosOf(place, first);
  for (int64_t row = 0; row < 4; ++row)
    result[row] = k.mul(scales[row], k.sub(result[row], k.mul(zeros[row], sums[4])));
  return result;
}

/// The tile, or one that the weight has where the invocation's part of it is outside.
Value PanelLinear::insideTile(const Place &place, Value tile) {
  const MixedFormat &format = place.weight->format;
  if (!format.lastColumns && format.columnsOfTiles % tileStep() == 0)
    return k.min(tile, k.index(format.columnsOfTiles - 1));
  Value column = k.add(times(tile, formatTileColumns), times(place.part, partColumns));
  return k.select(k.less(column, k.index(format.storedColumns)), tile, k.index(0));
}
