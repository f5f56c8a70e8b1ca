//===- Knapsack.cpp - One option of each item within a budget -------------===//

#include "tacq/Quantize/Knapsack.h"
#include <algorithm>
#include <limits>

using namespace tacq;

KnapsackFront KnapsackFront::solve(llvm::ArrayRef<std::vector<KnapsackOption>> items,
                                   size_t mostPoints) {
  struct Sum {
    KnapsackOption total;
    Step step;
  };
  KnapsackFront front;
  front.sums = {{0, 0}};
  for (const std::vector<KnapsackOption> &options : items) {
    std::vector<Sum> candidates;
    for (uint32_t before = 0; before < front.sums.size(); ++before)
      for (uint32_t option = 0; option < options.size(); ++option)
        candidates.push_back({{front.sums[before].bytes + options[option].bytes,
                               front.sums[before].loss + options[option].loss},
                              {before, option}});
    std::stable_sort(candidates.begin(), candidates.end(), [](const Sum &a, const Sum &b) {
      return a.total.bytes != b.total.bytes ? a.total.bytes < b.total.bytes
                                            : a.total.loss < b.total.loss;
    });
    std::vector<Sum> kept;
    for (const Sum &sum : candidates)
      if (kept.empty() || sum.total.loss < kept.back().total.loss)
        kept.push_back(sum);
    if (kept.size() > mostPoints) {
      uint64_t first = kept.front().total.bytes, span = kept.back().total.bytes - first;
      uint64_t width = span / (mostPoints - 1) + 1, bucket = std::numeric_limits<uint64_t>::max();
      std::vector<Sum> thinned = {kept.front()};
      for (const Sum &sum : kept) {
        uint64_t own = (sum.total.bytes - first) / width;
        if (own == bucket && thinned.size() > 1)
          thinned.back() = sum;
        else if (sum.total.bytes != first)
          thinned.push_back(sum);
        bucket = own;
      }
      kept = std::move(thinned);
    }
    front.sums.clear();
    std::vector<Step> &steps = front.steps.emplace_back();
    for (const Sum &sum : kept) {
      front.sums.push_back(sum.total);
      steps.push_back(sum.step);
    }
  }
  return front;
}

std::vector<unsigned> KnapsackFront::choice(size_t point) const {
  std::vector<unsigned> options(steps.size());
  for (size_t item = steps.size(); item-- > 0;) {
    options[item] = steps[item][point].option;
    point = steps[item][point].before;
  }
  return options;
}
