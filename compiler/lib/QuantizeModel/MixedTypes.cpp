//===- MixedTypes.cpp - The type of a quantized weight --------------------===//

#include "tacq/Quantize/MixedTypes.h"
#include "tacq/Quantize/CircuitBytes.h"

using namespace mlir;
using namespace tacq;

/// The number of slots of all tiles, and that of the fullest tile.
static std::pair<int64_t, int64_t> countSlots(int64_t rows, int64_t columns,
                                              const CircuitMask &mask) {
  TileGrid grid{rows, columns};
  std::vector<int64_t> slots(grid.tiles());
  std::vector<int64_t> inTile(grid.across());
  for (int64_t stored = 0; stored < rows; ++stored) {
    int64_t row = mask.order.empty() ? stored : mask.order[stored];
    std::fill(inTile.begin(), inTile.end(), 0);
    for (uint32_t column : mask.row(row))
      ++inTile[column / grid.tileColumns];
    for (int64_t tile = 0; tile < grid.across(); ++tile) {
      int64_t &count = slots[stored / grid.tileRows * grid.across() + tile];
      count = std::max(count, inTile[tile]);
    }
  }
  int64_t total = 0, largest = 0;
  for (int64_t count : slots) {
    total += count;
    largest = std::max(largest, count);
  }
  return {total, largest};
}

MixedType tacq::mixedTypeOf(MLIRContext &context, int64_t rows, int64_t columns,
                            const WeightFormat &format, const CircuitMask &mask) {
  Builder builder(&context);
  Type half = builder.getF16Type();
  Type byte = builder.getIntegerType(8, /*isSigned=*/false);
  Attribute decode;
  if (format.codebook)
    decode = CodebookAttr::get(&context, CodebookScope::Row, byte, half, 0);
  else
    decode = AffineAttr::get(&context, half, byte, 0);
  CircuitAttr circuit;
  auto values = format.codebook ? CircuitValues_::Difference : CircuitValues_::Exact;
  if (!mask.empty()) {
    auto [total, largest] = countSlots(rows, columns, mask);
    switch (format.circuit) {
    case WeightFormat::Circuit::Slots:
      circuit = CircuitAttr::get(&context, CircuitKind::Slots, total, values);
      break;
    case WeightFormat::Circuit::Uniform:
      circuit = CircuitAttr::get(&context, CircuitKind::Uniform, largest, values);
      break;
    default:
      circuit = CircuitAttr::get(&context, CircuitKind::Scattered, mask.positions.size(), values);
    }
  }
  return MixedType::get(&context, rows, columns, format.bits, format.group, decode, circuit);
}

MixedType tacq::mixedTypeOf(MLIRContext &context, const MixedWeight &weight) {
  CircuitMask mask{weight.starts, weight.positions, weight.order};
  return mixedTypeOf(context, weight.rows, weight.columns, weight.format, mask);
}
