//===- EmitMixedLinear.cpp - Products with mixed-precision weights --------===//
//
// A workgroup makes the 16 elements of a row of the result that a row of tiles is for, or of each
// pair of a gated operation. 16 invocations, which read neighbouring words of a tile, have a part
// of the columns. Weights are in the layout of the CPU targets, so that one module has one copy of
// them, and results are those of the same integers. Input that is not quantized is multiplied with
// decoded weights, in f32.
//
//===----------------------------------------------------------------------===//

#include "ShaderKernels.h"
#include "WorkgroupCode.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "tacq/Codegen/MixedOperands.h"
#include "llvm/Support/MathExtras.h"
#include <numeric>

using namespace mlir;
using namespace tacq;

namespace {

constexpr int64_t halfBytes = 2, startBytes = 4;
/// Of a workgroup where the size of subgroups is known.
constexpr int64_t manyInvocations = 512;

class MixedLinearShader : WorkgroupCode, MixedOperands {
public:
  MixedLinearShader(KernelBuilder &k, LinearOp op, VulkanProfileAttr profile)
      : WorkgroupCode(k, profile), op(op) {}
  LogicalResult emit();

private:
  struct Weight {
    MixedFormat format;
    Value words, bias, output;
  };
  /// Where a stored row of a weight has its numbers.
  struct Place {
    const Weight *weight;
    Value stored, rowOfTiles, lane;
    /// The levels of a codebook of up to 3 bits, four in a word.
    SmallVector<Value, 2> levels;
    Value levelsAt;
  };

  LogicalResult collect();
  Place placeOf(const Weight &weight, Value stored);
  Value numberAt(const Place &place, Value block, int64_t section, int64_t bytes);
  SmallVector<Value> wordsOfStep(const Place &place, Value number, int64_t width, Value column);
  Value code(const Place &place, ArrayRef<Value> words, int64_t column);
  Value dots(const Place &place, Value number, int64_t width, Value input, Value first,
             int64_t count);
  Value floatDots(const Place &place, Value number, int64_t width, Value row, Value first,
                  int64_t count, Value zero);
  bool isQuantized() const { return bool(xScales); }
  Value floatInput(Value row, Value column);
  Value inputAt(Value row, Value column);
  Value addSlots(const Place &place, Value row, Value sum);
  Value addList(const Place &place, Value row, Value sum);
  Value product(const Weight &weight, Value row, Value stored);
  Value sumOfParts(Value own, Value memory);
  void emitResult(const Weight &weight, Value row, Value stored, ArrayRef<Value> sums);
  void emitRowOfTiles(const Weight &weight, Value row, Value number);

  static int64_t stepOf(const MixedFormat &format) {
    return formatInterleave * 8 / *llvm::min_element(format.planes);
  }

  LinearOp op;
  SmallVector<Weight> weights;
  /// Of the columns, and which of them the invocation has.
  int64_t parts = 1;
  Value part;
  SmallVector<Value, 2> memory;
};

LogicalResult MixedLinearShader::collect() {
  std::string reason;
  auto operands = collectOperands(*this, op, reason);
  if (failed(operands))
    return op.emitError(reason);
  if (isQuantized())
    x = wordsOf(x);
  for (const Operand &operand : *operands)
    weights.push_back({operand.format, wordsOf(operand.buffer), operand.bias, operand.output});
  int64_t most = subgroup() > 1 ? manyInvocations : vulkanInvocations;
  most = std::min(most, mostInvocations()) / formatTileRows;
  parts = std::min<int64_t>(llvm::PowerOf2Ceil(llvm::divideCeil(planeColumns(), block)), most);
  setWorkgroup(parts * formatTileRows);
  for (int64_t i = 0; parts > 1 && i < (op.getGated() ? 2 : 1); ++i)
    memory.push_back(shared(workgroup(), b.getF32Type()));
  return success();
}

MixedLinearShader::Place MixedLinearShader::placeOf(const Weight &weight, Value stored) {
  Place place{&weight,
              stored,
              quotient(stored, k.index(formatTileRows)),
              remainder(stored, k.index(formatTileRows)),
              {},
              {}};
  const MixedFormat &format = weight.format;
  if (!format.codebook)
    return place;
  place.levelsAt = plus(times(stored, int64_t(1) << format.bits), format.levelsAt);
  for (int64_t i = 0; format.bits <= 3 && i < int64_t(1) << format.bits; i += 4)
    place.levels.push_back(loadWord(weight.words, plus(place.levelsAt, i)));
  return place;
}

/// Of the metadata of the group that a block of the input belongs to.
Value MixedLinearShader::numberAt(const Place &place, Value block, int64_t section, int64_t bytes) {
  const MixedFormat &format = place.weight->format;
  Value at = times(place.rowOfTiles, format.groups);
  if (!format.oneGroup()) {
    int64_t blocksOfGroup = format.group / format.block;
    at = k.add(at, blocksOfGroup == 1 ? block : quotient(block, k.index(blocksOfGroup)));
  }
  at = k.add(times(at, formatTileRows), place.lane);
  return plus(times(at, bytes), section);
}

/// The code of a column of a step, or the level that it stands for, as i32. `words` has the step's
/// words of all planes, one plane after the other.
Value MixedLinearShader::code(const Place &place, ArrayRef<Value> words, int64_t column) {
  const MixedFormat &format = place.weight->format;
  Value result;
  unsigned low = 0;
  size_t firstWord = 0;
  int64_t step = stepOf(format);
  for (unsigned bits : format.planes) {
    int64_t blockColumns = formatInterleave * 8 / bits;
    Value word = words[firstWord + column / blockColumns];
    int64_t inBlock = column % blockColumns;
    int64_t shift = inBlock % formatInterleave * 8 + inBlock / formatInterleave * bits;
    Value part = b.create<arith::AndIOp>(shiftRight(word, shift), this->word((1 << bits) - 1));
    if (low)
      part = b.create<arith::ShLIOp>(part, this->word(low));
    result = result ? b.create<arith::OrIOp>(result, part).getResult() : part;
    low += bits;
    firstWord += step / blockColumns;
  }
  if (!format.codebook)
    return result;
  if (place.levels.empty())
    return loadNumber(place.weight->words, k.add(place.levelsAt, toIndex(result)), 1);
  Value word = place.levels[0];
  if (place.levels.size() == 2) {
    Value isHigh = b.create<arith::CmpIOp>(arith::CmpIPredicate::uge, result, this->word(4));
    word = k.select(isHigh, place.levels[1], word);
    result = b.create<arith::AndIOp>(result, this->word(3));
  }
  Value shift = b.create<arith::ShLIOp>(result, this->word(3));
  return b.create<arith::AndIOp>(b.create<arith::ShRUIOp>(word, shift), this->word(255));
}

/// The words of all planes from a column of a tile on, which is `width` columns wide.
SmallVector<Value> MixedLinearShader::wordsOfStep(const Place &place, Value number, int64_t width,
                                                  Value column) {
  const MixedFormat &format = place.weight->format;
  Value plane = k.add(times(place.rowOfTiles, format.rowOfTilesBytes()),
                      times(number, format.tileBytes(quantizedColumns)));
  Value lane = times(place.lane, formatInterleave);
  SmallVector<Value> words;
  for (unsigned bits : format.planes) {
    int64_t blockColumns = formatInterleave * 8 / bits;
    int64_t blockBytes = formatTileRows * formatInterleave;
    Value from = times(quotient(column, k.index(blockColumns)), blockBytes);
    from = k.add(k.add(plane, from), lane);
    for (int64_t i = 0; i < stepOf(format) / blockColumns; ++i)
      words.push_back(loadWord(place.weight->words, plus(from, i * blockBytes)));
    plane = plus(plane, formatTileRows * width * bits / 8);
  }
  return words;
}

/// The sum of products of columns [first, first + count) of a tile, as i32. `input` is the byte at
/// which the tile's columns begin in the input.
Value MixedLinearShader::dots(const Place &place, Value number, int64_t width, Value input,
                              Value first, int64_t count) {
  int64_t step = stepOf(place.weight->format);
  return loop(first, plus(first, count), step, word(0), [&](Value column, ValueRange carried) {
    SmallVector<Value> words = wordsOfStep(place, number, width, column);
    Value sum = carried[0];
    for (int64_t quad = 0; quad < step; quad += 4) {
      Value quads = loadWord(x, k.add(input, plus(column, quad)));
      for (int64_t i = 0; i < 4; ++i) {
        Value left = b.create<arith::ShLIOp>(quads, word(24 - 8 * i));
        Value integer = b.create<arith::ShRSIOp>(left, word(24));
        sum = k.add(sum, k.mul(code(place, words, quad + i), integer));
      }
    }
    return SmallVector<Value>{sum};
  })[0];
}

/// The same of codes less `zero`, with input that is not quantized.
Value MixedLinearShader::floatDots(const Place &place, Value number, int64_t width, Value row,
                                   Value first, int64_t count, Value zero) {
  int64_t step = stepOf(place.weight->format);
  Value start = times(number, quantizedColumns);
  return loop(first, plus(first, count), step, f(0.0), [&](Value column, ValueRange carried) {
    SmallVector<Value> words = wordsOfStep(place, number, width, column);
    Value sum = carried[0];
    for (int64_t i = 0; i < step; ++i) {
      Value number = b.create<arith::SIToFPOp>(b.getF32Type(), code(place, words, i));
      Value input = floatInput(row, k.add(start, plus(column, i)));
      sum = k.add(sum, k.mul(k.sub(number, zero), input));
    }
    return SmallVector<Value>{sum};
  })[0];
}

/// Tiles may have columns that the input does not have.
Value MixedLinearShader::floatInput(Value row, Value column) {
  Value first = times(row, inputColumns);
  if (inputColumns % smallestBlock == 0)
    return load(x, k.add(first, column));
  Value last = k.index(inputColumns - 1);
  Value number = load(x, k.add(first, k.min(column, last)));
  return k.select(k.lessEqual(column, last), number, f(0.0));
}

/// An element of the input, which the circuit is multiplied with.
Value MixedLinearShader::inputAt(Value row, Value column) {
  if (!isQuantized())
    return floatInput(row, column);
  Value ofPlane = quotient(column, k.index(block)), sum;
  for (int64_t plane = 0; plane < planes; ++plane) {
    Value at = plus(times(row, inputColumns), plane * planeColumns());
    Value left = b.create<arith::ShLIOp>(loadNumber(x, k.add(at, column), 1), word(24));
    Value number =
        b.create<arith::SIToFPOp>(b.getF32Type(), b.create<arith::ShRSIOp>(left, word(24)));
    Value own = k.add(plus(times(row, blocks), plane * planeBlocks()), ofPlane);
    Value part = k.mul(number, load(xScales, times(own, 2)));
    sum = sum ? k.add(sum, part) : part;
  }
  return sum;
}

Value MixedLinearShader::addSlots(const Place &place, Value row, Value sum) {
  const MixedFormat &format = place.weight->format;
  Value words = place.weight->words;
  bool uniform = format.circuit == MixedFormat::Circuit::Uniform;
  Value slots, counts;
  if (uniform) {
    int64_t bytes = format.columnsOfTiles * format.uniformSlots * format.slotBytes();
    slots = plus(times(place.rowOfTiles, bytes), format.slotsAt());
  } else {
    Value start = plus(times(place.rowOfTiles, startBytes), format.circuitAt);
    start = toIndex(loadNumber(words, start, startBytes));
    slots = plus(times(start, format.slotBytes()), format.slotsAt());
    counts = plus(times(place.rowOfTiles, format.columnsOfTiles), format.countsAt());
  }
  return loop(
      k.index(0), k.index(format.columnsOfTiles), 1, {sum, slots},
      [&](Value tile, ValueRange carried) {
        Value count = uniform ? k.index(format.uniformSlots)
                              : toIndex(loadNumber(words, k.add(counts, tile), 1));
        Value end = k.add(carried[1], times(count, format.slotBytes()));
        Value first = times(tile, quantizedColumns);
        Value own = k.select(k.equal(remainder(tile, k.index(parts)), part), end, carried[1]);
        Value total =
            loop(carried[1], own, format.slotBytes(), carried[0], [&](Value at, ValueRange sums) {
              Value from = k.add(at, times(place.lane, format.positionBytes));
              Value column = toIndex(loadNumber(words, from, format.positionBytes));
              column = k.add(first, column);
              Value value = loadHalf(words, k.add(plus(at, formatTileRows * format.positionBytes),
                                                  times(place.lane, halfBytes)));
              Value number = inputAt(row, column);
              return SmallVector<Value>{k.add(sums[0], k.mul(value, number))};
            })[0];
        return SmallVector<Value>{total, end};
      })[0];
}

Value MixedLinearShader::addList(const Place &place, Value row, Value sum) {
  const MixedFormat &format = place.weight->format;
  Value words = place.weight->words;
  int64_t entryBytes = format.positionBytes + halfBytes;
  int64_t entriesAt = format.circuitAt + startBytes * (format.rows + 1);
  Value start = plus(times(place.stored, startBytes), format.circuitAt);
  auto entry = [&](Value at) {
    return plus(times(toIndex(loadNumber(words, at, startBytes)), entryBytes), entriesAt);
  };
  Value first = k.add(entry(start), times(part, entryBytes));
  return loop(first, entry(plus(start, startBytes)), entryBytes * parts, sum,
              [&](Value at, ValueRange carried) {
                Value position = loadNumber(words, at, halfBytes);
                // An entry is aligned to two bytes only.
                if (format.positionBytes > halfBytes) {
                  Value high = loadNumber(words, plus(at, halfBytes), halfBytes);
                  high = b.create<arith::ShLIOp>(high, word(16));
                  position = b.create<arith::OrIOp>(position, high);
                }
                Value column = toIndex(position);
                Value value = loadHalf(words, plus(at, format.positionBytes));
                Value number = inputAt(row, column);
                return SmallVector<Value>{k.add(carried[0], k.mul(value, number))};
              })[0];
}

/// Of the columns that the invocation has.
Value MixedLinearShader::product(const Weight &weight, Value row, Value stored) {
  const MixedFormat &format = weight.format;
  Place place = placeOf(weight, stored);
  auto scaleOf = [&](Value block) {
    return loadHalf(weight.words, numberAt(place, block, format.scalesAt, halfBytes));
  };
  auto zeroOf = [&](Value block) {
    // Levels stand for level - 128.
    if (format.codebook)
      return f(128.0);
    Value zero = loadNumber(weight.words, numberAt(place, block, format.zerosAt, 1), 1);
    return Value(b.create<arith::UIToFPOp>(b.getF32Type(), zero));
  };
  auto addBlock = [&](Value number, int64_t width, Value first, int64_t count, ValueRange carried) {
    Value block =
        k.add(times(number, quantizedColumns / this->block), quotient(first, k.index(this->block)));
    if (!isQuantized()) {
      Value own = floatDots(place, number, width, row, first, count, zeroOf(block));
      own = format.oneGroup() ? own : k.mul(scaleOf(block), own);
      return SmallVector<Value>{k.add(carried[0], own), carried[1]};
    }
    SmallVector<Value> next(carried);
    Value input = k.add(times(row, inputColumns), times(number, quantizedColumns));
    Value scaleAt = times(k.add(times(row, blocks), block), 2);
    for (int64_t plane = 0; plane < planes; ++plane) {
      Value sum = dots(place, number, width, plus(input, plane * planeColumns()), first, count);
      Value at = plus(scaleAt, 2 * plane * planeBlocks());
      Value scale = load(xScales, at), offset = load(xScales, plus(at, 1));
      Value low = k.mul(b.create<arith::SIToFPOp>(b.getF32Type(), sum), scale);
      if (format.oneGroup()) {
        next = {k.add(next[0], low), k.add(next[1], offset)};
        continue;
      }
      Value decoded = k.mul(scaleOf(block), k.sub(low, k.mul(zeroOf(block), offset)));
      next[0] = k.add(next[0], decoded);
    }
    return next;
  };
  SmallVector<Value> carried = {f(0.0), f(0.0)};
  int64_t blocksOfTile = quantizedColumns / block;
  carried = loop(part, k.index(format.wholeTiles * blocksOfTile), parts, carried,
                 [&](Value i, ValueRange carried) {
                   Value number = quotient(i, k.index(blocksOfTile));
                   Value first = times(remainder(i, k.index(blocksOfTile)), block);
                   return addBlock(number, quantizedColumns, first, block, carried);
                 });
  auto addLast = [&] {
    SmallVector<Value> sums = carried;
    for (int64_t first = 0; first < format.lastColumns; first += block)
      sums = addBlock(k.index(format.wholeTiles), format.lastColumns, k.index(first),
                      std::min(block, format.lastColumns - first), sums);
    return sums;
  };
  if (format.lastColumns > 0)
    carried = k.branch(k.equal(part, k.index(0)), addLast, [&] { return carried; });
  Value sum = carried[0];
  if (format.oneGroup()) {
    Value only = k.index(0);
    sum = k.mul(scaleOf(only), k.sub(sum, k.mul(zeroOf(only), carried[1])));
  }
  if (format.circuit == MixedFormat::Circuit::List)
    return addList(place, row, sum);
  return format.circuit == MixedFormat::Circuit::None ? sum : addSlots(place, row, sum);
}

/// All of the workgroup come here; the first 16 get the sums.
Value MixedLinearShader::sumOfParts(Value own, Value memory) {
  if (parts == 1)
    return own;
  storeShared(own, memory, thread());
  barrier();
  Value lane = remainder(thread(), k.index(formatTileRows)), sum = loadShared(memory, lane);
  for (int64_t i = 1; i < parts; ++i)
    sum = k.add(sum, loadShared(memory, plus(lane, i * formatTileRows)));
  barrier(); // before the next task
  return sum;
}

void MixedLinearShader::emitResult(const Weight &weight, Value row, Value stored,
                                   ArrayRef<Value> sums) {
  const MixedFormat &format = weight.format;
  Value feature = stored;
  if (format.sorted) {
    Value inBlock = toIndex(loadNumber(weight.words, plus(stored, format.permutationAt), 1));
    Value block = quotient(stored, k.index(permutationBlock));
    feature = k.add(times(block, permutationBlock), inBlock);
  }
  auto withBias = [&](const Weight &weight, Value sum) {
    return weight.bias ? k.add(sum, load(weight.bias, feature)) : sum;
  };
  Value y = activate(op.getActivation(), withBias(weight, sums[0]));
  if (op.getGated())
    y = k.mul(y, withBias(weights[1], sums[1]));
  Value at = k.add(times(row, format.rows), feature);
  if (residual)
    y = k.add(y, load(residual, at));
  store(y, weight.output, at);
}

void MixedLinearShader::emitRowOfTiles(const Weight &weight, Value row, Value number) {
  Value lane = remainder(thread(), k.index(formatTileRows));
  part = quotient(thread(), k.index(formatTileRows));
  Value stored = k.add(times(number, formatTileRows), lane);
  // The last row of tiles may have rows that the weight does not have.
  Value known = k.min(stored, k.index(weight.format.rows - 1));
  SmallVector<Value, 2> sums = {product(weight, row, known)};
  if (op.getGated())
    sums.push_back(product(weights[1], row, known));
  for (auto [i, sum] : llvm::enumerate(sums))
    sum = sumOfParts(sum, parts > 1 ? memory[i] : Value());
  Value isIt = k.less(stored, k.index(weight.format.rows));
  when(k.logicalAnd(isIt, k.equal(part, k.index(0))),
       [&] { emitResult(weight, row, stored, sums); });
}

LogicalResult MixedLinearShader::emit() {
  if (failed(collect()))
    return failure();
  SmallVector<int64_t> counts; // of rows of tiles
  for (const Weight &weight : ArrayRef(weights).take_front(op.getGated() ? 1 : weights.size()))
    counts.push_back(llvm::divideCeil(weight.format.rows, formatTileRows));
  int64_t count = std::accumulate(counts.begin(), counts.end(), int64_t(0));
  k.parallel(rowCount * count, [&](Value task) {
    Value row = quotient(task, k.index(count));
    ofPart(remainder(task, k.index(count)), counts,
           [&](size_t i, Value number) { emitRowOfTiles(weights[i], row, number); });
  });
  return success();
}

} // namespace

LogicalResult tacq::emitMixedLinearShader(KernelBuilder &kernel, LinearOp op,
                                          VulkanProfileAttr profile) {
  if (emitPanelLinearShader(kernel, op, profile))
    return success();
  return MixedLinearShader(kernel, op, profile).emit();
}
