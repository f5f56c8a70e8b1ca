//===- TileDecode.cpp - Decodes the factors of products of many rows ------===//
//
// A task is 32 rows of a weight, or of the input, and some tiles of columns; an invocation has one
// row of a step of 32 columns. What it decodes goes through its own part of the shared memory,
// where the circuit is added. In the workspace, what an invocation of the product reads at once
// stands side by side: of each step of a tile of rows, first the first eight columns of all rows.
//
// A row of the input is divided by the largest of its blocks' scales and multiplied by 256, so that
// f16 holds it.
//
//===----------------------------------------------------------------------===//

#include "ShaderKernels.h"
#include "TileLinear.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;

static constexpr int64_t quadBytes = 16;
/// Scales of blocks that are read at once.
static constexpr int64_t scalesAtOnce = 8;

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

void TileLinear::decodeWeights(Value task) {
  int64_t chunks = llvm::divideCeil(tilesOfColumns, decodedTiles);
  int64_t blocksOfTile = shape.features / decodedRows;
  Value chunk = remainder(task, k.index(chunks)), rest = quotient(task, k.index(chunks));
  Value rowBlock = remainder(rest, k.index(blocksOfTile));
  Value ofAll = quotient(rest, k.index(blocksOfTile));
  Value lane = remainder(thread(), k.index(decodedRows));
  Value step = quotient(thread(), k.index(decodedRows));
  Value rowInTile = k.add(times(rowBlock, decodedRows), lane);
  Value own = times(thread(), rowOfQuads);
  Value firstTile = times(chunk, decodedTiles);
  auto decode = [&](const Operand &weight, Value stored) {
    TileWeight code(*this, weight.format, weight.buffer);
    code.viewNarrow();
    code.setPlace(stored, step);
    Value before = code.circuitBefore(firstTile);
    Value end = k.min(plus(firstTile, decodedTiles), k.index(tilesOfColumns));
    Value first = b.create<arith::IndexCastOp>(b.getI32Type(), before);
    loop(firstTile, end, 1, first, [&](Value tile, ValueRange carried) {
      SmallVector<Value> decoded = code.decode(tile);
      for (int64_t i = 0; i < stepQuads; ++i)
        storeShared(quad(ArrayRef(decoded).slice(size_t(4 * i), 4)), memory, plus(own, i));
      Value next = code.addCircuit(toIndex(carried[0]), tile, memory, own);
      Value to = k.add(weightBlock(ofAll, k.add(times(tile, stepsOfTile), step)), rowInTile);
      for (int64_t i = 0; i < stepQuads; ++i)
        storeShared(loadShared(memory, plus(own, i)), workQuads, plus(to, i * shape.features));
      return SmallVector<Value>{b.create<arith::IndexCastOp>(b.getI32Type(), next)};
    });
  };
  ofGroup(ofAll, [&](Group group, Value tile) {
    if (group.size() == 1)
      return decode(group[0], k.add(times(tile, shape.features), rowInTile));
    // A subgroup of the product has both numbers of a pair: of its features half are of each
    // weight.
    int64_t half = shape.ownFeatures / 2;
    Value inOwn = remainder(rowInTile, k.index(shape.ownFeatures));
    Value stored = k.add(times(quotient(rowInTile, k.index(shape.ownFeatures)), half),
                         remainder(inOwn, k.index(half)));
    stored = k.add(times(tile, shape.features / 2), stored);
    Value isSecond = k.lessEqual(k.index(half), inOwn);
    when(k.logicalNot(isSecond), [&] { decode(group[0], stored); });
    when(isSecond, [&] { decode(group[1], stored); });
  });
}

void TileLinear::decodeRows(Value task) {
  int64_t chunks = llvm::divideCeil(tilesOfColumns, decodedTiles);
  int64_t blocksOfTile = shape.rows / decodedRows;
  Value chunk = remainder(task, k.index(chunks)), rest = quotient(task, k.index(chunks));
  Value rowInTile = k.add(times(remainder(rest, k.index(blocksOfTile)), decodedRows),
                          remainder(thread(), k.index(decodedRows)));
  Value rowTile = quotient(rest, k.index(blocksOfTile));
  Value step = quotient(thread(), k.index(decodedRows));
  Value place = k.add(times(rowTile, shape.rows), rowInTile);
  Value row = k.min(place, k.sub(k.sym(rowCount), k.index(1))), largest = rowScale(row);
  when(k.logicalAnd(k.equal(chunk, k.index(0)), k.equal(step, k.index(0))),
       [&] { storeShared(k.mul(largest, f(1 / tileInputFactor)), workScales, scaleAt(place)); });
  Type f16 = b.getF16Type();
  Value one = pair(k.constant(f16, 1)), offset = pair(k.constant(f16, -1024 - 128));
  Value firstTile = times(chunk, decodedTiles);
  Value end = k.min(plus(firstTile, decodedTiles), k.index(tilesOfColumns));
  loop(firstTile, end, 1, [&](Value tile) {
    Value column = k.add(times(tile, formatTileColumns), times(step, stepColumns));
    Value number = k.min(quotient(column, k.index(block)), k.index(blocks - 1));
    Value scale = ShaderCode::load(xScales, times(k.add(times(row, blocks), number), 2));
    // The reciprocal of a small number might not be finite.
    scale = k.mul(k.div(scale, largest), f(tileInputFactor));
    scale = pair(b.create<arith::TruncFOp>(f16, scale));
    Value from = k.add(times(row, inputColumns / quadBytes), quotient(column, k.index(quadBytes)));
    Value to = k.add(inputBlock(rowTile, k.add(times(tile, stepsOfTile), step)), rowInTile);
    for (int64_t i = 0; i < stepColumns / quadBytes; ++i) {
      Value integers = element(xQuads, plus(from, i));
      SmallVector<Value> words;
      for (int64_t j = 0; j < 4; ++j)
        for (int64_t odd = 0; odd < 2; ++odd) {
          // Bytes as 128 more, in the low bits of 1024.
          Value own = shiftRight(component(integers, j), odd * 8);
          own = b.create<arith::AndIOp>(own, word(0x00FF00FF));
          own = b.create<arith::XOrIOp>(own, word(0x64806480));
          words.push_back(scaledPair(own, one, offset, scale));
        }
      for (int64_t j = 0; j < 2; ++j)
        storeShared(quad(ArrayRef(words).slice(size_t(4 * j), 4)), workQuads,
                    plus(to, (2 * i + j) * shape.rows));
    }
  });
}

void TileLinear::emitDecode() {
  static_assert(decodedRows * stepsOfTile <= vulkanInvocations &&
                decodedRows * stepsOfTile * rowOfQuads * quadBytes <= vulkanSharedBytes);
  setWorkgroup(decodedRows * stepsOfTile);
  useWorkspace();
  memory = shared(workgroup() * rowOfQuads, quadType());
  int64_t chunks = llvm::divideCeil(tilesOfColumns, decodedTiles);
  int64_t ofWeights = tiles * (shape.features / decodedRows) * chunks;
  Sym ofRows = rowTiles * (shape.rows / decodedRows * chunks);
  k.parallel(many * (ofRows + ofWeights), [&](Value task) {
    Value isWeight = k.less(task, k.index(ofWeights));
    when(isWeight, [&] { decodeWeights(task); });
    when(k.logicalNot(isWeight), [&] { decodeRows(plus(task, -ofWeights)); });
  });
}

bool tacq::emitTileDecodeShader(KernelBuilder &kernel, LinearOp op, VulkanProfileAttr profile) {
  TileLinear shader(kernel, op, profile);
  if (!shader.collect())
    return false;
  shader.emitDecode();
  return true;
}
