//===- EmitIntegerTile.cpp - Products of many rows of integers ------------===//
//
// A tile of 128 columns of the weights is put into shared memory as bytes, four columns in a word,
// beside the integers of the rows. Sums of their products are integers until a block of the input
// ends, and so are those of the kernel for a row. The circuit's values are multiplied as they are.
//
//===----------------------------------------------------------------------===//

#include "RowTile.h"
#include "ShaderKernels.h"
#include "TileLinear.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace tacq;
using Circuit = MixedFormat::Circuit;

namespace {

constexpr int64_t wordBytes = 4, halfBytes = 2, tileWords = formatTileColumns / wordBytes;
/// Of a row of the input in memory, padded so that rows do not meet in the same banks.
constexpr int64_t inputStride = tileWords + 1;

class IntegerTile : public RowTile {
public:
  IntegerTile(KernelBuilder &k, LinearOp op, VulkanProfileAttr profile) : RowTile(k, op, profile) {}
  bool collect();

private:
  struct Weight {
    MixedFormat format;
    Value buffer, words;
  };
  /// A panel that the invocation has a row of.
  struct Place {
    const Weight *weight;
    Value panel, stored;
  };

  Values emitSums(size_t first, Value tile, Value rowTile) override;
  Value featureOf(size_t weight, Value stored) override;
  std::vector<TileWeight> decoders(size_t first, Value tile);
  void stageInput(Value columns, Value rowTile);
  void stageWeights(MutableArrayRef<TileWeight> decoders, Value columns);
  Value half(const Weight &weight, Value byteAt, bool isEven = true);
  Value inputNumber(Value word, Value column);
  void addDots(Values &dots, Value word);
  Values addBlock(ArrayRef<Place> places, Value columns, Value inTile, ValueRange sums);
  Value firstSlot(const Place &place);
  Values addSlots(const Place &place, Value columns, Value slot, ValueRange sums);
  Values addList(const Place &place, Value rowTile, ValueRange sums);

  /// Of a row of the input, of all planes.
  int64_t inputColumns = 0, blocks = 0, block = 0, planes = 1;
  /// The plane that is added.
  int64_t plane = 0;
  /// Where the scales of a block of a row are, in the plane.
  Value scalesOf(Value row, Value inputBlock) {
    Value first = plus(times(row, blocks), plane * (blocks / planes));
    return times(k.add(first, inputBlock), 2);
  }
  Value x, xScales, weightMemory, inputMemory;
  SmallVector<Weight, 3> weights;
  /// The rows of the input that the invocation has.
  Values rows;
};

bool IntegerTile::collect() {
  if (!op.getWeightLayouts() || !collectRows())
    return false;
  Dims scaleDims = k.dims(op.getXScales());
  inputColumns = *k.dims(op.getX()).back().constant();
  blocks = *scaleDims[scaleDims.size() - 2].constant();
  Value input = inputBuffer(op.getX());
  xScales = inputBuffer(op.getXScales());
  if (!input || !xScales)
    return false;
  x = wordsOf(input);
  planes = op.inputPlanes();
  int64_t columns = cast<MixedType>(op.getWeights()[0].getType()).getColumns();
  block = *quantizationBlock(columns, blocks, planes);
  for (auto [i, operand] : llvm::enumerate(op.getWeights())) {
    auto layout = cast<LayoutAttr>((*op.getWeightLayouts())[i]);
    std::optional<MixedFormat> format =
        MixedFormat::get(cast<MixedType>(operand.getType()), layout, block);
    Value buffer = inputBuffer(operand);
    if (!format || !buffer || !TileWeight::supports(*format) || !addOutput(i, format->rows) ||
        (op.getGated() && format->sorted))
      return false;
    weights.push_back({*format, buffer, wordsOf(buffer)});
  }
  weightMemory = shared(tileWords * tileFeatures, b.getI32Type());
  inputMemory = shared(tileRows() * inputStride, b.getI32Type());
  return true;
}

Value IntegerTile::featureOf(size_t weight, Value stored) {
  const MixedFormat &format = weights[weight].format;
  if (!format.sorted)
    return stored;
  Value inBlock = toIndex(loadNumber(weights[weight].words, plus(stored, format.permutationAt), 1));
  return k.add(times(quotient(stored, k.index(permutationBlock)), permutationBlock), inBlock);
}

/// An f16 number as f32.
Value IntegerTile::half(const Weight &weight, Value byteAt, bool isEven) {
  return isEven ? halfOf(loadNumber(weight.words, byteAt, halfBytes), false)
                : loadHalf(weight.words, byteAt);
}

/// The signed byte of a column in its word, as f32.
Value IntegerTile::inputNumber(Value word, Value column) {
  Value inWord = b.create<arith::IndexCastOp>(b.getI32Type(), remainder(column, k.index(4)));
  Value left = k.sub(this->word(24), b.create<arith::ShLIOp>(inWord, this->word(3)));
  Value high = b.create<arith::ShLIOp>(word, left);
  return b.create<arith::SIToFPOp>(b.getF32Type(), b.create<arith::ShRSIOp>(high, this->word(24)));
}

/// What decodes the invocation's parts of a tile of weights: a row and 32 columns each.
std::vector<TileWeight> IntegerTile::decoders(size_t first, Value tile) {
  std::vector<TileWeight> result;
  int64_t partsOfPanel = panelRows * stepsOfTile, panels = panelsOfWeight();
  Value step = remainder(quotient(thread(), k.index(panelRows)), k.index(stepsOfTile));
  for (int64_t part = 0; part < ownPanels * partsOfPanel; part += workgroup()) {
    int64_t number = part / partsOfPanel;
    const Weight &weight = weights[first + size_t(number / panels)];
    Value panel = plus(quotient(thread(), k.index(partsOfPanel)), number % panels);
    panel = k.add(times(tile, panels), panel);
    TileWeight &code = result.emplace_back(*this, weight.format, weight.buffer);
    code.setPlace(k.add(times(panel, panelRows), lane()), step);
  }
  return result;
}

/// Puts a tile of columns of the input into memory.
void IntegerTile::stageInput(Value columns, Value rowTile) {
  Value word = remainder(thread(), k.index(tileWords));
  Values read;
  for (int64_t i = 0; i < tileRows() * tileWords; i += workgroup()) {
    Value row = inputRow(rowTile, quotient(plus(thread(), i), k.index(tileWords)));
    Value at = k.add(times(row, inputColumns / wordBytes), times(columns, tileWords));
    at = plus(at, plane * (inputColumns / planes / wordBytes));
    read.push_back(element(x, k.add(at, word)));
  }
  for (auto [i, value] : llvm::enumerate(read)) {
    Value row = quotient(plus(thread(), int64_t(i) * workgroup()), k.index(tileWords));
    storeShared(value, inputMemory, k.add(times(row, inputStride), word));
  }
}

/// The same of the weights.
void IntegerTile::stageWeights(MutableArrayRef<TileWeight> decoders, Value columns) {
  int64_t partsOfPanel = panelRows * stepsOfTile, wordsOfStep = stepColumns / wordBytes;
  Value step = remainder(quotient(thread(), k.index(panelRows)), k.index(stepsOfTile));
  for (auto [i, decoder] : llvm::enumerate(decoders)) {
    int64_t number = int64_t(i) * workgroup() / partsOfPanel;
    Value panel = plus(quotient(thread(), k.index(partsOfPanel)), number);
    Value at = k.add(times(step, wordsOfStep * tileFeatures), times(panel, panelRows));
    at = k.add(at, lane());
    for (auto [j, codes] : llvm::enumerate(decoder.codeBytes(columns)))
      storeShared(codes, weightMemory, plus(at, int64_t(j) * tileFeatures));
  }
}

/// Adds the products of four columns.
void IntegerTile::addDots(Values &dots, Value at) {
  Values codes, integers;
  for (int64_t i = 0; i < ownPanels; ++i)
    codes.push_back(
        loadShared(weightMemory, k.add(times(at, tileFeatures), plus(lane(), i * panelRows))));
  for (int64_t j = 0; j < ownRows; ++j)
    integers.push_back(loadShared(inputMemory, k.add(times(plus(firstRow(), j), inputStride), at)));
  if (profile.has("dot8")) {
    for (int64_t i = 0; i < ownPanels; ++i)
      for (int64_t j = 0; j < ownRows; ++j) {
        Value &sum = dots[size_t(i * ownRows + j)];
        sum = dot(sum, integers[size_t(j)], codes[size_t(i)]);
      }
    return;
  }
  for (int64_t byte = 0; byte < wordBytes; ++byte) {
    Values factors, numbers;
    for (Value code : codes)
      factors.push_back(b.create<arith::AndIOp>(shiftRight(code, 8 * byte), word(255)));
    for (Value integer : integers)
      numbers.push_back(b.create<arith::ShRSIOp>(
          b.create<arith::ShLIOp>(integer, word(24 - 8 * byte)), word(24)));
    for (int64_t i = 0; i < ownPanels; ++i)
      for (int64_t j = 0; j < ownRows; ++j) {
        Value &sum = dots[size_t(i * ownRows + j)];
        sum = k.add(sum, k.mul(factors[size_t(i)], numbers[size_t(j)]));
      }
  }
}

/// Adds block `inTile` of the tile that is in memory.
RowTile::Values IntegerTile::addBlock(ArrayRef<Place> places, Value columns, Value inTile,
                                      ValueRange sums) {
  Values dots(sums.size(), word(0));
  Value begin = times(inTile, block / wordBytes);
  dots = loop(begin, plus(begin, block / wordBytes), 1, dots, [&](Value at, ValueRange carried) {
    Values next(carried);
    addDots(next, at);
    return next;
  });
  Value number = k.add(times(columns, formatTileColumns / block), inTile);
  // Behind the last block there are zeros.
  int64_t last = blocks / planes - 1;
  Value isBlock = k.lessEqual(number, k.index(last)), own = k.min(number, k.index(last));
  Values scales, offsets, result;
  for (Value row : rows) {
    Value at = scalesOf(row, own);
    scales.push_back(ShaderCode::load(xScales, at));
    offsets.push_back(k.select(isBlock, ShaderCode::load(xScales, plus(at, 1)), f(0.0)));
  }
  for (auto [i, place] : llvm::enumerate(places)) {
    const MixedFormat &format = place.weight->format;
    Value at = times(place.panel, format.groups);
    if (!format.oneGroup())
      at = k.add(at, quotient(own, k.index(format.group / block)));
    at = k.add(times(at, formatTileRows), lane());
    Value scale = half(*place.weight, plus(times(at, halfBytes), format.scalesAt)), zero = f(128.0);
    if (!format.codebook)
      zero = b.create<arith::UIToFPOp>(
          b.getF32Type(), loadNumber(place.weight->words, plus(at, format.zerosAt), 1));
    for (int64_t j = 0; j < ownRows; ++j) {
      size_t sum = i * ownRows + size_t(j);
      Value low = b.create<arith::SIToFPOp>(b.getF32Type(), dots[sum]);
      low = k.sub(k.mul(low, scales[size_t(j)]), k.mul(zero, offsets[size_t(j)]));
      result.push_back(k.add(sums[sum], k.mul(scale, low)));
    }
  }
  return result;
}

/// The panel's first slot.
Value IntegerTile::firstSlot(const Place &place) {
  const MixedFormat &format = place.weight->format;
  if (format.circuit == Circuit::Uniform)
    return times(place.panel, format.columnsOfTiles * format.uniformSlots);
  Value at = plus(place.panel, format.circuitAt / wordBytes);
  return toIndex(element(place.weight->words, at));
}

/// Adds the slots of a panel in the tile that is in memory; the last value is the slot behind.
RowTile::Values IntegerTile::addSlots(const Place &place, Value columns, Value slot,
                                      ValueRange sums) {
  const MixedFormat &format = place.weight->format;
  Value words = place.weight->words, count = k.index(format.uniformSlots);
  if (format.circuit == Circuit::Slots) {
    Value at = k.add(times(place.panel, format.columnsOfTiles), columns);
    count = toIndex(loadNumber(words, plus(at, format.countsAt()), 1));
  }
  Value end = k.add(slot, count);
  Values result = loop(slot, end, 1, sums, [&](Value number, ValueRange carried) {
    Value at = plus(times(number, format.slotBytes()), format.slotsAt());
    Value column = toIndex(
        loadNumber(words, k.add(at, times(lane(), format.positionBytes)), format.positionBytes));
    Value value =
        half(*place.weight,
             k.add(plus(at, formatTileRows * format.positionBytes), times(lane(), halfBytes)),
             format.slotsAt() % halfBytes == 0);
    Value inMemory = quotient(column, k.index(wordBytes));
    Value all = k.add(times(columns, formatTileColumns), column);
    Value inputBlock = k.min(quotient(all, k.index(block)), k.index(blocks / planes - 1));
    Values next;
    for (int64_t j = 0; j < ownRows; ++j) {
      Value own = loadShared(inputMemory, k.add(times(plus(firstRow(), j), inputStride), inMemory));
      Value scale = ShaderCode::load(xScales, scalesOf(rows[size_t(j)], inputBlock));
      next.push_back(
          k.add(carried[size_t(j)], k.mul(value, k.mul(inputNumber(own, column), scale))));
    }
    return next;
  });
  result.push_back(end);
  return result;
}

/// Adds the entries of a feature.
RowTile::Values IntegerTile::addList(const Place &place, Value rowTile, ValueRange sums) {
  const MixedFormat &format = place.weight->format;
  Value words = place.weight->words;
  int64_t entryBytes = format.positionBytes + halfBytes;
  int64_t entriesAt = format.circuitAt + wordBytes * (format.rows + 1);
  auto start = [&](Value row) {
    Value own = k.min(row, k.index(format.rows));
    return toIndex(element(words, plus(own, format.circuitAt / wordBytes)));
  };
  Value first = start(place.stored), last = start(plus(place.stored, 1));
  return loop(first, last, 1, sums, [&](Value entry, ValueRange carried) {
    Value at = plus(times(entry, entryBytes), entriesAt), column = k.index(0);
    for (int64_t i = 0; i < format.positionBytes; i += halfBytes)
      column = k.add(
          column, times(toIndex(loadNumber(words, plus(at, i), halfBytes)), int64_t(1) << (8 * i)));
    Value value = half(*place.weight, plus(at, format.positionBytes));
    Value number = quotient(column, k.index(block));
    Values next;
    for (int64_t j = 0; j < ownRows; ++j) {
      Value row = rows[size_t(j)], sum = carried[size_t(j)];
      for (plane = 0; plane < planes; ++plane) {
        Value first =
            plus(times(row, inputColumns / wordBytes), plane * (inputColumns / planes / wordBytes));
        Value own = element(x, k.add(first, quotient(column, k.index(wordBytes))));
        Value scale = ShaderCode::load(xScales, scalesOf(row, number));
        sum = k.add(sum, k.mul(value, k.mul(inputNumber(own, column), scale)));
      }
      next.push_back(sum);
    }
    plane = 0;
    return next;
  });
}

RowTile::Values IntegerTile::emitSums(size_t first, Value tile, Value rowTile) {
  SmallVector<Place, ownPanels> places;
  int64_t panels = panelsOfWeight();
  for (int64_t i = 0; i < ownPanels; ++i) {
    const Weight &weight = weights[first + size_t(i / panels)];
    Value panel = plus(times(tile, panels), i % panels);
    panel = k.min(panel, k.index(weight.format.rowsOfTiles - 1));
    places.push_back({&weight, panel, k.add(times(panel, panelRows), lane())});
  }
  rows.clear();
  for (int64_t j = 0; j < ownRows; ++j)
    rows.push_back(inputRow(rowTile, plus(firstRow(), j)));
  std::vector<TileWeight> parts = decoders(first, tile);
  Values carried(size_t(ownPanels * ownRows), f(0.0));
  for (const Place &place : places)
    carried.push_back(place.weight->format.hasSlots() ? firstSlot(place) : k.index(0));
  size_t count = size_t(ownPanels * ownRows);
  carried = loop(k.index(0), k.index(weights[first].format.columnsOfTiles), 1, carried,
                 [&](Value columns, ValueRange now) {
                   Values sums(now.take_front(count)), slots(now.drop_front(count)), next = slots;
                   stageWeights(parts, columns);
                   for (plane = 0; plane < planes; ++plane) {
                     stageInput(columns, rowTile);
                     barrier();
                     sums = loop(k.index(0), k.index(formatTileColumns / block), 1, sums,
                                 [&](Value inTile, ValueRange sums) {
                                   return addBlock(places, columns, inTile, sums);
                                 });
                     for (auto [i, place] : llvm::enumerate(places)) {
                       if (!place.weight->format.hasSlots())
                         continue;
                       auto own = MutableArrayRef(sums).slice(i * ownRows, ownRows);
                       Values added = addSlots(place, columns, slots[i], ValueRange(own));
                       next[i] = added.pop_back_val();
                       llvm::copy(added, own.begin());
                     }
                     barrier();
                   }
                   plane = 0;
                   sums.append(next);
                   return sums;
                 });
  carried.resize(count);
  for (auto [i, place] : llvm::enumerate(places))
    if (place.weight->format.circuit == Circuit::List) {
      auto own = MutableArrayRef(carried).slice(i * ownRows, ownRows);
      llvm::copy(addList(place, rowTile, ValueRange(own)), own.begin());
    }
  return carried;
}

} // namespace

bool tacq::emitIntegerTileShader(KernelBuilder &kernel, LinearOp op, VulkanProfileAttr profile) {
  IntegerTile shader(kernel, op, profile);
  if (!shader.collect())
    return false;
  shader.emit();
  return true;
}
