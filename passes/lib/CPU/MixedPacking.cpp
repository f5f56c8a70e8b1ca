//===- MixedPacking.cpp - Stores mixed-precision weights ------------------===//

#include "tacq/CPU/MixedPacking.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;
using llvm::alignTo;
using llvm::divideCeil;

using CircuitFormat = WeightFormat::Circuit;

//===----------------------------------------------------------------------===//
// Types and layouts
//===----------------------------------------------------------------------===//

namespace {

/// The rows of a weight in their stored order, in tiles.
class TiledRows {
public:
  TiledRows(const MixedWeight &weight, bool sorted, int64_t tileRows, int64_t tileColumns)
      : weight(weight), sorted(sorted && !weight.order.empty()), tileRows(tileRows),
        tileColumns(tileColumns) {}

  int64_t row(int64_t stored) const { return sorted ? weight.order[stored] : stored; }
  /// The circuit's entries of a stored row in a column of tiles.
  std::pair<uint32_t, uint32_t> entries(int64_t stored, int64_t tileColumn) const {
    int64_t n = row(stored);
    auto begin = weight.positions.begin() + weight.starts[n];
    auto end = weight.positions.begin() + weight.starts[n + 1];
    auto first = std::lower_bound(begin, end, tileColumn * tileColumns);
    auto last = std::lower_bound(first, end, (tileColumn + 1) * tileColumns);
    return {first - weight.positions.begin(), last - weight.positions.begin()};
  }
  /// The slots that a tile needs.
  int64_t slots(int64_t rowOfTiles, int64_t tileColumn) const {
    int64_t most = 0;
    int64_t end = std::min(weight.rows, (rowOfTiles + 1) * tileRows);
    for (int64_t stored = rowOfTiles * tileRows; stored < end; ++stored) {
      auto [first, last] = entries(stored, tileColumn);
      most = std::max<int64_t>(most, last - first);
    }
    return most;
  }

private:
  const MixedWeight &weight;
  bool sorted;
  int64_t tileRows, tileColumns;
};

} // namespace

MixedType tacq::cpuMixedType(MLIRContext *context, const MixedWeight &weight) {
  const WeightFormat &format = weight.format;
  Type half = Float16Type::get(context);
  Type byte = IntegerType::get(context, 8, IntegerType::Unsigned);
  Attribute decode;
  if (format.codebook)
    decode = CodebookAttr::get(context, CodebookScope::Row, byte, half, 0);
  else
    decode = AffineAttr::get(context, half, byte, 0);
  CircuitAttr circuit;
  // A codebook has no level to spare for zero.
  auto values = format.codebook ? CircuitValues::Difference : CircuitValues::Exact;
  if (format.circuit == CircuitFormat::Scattered) {
    circuit = CircuitAttr::get(context, CircuitKind::Scattered, weight.circuitEntries(), values);
  } else if (format.circuit != CircuitFormat::None) {
    bool uniform = format.circuit == CircuitFormat::Uniform;
    TiledRows rows(weight, /*sorted=*/!uniform, cpuTileRows, cpuTileColumns);
    int64_t sum = 0, most = 0;
    for (int64_t i = 0, n = divideCeil(weight.rows, cpuTileRows); i < n; ++i)
      for (int64_t j = 0, k = divideCeil(weight.columns, cpuTileColumns); j < k; ++j) {
        int64_t slots = rows.slots(i, j);
        sum += slots;
        most = std::max(most, slots);
      }
    circuit = CircuitAttr::get(context, uniform ? CircuitKind::Uniform : CircuitKind::Slots,
                               uniform ? most : sum, values);
  }
  return MixedType::get(context, weight.rows, weight.columns, format.bits, format.group, decode,
                        circuit);
}

LayoutAttr tacq::cpuMixedLayout(MixedType type, bool sorted) {
  // The kernels use unaligned loads; 16 bytes keep the padding of small weights small.
  constexpr int64_t alignment = 16, interleave = 4;
  SmallVector<unsigned> planes{type.getBits()};
  if (type.getBits() == 3)
    planes = {2, 1};
  CircuitAttr circuit = type.getCircuit();
  bool slots = circuit && circuit.getKind() == CircuitKind::Slots;
  CircuitStorage storage = !circuit                                      ? CircuitStorage::None
                           : circuit.getKind() == CircuitKind::Scattered ? CircuitStorage::List
                                                                         : CircuitStorage::Tiles;
  return LayoutAttr::get(type.getContext(), cpuTileRows, cpuTileColumns, planes, interleave,
                         alignment, slots && sorted ? RowOrder::Sorted : RowOrder::Natural, storage,
                         Endianness::Little);
}

static uint64_t groupsOf(MixedType type) {
  return type.getGroup() == 0 ? 1 : divideCeil(type.getColumns(), type.getGroup());
}

MixedParts tacq::mixedParts(MixedType type, LayoutAttr layout) {
  MixedStorage bytes = storedBytes(type, layout);
  uint64_t rows = alignTo(type.getRows(), layout.getTileRows());
  MixedParts parts;
  parts.codes = rows * storedColumns(type, layout) * type.getBits() / 8;
  parts.scales = rows * groupsOf(type) * sizeof(uint16_t);
  if (auto affine = dyn_cast<AffineAttr>(type.getDecode()))
    parts.zeros = affine.getZero() ? rows * groupsOf(type) : 0;
  else
    parts.levels = rows << type.getBits();
  if (layout.getRows() == RowOrder::Sorted)
    parts.permutation = rows;
  if (CircuitAttr circuit = type.getCircuit()) {
    uint64_t rowsOfTiles = rows / layout.getTileRows();
    uint64_t tiles = rowsOfTiles * divideCeil(type.getColumns(), layout.getTileColumns());
    uint64_t entries = circuit.getCount();
    if (circuit.getKind() == CircuitKind::Scattered)
      parts.circuitPositions = sizeof(uint32_t) * (type.getRows() + 1);
    else if (circuit.getKind() == CircuitKind::Slots)
      parts.circuitPositions = sizeof(uint32_t) * rowsOfTiles + slotCountBytes(layout) * tiles;
    if (circuit.getKind() != CircuitKind::Scattered)
      entries *= layout.getTileRows();
    if (circuit.getKind() == CircuitKind::Uniform)
      entries *= tiles;
    parts.circuitPositions += entries * positionBytes(type, layout);
    parts.circuitValues = entries * sizeof(uint16_t);
  }
  parts.padding = bytes.total() - parts.codes - parts.scales - parts.zeros - parts.levels -
                  parts.permutation - parts.circuitPositions - parts.circuitValues;
  return parts;
}

/// What packing and unpacking know.
static Error checkForm(MixedType type, LayoutAttr layout) {
  auto affine = dyn_cast<AffineAttr>(type.getDecode());
  auto codebook = dyn_cast<CodebookAttr>(type.getDecode());
  bool known =
      affine
          ? affine.getScale().isF16() && affine.getZero() && affine.getZero().isUnsignedInteger(8)
          : codebook.getScope() == CodebookScope::Row && codebook.getScale() &&
                codebook.getScale().isF16() && codebook.getLevels().isUnsignedInteger(8);
  std::string text;
  llvm::raw_string_ostream stream(text);
  if (!known) {
    stream << "there is no packing of weights of type " << type;
    return Error(TACQ_UNSUPPORTED, stream.str());
  }
  bool fits = succeeded(verifyMixedLayout(
      [&] { return emitError(UnknownLoc::get(type.getContext())); }, type, layout));
  if (!fits || layout.getEndianness() != Endianness::Little ||
      layout.getRows() == RowOrder::Absorbed) {
    stream << "there is no packing of weights of type " << type << " into " << layout;
    return Error(TACQ_UNSUPPORTED, stream.str());
  }
  return Error();
}

//===----------------------------------------------------------------------===//
// Packing
//===----------------------------------------------------------------------===//

namespace {

class MixedPacker {
public:
  MixedPacker(const MixedWeight &weight, MixedType type, LayoutAttr layout,
              function_ref<bool(const void *, size_t)> write)
      : weight(weight), type(type), layout(layout), write(write), tileRows(layout.getTileRows()),
        tileColumns(layout.getTileColumns()),
        rowsOfTiles(divideCeil(type.getRows(), layout.getTileRows())),
        columnsOfTiles(divideCeil(type.getColumns(), layout.getTileColumns())),
        rows(weight, layout.getRows() == RowOrder::Sorted, tileRows, tileColumns) {}

  Error check();
  bool pack() {
    return packCodes() && packMetadata() && packLevels() && packPermutation() && packCircuit();
  }

private:
  bool packCodes();
  bool packMetadata();
  bool packLevels();
  bool packPermutation();
  bool packCircuit();
  void packTile(int64_t rowOfTiles, int64_t firstColumn, int64_t width);
  void packSlots(int64_t rowOfTiles, int64_t tileColumn, int64_t slots);
  template <typename T> void append(T value) {
    auto *bytes = reinterpret_cast<const uint8_t *>(&value);
    section.insert(section.end(), bytes, bytes + sizeof(T));
  }
  void appendNumber(uint32_t value, int64_t bytes) {
    if (bytes == 1)
      append(uint8_t(value));
    else if (bytes == 2)
      append(uint16_t(value));
    else
      append(value);
  }
  /// Writes what has been gathered.
  bool flush() {
    written += section.size();
    bool good = section.empty() || write(section.data(), section.size());
    section.clear();
    return good;
  }
  bool endSection() {
    section.resize(section.size() + alignTo(written + section.size(), layout.getAlignment()) -
                   (written + section.size()));
    return flush();
  }

  const MixedWeight &weight;
  MixedType type;
  LayoutAttr layout;
  function_ref<bool(const void *, size_t)> write;
  int64_t tileRows, tileColumns, rowsOfTiles, columnsOfTiles;
  TiledRows rows;
  std::vector<uint8_t> section;
  uint64_t written = 0;
};

} // namespace

Error MixedPacker::check() {
  auto mismatch = [](const char *what) {
    return Error(TACQ_INVALID_ARGUMENT,
                 std::string("a quantized weight does not have the ") + what + " of its type");
  };
  uint64_t count = uint64_t(weight.rows) * weight.columns, groups = weight.groups();
  const WeightFormat &format = weight.format;
  if (weight.rows != type.getRows() || weight.columns != type.getColumns() ||
      weight.codes.size() != count || format.bits != type.getBits())
    return mismatch("codes");
  bool codebook = isa<CodebookAttr>(type.getDecode());
  if (format.group != type.getGroup() || weight.scales.size() != weight.rows * groups ||
      (!codebook && weight.zeros.size() != weight.rows * groups) ||
      (codebook && weight.levels.size() != uint64_t(weight.rows) << format.bits))
    return mismatch("scales, zero points or levels");
  if (!weight.order.empty() && weight.order.size() != uint64_t(weight.rows))
    return mismatch("order of rows");
  for (size_t i = 0; i < weight.order.size(); ++i)
    if (weight.order[i] / permutationBlock != i / permutationBlock)
      return mismatch("order of rows, which leaves its block");
  CircuitAttr circuit = type.getCircuit();
  if (!circuit)
    return weight.positions.empty() ? Error() : mismatch("circuit");
  if (weight.starts.size() != uint64_t(weight.rows) + 1 ||
      weight.positions.size() != weight.values.size() ||
      weight.starts.back() != weight.positions.size())
    return mismatch("circuit");
  if (circuit.getKind() == CircuitKind::Scattered)
    return uint64_t(circuit.getCount()) == weight.positions.size()
               ? Error()
               : mismatch("number of circuit entries");
  int64_t sum = 0;
  for (int64_t i = 0; i < rowsOfTiles; ++i)
    for (int64_t j = 0; j < columnsOfTiles; ++j) {
      int64_t slots = rows.slots(i, j);
      sum += slots;
      if (circuit.getKind() == CircuitKind::Uniform && slots > circuit.getCount())
        return mismatch("number of slots");
    }
  return circuit.getKind() == CircuitKind::Uniform || sum == circuit.getCount()
             ? Error()
             : mismatch("number of slots");
}

void MixedPacker::packTile(int64_t rowOfTiles, int64_t firstColumn, int64_t width) {
  int64_t interleave = layout.getInterleave();
  unsigned low = 0;
  for (unsigned bits : layout.getPlanes()) {
    int64_t pieces = 8 / bits, blockColumns = pieces * interleave;
    unsigned mask = (1u << bits) - 1;
    size_t base = section.size();
    section.resize(base + size_t(tileRows) * width * bits / 8);
    for (int64_t r = 0; r < tileRows; ++r) {
      int64_t stored = rowOfTiles * tileRows + r;
      if (stored >= weight.rows)
        break;
      const uint8_t *codes = &weight.codes[rows.row(stored) * weight.columns + firstColumn];
      int64_t columns = std::min(width, weight.columns - firstColumn);
      for (int64_t column = 0; column < columns; ++column) {
        int64_t block = column / blockColumns, inBlock = column % blockColumns;
        section[base + (block * tileRows + r) * interleave + inBlock % interleave] |=
            ((codes[column] >> low) & mask) << (inBlock / interleave * bits);
      }
    }
    low += bits;
  }
}

bool MixedPacker::packCodes() {
  int64_t columns = storedColumns(type, layout);
  for (int64_t i = 0; i < rowsOfTiles; ++i) {
    for (int64_t first = 0; first < columns; first += tileColumns)
      packTile(i, first, std::min(tileColumns, columns - first));
    if (!flush())
      return false;
  }
  return endSection();
}

bool MixedPacker::packMetadata() {
  int64_t groups = weight.groups();
  auto pack = [&](const auto &numbers) {
    for (int64_t i = 0; i < rowsOfTiles; ++i)
      for (int64_t group = 0; group < groups; ++group)
        for (int64_t r = 0; r < tileRows; ++r) {
          int64_t stored = i * tileRows + r;
          auto number = numbers[0];
          number = stored < weight.rows ? numbers[rows.row(stored) * groups + group] : 0;
          append(number);
        }
  };
  pack(weight.scales);
  if (isa<AffineAttr>(type.getDecode()))
    pack(weight.zeros);
  return endSection();
}

bool MixedPacker::packLevels() {
  if (!isa<CodebookAttr>(type.getDecode()))
    return true;
  int64_t levels = int64_t(1) << type.getBits();
  section.resize(rowsOfTiles * tileRows * levels);
  for (int64_t stored = 0; stored < weight.rows; ++stored)
    std::copy_n(&weight.levels[rows.row(stored) * levels], levels, &section[stored * levels]);
  return endSection();
}

bool MixedPacker::packPermutation() {
  if (layout.getRows() != RowOrder::Sorted)
    return true;
  for (int64_t stored = 0; stored < rowsOfTiles * tileRows; ++stored)
    section.push_back((stored < weight.rows ? rows.row(stored) : stored) % permutationBlock);
  return endSection();
}

void MixedPacker::packSlots(int64_t rowOfTiles, int64_t tileColumn, int64_t slots) {
  int64_t width = positionBytes(type, layout);
  for (int64_t slot = 0; slot < slots; ++slot) {
    SmallVector<uint16_t> values;
    for (int64_t r = 0; r < tileRows; ++r) {
      int64_t stored = rowOfTiles * tileRows + r, position = 0;
      uint16_t value = 0;
      if (stored < weight.rows) {
        auto [first, last] = rows.entries(stored, tileColumn);
        if (first + slot < last) {
          position = weight.positions[first + slot] - tileColumn * tileColumns;
          value = weight.values[first + slot];
        }
      }
      appendNumber(position, width);
      values.push_back(value);
    }
    for (uint16_t value : values)
      append(value);
  }
}

bool MixedPacker::packCircuit() {
  CircuitAttr circuit = type.getCircuit();
  if (!circuit)
    return true;
  if (circuit.getKind() == CircuitKind::Scattered) {
    uint32_t start = 0;
    append(start);
    for (int64_t stored = 0; stored < weight.rows; ++stored) {
      int64_t n = rows.row(stored);
      append(start += weight.starts[n + 1] - weight.starts[n]);
    }
    for (int64_t stored = 0; stored < weight.rows; ++stored) {
      int64_t n = rows.row(stored);
      for (uint32_t i = weight.starts[n]; i < weight.starts[n + 1]; ++i) {
        appendNumber(weight.positions[i], positionBytes(type, layout));
        append(weight.values[i]);
      }
    }
    return endSection();
  }
  bool uniform = circuit.getKind() == CircuitKind::Uniform;
  if (!uniform) {
    std::vector<int64_t> counts;
    uint32_t start = 0;
    for (int64_t i = 0; i < rowsOfTiles; ++i) {
      append(start);
      for (int64_t j = 0; j < columnsOfTiles; ++j) {
        counts.push_back(rows.slots(i, j));
        start += counts.back();
      }
    }
    for (int64_t count : counts)
      appendNumber(count, slotCountBytes(layout));
  }
  for (int64_t i = 0; i < rowsOfTiles; ++i) {
    for (int64_t j = 0; j < columnsOfTiles; ++j)
      packSlots(i, j, uniform ? circuit.getCount() : rows.slots(i, j));
    if (!flush())
      return false;
  }
  return endSection();
}

Error tacq::packMixedWeight(const MixedWeight &weight, MixedType type, LayoutAttr layout,
                            function_ref<bool(const void *, size_t)> write) {
  if (Error error = checkForm(type, layout))
    return error;
  MixedPacker packer(weight, type, layout, write);
  if (Error error = packer.check())
    return error;
  packer.pack();
  return Error();
}

//===----------------------------------------------------------------------===//
// Unpacking
//===----------------------------------------------------------------------===//

namespace {

/// Finds each number of a stored weight on its own, by the formulas of the specification.
class StoredWeight {
public:
  StoredWeight(ArrayRef<uint8_t> bytes, MixedType type, LayoutAttr layout)
      : bytes(bytes), type(type), layout(layout), sections(storedBytes(type, layout)),
        R(layout.getTileRows()), C(layout.getTileColumns()), columns(storedColumns(type, layout)) {}

  uint64_t number(uint64_t at, int64_t width) const {
    uint64_t value = 0;
    for (int64_t i = 0; i < width; ++i)
      value |= uint64_t(bytes[at + i]) << (8 * i);
    return value;
  }
  unsigned code(int64_t row, int64_t column) const {
    int64_t first = column / C * C, width = std::min(C, columns - first);
    int64_t at = ((row / R) * columns + first) * R * type.getBits() / 8;
    int64_t i = layout.getInterleave();
    unsigned code = 0, low = 0;
    for (unsigned w : layout.getPlanes()) {
      int64_t k = column - first, blockColumns = 8 / w * i;
      int64_t byte = at + k / blockColumns * R * i + row % R * i + k % i;
      unsigned bit = k % blockColumns / i * w;
      code |= (number(byte, 1) >> bit & ((1u << w) - 1)) << low;
      low += w;
      at += R * width * w / 8;
    }
    return code;
  }
  /// Where the metadata of a row's group are, counted in numbers.
  int64_t metadata(int64_t row, int64_t group) const {
    return (row / R * groupsOf(type) + group) * R + row % R;
  }
  uint64_t scalesAt() const { return sections.codes; }
  uint64_t zerosAt() const { return sections.codes + 2 * storedRows() * groupsOf(type); }
  uint64_t levelsAt() const { return sections.codes + sections.metadata; }
  uint64_t permutationAt() const { return levelsAt() + sections.codebooks; }
  uint64_t circuitAt() const { return permutationAt() + sections.permutation; }
  uint64_t circuitEnd() const { return circuitAt() + sections.circuit; }
  uint64_t storedRows() const { return alignTo(type.getRows(), R); }
  uint64_t storedRow(uint64_t row) const {
    if (layout.getRows() != RowOrder::Sorted)
      return row;
    return row / permutationBlock * permutationBlock + number(permutationAt() + row, 1);
  }

  /// The entries of a stored row. False if they are not in the section.
  bool circuit(uint64_t row, llvm::SmallVectorImpl<std::pair<uint32_t, uint16_t>> &entries) const {
    constexpr int64_t half = 2, start = 4;
    int64_t p = positionBytes(type, layout);
    uint64_t tiles = divideCeil(type.getColumns(), C), rowsOfTiles = storedRows() / R;
    CircuitAttr circuit = type.getCircuit();
    if (circuit.getKind() == CircuitKind::Scattered) {
      uint64_t list = circuitAt() + start * (type.getRows() + 1);
      uint64_t first = number(circuitAt() + start * row, start);
      uint64_t last = number(circuitAt() + start * (row + 1), start);
      if (first > last || last > uint64_t(circuit.getCount()))
        return false;
      for (uint64_t i = first; i < last; ++i)
        entries.push_back(
            {number(list + i * (p + half), p), number(list + i * (p + half) + p, half)});
      return true;
    }
    bool uniform = circuit.getKind() == CircuitKind::Uniform;
    uint64_t rowOfTiles = row / R, slotBytes = R * (p + half);
    uint64_t counts = circuitAt() + start * rowsOfTiles;
    uint64_t at = counts + slotCountBytes(layout) * rowsOfTiles * tiles;
    if (uniform)
      at = circuitAt() + rowOfTiles * tiles * circuit.getCount() * slotBytes;
    else
      at += number(circuitAt() + start * rowOfTiles, start) * slotBytes;
    for (uint64_t tile = 0; tile < tiles; ++tile) {
      uint64_t count = circuit.getCount();
      if (!uniform)
        count = number(counts + (rowOfTiles * tiles + tile) * slotCountBytes(layout),
                       slotCountBytes(layout));
      for (uint64_t slot = 0; slot < count; ++slot, at += slotBytes) {
        if (at + slotBytes > circuitEnd())
          return false;
        uint16_t value = number(at + R * p + row % R * half, half);
        if (value != 0)
          entries.push_back({tile * C + number(at + row % R * p, p), value});
      }
    }
    return true;
  }

private:
  ArrayRef<uint8_t> bytes;
  MixedType type;
  LayoutAttr layout;
  MixedStorage sections;
  int64_t R, C, columns;
};

} // namespace

Error tacq::unpackMixedWeight(ArrayRef<uint8_t> bytes, MixedType type, LayoutAttr layout,
                              MixedWeight &weight) {
  if (Error error = checkForm(type, layout))
    return error;
  auto broken = [](const char *what) {
    return Error(TACQ_INVALID_MODULE, std::string("a stored weight is broken: ") + what);
  };
  if (int64_t(bytes.size()) != storedBytes(type, layout).total())
    return broken("it does not have the bytes that its type and layout take");
  StoredWeight stored(bytes, type, layout);
  bool codebook = isa<CodebookAttr>(type.getDecode());
  weight = MixedWeight();
  weight.rows = type.getRows();
  weight.columns = type.getColumns();
  weight.format.bits = type.getBits();
  weight.format.group = type.getGroup();
  weight.format.codebook = codebook;
  CircuitAttr circuit = type.getCircuit();
  if (circuit)
    weight.format.circuit = circuit.getKind() == CircuitKind::Scattered ? CircuitFormat::Scattered
                            : circuit.getKind() == CircuitKind::Slots   ? CircuitFormat::Slots
                                                                        : CircuitFormat::Uniform;
  // The stored row of each row of the weight.
  std::vector<uint64_t> place(weight.rows, UINT64_MAX);
  for (int64_t row = 0; row < weight.rows; ++row) {
    uint64_t n = stored.storedRow(row);
    if (n >= place.size() || place[n] != UINT64_MAX)
      return broken("its order of rows is no permutation");
    place[n] = row;
    if (layout.getRows() == RowOrder::Sorted)
      weight.order.push_back(n);
  }
  int64_t groups = weight.groups(), levels = codebook ? int64_t(1) << type.getBits() : 0;
  if (circuit)
    weight.starts.push_back(0);
  for (uint64_t row : place) {
    for (int64_t column = 0; column < weight.columns; ++column)
      weight.codes.push_back(stored.code(row, column));
    for (int64_t group = 0; group < groups; ++group) {
      int64_t at = stored.metadata(row, group);
      weight.scales.push_back(stored.number(stored.scalesAt() + 2 * at, 2));
      if (!codebook)
        weight.zeros.push_back(stored.number(stored.zerosAt() + at, 1));
    }
    for (int64_t level = 0; level < levels; ++level)
      weight.levels.push_back(stored.number(stored.levelsAt() + row * levels + level, 1));
    if (!circuit)
      continue;
    SmallVector<std::pair<uint32_t, uint16_t>> entries;
    if (!stored.circuit(row, entries))
      return broken("the circuit of a row lies outside of its section");
    llvm::sort(entries);
    for (auto [position, value] : entries) {
      if (position >= uint64_t(weight.columns))
        return broken("the circuit has a position outside of the row");
      weight.positions.push_back(position);
      weight.values.push_back(value);
    }
    weight.starts.push_back(weight.positions.size());
  }
  return Error();
}
