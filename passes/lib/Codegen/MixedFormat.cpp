//===- MixedFormat.cpp - Where the numbers of a mixed weight are ----------===//

#include "tacq/Codegen/MixedFormat.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;

static constexpr int64_t halfBytes = 2, startBytes = 4;

bool tacq::hasMixedWeights(LinearOp linear) {
  return llvm::any_of(linear.getWeights(),
                      [](Value weight) { return isa<MixedType>(weight.getType()); });
}

std::optional<MixedFormat> MixedFormat::get(MixedType type, LayoutAttr layout, int64_t block) {
  MixedFormat f;
  auto codebook = dyn_cast<CodebookAttr>(type.getDecode());
  auto affine = dyn_cast<AffineAttr>(type.getDecode());
  bool known = codebook ? codebook.getScope() == CodebookScope::Row && type.getGroup() == 0 &&
                              codebook.getScale() && codebook.getScale().isF16() &&
                              codebook.getLevels().isUnsignedInteger(8)
                        : affine.getScale().isF16() && affine.getZero() &&
                              affine.getZero().isUnsignedInteger(8);
  if (!known || layout.getTileRows() != formatTileRows ||
      layout.getTileColumns() != formatTileColumns || layout.getInterleave() != formatInterleave ||
      layout.getEndianness() != Endianness::Little || layout.getRows() == RowOrder::Absorbed)
    return std::nullopt;
  f.rows = type.getRows();
  f.columns = type.getColumns();
  f.storedColumns = tacq::storedColumns(type, layout);
  f.bits = type.getBits();
  f.planes = llvm::to_vector(layout.getPlanes());
  f.block = block;
  f.group = type.getGroup() == 0 ? f.columns : type.getGroup();
  f.groups = llvm::divideCeil(f.columns, f.group);
  if (f.groups > 1 && f.group % block != 0)
    return std::nullopt;
  f.codebook = bool(codebook);
  f.sorted = layout.getRows() == RowOrder::Sorted;
  f.circuit = Circuit::None;
  if (CircuitAttr circuit = type.getCircuit()) {
    f.circuit = circuit.getKind() == CircuitKind::Scattered ? Circuit::List
                : circuit.getKind() == CircuitKind::Slots   ? Circuit::Slots
                                                            : Circuit::Uniform;
    if (f.circuit == Circuit::Uniform)
      f.uniformSlots = circuit.getCount();
  }
  f.positionBytes = tacq::positionBytes(type, layout);
  f.wholeTiles = f.columns / formatTileColumns;
  f.lastColumns = f.storedColumns - f.wholeTiles * formatTileColumns;
  f.columnsOfTiles = f.wholeTiles + (f.lastColumns != 0);
  f.rowsOfTiles = llvm::divideCeil(f.rows, formatTileRows);
  MixedStorage sections = storedBytes(type, layout);
  f.scalesAt = sections.codes;
  f.zerosAt = f.scalesAt + f.rowsOfTiles * formatTileRows * f.groups * halfBytes;
  f.levelsAt = f.scalesAt + sections.metadata;
  f.permutationAt = f.levelsAt + sections.codebooks;
  f.circuitAt = f.permutationAt + sections.permutation;
  return f;
}

int64_t MixedFormat::tileBytes(int64_t width) const { return formatTileRows * width * bits / 8; }
int64_t MixedFormat::slotBytes() const { return formatTileRows * (positionBytes + halfBytes); }
int64_t MixedFormat::countsAt() const { return circuitAt + startBytes * rowsOfTiles; }
int64_t MixedFormat::slotsAt() const {
  return circuit == Circuit::Uniform ? circuitAt : countsAt() + rowsOfTiles * columnsOfTiles;
}
