//===- CircuitBytes.cpp - What a circuit costs in the module --------------===//

#include "tacq/Quantize/CircuitBytes.h"

using namespace tacq;

static int64_t padded(int64_t bytes) {
  return (bytes + sectionAlignment - 1) / sectionAlignment * sectionAlignment;
}
static int64_t indexBytes(int64_t count) { return count <= 65536 ? 2 : 4; }
constexpr int64_t valueBytes = 2, startBytes = 4;

int64_t tacq::scatteredBytes(int64_t rows, int64_t columns, int64_t entries) {
  if (entries == 0)
    return 0;
  return padded(entries * (indexBytes(columns) + valueBytes) + startBytes * (rows + 1));
}

int64_t tacq::slotBytes(const TileGrid &grid) {
  return grid.tileRows * ((grid.tileColumns <= 256 ? 1 : 2) + valueBytes);
}

int64_t tacq::slotsBytes(const TileGrid &grid, int64_t slots, bool sorted) {
  int64_t permutation = sorted ? padded(grid.down() * grid.tileRows) : 0;
  return padded(slots * slotBytes(grid) + grid.tiles() + startBytes * (grid.down() + 1)) +
         permutation;
}

int64_t tacq::uniformBytes(const TileGrid &grid, int64_t slotsInTile) {
  return padded(grid.tiles() * slotsInTile * slotBytes(grid));
}
