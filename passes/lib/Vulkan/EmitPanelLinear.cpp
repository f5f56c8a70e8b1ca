//===- EmitPanelLinear.cpp - Panels of mixed-precision weights ------------===//
//
// A task is a panel of 16 rows of a weight and one row of the input. An invocation reads 16 bytes
// of codes at once, which are words of four rows, and multiplies all columns of a part of a tile
// that way, so that what it does for a group is done once for some 64 columns; neighbouring
// invocations read neighbouring rows and parts. Codes are not shifted out of a word: those of a
// mask are multiplied where they are, and the sums shifted in the end.
//
//===----------------------------------------------------------------------===//

#include "PanelLinear.h"
#include "ShaderKernels.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;
using Circuit = MixedFormat::Circuit;

bool PanelLinear::addWeight(unsigned i) {
  auto type = cast<MixedType>(op.getWeights()[i].getType());
  std::optional<MixedFormat> format =
      MixedFormat::get(type, cast<LayoutAttr>((*op.getWeightLayouts())[i]), block);
  Value buffer = inputBuffer(op.getWeights()[i]);
  Value output = outputBuffer(op.getResults()[op.getGated() ? 0 : i]);
  Value bias = op.getBiases().empty() ? Value() : inputBuffer(op.getBiases()[i]);
  if (!format || !buffer || !output || (!op.getBiases().empty() && !bias) ||
      format->lastColumns % partColumns != 0 || format->rowOfTilesBytes() % quadBytes != 0 ||
      format->scalesAt % wordBytes != 0 || format->zerosAt % wordBytes != 0 ||
      format->levelsAt % wordBytes != 0 || format->circuitAt % wordBytes != 0)
    return false;
  Weight &weight = weights.emplace_back(
      Weight{*format, buffer, wordsOf(buffer), view(buffer, quadType()), {}, {}, bias, output});
  if (format->circuit != Circuit::None) {
    anyCircuit = true;
    weight.halves = view(buffer, b.getF16Type());
    weight.shorts = view(buffer, b.getI16Type());
  }
  if (format->circuit == Circuit::Slots)
    tilesOfPrefix = std::max<int64_t>(tilesOfPrefix, llvm::PowerOf2Ceil(format->columnsOfTiles));
  return true;
}

bool PanelLinear::collect() {
  for (const char *feature : {"dot8", "int8", "int16", "float16", "storage8", "storage16"})
    if (!profile.has(feature))
      return false;
  if (!op.getWeightLayouts())
    return false;
  Dims xDims = k.dims(op.getX()), scaleDims = k.dims(op.getXScales());
  inputColumns = *xDims.back().constant();
  blocks = *scaleDims[scaleDims.size() - 2].constant();
  rowCount = elementCount(ArrayRef(xDims).drop_back());
  x = inputBuffer(op.getX());
  xScales = inputBuffer(op.getXScales());
  residual = inputBuffer(op.getResidual());
  if (!x || !xScales || bool(op.getResidual()) != bool(residual))
    return false;
  block = *quantizationBlock(cast<MixedType>(op.getWeights()[0].getType()).getColumns(), blocks);
  // Narrow subgroups are those of devices whose compilers are slow with much code.
  partColumns =
      std::min<int64_t>(block, profile.getSubgroup() && profile.getSubgroup() < 16 ? 32 : 64);
  parts = formatTileColumns / partColumns;
  xWords = view(x, quadType());
  for (unsigned i = 0; i < op.getWeights().size(); ++i)
    if (!addWeight(i))
      return false;
  if (op.getGated() && (weights[0].format.sorted || weights[1].format.sorted))
    return false;
  // A pass over all tiles is the least time from beginning to end, as long as the device has all
  // panels under way at once; with more of them each invocation does better to have several passes.
  int64_t panels = 0, sharing = op.getGated() ? 2 : 1;
  for (const Weight &weight : weights)
    panels += weight.format.rowsOfTiles;
  int64_t tiles = weights[0].format.columnsOfTiles, whole = tiles * rowQuads * parts;
  int64_t most = std::min<int64_t>(
      8 * profile.getWorkgroup() / sharing,
      std::clamp<int64_t>(llvm::alignDown(invocationsAtOnce / panels, 32), 32, 512));
  int64_t passes = llvm::divideCeil(whole, most);
  ownInvocations = llvm::alignTo(llvm::divideCeil(whole, passes), 32);
  return true;
}

PanelLinear::Place PanelLinear::placeOf(const Weight &weight, Value panel, Value row,
                                        unsigned number) {
  Place place;
  place.weight = &weight;
  place.panel = panel;
  place.row = row;
  place.local = plus(thread(), -int64_t(number) * ownInvocations);
  place.rowQuad = remainder(place.local, k.index(rowQuads));
  Value rest = quotient(place.local, k.index(rowQuads));
  place.part = remainder(rest, k.index(parts));
  place.tile = quotient(rest, k.index(parts));
  return place;
}

/// The codes of four rows, of block `number` of those that the invocation has of a plane.
Value PanelLinear::loadCodes(const Place &place, Value tile, size_t plane, int64_t number) {
  const MixedFormat &format = place.weight->format;
  int64_t bits = format.planes[plane], blocksOfPart = partColumns * bits / 32;
  Value at = k.add(times(place.panel, format.rowOfTilesBytes() / quadBytes),
                   times(tile, format.tileBytes(formatTileColumns) / quadBytes));
  int64_t before = 0;
  for (size_t i = 0; i < plane; ++i)
    before += format.planes[i];
  if (before) {
    // A plane of the whole tile has 16 rows of so many bits for each column.
    Value width = k.index(formatTileColumns * before / 8);
    if (format.lastColumns)
      width = k.select(k.equal(tile, k.index(format.wholeTiles)),
                       k.index(format.lastColumns * before / 8), width);
    at = k.add(at, width);
  }
  at = k.add(at, k.add(times(place.part, blocksOfPart * rowQuads), place.rowQuad));
  return element(place.weight->quads, plus(at, number * rowQuads));
}

SmallVector<Value> PanelLinear::inputWords(const Place &place, Value tile) {
  Value at = k.add(times(place.row, inputColumns / quadBytes),
                   k.add(times(tile, formatTileColumns / quadBytes),
                         times(place.part, partColumns / quadBytes)));
  SmallVector<Value> words;
  for (int64_t i = 0; i < partColumns / quadBytes; ++i) {
    Value quad = element(xWords, plus(at, i));
    for (int64_t j = 0; j < 4; ++j)
      words.push_back(component(quad, j));
  }
  return words;
}

static int64_t repeated(int64_t byte) { return byte * 0x01010101; }

/// For four rows, the sums of the products of codes and input of a part of a tile.
PanelLinear::Rows PanelLinear::planeDots(const Place &place, Value tile) {
  const MixedFormat &format = place.weight->format;
  SmallVector<Value> input = inputWords(place, tile);
  Rows result(4);
  int64_t low = 0;
  for (auto [plane, bits] : llvm::enumerate(format.planes)) {
    int64_t quads = 8 / bits, blocksOfPart = partColumns * bits / 32;
    bool inPlace = quads <= 4;
    SmallVector<Rows> sums(quads, Rows(4));
    for (int64_t number = 0; number < blocksOfPart; ++number) {
      Value codes = loadCodes(place, tile, plane, number);
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
  }
  return result;
}

/// A level is a sum over the sets of bits that its code has, of numbers that belong to the sets:
/// term `set` of each of four rows. So levels need not be looked up.
SmallVector<PanelLinear::Rows> PanelLinear::levelTerms(const Place &place) {
  const MixedFormat &format = place.weight->format;
  int64_t count = int64_t(1) << format.bits;
  SmallVector<Rows> terms(count, Rows(4));
  Value first = k.add(times(place.panel, formatTileRows), times(place.rowQuad, 4));
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

PanelLinear::Rows PanelLinear::levelDots(const Place &place, Value tile, ArrayRef<Rows> terms) {
  const MixedFormat &format = place.weight->format;
  SmallVector<Value> input = inputWords(place, tile);
  // Of each plane, the words of the invocation.
  SmallVector<SmallVector<Value>> codes;
  for (auto [plane, bits] : llvm::enumerate(format.planes)) {
    codes.emplace_back();
    for (int64_t number = 0; number < partColumns * int64_t(bits) / 32; ++number)
      codes.back().push_back(loadCodes(place, tile, plane, number));
  }
  Value all;
  for (Value quad : input)
    all = dot(all, quad, word(repeated(1)));
  Rows result(4);
  for (int64_t row = 0; row < 4; ++row) {
    SmallVector<Value> sums(terms.size());
    for (auto [i, quad] : llvm::enumerate(input)) {
      SmallVector<Value> sets(terms.size());
      size_t bit = 1;
      for (auto [plane, bits] : llvm::enumerate(format.planes)) {
        int64_t quads = 8 / bits;
        Value own = component(codes[plane][i / quads], row);
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

PanelLinear::Rows PanelLinear::groupScales(const Place &place, Value group) {
  const MixedFormat &format = place.weight->format;
  Value at = k.add(times(place.panel, format.groups), group);
  at = k.add(times(at, formatTileRows / 2), times(place.rowQuad, 2));
  at = plus(at, format.scalesAt / wordBytes);
  Value low = element(place.weight->words, at), high = element(place.weight->words, plus(at, 1));
  return {halfOf(low, false), halfOf(low, true), halfOf(high, false), halfOf(high, true)};
}

PanelLinear::Rows PanelLinear::groupZeros(const Place &place, Value group) {
  const MixedFormat &format = place.weight->format;
  // Levels stand for level - 128.
  if (format.codebook)
    return Rows(4, f(128.0));
  Value at = k.add(times(place.panel, format.groups), group);
  at = k.add(times(at, rowQuads), place.rowQuad);
  Value all = element(place.weight->words, plus(at, format.zerosAt / wordBytes));
  Rows result;
  for (int64_t row = 0; row < 4; ++row) {
    Value zero = b.create<arith::AndIOp>(shiftRight(all, 8 * row), word(255));
    result.push_back(b.create<arith::SIToFPOp>(b.getF32Type(), zero));
  }
  return result;
}

/// What the low section gives for four rows, of the tiles that are the invocation's.
PanelLinear::Rows PanelLinear::tiles(const Place &place) {
  const MixedFormat &format = place.weight->format;
  SmallVector<Rows> terms;
  if (format.codebook)
    terms = levelTerms(place);
  auto addTile = [&](Value tile, ValueRange carried) {
    Rows sums = format.codebook ? levelDots(place, tile, terms) : planeDots(place, tile);
    Value column = k.add(times(tile, formatTileColumns), times(place.part, partColumns));
    Value number = k.add(times(place.row, blocks), quotient(column, k.index(block)));
    Value scale = load(xScales, times(number, 2));
    Value offset = load(xScales, plus(times(number, 2), 1));
    // The block's sum is taken once, at its beginning.
    if (block != partColumns)
      offset = k.select(k.equal(remainder(column, k.index(block)), k.index(0)), offset, f(0.0));
    SmallVector<Value> next(carried.begin(), carried.end());
    Rows scales, zeros;
    if (!format.oneGroup()) {
      Value group = quotient(column, k.index(format.group));
      scales = groupScales(place, group);
      zeros = groupZeros(place, group);
    }
    for (int64_t row = 0; row < 4; ++row) {
      Value low = k.mul(b.create<arith::SIToFPOp>(b.getF32Type(), sums[row]), scale);
      if (!format.oneGroup())
        low = k.mul(scales[row], k.sub(low, k.mul(zeros[row], offset)));
      next[row] = k.add(carried[row], low);
    }
    if (format.oneGroup())
      next[4] = k.add(carried[4], offset);
    return next;
  };
  SmallVector<Value> carried(format.oneGroup() ? 5 : 4, f(0.0));
  int64_t step = ownInvocations / (rowQuads * parts);
  carried = loop(place.tile, k.index(format.columnsOfTiles), step, carried,
                 [&](Value tile, ValueRange carried) {
                   if (!format.lastColumns)
                     return addTile(tile, carried);
                   Value column =
                       k.add(times(tile, formatTileColumns), times(place.part, partColumns));
                   Value inside = k.less(column, k.index(format.storedColumns));
                   return k.branch(
                       inside, [&] { return addTile(tile, carried); },
                       [&] { return SmallVector<Value>(carried); });
                 });
  Rows result(carried.begin(), carried.begin() + 4);
  if (!format.oneGroup())
    return result;
  Rows scales = groupScales(place, k.index(0)), zeros = groupZeros(place, k.index(0));
  for (int64_t row = 0; row < 4; ++row)
    result[row] = k.mul(scales[row], k.sub(result[row], k.mul(zeros[row], carried[4])));
  return result;
}

/// Leaves the sums of each subgroup in memory.
void PanelLinear::store(const Rows &sums, Value extra) {
  Value own = thread();
  int64_t width = std::max<int64_t>(rowQuads, subgroup());
  Rows all;
  for (Value sum : sums)
    all.push_back(sumSubgroup(sum, rowQuads));
  when(k.less(remainder(own, k.index(width)), k.index(rowQuads)), [&] {
    Value quad = remainder(own, k.index(rowQuads));
    Value at = k.add(times(quotient(own, k.index(width)), formatTileRows), times(quad, 4));
    for (int64_t row = 0; row < 4; ++row)
      storeShared(all[row], sumsMemory, plus(at, row));
  });
  if (!extra)
    return;
  extra = sumSubgroup(extra, formatTileRows);
  width = std::max<int64_t>(formatTileRows, subgroup());
  when(k.less(remainder(own, k.index(width)), k.index(formatTileRows)), [&] {
    Value at = k.add(times(quotient(own, k.index(width)), formatTileRows),
                     remainder(own, k.index(formatTileRows)));
    storeShared(extra, extrasMemory, at);
  });
}

void PanelLinear::emitPanels(ArrayRef<Weight> part, Value panel, Value row) {
  SmallVector<Place, 2> places;
  for (auto [number, weight] : llvm::enumerate(part)) {
    places.push_back(placeOf(weight, panel, row, number));
    Place &place = places.back();
    const MixedFormat &format = weight.format;
    if (format.circuit == Circuit::Slots) {
      loadCounts(place, number);
    } else if (format.circuit == Circuit::Uniform) {
      int64_t slots = format.columnsOfTiles * format.uniformSlots;
      place.slots = k.index(slots);
      place.slotsAt = plus(times(panel, slots * format.slotBytes()), format.slotsAt());
    }
  }
  // The invocations of a gated operation's second weight are behind those of the first.
  auto ofOwn = [&](function_ref<SmallVector<Value>(const Place &)> compute) {
    if (places.size() == 1)
      return compute(places[0]);
    return k.branch(
        k.less(thread(), k.index(ownInvocations)), [&] { return compute(places[0]); },
        [&] { return compute(places[1]); });
  };
  SmallVector<Value> sums =
      ofOwn([&](const Place &place) { return SmallVector<Value>(tiles(place)); });
  for (auto [number, place] : llvm::enumerate(places))
    if (place.weight->format.circuit == Circuit::Slots)
      sumCounts(place, number);
  Value extra;
  if (llvm::any_of(part, [](const Weight &each) { return each.format.circuit != Circuit::None; }))
    extra = ofOwn([&](const Place &place) {
      Circuit circuit = place.weight->format.circuit;
      return SmallVector<Value>{circuit == Circuit::None   ? f(0.0)
                                : circuit == Circuit::List ? addList(place)
                                                           : addSlots(place)};
    })[0];
  store(Rows(sums.begin(), sums.end()), extra);
  barrier();
  const Weight &weight = part[0];
  const MixedFormat &format = weight.format;
  Value lane = thread(), stored = k.add(times(panel, formatTileRows), lane);
  Value isRow =
      k.logicalAnd(k.less(lane, k.index(formatTileRows)), k.less(stored, k.index(format.rows)));
  when(isRow, [&] {
    Value feature = stored;
    if (format.sorted) {
      Value byte = element(weight.bytes, plus(stored, format.permutationAt));
      Value inBlock = toIndex(b.create<arith::ExtUIOp>(b.getI32Type(), byte));
      feature =
          k.add(times(quotient(stored, k.index(permutationBlock)), permutationBlock), inBlock);
    }
    auto sumOf = [&](unsigned number) {
      const Weight &own = part[number];
      Value sum;
      auto add = [&](Value memory, int64_t count) {
        for (int64_t i = number * count; i < (number + 1) * count; ++i) {
          Value each = loadShared(memory, plus(lane, i * formatTileRows));
          sum = sum ? k.add(sum, each) : each;
        }
      };
      add(sumsMemory, partials());
      if (extra)
        add(extrasMemory, extras());
      return own.bias ? k.add(sum, load(own.bias, feature)) : sum;
    };
    Value y = activate(op.getActivation(), sumOf(0));
    if (op.getGated())
      y = k.mul(y, sumOf(1));
    Value at = k.add(times(row, format.rows), feature);
    if (residual)
      y = k.add(y, load(residual, at));
    ShaderCode::store(y, weight.output, at);
  });
  // Of another task, too.
  barrier();
}

void PanelLinear::emit() {
  int64_t sharing = op.getGated() ? 2 : 1;
  setWorkgroup(ownInvocations * sharing);
  sumsMemory = shared(sharing * partials() * formatTileRows, b.getF32Type());
  if (anyCircuit)
    extrasMemory = shared(sharing * extras() * formatTileRows, b.getF32Type());
  bool anySlots = llvm::any_of(
      weights, [](const Weight &weight) { return weight.format.circuit == Circuit::Slots; });
  if (anySlots) {
    prefixMemory = shared(sharing * tilesOfPrefix, b.getI32Type());
    totalsMemory = shared(workgroup() / subgroup(), b.getI32Type());
  }
  SmallVector<ArrayRef<Weight>> groups;
  for (size_t i = 0; i < weights.size(); i += sharing)
    groups.push_back(ArrayRef(weights).slice(i, sharing));
  int64_t panels = 0;
  for (ArrayRef<Weight> group : groups)
    panels += group[0].format.rowsOfTiles;
  // Rows of the input are inside, so that a panel is read once.
  k.parallel(rowCount * panels, [&](Value task) {
    Value rows = k.sym(rowCount), panel = quotient(task, rows), row = remainder(task, rows);
    int64_t first = 0;
    for (ArrayRef<Weight> group : groups) {
      Value own = plus(panel, -first);
      if (groups.size() == 1)
        return emitPanels(group, own, row);
      int64_t last = first + group[0].format.rowsOfTiles;
      Value isIt = k.logicalAnd(k.lessEqual(k.index(first), panel), k.less(panel, k.index(last)));
      when(isIt, [&] { emitPanels(group, own, row); });
      first = last;
    }
  });
}

bool tacq::emitPanelLinearShader(KernelBuilder &kernel, LinearOp op, VulkanProfileAttr profile) {
  PanelLinear shader(kernel, op, profile);
  if (!shader.collect())
    return false;
  shader.emit();
  return true;
}
