//===- EmitPanelLinear.cpp - Panels of mixed-precision weights ------------===//
//
// A task is one row of the input and a panel of 16 rows of a weight. What does not depend on the
// input is read before it is waited for.
//
//===----------------------------------------------------------------------===//

#include "PanelLinear.h"
#include "ShaderKernels.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/Support/MathExtras.h"
#include <numeric>

using namespace mlir;
using namespace tacq;
using Circuit = MixedFormat::Circuit;

/// Invocations that a weight has.
static constexpr int64_t largestWorkgroup = 512;
/// Columns of a row in shared memory, of which any device has 16 KiB, and those with wide subgroups
/// have more.
static constexpr int64_t sharedColumns = 8192, manySharedColumns = 16384, wideSubgroup = 32;
/// Slots that a panel has for each of its tiles at most, as a rule: where rows are sorted, the
/// first panels of a block have most of the circuit.
static constexpr int64_t slotsOfTile = 3;
/// Shared memory of a workgroup up to which two of them may be on a multiprocessor. A compiler that
/// sees more lets a workgroup have the registers of both.
static constexpr int64_t fewBytes = 23 << 10;

bool PanelLinear::addWeight(const Operand &operand) {
  const MixedFormat &format = operand.format;
  if (format.lastColumns % partColumns != 0 || format.rowOfTilesBytes() % quadBytes != 0 ||
      format.scalesAt % wordBytes != 0 || format.zerosAt % wordBytes != 0 ||
      format.levelsAt % wordBytes != 0 || format.circuitAt % wordBytes != 0)
    return false;
  Value buffer = operand.buffer;
  Weight &weight = weights.emplace_back(Weight{format,
                                               buffer,
                                               wordsOf(buffer),
                                               view(buffer, quadType()),
                                               {},
                                               {},
                                               operand.bias,
                                               operand.output});
  anyCircuit |= format.circuit != Circuit::None;
  if (format.circuit == Circuit::List) {
    weight.halves = view(buffer, b.getF16Type());
    weight.shorts = view(buffer, b.getI16Type());
  }
  return true;
}

bool PanelLinear::collect() {
  if (!hasPanelFeatures(profile) || !op.getXScales())
    return false;
  std::string reason;
  auto operands = collectOperands(*this, op, reason);
  if (failed(operands))
    return false;
  // Narrow subgroups are those of devices whose compilers are slow with much code.
  partColumns =
      std::min<int64_t>(block, profile.getSubgroup() && profile.getSubgroup() < 16 ? 32 : 64);
  parts = formatTileColumns / partColumns;
  xWords = view(x, quadType());
  for (const Operand &operand : *operands)
    if (!addWeight(operand))
      return false;
  if (op.getGated() && !weights[0].format.hasSameForm(weights[1].format))
    return false;
  chooseShape();
  int64_t most = subgroup() >= wideSubgroup ? manySharedColumns : sharedColumns;
  if (inputColumns <= most) {
    rowQuadsMemory = shared(inputColumns / quadBytes, quadType());
    rowScalesMemory = shared(2 * blocks, b.getF32Type());
  }
  return findRepeatedRow();
}

void PanelLinear::chooseShape() {
  int64_t sharing = op.getGated() ? 2 : 1;
  // A pass over all tiles is the least time from beginning to end.
  int64_t whole = weights[0].format.columnsOfTiles * rowQuads * parts;
  int64_t ofAll = std::min<int64_t>(8 * profile.getWorkgroup(), mostInvocations());
  int64_t most = std::min(ofAll / sharing, largestWorkgroup);
  int64_t passes = llvm::divideCeil(whole, most);
  ownInvocations = llvm::alignTo(llvm::divideCeil(whole, passes), 32);
}

PanelLinear::Place PanelLinear::placeOf(const Weight &weight, Value row, unsigned number) {
  Place place;
  place.weight = &weight;
  place.number = number;
  place.row = row;
  place.local = plus(thread(), -int64_t(number) * ownInvocations);
  place.rowQuad = remainder(place.local, k.index(rowQuads));
  Value rest = quotient(place.local, k.index(rowQuads));
  place.part = remainder(rest, k.index(parts));
  place.tile = quotient(rest, k.index(parts));
  return place;
}

PanelLinear::Values PanelLinear::ofOwn(ArrayRef<Place> places,
                                       function_ref<Values(const Place &)> compute) {
  if (places.size() == 1)
    return compute(places[0]);
  // The invocations of a gated operation's second weight are behind those of the first.
  return k.branch(
      k.less(thread(), k.index(ownInvocations)), [&] { return compute(places[0]); },
      [&] { return compute(places[1]); });
}

/// Reads what can be read of a panel at once.
PanelLinear::Begun PanelLinear::beginPanel(ArrayRef<Place> places, Value panel) {
  Begun begun;
  for (const Place &place : places)
    begun.counts.push_back(place.weight->format.circuit == Circuit::Slots ? loadCounts(place, panel)
                                                                          : Counts());
  begun.feature = featureOf(*places[0].weight, panel);
  begun.tile = ofOwn(places, [&](const Place &place) {
    return flatten(loadTile(place, panel, insideTile(place, place.tile)));
  });
  return begun;
}

/// Brings the slots of a panel to shared memory, which takes another read, and the sums over
/// counts. All invocations come here; a barrier has to follow.
void PanelLinear::prepareSlots(ArrayRef<Place> places, Value panel, const Begun &begun) {
  const MixedFormat &format = places[0].weight->format;
  Values words = ofOwn(places, [&](const Place &place) {
    return loadChunk(place, panel, begun.counts[place.number]);
  });
  if (format.circuit == Circuit::Slots) {
    for (const Place &place : places)
      sumCounts(place, begun.counts[place.number]);
    barrier();
  }
  ofOwn(places, [&](const Place &place) {
    storeChunk(place, words);
    storeTiles(place, k.index(0));
    return Values();
  });
  if (format.circuit == Circuit::Slots)
    when(k.equal(panel, k.index(format.rowsOfTiles - 1)), [&] {
      barrier();
      ofOwn(places, [&](const Place &place) {
        copyChunk(place, panel, begun.counts[place.number], k.index(0));
        return Values();
      });
    });
}

/// Does without all of that, and its barriers, for a panel that has no slot.
void PanelLinear::prepareCircuit(ArrayRef<Place> places, Value panel, const Begun &begun) {
  const MixedFormat &format = places[0].weight->format;
  if (!format.hasSlots())
    return;
  if (format.circuit != Circuit::Slots) {
    prepareSlots(places, panel, begun);
    return barrier();
  }
  // How many slots the last panel has is not known yet.
  Value any = k.equal(panel, k.index(format.rowsOfTiles - 1));
  for (const Counts &counts : begun.counts)
    any = k.logicalOr(any, k.less(counts.first, counts.next));
  auto branch = b.create<scf::IfOp>(any, /*withElseRegion=*/true);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    prepareSlots(places, panel, begun);
    b.setInsertionPointToStart(branch.elseBlock());
    for (const Place &place : places)
      storeShared(word(0), prefixMemory, lastPrefix(place));
  }
  barrier();
}

/// Leaves the sums of each subgroup in memory.
void PanelLinear::storeSums(const Rows &sums, Value extra) {
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

/// The row of the weight that is stored as the panel's row `thread` modulo 16.
Value PanelLinear::featureOf(const Weight &weight, Value panel) {
  const MixedFormat &format = weight.format;
  Value lane = remainder(thread(), k.index(formatTileRows));
  Value stored = k.min(k.add(times(panel, formatTileRows), lane), k.index(format.rows - 1));
  if (!format.sorted)
    return stored;
  Value byte = element(weight.bytes, plus(stored, format.permutationAt));
  Value inBlock = toIndex(b.create<arith::ExtUIOp>(b.getI32Type(), byte));
  return k.add(times(quotient(stored, k.index(permutationBlock)), permutationBlock), inBlock);
}

/// Adds up what subgroups have left, and stores the results of the panel's rows.
void PanelLinear::storeRows(ArrayRef<Place> places, Value panel, Value feature, Value residual,
                            bool anyExtra) {
  const Weight &weight = *places[0].weight;
  const MixedFormat &format = weight.format;
  Value lane = thread(), stored = k.add(times(panel, formatTileRows), lane);
  Value isRow =
      k.logicalAnd(k.less(lane, k.index(formatTileRows)), k.less(stored, k.index(format.rows)));
  when(isRow, [&] {
    auto sumOf = [&](unsigned number) {
      const Weight &own = *places[number].weight;
      Value sum;
      auto add = [&](Value memory, int64_t count) {
        for (int64_t i = number * count; i < (number + 1) * count; ++i) {
          Value each = loadShared(memory, plus(lane, i * formatTileRows));
          sum = sum ? k.add(sum, each) : each;
        }
      };
      add(sumsMemory, partials());
      if (anyExtra)
        add(extrasMemory, extras());
      return own.bias ? k.add(sum, load(own.bias, feature)) : sum;
    };
    Value y = activate(op.getActivation(), sumOf(0));
    if (op.getGated())
      y = k.mul(y, sumOf(1));
    if (residual)
      y = k.add(y, residual);
    ShaderCode::store(y, weight.output, k.add(times(places[0].row, format.rows), feature));
  });
}

void PanelLinear::finishPanel(ArrayRef<Place> places, Value panel, const Begun &begun) {
  Value residual;
  if (this->residual)
    residual = load(this->residual,
                    k.add(times(places[0].row, places[0].weight->format.rows), begun.feature));
  Values sums = ofOwn(places, [&](const Place &place) {
    return Values(sumTiles(place, panel, tileOf(place, begun.tile)));
  });
  Value extra;
  if (places[0].weight->format.hasSlots())
    extra = addSlots(places, panel, begun.counts);
  else if (llvm::any_of(places, [](const Place &each) {
             return each.weight->format.circuit == Circuit::List;
           }))
    extra = ofOwn(places, [&](const Place &place) {
      bool isList = place.weight->format.circuit == Circuit::List;
      return Values{isList ? addList(place, panel) : f(0.0)};
    })[0];
  storeSums(Rows(sums.begin(), sums.end()), extra);
  barrier();
  storeRows(places, panel, begun.feature, residual, bool(extra));
  // The memory is that of the next task, too.
  barrier();
}

void PanelLinear::emitPanel(ArrayRef<Weight> part, Value panel, Value row) {
  SmallVector<Place, 2> places;
  for (auto [number, weight] : llvm::enumerate(part))
    places.push_back(placeOf(weight, row, number));
  Begun begun = beginPanel(places, panel);
  prepareCircuit(places, panel, begun);
  loadGain();
  awaitInputs();
  stageRow(row);
  finishPanel(places, panel, begun);
}

/// The panel that comes as the weight's `number`. The first ones of a block of sorted rows have
/// most of its circuit: all of these begin before any others, which then fill the time until they
/// end.
Value PanelLinear::panelOf(const MixedFormat &format, Value number) {
  int64_t ofBlock = permutationBlock / formatTileRows, blocks = format.rowsOfTiles / ofBlock;
  if (!format.sorted || format.rowsOfTiles % ofBlock != 0)
    return number;
  return k.add(times(remainder(number, k.index(blocks)), ofBlock),
               quotient(number, k.index(blocks)));
}

/// How many slots are in shared memory at once, with what is there already. Each invocation reads
/// equally many words of them.
void PanelLinear::chooseChunk(int64_t sharing) {
  int64_t step = ownInvocations / 4;
  chunkSlots = step;
  for (const Weight &weight : weights) {
    const MixedFormat &format = weight.format;
    if (!format.hasSlots() || subgroup() < wideSubgroup)
      continue;
    int64_t most = (fewBytes - sharedBytes()) / (sharing * (format.slotBytes() + wordBytes));
    int64_t wanted = llvm::alignTo(slotsOfTile * format.columnsOfTiles, step);
    chunkSlots = std::max(chunkSlots, std::min(wanted, most / step * step));
  }
}

void PanelLinear::emit() {
  int64_t sharing = op.getGated() ? 2 : 1;
  setWorkgroup(ownInvocations * sharing);
  sumsMemory = shared(sharing * partials() * formatTileRows, b.getF32Type());
  if (anyCircuit)
    extrasMemory = shared(sharing * extras() * formatTileRows, b.getF32Type());
  chooseChunk(sharing);
  for (const Weight &weight : weights) {
    const MixedFormat &format = weight.format;
    if (format.circuit == Circuit::Slots)
      prefixTiles = std::max(prefixTiles, format.columnsOfTiles);
    if (format.hasSlots())
      chunkWords = std::max(chunkWords, chunkSlots * slotWords(format));
  }
  if (chunkWords)
    slotsMemory = shared(sharing * chunkWords, b.getI32Type());
  if (prefixTiles) {
    prefixMemory = shared(sharing * prefixTiles, b.getI32Type());
    totalsMemory = shared(workgroup() / subgroup(), b.getI32Type());
    tilesMemory = shared(sharing * chunkSlots, b.getI32Type());
  }
  if (norm)
    normMemory = shared(subgroups(), b.getF32Type());
  SmallVector<int64_t> panels; // of each weight, or pair of weights
  for (size_t i = 0; i < weights.size(); i += sharing)
    panels.push_back(weights[i].format.rowsOfTiles);
  // Rows of the input are inside, so that a panel is read once.
  k.parallel(rowCount * std::accumulate(panels.begin(), panels.end(), int64_t(0)), [&](Value task) {
    Value rows = k.sym(rowCount), panel = quotient(task, rows), row = remainder(task, rows);
    ofPart(panel, panels, [&](size_t group, Value number) {
      ArrayRef<Weight> part = ArrayRef(weights).slice(group * sharing, sharing);
      emitPanel(part, panelOf(part[0].format, number), row);
    });
  });
}

bool tacq::emitPanelLinearShader(KernelBuilder &kernel, LinearOp op, VulkanProfileAttr profile) {
  PanelLinear shader(kernel, op, profile);
  if (!shader.collect())
    return false;
  shader.emit();
  return true;
}
