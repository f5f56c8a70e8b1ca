//===- EmitTileLinear.cpp - Products of many rows through matrices --------===//
//
// A task is a tile of the result. Of a workgroup, one half of the subgroups decodes a step of 32
// columns of the weights and of the rows into shared memory as f16, while the other half multiplies
// the step before by cooperative matrices: there are two steps in the memory, and one barrier for
// each. What is decoded was read into registers two steps before. Sums are f32. In the end they go
// through shared memory, where each invocation knows which feature and which row a number belongs
// to.
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
/// With fewer of them, the product of each row with its own weights takes less time.
constexpr int64_t fewestRows = 24;
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
    SmallVector<Value> rows, rowsInTile, factors;
    Value rowPart;
    /// The feature of the tile that it decodes, and of a gated operation, whether of the second
    /// weight.
    Value feature, featurePart, isSecond;
  };
  using Sums = SmallVector<Value>;

  bool addWeight(unsigned i);
  void chooseShape();
  Place placeOf(ArrayRef<Weight> group, Value tile, Value rowTile);
  SmallVector<Value> ofOwn(Place &place, function_ref<SmallVector<Value>(TileWeight &)> compute);
  SmallVector<Value> loadStep(Place &place, Value tile, int64_t step, ValueRange before);
  Value behind(ValueRange loaded, Value value);
  void storeStep(Place &place, ValueRange loaded);
  void addSlots(Place &place, ValueRange slots, int64_t step);
  Value weightQuad(Value feature) { return times(feature, rowOfQuads); }
  Value inputQuad(Value row) { return times(plus(row, shape.features), rowOfQuads); }
  Value rowScale(Value row);
  void multiply(Sums &sums);
  void storeSums(Place &place, const Sums &sums, Value tile, Value rowTile);
  void storeFeatures(const Place &place, Value firstQuad, int64_t apart, Value ofTile, Value row,
                     Value scale, Value tile);
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
  place.featurePart = quotient(own, k.index(shape.features));
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
    place.weights.back().setPlace(stored, place.featurePart,
                                  stepColumns * shape.features / workgroup());
  }
  // Neighbours read the 16 bytes of a step that a row has.
  constexpr int64_t sharing = stepColumns / quadBytes;
  place.rowPart = remainder(own, k.index(sharing));
  for (int64_t first = 0; first < shape.rows; first += workgroup() / sharing) {
    place.rowsInTile.push_back(plus(quotient(own, k.index(sharing)), first));
    Value row = k.add(times(rowTile, shape.rows), place.rowsInTile.back());
    place.rows.push_back(k.min(row, k.sub(k.sym(rowCount), k.index(1))));
    Value scale = rowScale(place.rows.back());
    storeShared(k.mul(scale, f(1 / tileWeightFactor)), scalesMemory, place.rowsInTile.back());
    place.factors.push_back(k.div(f(1.0), scale));
  }
  return place;
}

/// The largest scale of the row's blocks, or 1 if all are 0.
Value TileLinear::rowScale(Value row) {
  Value first = times(row, blocks * 2), last = k.index(blocks - 1);
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

/// What a thread reads of a step: of the weight, then the input's words and their scales, which are
/// those of the step before where its block is the same.
SmallVector<Value> TileLinear::loadStep(Place &place, Value tile, int64_t step,
                                        ValueRange before) {
  SmallVector<Value> loaded =
      ofOwn(place, [&](TileWeight &weight) { return weight.load(tile, step, before); });
  Value column = plus(times(tile, formatTileColumns), step * stepColumns);
  Value quadAt = k.add(quotient(column, k.index(quadBytes)), place.rowPart);
  for (Value row : place.rows)
    loaded.push_back(element(xQuads, k.add(times(row, inputColumns / quadBytes), quadAt)));
  if (!before.empty() && step * stepColumns % std::min(block, formatTileColumns) != 0) {
    llvm::append_range(loaded, before.take_back(place.rows.size()));
    return loaded;
  }
  Value number = k.min(quotient(column, k.index(block)), k.index(blocks - 1));
  for (Value row : place.rows)
    loaded.push_back(
        ShaderCode::load(xScales, times(k.add(times(row, blocks), number), 2)));
  return loaded;
}

/// The value, known only when everything of `loaded` is. Device compilers wait for all loads that are
/// under way where they wait for one: so those of the next step must not begin before.
Value TileLinear::behind(ValueRange loaded, Value value) {
  Value all;
  for (Value each : loaded) {
    if (isa<VectorType>(each.getType()))
      each = component(each, 0);
    if (each.getType().isInteger(32))
      all = all ? b.create<arith::OrIOp>(all, each).getResult() : each;
  }
  return k.add(value, toIndex(b.create<arith::AndIOp>(all, inRegister(0))));
}

void TileLinear::storeStep(Place &place, ValueRange loaded) {
  size_t rows = place.rows.size();
  ValueRange ofWeight = loaded.drop_back(2 * rows);
  SmallVector<Value> decoded =
      ofOwn(place, [&](TileWeight &weight) { return weight.decode(ofWeight); });
  Value at =
      k.add(weightQuad(place.feature), times(place.featurePart, int64_t(decoded.size()) / 4));
  for (size_t i = 0; i < decoded.size(); i += 4)
    storeShared(quad(ArrayRef(decoded).slice(i, 4)), memory, plus(at, int64_t(i / 4)));
  Value zero = pair(k.constant(b.getF16Type(), 1024 + 128));
  for (size_t row = 0; row < rows; ++row) {
    Value scale = k.mul(loaded[ofWeight.size() + rows + row], place.factors[row]);
    scale = pair(b.create<arith::TruncFOp>(b.getF16Type(), scale));
    SmallVector<Value> words;
    for (int64_t j = 0; j < 4; ++j) {
      Value integers = component(loaded[ofWeight.size() + row], j);
      for (int64_t odd = 0; odd < 2; ++odd) {
        // Bytes as 128 more, in the low bits of 1024.
        Value numbers = b.create<arith::AndIOp>(shiftRight(integers, odd * 8), inRegister(0x00FF00FF));
        numbers = b.create<arith::XOrIOp>(numbers, word(0x64806480));
        words.push_back(scaledPair(numbers, zero, scale));
      }
    }
    at = k.add(inputQuad(place.rowsInTile[row]), times(place.rowPart, 2));
    storeShared(quad(ArrayRef(words).take_front(4)), memory, at);
    storeShared(quad(ArrayRef(words).drop_front(4)), memory, plus(at, 1));
  }
}

void TileLinear::addSlots(Place &place, ValueRange slots, int64_t step) {
  if (slots.empty())
    return;
  Value first = weightQuad(place.feature);
  if (place.weights.size() == 1)
    return place.weights[0].addSlots(slots, step, memory, first);
  when(place.isSecond, [&] { place.weights[1].addSlots(slots, step, memory, first); });
  when(k.logicalNot(place.isSecond),
       [&] { place.weights[0].addSlots(slots, step, memory, first); });
}

/// Adds the products of a half of the memory to the sums of the subgroup.
void TileLinear::multiply(Sums &sums) {
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
      factors.push_back(load(plus(weightQuad(plus(feature, i)), part * 2), "AOp", false));
    for (int64_t j = 0; j < shape.ownRows; j += matrix)
      inputs.push_back(load(plus(inputQuad(plus(row, j)), part * 2), "BOp", true));
    size_t at = 0;
    for (Value factor : factors)
      for (Value input : inputs) {
        sums[at] = b.create<gpu::SubgroupMmaComputeOp>(sums[at].getType(), factor, input, sums[at],
                                                       UnitAttr(), UnitAttr());
        ++at;
      }
  }
}

/// Stores four neighbouring features of a row, the first of which is `ofTile`. Their sums are at
/// `firstQuad`, and those of a gated operation's second weight `apart` behind it.
void TileLinear::storeFeatures(const Place &place, Value firstQuad, int64_t apart, Value ofTile,
                               Value row, Value scale, Value tile) {
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
    others = numbers(plus(firstQuad, apart));
  for (int64_t i = 0; i < 4; ++i) {
    Value stored = k.add(times(tile, tileFeatures), plus(ofTile, i));
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
  int64_t quads = (shape.features + shape.rows) * rowOfQuads / shape.subgroups();
  int64_t sharing = op.getGated() ? 2 : 1, pairs = shape.ownFeatures / sharing;
  int64_t rowsAtOnce = shape.ownRows, pairsAtOnce = pairs, stride = 0;
  auto fits = [&] {
    stride = pairsAtOnce * sharing / 4 + 1;
    return rowsAtOnce * stride <= quads;
  };
  while (!fits())
    (rowsAtOnce > matrix ? rowsAtOnce : pairsAtOnce) /= 2;
  Value own = thread(), number = quotient(own, k.index(subgroup()));
  Value lane = remainder(own, k.index(subgroup())), first = times(number, quads);
  int64_t across = shape.features / shape.ownFeatures;
  Value ownFeature = times(remainder(number, k.index(across)), pairs);
  Value ownRow = times(quotient(number, k.index(across)), shape.ownRows);
  int64_t quadsOfRow = pairsAtOnce / 4, columns = shape.ownRows / matrix;
  for (int64_t fromRow = 0; fromRow < shape.ownRows; fromRow += rowsAtOnce)
    for (int64_t fromPair = 0; fromPair < pairs; fromPair += pairsAtOnce) {
      for (int64_t which = 0; which < sharing; ++which)
        for (int64_t i = 0; i < pairsAtOnce; i += matrix)
          for (int64_t j = 0; j < rowsAtOnce; j += matrix) {
            int64_t sum = (which * pairs + fromPair + i) / matrix * columns + (fromRow + j) / matrix;
            Value at = plus(first, j * stride + (which * pairsAtOnce + i) / 4);
            b.create<gpu::SubgroupMmaStoreMatrixOp>(sums[sum], memory, ValueRange{at},
                                                    b.getIndexAttr(stride), b.getUnitAttr());
          }
      barrier();
      loop(lane, k.index(rowsAtOnce * quadsOfRow), subgroup(), [&](Value i) {
        Value rowHere = quotient(i, k.index(quadsOfRow)), quad = remainder(i, k.index(quadsOfRow));
        Value rowInTile = k.add(plus(ownRow, fromRow), rowHere);
        Value row = k.add(times(rowTile, shape.rows), rowInTile);
        when(k.less(row, k.sym(rowCount)), [&] {
          Value at = k.add(first, k.add(times(rowHere, stride), quad));
          Value feature = k.add(plus(ownFeature, fromPair), times(quad, 4));
          storeFeatures(place, at, quadsOfRow, feature, row, loadShared(scalesMemory, rowInTile),
                        tile);
        });
      });
      barrier();
    }
}

void TileLinear::emitTile(ArrayRef<Weight> group, Value tile, Value rowTile) {
  Place place = placeOf(group, tile, rowTile);
  Value first = k.index(0), last = k.index(tilesOfColumns - 1);
  SmallVector<Value> early = loadStep(place, first, 0, {});
  SmallVector<Value> loaded = loadStep(place, first, 1, early);
  SmallVector<Value> carried =
      ofOwn(place, [&](TileWeight &weight) { return weight.firstSlots(); });
  size_t slotCount = carried.size(), loadCount = loaded.size();
  storeStep(place, early);
  addSlots(place, carried, 0);
  barrier();
  carried.append(loaded);
  auto sum = gpu::MMAMatrixType::get({matrix, matrix}, b.getF32Type(), "COp");
  int64_t matrices = shape.ownFeatures * shape.ownRows / (matrix * matrix);
  Value zero = b.create<gpu::SubgroupMmaConstantMatrixOp>(sum, f(0.0));
  carried.append(matrices, zero);
  carried = loop(first, k.index(tilesOfColumns), 1, carried, [&](Value at, ValueRange now) {
    SmallVector<Value> slots(now.take_front(slotCount));
    SmallVector<Value> loaded(now.slice(slotCount, loadCount));
    Sums sums(now.drop_front(slotCount + loadCount));
    Value next = k.min(plus(at, 1), last);
    for (int64_t step = 0; step < stepsOfTile; ++step) {
      int64_t following = (step + 1) % stepsOfTile, later = (step + 2) % stepsOfTile;
      Value tileOfLater = later >= 2 ? at : next;
      SmallVector<Value> ahead = loadStep(place, behind(loaded, tileOfLater), later, loaded);
      if (!following && slotCount)
        slots = ofOwn(place, [&](TileWeight &own) { return own.nextSlots(slots, next); });
      multiply(sums);
      barrier();
      storeStep(place, loaded);
      addSlots(place, slots, following);
      barrier();
      loaded = ahead;
    }
    slots.append(loaded);
    slots.append(sums);
    return slots;
  });
  storeSums(place, Sums(ArrayRef(carried).drop_front(slotCount + loadCount)), tile, rowTile);
}

void TileLinear::emit() {
  setWorkgroup(shape.subgroups() * subgroup());
  memory = shared((shape.features + shape.rows) * rowOfQuads, quadType());
  scalesMemory = shared(shape.rows, b.getF32Type());
  int64_t sharing = op.getGated() ? 2 : 1;
  SmallVector<ArrayRef<Weight>> groups;
  int64_t tiles = 0;
  for (size_t i = 0; i < weights.size(); i += sharing) {
    groups.push_back(ArrayRef(weights).slice(i, sharing));
    tiles += tilesOf(weights[i]);
  }
  Sym rowTiles = Sym::ceilDiv(rowCount, shape.rows);
  // None where there are few rows.
  Sym many = Sym::min(1, Sym::floorDiv(rowCount, fewestRows));
  k.parallel(many * rowTiles * tiles, [&](Value task) {
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
