//===- Knapsack.h - One option of each item within a budget -----*- C++ -*-===//

#ifndef TACQ_QUANTIZE_KNAPSACK_H
#define TACQ_QUANTIZE_KNAPSACK_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>
#include <vector>

namespace tacq {

struct KnapsackOption {
  uint64_t bytes;
  double loss;
};

/// All sums of one option of each item that no other sum beats in both bytes and loss: for every
/// budget the least loss, and for every loss the fewest bytes. Found item by item, with the sums
/// that are beaten dropped, which is exact. Beyond `mostPoints` sums, those of nearly the same size
/// are represented by the one with the least loss; the first is always kept. Of equal sums the
/// options that come first count, so that the result is the same everywhere.
class KnapsackFront {
public:
  static KnapsackFront solve(llvm::ArrayRef<std::vector<KnapsackOption>> items,
                             size_t mostPoints = 8192);

  /// By bytes, ascending; losses descend. Empty only if an item has no option.
  llvm::ArrayRef<KnapsackOption> points() const { return sums; }
  /// The option of each item that make up a point.
  std::vector<unsigned> choice(size_t point) const;

private:
  struct Step {
    uint32_t before, option;
  };
  std::vector<KnapsackOption> sums;
  /// Of each item, how its sums came about.
  std::vector<std::vector<Step>> steps;
};

} // namespace tacq

#endif // TACQ_QUANTIZE_KNAPSACK_H
