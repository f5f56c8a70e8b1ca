//===- MixedStorage.cpp - Types, layouts and bytes of mixed weights -------===//

#include "tacq/Dialect/TACQ/MixedStorage.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;
using llvm::alignTo;
using llvm::divideCeil;
using EmitError = function_ref<InFlightDiagnostic()>;

//===----------------------------------------------------------------------===//
// Verification
//===----------------------------------------------------------------------===//

static bool isMetadataFloat(Type type) { return type.isF16() || type.isBF16() || type.isF32(); }

static bool isMetadataInteger(Type type) {
  auto integer = dyn_cast<IntegerType>(type);
  return integer && integer.isUnsigned() && integer.getWidth() >= 2 && integer.getWidth() <= 8;
}

/// Scales and zero points are optional.
static LogicalResult verifyMetadata(EmitError emitError, Type scale, Type zero, int64_t span) {
  for (Type type : {scale, zero})
    if (type && !isMetadataFloat(type) && !isMetadataInteger(type))
      return emitError() << "mixed.metadata: scales and zero points are f16, bf16, f32 or unsigned "
                            "integers of 2 to 8 bits, not "
                         << type;
  if (span < 0 || (span != 0 && !(scale && isMetadataInteger(scale))))
    return emitError() << "mixed.span: a span is a number of groups that share the scale of their "
                          "quantized scales, or 0";
  return success();
}

LogicalResult MixedType::verify(EmitError emitError, int64_t rows, int64_t columns, unsigned bits,
                                int64_t group, Attribute decode, CircuitAttr circuit) {
  if (rows <= 0 || columns <= 0)
    return emitError() << "mixed.shape: rows and columns must be positive";
  if (bits != 2 && bits != 3 && bits != 4 && bits != 8)
    return emitError() << "mixed.bits: codes have 2, 3, 4 or 8 bits, not " << bits;
  if (group < 0 || group > columns)
    return emitError() << "mixed.group: a group is at most " << columns
                       << " columns, or 0 for a whole row, not " << group;
  auto affine = llvm::dyn_cast<AffineAttr>(decode);
  auto codebook = llvm::dyn_cast<CodebookAttr>(decode);
  if (affine) {
    if (failed(verifyMetadata(emitError, affine.getScale(), affine.getZero(), affine.getSpan())))
      return failure();
  } else if (codebook) {
    bool integers = codebook.getLevels().isUnsignedInteger(8);
    if (!integers && !isMetadataFloat(codebook.getLevels()))
      return emitError() << "mixed.codebook: levels are f16, bf16, f32 or ui8, not "
                         << codebook.getLevels();
    if (integers && !codebook.getScale())
      return emitError() << "mixed.codebook: levels that are integers need a scale";
    if (failed(verifyMetadata(emitError, codebook.getScale(), Type(), codebook.getSpan())))
      return failure();
  } else {
    return emitError() << "mixed.decode: expected #tacq.affine or #tacq.codebook, not " << decode;
  }
  if (!circuit)
    return success();
  int64_t limit = circuit.getKind() == CircuitKind::Uniform ? columns : rows * columns;
  if (circuit.getCount() < 0 || circuit.getCount() > limit)
    return emitError() << "mixed.circuit: the count is between 0 and " << limit << ", not "
                       << circuit.getCount();
  if (circuit.getValues() == CircuitValues::Exact && affine && affine.getZero() &&
      isMetadataFloat(affine.getZero()))
    return emitError() << "mixed.exact: no code stands for zero with zero points of type "
                       << affine.getZero() << "; store differences";
  return success();
}

LogicalResult LayoutAttr::verify(EmitError emitError, int64_t tileRows, int64_t tileColumns,
                                 ArrayRef<unsigned> planes, int64_t interleave, int64_t alignment,
                                 RowOrder, CircuitStorage, Endianness) {
  // A position in a tile has at most 16 bits.
  if (tileRows <= 0 || tileColumns <= 0 || tileColumns > 65536 || tileRows > 65536)
    return emitError() << "layout.tile: a tile has up to 65536 rows and columns";
  if (planes.empty() || !llvm::all_of(planes, [](unsigned width) {
        return width == 1 || width == 2 || width == 4 || width == 8;
      }))
    return emitError() << "layout.planes: planes have 1, 2, 4 or 8 bits";
  for (unsigned width : planes)
    if (interleave <= 0 || interleave > tileColumns || tileColumns % (interleave * 8 / width) != 0)
      return emitError() << "layout.interleave: the " << tileColumns
                         << " columns of a tile are no multiple of 8/" << width << " times "
                         << interleave;
  if (alignment <= 0 || !llvm::isPowerOf2_64(alignment))
    return emitError() << "layout.align: " << alignment << " is no power of two";
  return success();
}

LogicalResult tacq::verifyMixedLayout(EmitError emitError, MixedType type, LayoutAttr layout) {
  unsigned planeBits = 0;
  for (unsigned width : layout.getPlanes())
    planeBits += width;
  if (planeBits != type.getBits())
    return emitError() << "layout.bits: the planes hold " << planeBits << " bits, codes have "
                       << type.getBits();
  int64_t group = type.getGroup();
  if (group != 0 && layout.getTileColumns() % group != 0 && group % layout.getTileColumns() != 0)
    return emitError() << "layout.group: neither of the group's " << group << " and the tile's "
                       << layout.getTileColumns() << " columns is a multiple of the other";
  CircuitAttr circuit = type.getCircuit();
  CircuitStorage needed = !circuit                                      ? CircuitStorage::None
                          : circuit.getKind() == CircuitKind::Scattered ? CircuitStorage::List
                                                                        : CircuitStorage::Tiles;
  if (layout.getCircuit() != needed)
    return emitError() << "layout.circuit: this circuit is stored as '"
                       << stringifyCircuitStorage(needed) << "', not '"
                       << stringifyCircuitStorage(layout.getCircuit()) << "'";
  if (circuit && circuit.getKind() == CircuitKind::Uniform &&
      circuit.getCount() > layout.getTileColumns())
    return emitError() << "layout.slots: a tile of " << layout.getTileColumns()
                       << " columns has no room for " << circuit.getCount() << " slots";
  return success();
}

//===----------------------------------------------------------------------===//
// Bytes
//===----------------------------------------------------------------------===//

/// Numbers of fewer than 8 bits are packed without gaps.
static int64_t packedBytes(int64_t count, Type element) {
  return element ? divideCeil(count * element.getIntOrFloatBitWidth(), 8) : 0;
}

int64_t tacq::storedColumns(MixedType type, LayoutAttr layout) {
  unsigned narrowest = *llvm::min_element(layout.getPlanes());
  int64_t block = layout.getInterleave() * 8 / narrowest;
  int64_t rest = type.getColumns() % layout.getTileColumns();
  return type.getColumns() - rest + int64_t(alignTo(rest, block));
}

int64_t tacq::slotCountBytes(LayoutAttr layout) { return layout.getTileColumns() <= 255 ? 1 : 2; }

int64_t tacq::positionBytes(MixedType type, LayoutAttr layout) {
  if (layout.getCircuit() == CircuitStorage::List)
    return type.getColumns() <= 65536 ? 2 : 4;
  return layout.getTileColumns() <= 256 ? 1 : 2;
}

MixedStorage tacq::storedBytes(MixedType type, LayoutAttr layout) {
  constexpr int64_t halfBytes = 2, startBytes = 4;
  int64_t tileRows = layout.getTileRows(), tileColumns = layout.getTileColumns();
  int64_t rows = alignTo(type.getRows(), tileRows);
  int64_t rowsOfTiles = rows / tileRows;
  int64_t tiles = rowsOfTiles * divideCeil(type.getColumns(), tileColumns);
  int64_t groups = type.getGroup() == 0 ? 1 : divideCeil(type.getColumns(), type.getGroup());
  MixedStorage bytes;
  bytes.codes = rows * storedColumns(type, layout) * type.getBits() / 8;

  auto addScales = [&](Type scale, int64_t span) {
    bytes.metadata += packedBytes(rows * groups, scale);
    if (scale && isMetadataInteger(scale))
      bytes.metadata += halfBytes * rows * (span == 0 ? 1 : divideCeil(groups, span));
  };
  if (auto affine = dyn_cast<AffineAttr>(type.getDecode())) {
    addScales(affine.getScale(), affine.getSpan());
    bytes.metadata += packedBytes(rows * groups, affine.getZero());
  } else {
    auto codebook = cast<CodebookAttr>(type.getDecode());
    addScales(codebook.getScale(), codebook.getSpan());
    int64_t books = codebook.getScope() == CodebookScope::Row ? rows : 1;
    bytes.codebooks = packedBytes(books << type.getBits(), codebook.getLevels());
  }
  if (layout.getRows() == RowOrder::Sorted)
    bytes.permutation = rows;

  if (CircuitAttr circuit = type.getCircuit()) {
    int64_t entryBytes = positionBytes(type, layout) + halfBytes;
    switch (circuit.getKind()) {
    case CircuitKind::Scattered:
      bytes.circuit = startBytes * (type.getRows() + 1) + circuit.getCount() * entryBytes;
      break;
    case CircuitKind::Slots:
      bytes.circuit = startBytes * rowsOfTiles + slotCountBytes(layout) * tiles +
                      circuit.getCount() * tileRows * entryBytes;
      break;
    case CircuitKind::Uniform:
      bytes.circuit = tiles * circuit.getCount() * tileRows * entryBytes;
      break;
    }
  }
  for (int64_t *section :
       {&bytes.codes, &bytes.metadata, &bytes.codebooks, &bytes.permutation, &bytes.circuit})
    *section = alignTo(*section, layout.getAlignment());
  return bytes;
}

double tacq::bitsPerWeight(MixedType type, LayoutAttr layout) {
  return double(storedBytes(type, layout).total()) * 8 /
         (double(type.getRows()) * double(type.getColumns()));
}

MixedType tacq::withoutCount(MixedType type) {
  CircuitAttr circuit = type.getCircuit();
  if (!circuit || circuit.getKind() == CircuitKind::Uniform)
    return type;
  return MixedType::get(
      type.getContext(), type.getRows(), type.getColumns(), type.getBits(), type.getGroup(),
      type.getDecode(),
      CircuitAttr::get(type.getContext(), circuit.getKind(), 0, circuit.getValues()));
}
