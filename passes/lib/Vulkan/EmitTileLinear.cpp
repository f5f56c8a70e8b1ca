//===- EmitTileLinear.cpp - Products of many rows through matrices --------===//
//
// A task is a tile of the result: a workgroup decodes a step of 32 columns of its weights and of its
// rows into shared memory as f16, twice by turns, so that there is one barrier a step: while
// subgroups multiply what is in one half by cooperative matrices, what comes next is read into
// registers, and then decoded into the other half. Sums are f32. In the end they go through shared
// memory, where each invocation knows which feature and which row a number belongs to.
//
// A row of the input is divided by the largest of its blocks' scales, so that f16 holds it.
//
//===----------------------------------------------------------------------===//

#include "ShaderKernels.h"
#include "TileLinear.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include <vector>

using namespace mlir;
using namespace tacq;

namespace {

/// Rows, columns and depth of a cooperative matrix.
constexpr int64_t matrix = 16;
constexpr int64_t quadBytes = 16;
/// Scales of blocks that are read at once.
constexpr int64_t scalesAtOnce = 8;

class TileLinear : public WorkgroupCode {
public:
  TileLinear(KernelBuilder &k, LinearOp op, VulkanProfileAttr profile)
      : WorkgroupCode(k, profile), op(op) {}
  bool collect();
  void emit();

private:
  struct Weight {
    MixedFormat format;
    Value buffer, bias, output;
  };
  /// What a thread does of a tile.
  struct Place {
    ArrayRef<Weight> group;
    std::vector<TileWeight> weights;
    /// The row of the input that it decodes, its number in the tile, and the factor of its scales.
    Value row, rowInTile, rowPart, factor;
    /// The feature of the tile that it decodes, and of a gated operation, whether of the second
    /// weight.
    Value feature, isSecond;
  };
  using Sums = SmallVector<Value>;

  bool addWeight(unsigned i);
  void chooseShape();
  int64_t halfOfPairs() { return op.getGated() ? shape.ownFeatures / 2 : shape.ownFeatures; }
  Place placeOf(ArrayRef<Weight> group, Value tile, Value rowTile);
  SmallVector<Value> ofOwn(Place &place, function_ref<SmallVector<Value>(TileWeight &)> compute);
  SmallVector<Value> loadStep(Place &place, Value tile, int64_t step);
  void storeStep(Place &place, ValueRange loaded, int64_t half);
  void addSlots(Place &place, ValueRange slots, int64_t step, int64_t half);
  Value weightQuad(Value feature, int64_t half) {
    return times(plus(feature, half * shape.features), rowOfQuads);
  }
  Value inputQuad(Value row, int64_t half) {
    return times(plus(row, 2 * shape.features + half * shape.rows), rowOfQuads);
  }
  Value rowScale(const Place &place);
  void multiply(Sums &sums, int64_t half);
  void storeSums(Place &place, const Sums &sums, Value tile, Value rowTile);
  void storeFeatures(const Place &place, Value firstQuad, Value quadOfTile, Value row, Value scale,
                     Value tile);
  void emitTile(ArrayRef<Weight> group, Value tile, Value rowTile);
  int64_t tilesOf(const Weight &weight) {
    int64_t features = op.getGated() ? shape.features / 2 : shape.features;
    return llvm::divideCeil(weight.format.rows, features);
  }

  LinearOp op;
  TileShape shape;
  int64_t inputColumns = 0, blocks = 0, block = 0, tilesOfColumns = 0;
  Sym rowCount;
  Value xQuads, xScales, residual, memory, scalesMemory;
  SmallVector<Weight, 3> weights;
};

bool TileLinear::addWeight(unsigned i) {
  auto type = cast<MixedType>(op.getWeights()[i].getType());
  std::optional<MixedFormat> format =
      MixedFormat::get(type, cast<LayoutAttr>((*op.getWeightLayouts())[i]), block);
  Value buffer = inputBuffer(op.getWeights()[i]);
  Value output = outputBuffer(op.getResults()[op.getGated() ? 0 : i]);
  Value bias = op.getBiases().empty() ? Value() : inputBuffer(op.getBiases()[i]);
  if (!format || !buffer || !output || (!op.getBiases().empty() && !bias) ||
      !TileWeight::supports(*format, stepColumns))
    return false;
  tilesOfColumns = format->columnsOfTiles;
  weights.push_back({*format, buffer, bias, output});
  return true;
}

bool TileLinear::collect() {
  for (const char *feature : {"matrix16", "int8", "int16", "float16", "storage8", "storage16"})
    if (!profile.has(feature))
      return false;
  if (!op.getWeightLayouts() || subgroup() == 1)
    return false;
  Dims xDims = k.dims(op.getX()), scaleDims = k.dims(op.getXScales());
  inputColumns = *xDims.back().constant();
  blocks = *scaleDims[scaleDims.size() - 2].constant();
  rowCount = elementCount(ArrayRef(xDims).drop_back());
  Value x = inputBuffer(op.getX());
  xScales = inputBuffer(op.getXScales());
  residual = inputBuffer(op.getResidual());
  if (!x || !xScales || bool(op.getResidual()) != bool(residual))
    return false;
  block = *quantizationBlock(cast<MixedType>(op.getWeights()[0].getType()).getColumns(), blocks);
  if (block % stepColumns != 0)
    return false;
  for (unsigned i = 0; i < op.getWeights().size(); ++i)
    if (!addWeight(i))
      return false;
  if (op.getGated() && (weights[0].format.sorted || weights[1].format.sorted))
    return false;
  xQuads = view(x, quadType());
  chooseShape();
  return true;
}

void TileLinear::chooseShape() {
  if (const char *text = getenv("TACQ_TILE"))
    sscanf(text, "%ld,%ld,%ld,%ld", &shape.features, &shape.rows, &shape.ownFeatures,
           &shape.ownRows);
}

SmallVector<Value> TileLinear::ofOwn(Place &place,
                                     function_ref<SmallVector<Value>(TileWeight &)> compute) {
  if (place.weights.size() == 1)
    return compute(place.weights[0]);
  return k.branch(
      place.isSecond, [&] { return compute(place.weights[1]); },
      [&] { return compute(place.weights[0]); });
}

TileLinear::Place TileLinear::placeOf(ArrayRef<Weight> group, Value tile, Value rowTile) {
  Place place;
  place.group = group;
  Value own = thread();
  place.feature = remainder(own, k.index(shape.features));
  Value part = quotient(own, k.index(shape.features));
  Value stored;
  if (op.getGated()) {
    // A subgroup has both numbers of a pair: of its features half are of each weight.
    int64_t half = shape.ownFeatures / 2;
    Value inOwn = remainder(place.feature, k.index(shape.ownFeatures));
    place.isSecond = k.lessEqual(k.index(half), inOwn);
    stored = k.add(times(quotient(place.feature, k.index(shape.ownFeatures)), half),
                   remainder(inOwn, k.index(half)));
    stored = k.add(times(tile, shape.features / 2), stored);
  } else {
    stored = k.add(times(tile, shape.features), place.feature);
  }
  for (const Weight &weight : group) {
    place.weights.emplace_back(*this, weight.format, weight.buffer);
    place.weights.back().setPlace(stored, part, stepColumns * shape.features / workgroup());
  }
  int64_t sharing = workgroup() / shape.rows;
  place.rowInTile = quotient(own, k.index(sharing));
  place.rowPart = remainder(own, k.index(sharing));
  Value row = k.add(times(rowTile, shape.rows), place.rowInTile);
  place.row = k.min(row, k.sub(k.sym(rowCount), k.index(1)));
  Value scale = rowScale(place);
  storeShared(scale, scalesMemory, place.rowInTile);
  place.factor = k.div(f(1.0), scale);
  return place;
}

/// The largest scale of the row's blocks, or 1 if all are 0.
Value TileLinear::rowScale(const Place &place) {
  Value first = times(place.row, blocks * 2), last = k.index(blocks - 1);
  Value largest =
      loop(k.index(0), k.index(blocks), scalesAtOnce, f(0.0), [&](Value at, ValueRange carried) {
        SmallVector<Value> scales;
        for (int64_t i = 0; i < std::min(scalesAtOnce, blocks); ++i)
          scales.push_back(
              ShaderCode::load(xScales, k.add(first, times(k.min(plus(at, i), last), 2))));
        Value result = carried[0];
        for (Value scale : scales)
          result = b.create<arith::MaxNumFOp>(result, scale);
        return SmallVector<Value>{result};
      })[0];
  Value isZero = b.create<arith::CmpFOp>(arith::CmpFPredicate::OEQ, largest, f(0.0));
  return k.select(isZero, f(1.0), largest);
}

/// What a thread reads of a step: of the weight, then the input's words and their scale.
SmallVector<Value> TileLinear::loadStep(Place &place, Value tile, int64_t step) {
  SmallVector<Value> loaded = ofOwn(place, [&](TileWeight &weight) {
    SmallVector<Value> own = weight.load(tile, step);
    return own;
  });
  int64_t columns = stepColumns * shape.rows / workgroup();
  Value column = plus(times(tile, formatTileColumns), step * stepColumns);
  Value at = k.add(times(place.row, inputColumns / quadBytes), quotient(column, k.index(quadBytes)));
  at = k.add(at, times(place.rowPart, columns / quadBytes));
  for (int64_t i = 0; i < columns / quadBytes; ++i)
    loaded.push_back(element(xQuads, plus(at, i)));
  Value number = k.min(quotient(column, k.index(block)), k.index(blocks - 1));
  number = k.add(times(place.row, blocks), number);
  loaded.push_back(ShaderCode::load(xScales, times(number, 2)));
  return loaded;
}

void TileLinear::storeStep(Place &place, ValueRange loaded, int64_t half) {
  int64_t columns = stepColumns * shape.rows / workgroup(), inputQuads = columns / quadBytes;
  ValueRange ofWeight = loaded.drop_back(inputQuads + 1);
  SmallVector<Value> decoded =
      ofOwn(place, [&](TileWeight &weight) { return weight.decode(ofWeight); });
  Value part = quotient(thread(), k.index(shape.features));
  Value at = k.add(weightQuad(place.feature, half), times(part, int64_t(decoded.size()) / 4));
  for (size_t i = 0; i < decoded.size(); i += 4)
    storeShared(quad(ArrayRef(decoded).slice(i, 4)), memory, plus(at, int64_t(i / 4)));

  Value scale = k.mul(loaded.back(), place.factor);
  scale = pair(b.create<arith::TruncFOp>(b.getF16Type(), scale));
  Value zero = pair(k.constant(b.getF16Type(), 1024 + 128));
  SmallVector<Value> words;
  for (int64_t i = 0; i < inputQuads; ++i)
    for (int64_t j = 0; j < 4; ++j) {
      Value codes = component(loaded[ofWeight.size() + i], j);
      codes = b.create<arith::XOrIOp>(codes, word(int32_t(0x80808080)));
      for (int64_t odd = 0; odd < 2; ++odd) {
        Value numbers = b.create<arith::AndIOp>(shiftRight(codes, odd * 8), word(0x00FF00FF));
        words.push_back(scaledPair(numbers, zero, scale));
      }
    }
  at = k.add(inputQuad(place.rowInTile, half), times(place.rowPart, int64_t(words.size()) / 4));
  for (size_t i = 0; i < words.size(); i += 4)
    storeShared(quad(ArrayRef(words).slice(i, 4)), memory, plus(at, int64_t(i / 4)));
}

void TileLinear::addSlots(Place &place, ValueRange slots, int64_t step, int64_t half) {
  if (slots.empty())
    return;
  Value first = weightQuad(place.feature, half);
  if (place.weights.size() == 1)
    return place.weights[0].addSlots(slots, step, memory, first);
  when(place.isSecond, [&] { place.weights[1].addSlots(slots, step, memory, first); });
  when(k.logicalNot(place.isSecond),
       [&] { place.weights[0].addSlots(slots, step, memory, first); });
}

/// Adds the products of a half of the memory to the sums of the subgroup.
void TileLinear::multiply(Sums &sums, int64_t half) {
  Value number = quotient(thread(), k.index(subgroup()));
  int64_t across = shape.features / shape.ownFeatures;
  Value feature = times(remainder(number, k.index(across)), shape.ownFeatures);
  Value row = times(quotient(number, k.index(across)), shape.ownRows);
  Type f16 = b.getF16Type();
  auto load = [&](Value at, const char *use, bool transpose) -> Value {
    auto type = gpu::MMAMatrixType::get({matrix, matrix}, f16, use);
    return b.create<gpu::SubgroupMmaLoadMatrixOp>(type, memory, ValueRange{at},
                                                  b.getIndexAttr(rowOfQuads),
                                                  transpose ? b.getUnitAttr() : UnitAttr());
  };
  for (int64_t part = 0; part < stepColumns / matrix; ++part) {
    SmallVector<Value> factors, inputs;
    for (int64_t i = 0; i < shape.ownFeatures; i += matrix)
      factors.push_back(load(plus(weightQuad(plus(feature, i), half), part * 2), "AOp", false));
    for (int64_t j = 0; j < shape.ownRows; j += matrix)
      inputs.push_back(load(plus(inputQuad(plus(row, j), half), part * 2), "BOp", true));
    size_t at = 0;
    for (Value factor : factors)
      for (Value input : inputs) {
        sums[at] = b.create<gpu::SubgroupMmaComputeOp>(sums[at].getType(), factor, input, sums[at],
                                                       UnitAttr(), UnitAttr());
        ++at;
      }
  }
}

/// Stores four neighbouring features of a row, `quadOfTile` times four being the first of them.
void TileLinear::storeFeatures(const Place &place, Value firstQuad, Value quadOfTile, Value row,
                               Value scale, Value tile) {
  auto numbers = [&](Value at) {
    Value quad = loadShared(memory, at);
    SmallVector<Value> result;
    for (int64_t i = 0; i < 4; ++i) {
      Value number = b.create<arith::BitcastOp>(b.getF32Type(), component(quad, i));
      result.push_back(k.mul(number, scale));
    }
    return result;
  };
  const Weight &weight = place.group[0];
  const MixedFormat &format = weight.format;
  int64_t tileFeatures = op.getGated() ? shape.features / 2 : shape.features;
  SmallVector<Value> sums = numbers(firstQuad), others;
  if (op.getGated())
    others = numbers(plus(firstQuad, shape.ownFeatures / 2 / 4));
  for (int64_t i = 0; i < 4; ++i) {
    Value stored = k.add(times(tile, tileFeatures), plus(times(quadOfTile, 4), i));
    when(k.less(stored, k.index(format.rows)), [&] {
      Value feature = stored;
      if (format.sorted) {
        Value byte = element(weight.buffer, plus(stored, format.permutationAt));
        Value inBlock = toIndex(b.create<arith::ExtUIOp>(b.getI32Type(), byte));
        feature =
            k.add(times(quotient(stored, k.index(permutationBlock)), permutationBlock), inBlock);
      }
      auto withBias = [&](const Weight &weight, Value sum) {
        return weight.bias ? k.add(sum, ShaderCode::load(weight.bias, feature)) : sum;
      };
      Value y = activate(op.getActivation(), withBias(weight, sums[i]));
      if (op.getGated())
        y = k.mul(y, withBias(place.group[1], others[i]));
      Value at = k.add(times(row, format.rows), feature);
      if (residual)
        y = k.add(y, ShaderCode::load(residual, at));
      ShaderCode::store(y, weight.output, at);
    });
  }
}

void TileLinear::storeSums(Place &place, const Sums &sums, Value tile, Value rowTile) {
  // Each subgroup has a part of the memory, and stores its sums there in several turns.
  int64_t quads = 2 * (shape.features + shape.rows) * rowOfQuads / shape.subgroups();
  int64_t stride = shape.ownFeatures / 4 + 1;
  int64_t rowsAtOnce = shape.ownRows;
  while (rowsAtOnce * stride > quads)
    rowsAtOnce /= 2;
  Value own = thread(), number = quotient(own, k.index(subgroup()));
  Value lane = remainder(own, k.index(subgroup())), first = times(number, quads);
  int64_t across = shape.features / shape.ownFeatures;
  Value ownFeature = times(remainder(number, k.index(across)), halfOfPairs());
  Value ownRow = times(quotient(number, k.index(across)), shape.ownRows);
  int64_t quadsOfRow = halfOfPairs() / 4, columns = shape.ownRows / matrix;
  for (int64_t from = 0; from < shape.ownRows; from += rowsAtOnce) {
    for (int64_t i = 0; i < shape.ownFeatures / matrix; ++i)
      for (int64_t j = 0; j < rowsAtOnce / matrix; ++j) {
        Value at = plus(first, j * matrix * stride + i * matrix / 4);
        b.create<gpu::SubgroupMmaStoreMatrixOp>(sums[i * columns + from / matrix + j], memory,
                                                ValueRange{at}, b.getIndexAttr(stride),
                                                b.getUnitAttr());
      }
    barrier();
    loop(lane, k.index(rowsAtOnce * quadsOfRow), subgroup(), [&](Value i) {
      Value rowHere = quotient(i, k.index(quadsOfRow)), quad = remainder(i, k.index(quadsOfRow));
      Value rowInTile = k.add(plus(ownRow, from), rowHere);
      Value row = k.add(times(rowTile, shape.rows), rowInTile);
      when(k.less(row, k.sym(rowCount)), [&] {
        Value at = k.add(first, k.add(times(rowHere, stride), quad));
        Value quadOfTile = k.add(quotient(ownFeature, k.index(4)), quad);
        storeFeatures(place, at, quadOfTile, row, loadShared(scalesMemory, rowInTile), tile);
      });
    });
    barrier();
  }
}

void TileLinear::emitTile(ArrayRef<Weight> group, Value tile, Value rowTile) {
  Place place = placeOf(group, tile, rowTile);
  Value first = k.index(0);
  storeStep(place, loadStep(place, first, 0), 0);
  SmallVector<Value> carried = ofOwn(place, [&](TileWeight &weight) {
    SmallVector<Value> slots = weight.firstSlots();
    return slots;
  });
  size_t slotCount = carried.size();
  addSlots(place, carried, 0, 0);
  barrier();
  auto sum = gpu::MMAMatrixType::get({matrix, matrix}, b.getF32Type(), "COp");
  int64_t matrices = shape.ownFeatures * shape.ownRows / (matrix * matrix);
  Value zero = b.create<gpu::SubgroupMmaConstantMatrixOp>(sum, f(0.0));
  carried.append(matrices, zero);
  Value last = k.index(tilesOfColumns - 1);
  carried = loop(first, k.index(tilesOfColumns), 1, carried, [&](Value at, ValueRange now) {
    SmallVector<Value> slots(now.take_front(slotCount));
    Sums sums(now.drop_front(slotCount));
    Value next = k.min(plus(at, 1), last);
    for (int64_t step = 0; step < stepsOfTile; ++step) {
      int64_t following = (step + 1) % stepsOfTile, half = step % 2;
      SmallVector<Value> loaded = loadStep(place, following ? at : next, following);
      if (!following && slotCount)
        slots = ofOwn(place, [&](TileWeight &weight) { return weight.nextSlots(slots, next); });
      multiply(sums, half);
      storeStep(place, loaded, 1 - half);
      addSlots(place, slots, following, 1 - half);
      barrier();
    }
    slots.append(sums);
    return slots;
  });
  storeSums(place, Sums(ArrayRef(carried).drop_front(slotCount)), tile, rowTile);
}

void TileLinear::emit() {
  setWorkgroup(shape.subgroups() * subgroup());
  memory = shared(2 * (shape.features + shape.rows) * rowOfQuads, quadType());
  scalesMemory = shared(shape.rows, b.getF32Type());
  int64_t sharing = op.getGated() ? 2 : 1;
  SmallVector<ArrayRef<Weight>> groups;
  int64_t tiles = 0;
  for (size_t i = 0; i < weights.size(); i += sharing) {
    groups.push_back(ArrayRef(weights).slice(i, sharing));
    tiles += tilesOf(weights[i]);
  }
  Sym rowTiles = Sym::ceilDiv(rowCount, shape.rows);
  k.parallel(rowTiles * tiles, [&](Value task) {
    Value count = k.sym(rowTiles), tile = quotient(task, count), rowTile = remainder(task, count);
    int64_t first = 0;
    for (ArrayRef<Weight> group : groups) {
      Value own = plus(tile, -first);
      if (groups.size() == 1)
        return emitTile(group, own, rowTile);
      int64_t last = first + tilesOf(group[0]);
      Value isIt = k.logicalAnd(k.lessEqual(k.index(first), tile), k.less(tile, k.index(last)));
      when(isIt, [&] { emitTile(group, own, rowTile); });
      first = last;
    }
  });
}

} // namespace

bool tacq::emitTileLinearShader(KernelBuilder &kernel, LinearOp op, VulkanProfileAttr profile) {
  TileLinear shader(kernel, op, profile);
  if (!shader.collect())
    return false;
  shader.emit();
  return true;
}
