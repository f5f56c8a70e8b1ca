//===- SlotTable.cpp - What each slot of a weight is worth ----------------===//

#include "SlotTable.h"
#include <algorithm>
#include <numeric>

using namespace tacq;

/// The columns [begin, end) of a row, the most salient first; of equal ones, the leftmost.
static void rankColumns(const float *row, int64_t begin, int64_t end,
                        std::vector<uint32_t> &columns) {
  columns.resize(end - begin);
  std::iota(columns.begin(), columns.end(), static_cast<uint32_t>(begin));
  std::sort(columns.begin(), columns.end(),
            [row](uint32_t a, uint32_t b) { return row[a] != row[b] ? row[a] > row[b] : a < b; });
}

SlotTable::SlotTable(WeightView saliency, const TileGrid &grid, std::vector<uint32_t> order,
                     uint64_t limit)
    : saliency(saliency), grid(grid), order(std::move(order)) {
  auto moreValuable = [](const Entry &a, const Entry &b) {
    if (a.worth != b.worth)
      return a.worth > b.worth;
    return a.tile != b.tile ? a.tile < b.tile : a.slot < b.slot;
  };
  auto trim = [&] {
    if (entries.size() <= limit)
      return;
    std::nth_element(entries.begin(), entries.begin() + limit, entries.end(), moreValuable);
    entries.resize(limit);
  };
  std::vector<float> best;
  std::vector<double> worth;
  for (int64_t tile = 0; tile < grid.tiles(); ++tile) {
    int64_t firstRow = tile / grid.across() * grid.tileRows;
    int64_t lastRow = std::min(grid.rows, firstRow + grid.tileRows);
    int64_t begin = tile % grid.across() * grid.tileColumns;
    int64_t end = std::min(grid.columns, begin + grid.tileColumns);
    worth.assign(end - begin, 0);
    for (int64_t i = firstRow; i < lastRow; ++i) {
      const float *row = saliency.row(this->order.empty() ? i : this->order[i]);
      best.assign(row + begin, row + end);
      std::sort(best.begin(), best.end(), std::greater<float>());
      for (size_t j = 0; j < best.size(); ++j)
        worth[j] += best[j];
    }
    for (size_t j = 0; j < worth.size() && worth[j] > 0; ++j)
      entries.push_back(
          {static_cast<float>(worth[j]), static_cast<uint32_t>(tile), static_cast<uint32_t>(j)});
    if (entries.size() > 2 * limit + 65536)
      trim();
  }
  trim();
  std::sort(entries.begin(), entries.end(), moreValuable);
  sums.reserve(entries.size() + 1);
  sums.push_back(0);
  for (const Entry &entry : entries)
    sums.push_back(sums.back() + entry.worth);
}

int64_t SlotTable::countAbove(double worth) const {
  auto end = std::partition_point(entries.begin(), entries.end(),
                                  [&](const Entry &entry) { return entry.worth > worth; });
  return end - entries.begin();
}

SlotCircuit SlotTable::circuit(int64_t n) const {
  std::vector<uint8_t> slots(grid.tiles());
  for (int64_t i = 0; i < n; ++i)
    ++slots[entries[i].tile];
  return makeSlotCircuit(saliency, grid, order, std::move(slots));
}

SlotCircuit tacq::makeSlotCircuit(WeightView saliency, const TileGrid &grid,
                                  std::vector<uint32_t> order, std::vector<uint8_t> slots) {
  SlotCircuit result;
  result.grid = grid;
  if (slots.empty())
    return result;
  std::vector<int64_t> place(grid.rows); // where the row is stored
  for (int64_t i = 0; i < grid.rows; ++i)
    place[order.empty() ? i : order[i]] = i;
  CircuitMask &mask = result.mask;
  mask.starts.push_back(0);
  std::vector<uint32_t> columns;
  for (int64_t n = 0; n < grid.rows; ++n) {
    const uint8_t *counts = slots.data() + place[n] / grid.tileRows * grid.across();
    for (int64_t tile = 0; tile < grid.across(); ++tile) {
      if (counts[tile] == 0)
        continue;
      int64_t begin = tile * grid.tileColumns;
      rankColumns(saliency.row(n), begin, std::min(grid.columns, begin + grid.tileColumns),
                  columns);
      std::sort(columns.begin(), columns.begin() + counts[tile]);
      mask.positions.insert(mask.positions.end(), columns.begin(), columns.begin() + counts[tile]);
    }
    mask.starts.push_back(static_cast<uint32_t>(mask.positions.size()));
  }
  mask.order = std::move(order);
  result.slots = std::move(slots);
  return result;
}

int64_t SlotCircuit::slotCount() const {
  return std::accumulate(slots.begin(), slots.end(), int64_t(0));
}
