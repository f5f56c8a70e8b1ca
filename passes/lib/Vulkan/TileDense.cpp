//===- TileDense.cpp - Dense factors of products of many rows -------------===//
//
// Weights of f16 stand in panels, sixteen features of a column side by side, and go to the shared
// memory like that: a column of all of the tile's features after the other, which cooperative
// matrices are loaded from by columns. An invocation reads eight features of a column, or eight
// columns of a row, at once.
//
//===----------------------------------------------------------------------===//

#include "TileLinear.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"

using namespace mlir;
using namespace tacq;

static constexpr int64_t panelWidth = 16, panelQuads = panelWidth / quadHalves;

bool TileLinear::collectDense() {
  std::optional<int64_t> depth = k.dims(op.getX()).back().constant();
  if (!hasFeatures() || !op.getWeightLayouts() || !k.elementType(op.getX()).isF16() || !depth ||
      *depth % stepColumns != 0)
    return false;
  dense = true;
  inputColumns = *depth;
  rowCount = elementCount(ArrayRef(k.dims(op.getX())).drop_back());
  x = inputBuffer(op.getX());
  residual = inputBuffer(op.getResidual());
  if (!x || bool(op.getResidual()) != bool(residual))
    return false;
  for (auto [i, operand] : llvm::enumerate(op.getWeights())) {
    auto panel = dyn_cast<PanelAttr>((*op.getWeightLayouts())[i]);
    bool rowsFirst =
        WeightOrder(cast<IntegerAttr>(op.getWeightOrder()[i]).getInt()) == WeightOrder::NK;
    std::optional<int64_t> features = k.dims(operand)[rowsFirst ? 0 : 1].constant();
    Value buffer = inputBuffer(operand);
    Value output = outputBuffer(op.getResults()[op.getGated() ? 0 : i]);
    Value bias = op.getBiases().empty() ? Value() : inputBuffer(op.getBiases()[i]);
    if (!panel || panel.getWidth() != panelWidth || !panel.getElement().isF16() || !features ||
        !buffer || !output || (!op.getBiases().empty() && !bias))
      return false;
    MixedFormat format{};
    format.rows = *features;
    format.rowsOfTiles = (*features + panelWidth - 1) / panelWidth;
    weights.push_back({format, view(buffer, quadType()), bias, output});
  }
  xQuads = view(x, quadType());
  chooseTiles();
  return !many.isConstant(0);
}

SmallVector<Value> TileLinear::loadDense(Group group, Value tile, Value rowTile, Value step) {
  SmallVector<Value> loaded;
  // Of a panel, the quads of a step; those of two panels are read at once.
  int64_t quads = stepColumns * panelQuads, panels = shape.features / panelWidth;
  int64_t atOnce = workgroup() / quads, own = shape.ownFeatures / panelWidth;
  Value inPanel = remainder(thread(), k.index(quads)), odd = quotient(thread(), k.index(quads));
  for (int64_t i = 0; i < panels; i += atOnce) {
    const Operand *weight = &group[0];
    Value panel = k.add(times(tile, panels), plus(odd, i));
    if (op.getGated()) {
      // A subgroup of the product has both numbers of a pair: of its features half are of each
      // weight.
      int64_t half = own / 2, inOwn = i % own;
      weight = &group[size_t(inOwn / half)];
      panel = k.add(times(tile, panels / 2), plus(odd, i / own * half + inOwn % half));
    }
    panel = k.min(panel, k.index(weight->format.rowsOfTiles - 1));
    Value at = times(panel, inputColumns * panelQuads);
    at = k.add(at, k.add(times(step, quads), inPanel));
    loaded.push_back(element(weight->buffer, at));
  }
  Value last = k.sub(k.sym(rowCount), k.index(1)), inRow = remainder(thread(), k.index(stepQuads));
  for (int64_t i = 0; i < stepQuads * shape.rows; i += workgroup()) {
    Value row = quotient(plus(thread(), i), k.index(stepQuads));
    row = k.min(k.add(times(rowTile, shape.rows), row), last);
    Value at = k.add(times(row, inputColumns / quadHalves), times(step, stepQuads));
    loaded.push_back(element(xQuads, k.add(at, inRow)));
  }
  return loaded;
}

void TileLinear::storeDense(ValueRange loaded) {
  int64_t quads = stepColumns * panelQuads, panels = shape.features / panelWidth;
  int64_t atOnce = workgroup() / quads;
  size_t number = 0;
  Value inPanel = remainder(thread(), k.index(quads)), odd = quotient(thread(), k.index(quads));
  Value column = quotient(inPanel, k.index(panelQuads));
  Value inColumn = remainder(inPanel, k.index(panelQuads));
  for (int64_t i = 0; i < panels; i += atOnce) {
    Value at = k.add(times(column, columnOfQuads(shape.features)), inColumn);
    storeShared(loaded[number++], memory, k.add(at, times(plus(odd, i), panelQuads)));
  }
  Value inRow = remainder(thread(), k.index(stepQuads));
  for (int64_t i = 0; i < stepQuads * shape.rows; i += workgroup()) {
    Value row = plus(quotient(plus(thread(), i), k.index(stepQuads)), shape.features);
    storeShared(loaded[number++], memory, k.add(times(row, rowOfQuads), inRow));
  }
}
