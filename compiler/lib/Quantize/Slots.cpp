//===- Slots.cpp - Circuits in tiles --------------------------------------===//

#include "tacq/Quantize/Slots.h"
#include "SlotTable.h"
#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <numeric>
#include <queue>

using namespace tacq;

static TileGrid gridOf(WeightView saliency, const SlotOptions &options) {
  return {saliency.rows, saliency.columns, options.tileRows, options.tileColumns};
}

static int64_t budgetOf(llvm::ArrayRef<WeightView> saliency,
                        llvm::ArrayRef<CircuitMask> scattered) {
  assert(saliency.size() == scattered.size() && "there is a circuit for each tensor");
  int64_t bytes = 0;
  for (size_t t = 0; t < saliency.size(); ++t)
    bytes += scatteredBytes(saliency[t].rows, saliency[t].columns,
                            static_cast<int64_t>(scattered[t].positions.size()));
  return bytes;
}

/// Rows with more entries of the circuit first; of equal ones, the upper.
static std::vector<uint32_t> sortedRows(int64_t rows, const CircuitMask &mask) {
  std::vector<uint32_t> order(rows);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return mask.row(a).size() > mask.row(b).size(); });
  return order;
}

namespace {
struct Choice {
  const SlotTable *table = nullptr;
  int64_t slots = 0;

  int64_t bytes() const { return table->bytes(slots); }
};
} // namespace

/// What is worth most if a byte costs `price`; without slots a tensor is worth 0.
static Choice choose(const SlotTable &table, double price, int64_t bytesOfSlot) {
  int64_t slots = table.countAbove(price * static_cast<double>(bytesOfSlot));
  double worth = table.worthOf(slots) - price * static_cast<double>(table.bytes(slots));
  return {&table, worth > 0 ? slots : 0};
}

static int64_t chooseAll(llvm::ArrayRef<SlotTable> tables, double price, int64_t bytesOfSlot,
                         std::vector<Choice> &choices) {
  choices.clear();
  int64_t bytes = 0;
  for (const SlotTable &table : tables) {
    choices.push_back(choose(table, price, bytesOfSlot));
    bytes += choices.back().bytes();
  }
  return bytes;
}

/// Adds the most valuable slots that still fit: the price leaves a remainder, since a tensor's
/// first slot brings the bytes with it that any circuit takes.
static void spendRemainder(int64_t remainder, std::vector<Choice> &choices) {
  using Candidate = std::pair<float, size_t>; // of tensor ~second
  std::priority_queue<Candidate> queue;
  auto push = [&](size_t t) {
    const Choice &choice = choices[t];
    if (choice.slots < choice.table->size())
      queue.push({choice.table->worth(choice.slots), ~t});
  };
  for (size_t t = 0; t < choices.size(); ++t)
    push(t);
  while (!queue.empty()) {
    size_t t = ~queue.top().second;
    queue.pop();
    Choice more = choices[t];
    ++more.slots;
    int64_t cost = more.bytes() - choices[t].bytes();
    if (cost > remainder)
      continue;
    remainder -= cost;
    choices[t] = more;
    push(t);
  }
}

/// The most valuable slots within the budget, at the lowest price of a byte at which they fit.
static std::vector<Choice> spend(llvm::ArrayRef<SlotTable> tables, int64_t budget,
                                 int64_t bytesOfSlot) {
  double highest = 0;
  for (const SlotTable &table : tables)
    if (table.size() > 0)
      highest = std::max<double>(highest, table.worth(0));
  double low = 0, high = highest / static_cast<double>(bytesOfSlot);
  std::vector<Choice> choices, cheaper;
  chooseAll(tables, high, bytesOfSlot, choices);
  for (int step = 0; step < 64; ++step) {
    double price = low + (high - low) / 2;
    if (chooseAll(tables, price, bytesOfSlot, cheaper) <= budget) {
      high = price;
      choices = cheaper;
    } else {
      low = price;
    }
  }
  int64_t spent = 0;
  for (const Choice &choice : choices)
    spent += choice.bytes();
  spendRemainder(budget - spent, choices);
  return choices;
}

std::vector<SlotCircuit> tacq::selectSlots(llvm::ArrayRef<WeightView> saliency,
                                           llvm::ArrayRef<CircuitMask> scattered,
                                           const SlotOptions &options) {
  int64_t budget = budgetOf(saliency, scattered);
  int64_t bytesOfSlot = slotBytes({0, 0, options.tileRows, options.tileColumns});
  auto limit = static_cast<uint64_t>(budget / bytesOfSlot);
  std::vector<SlotCircuit> result;
  double most = -1;
  for (bool sorted : {false, true}) {
    std::vector<SlotTable> tables;
    for (size_t t = 0; t < saliency.size(); ++t) {
      TileGrid grid = gridOf(saliency[t], options);
      std::vector<uint32_t> order;
      if (sorted)
        order = sortedRows(grid.rows, scattered[t]);
      tables.emplace_back(saliency[t], grid, std::move(order), limit);
    }
    std::vector<Choice> choices = spend(tables, budget, bytesOfSlot);
    double worth = 0;
    for (const Choice &choice : choices)
      worth += choice.table->worthOf(choice.slots);
    if (worth <= most)
      continue;
    most = worth;
    result.clear();
    for (const Choice &choice : choices)
      result.push_back(choice.table->circuit(choice.slots));
  }
  return result;
}

std::vector<SlotCircuit> tacq::selectUniform(llvm::ArrayRef<WeightView> saliency,
                                             llvm::ArrayRef<CircuitMask> scattered,
                                             const SlotOptions &options) {
  int64_t budget = budgetOf(saliency, scattered), widest = options.tileColumns;
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
