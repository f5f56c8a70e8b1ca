//===- Slots.cpp - Circuits in tiles --------------------------------------===//

#include "tacq/Quantize/Slots.h"
#include "Parallel.h"
#include "SlotTable.h"
#include "llvm/ADT/STLExtras.h"
#include <algorithm>
#include <array>
#include <cassert>
#include <cstdlib>
#include <map>
#include <numeric>
#include <optional>
#include <queue>

using namespace tacq;

static TileGrid gridOf(WeightView saliency, const SlotOptions &options) {
  return {saliency.rows, saliency.columns, options.tileRows, options.tileColumns};
}

static int64_t budgetOf(llvm::ArrayRef<CircuitMask> scattered) {
  int64_t entries = 0;
  for (const CircuitMask &mask : scattered)
    entries += static_cast<int64_t>(mask.positions.size());
  return entries * entryBytes;
}

/// In each block of rows that a byte can number, those with more entries of the circuit first; of
/// equal ones, the upper.
static std::vector<uint32_t> sortedRows(int64_t rows, const CircuitMask &mask) {
  std::vector<uint32_t> order(rows);
  std::iota(order.begin(), order.end(), 0);
  constexpr int64_t block = 256;
  for (int64_t begin = 0; begin < rows; begin += block)
    std::stable_sort(
        order.begin() + begin, order.begin() + std::min(rows, begin + block),
        [&](uint32_t a, uint32_t b) { return mask.row(a).size() > mask.row(b).size(); });
  return order;
}

namespace {

/// How many slots each tensor gets. Tensors of the same shape have circuits all or none, so that
/// they share kernels: code costs more bytes than the tables of a circuit that keeps nothing. So a
/// shape has circuits if they are worth their code, too, though the budget is for weights alone.
class SlotChoice {
public:
  SlotChoice(llvm::ArrayRef<SlotTable> tables, int64_t bytesOfSlot);

  /// Takes what is worth most if a byte costs `price`.
  void choose(double price);
  /// Adds the most valuable slots that still fit into the budget: the price leaves a remainder.
  void spendRemainder(int64_t budget);
  int64_t bytes() const;
  double worth() const;
  SlotCircuit circuit(size_t tensor) const;

private:
  bool isPresent(size_t tensor) const { return present[shapeOf[tensor]]; }
  bool isSorted() const { return !tables.empty() && tables[0].isSorted(); }
  int64_t codeBytes() const { return slotCodeBytes + (isSorted() ? sortedCodeBytes : 0); }
  /// With so many slots.
  int64_t bytesOf(size_t tensor, int64_t count) const {
    return tables[tensor].bytes(count) + (isSorted() ? sortedTensorBytes : 0);
  }
  /// What one more slot of the tensor costs.
  int64_t costOfNext(size_t tensor) const;

  llvm::ArrayRef<SlotTable> tables;
  int64_t bytesOfSlot;
  std::vector<size_t> shapeOf;              // of each tensor
  std::vector<std::vector<size_t>> ofShape; // tensors
  std::vector<bool> present;                // of each shape
  std::vector<int64_t> slots;               // of each tensor
};

} // namespace

SlotChoice::SlotChoice(llvm::ArrayRef<SlotTable> tables, int64_t bytesOfSlot)
    : tables(tables), bytesOfSlot(bytesOfSlot), slots(tables.size()) {
  std::map<std::pair<int64_t, int64_t>, size_t> numbers;
  for (size_t t = 0; t < tables.size(); ++t) {
    auto [shape, isNew] = numbers.try_emplace(tables[t].shape(), ofShape.size());
    if (isNew)
      ofShape.emplace_back();
    shapeOf.push_back(shape->second);
    ofShape[shape->second].push_back(t);
  }
  present.resize(ofShape.size());
}

void SlotChoice::choose(double price) {
  for (size_t shape = 0; shape < ofShape.size(); ++shape) {
    double gain = -price * static_cast<double>(codeBytes());
    for (size_t t : ofShape[shape]) {
      slots[t] = tables[t].countAbove(price * static_cast<double>(bytesOfSlot));
      gain += tables[t].worthOf(slots[t]) - price * static_cast<double>(bytesOf(t, slots[t]));
    }
    present[shape] = gain > 0;
    if (!present[shape])
      for (size_t t : ofShape[shape])
        slots[t] = 0;
  }
}

int64_t SlotChoice::costOfNext(size_t tensor) const {
  int64_t with = bytesOf(tensor, slots[tensor] + 1);
  if (isPresent(tensor))
    return with - bytesOf(tensor, slots[tensor]);
  for (size_t other : ofShape[shapeOf[tensor]])
    if (other != tensor)
      with += bytesOf(other, 0);
  return with;
}

void SlotChoice::spendRemainder(int64_t budget) {
  int64_t remainder = budget - bytes();
  using Candidate = std::pair<float, size_t>; // of tensor ~second
  std::priority_queue<Candidate> queue;
  auto push = [&](size_t t) {
    if (slots[t] < tables[t].size())
      queue.push({tables[t].worth(slots[t]), ~t});
  };
  for (size_t t = 0; t < tables.size(); ++t)
    push(t);
  while (!queue.empty()) {
    size_t t = ~queue.top().second;
    queue.pop();
    int64_t cost = costOfNext(t);
    if (cost > remainder)
      continue;
    remainder -= cost;
    present[shapeOf[t]] = true;
    ++slots[t];
    push(t);
  }
}

int64_t SlotChoice::bytes() const {
  int64_t sum = 0;
  for (size_t t = 0; t < tables.size(); ++t)
    if (isPresent(t))
      sum += bytesOf(t, slots[t]);
  return sum;
}

double SlotChoice::worth() const {
  double sum = 0;
  for (size_t t = 0; t < tables.size(); ++t)
    sum += tables[t].worthOf(slots[t]);
  return sum;
}

SlotCircuit SlotChoice::circuit(size_t tensor) const {
  return isPresent(tensor) ? tables[tensor].circuit(slots[tensor]) : SlotCircuit();
}

/// The most valuable slots within the budget, at the lowest price of a byte at which they fit.
static SlotChoice spend(llvm::ArrayRef<SlotTable> tables, int64_t budget, int64_t bytesOfSlot) {
  double highest = 0;
  for (const SlotTable &table : tables)
    if (table.size() > 0)
      highest = std::max<double>(highest, table.worth(0));
  double low = 0, high = highest / static_cast<double>(bytesOfSlot);
  SlotChoice choice(tables, bytesOfSlot);
  for (int step = 0; step < 64; ++step) {
    double price = low + (high - low) / 2;
    choice.choose(price);
    (choice.bytes() <= budget ? high : low) = price;
  }
  choice.choose(high);
  choice.spendRemainder(budget);
  return choice;
}

std::vector<std::vector<SlotCircuit>>
tacq::selectSlots(llvm::ArrayRef<WeightView> saliency,
                  llvm::ArrayRef<std::vector<CircuitMask>> scattered, const SlotOptions &options) {
  int64_t bytesOfSlot = slotBytes({0, 0, options.tileRows, options.tileColumns});
  std::vector<int64_t> budgets;
  for (const std::vector<CircuitMask> &masks : scattered)
    budgets.push_back(budgetOf(masks));
  // Of each circuit and each tensor, in the natural order of rows and in a sorted one.
  using Tables = std::vector<std::optional<SlotTable>>;
  std::vector<std::array<Tables, 2>> tables(scattered.size());
  for (auto [masks, both] : llvm::zip(scattered, tables)) {
    assert(saliency.size() == masks.size() && "there is a circuit for each tensor");
    both = {Tables(saliency.size()), Tables(saliency.size())};
  }
  forEachChunk(static_cast<int64_t>(saliency.size()), 1, /*threads=*/0, [&](int64_t t, int64_t) {
    TileGrid grid = gridOf(saliency[t], options);
    std::vector<std::vector<uint32_t>> orders(1);
    for (const std::vector<CircuitMask> &masks : scattered)
      orders.push_back(sortedRows(grid.rows, masks[t]));
    std::vector<std::vector<float>> worths = slotWorths(saliency[t], grid, orders);
    for (size_t i = 0; i < scattered.size(); ++i) {
      auto limit = static_cast<uint64_t>(budgets[i] / bytesOfSlot);
      tables[i][0][t].emplace(saliency[t], grid, orders[0], worths[0], limit);
      tables[i][1][t].emplace(saliency[t], grid, orders[i + 1], worths[i + 1], limit);
    }
  });
  std::vector<std::vector<SlotCircuit>> result;
  for (auto [budget, both] : llvm::zip(budgets, tables)) {
    std::vector<SlotTable> ofOrder[2];
    for (size_t order : {0, 1})
      for (std::optional<SlotTable> &table : both[order])
        ofOrder[order].push_back(std::move(*table));
    SlotChoice choice = spend(ofOrder[0], budget, bytesOfSlot);
    SlotChoice other = spend(ofOrder[1], budget, bytesOfSlot);
    const SlotChoice &best = other.worth() > choice.worth() ? other : choice;
    std::vector<SlotCircuit> &circuits = result.emplace_back(saliency.size());
    forEachChunk(static_cast<int64_t>(saliency.size()), 1, /*threads=*/0,
                 [&](int64_t t, int64_t) { circuits[t] = best.circuit(t); });
  }
  return result;
}

std::vector<SlotCircuit> tacq::selectUniform(llvm::ArrayRef<WeightView> saliency,
                                             llvm::ArrayRef<CircuitMask> scattered,
                                             const SlotOptions &options) {
  assert(saliency.size() == scattered.size() && "there is a circuit for each tensor");
  int64_t budget = budgetOf(scattered), widest = options.tileColumns;
  if (budget == 0)
    return std::vector<SlotCircuit>(saliency.size());
  for (const WeightView &view : saliency) {
    int64_t last = view.columns % options.tileColumns;
    widest = std::min(widest, last == 0 ? options.tileColumns : last);
  }
  auto distance = [&](int64_t slots) {
    int64_t bytes = 0;
    for (const WeightView &view : saliency)
      bytes += uniformBytes(gridOf(view, options), slots);
    return std::abs(bytes - budget);
  };
  int64_t slots = 1;
  while (slots < widest && distance(slots + 1) < distance(slots))
    ++slots;
  std::vector<SlotCircuit> result;
  for (const WeightView &view : saliency) {
    TileGrid grid = gridOf(view, options);
    std::vector<uint8_t> everywhere(grid.tiles(), static_cast<uint8_t>(slots));
    result.push_back(makeSlotCircuit(view, grid, {}, std::move(everywhere)));
  }
  return result;
}
