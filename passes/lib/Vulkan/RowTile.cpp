//===- RowTile.cpp - Tiles of products without matrices -------------------===//

#include "RowTile.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/Support/MathExtras.h"
#include <numeric>

using namespace mlir;
using namespace tacq;

/// With fewer rows, the product of each row with its own weights takes less time.
static constexpr int64_t fewestRows = 8;
/// The least that makes a tile.
static constexpr int64_t fewestInvocations = 64;

bool RowTile::collectRows() {
  rowCount = elementCount(ArrayRef(k.dims(op.getX())).drop_back());
  residual = inputBuffer(op.getResidual());
  setWorkgroup(std::clamp<int64_t>(profile.getWorkgroup(), fewestInvocations, vulkanInvocations));
  many = Sym::min(1, Sym::floorDiv(rowCount, fewestRows));
  return bool(op.getResidual()) == bool(residual) && !many.isConstant(0);
}

bool RowTile::addOutput(unsigned weight, int64_t features) {
  Value bias = op.getBiases().empty() ? Value() : inputBuffer(op.getBiases()[weight]);
  Value buffer = outputBuffer(op.getResults()[op.getGated() ? 0 : weight]);
  outputs.push_back({features, bias, buffer});
  return buffer && (op.getBiases().empty() || bias);
}

int64_t RowTile::tilesOf(size_t weight) {
  return llvm::divideCeil(outputs[weight].features, panelsOfWeight() * panelRows);
}

Value RowTile::inputRow(Value rowTile, Value inTile) {
  Value last = k.sub(k.sym(rowCount), k.index(1));
  return k.min(k.add(times(rowTile, tileRows()), inTile), last);
}

void RowTile::emitTile(size_t first, Value tile, Value rowTile) {
  Values sums = emitSums(first, tile, rowTile);
  const Output &output = outputs[first];
  for (int64_t i = 0; i < panelsOfWeight(); ++i) {
    Value panel = plus(times(tile, panelsOfWeight()), i);
    Value stored = k.add(times(panel, panelRows), lane());
    when(k.less(stored, k.index(output.features)), [&] {
      Value feature = featureOf(first, stored);
      auto withBias = [&](const Output &of, Value sum) {
        return of.bias ? k.add(sum, ShaderCode::load(of.bias, feature)) : sum;
      };
      for (int64_t j = 0; j < ownRows; ++j) {
        Value row = k.add(times(rowTile, tileRows()), plus(firstRow(), j));
        when(k.less(row, k.sym(rowCount)), [&] {
          Value y = activate(op.getActivation(), withBias(output, sums[size_t(i * ownRows + j)]));
          if (op.getGated()) {
            Value other = sums[size_t((i + panelsOfWeight()) * ownRows + j)];
            y = k.mul(y, withBias(outputs[first + 1], other));
          }
          Value at = k.add(times(row, output.features), feature);
          if (residual)
            y = k.add(y, ShaderCode::load(residual, at));
          ShaderCode::store(y, output.buffer, at);
        });
      }
    });
  }
}

void RowTile::emit() {
  SmallVector<int64_t> tiles; // of each weight, or pair of weights
  for (size_t i = 0; i < outputs.size(); i += size_t(sharing()))
    tiles.push_back(tilesOf(i));
  Sym rowTiles = Sym::ceilDiv(rowCount, tileRows());
  Sym tasks = many * rowTiles * std::accumulate(tiles.begin(), tiles.end(), int64_t(0));
  k.parallel(tasks, [&](Value task) {
    Value count = k.sym(rowTiles), tile = quotient(task, count), rowTile = remainder(task, count);
    ofPart(tile, tiles,
           [&](size_t group, Value own) { emitTile(group * size_t(sharing()), own, rowTile); });
  });
}
