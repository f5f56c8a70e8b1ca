//===- NearestLevels.cpp - Levels of each row by themselves ---------------===//

#include "tacq/Quantize/NearestLevels.h"
#include "Parallel.h"
#include <algorithm>
#include <numeric>

using namespace tacq;

static constexpr int rounds = 12;

/// Levels of sorted numbers, ascending. starts[c] is the first number of level c.
static void fitRow(const std::vector<float> &sorted, std::vector<double> &levels,
                   std::vector<size_t> &starts) {
  size_t books = levels.size();
  for (size_t c = 0; c <= books; ++c)
    starts[c] = c * sorted.size() / books;
  for (int round = 0; round < rounds; ++round) {
    for (size_t c = 0; c < books; ++c)
      if (starts[c] < starts[c + 1])
        levels[c] =
            std::accumulate(sorted.begin() + starts[c], sorted.begin() + starts[c + 1], 0.0) /
            static_cast<double>(starts[c + 1] - starts[c]);
      else if (c > 0)
        levels[c] = levels[c - 1];
    for (size_t c = 1; c < books; ++c)
      starts[c] = std::upper_bound(sorted.begin(), sorted.end(), (levels[c - 1] + levels[c]) / 2) -
                  sorted.begin();
  }
}

std::vector<float> tacq::nearestLevels(WeightView weight, unsigned bits, unsigned threads) {
  std::vector<float> result(weight.elements());
  forEachChunk(weight.rows, 32, threads, [&](int64_t begin, int64_t end) {
    std::vector<double> levels(size_t(1) << bits);
    std::vector<size_t> starts(levels.size() + 1);
    std::vector<float> sorted;
    for (int64_t n = begin; n < end; ++n) {
      sorted.assign(weight.row(n), weight.row(n) + weight.columns);
      std::sort(sorted.begin(), sorted.end());
      fitRow(sorted, levels, starts);
      for (int64_t k = 0; k < weight.columns; ++k) {
        double value = weight.row(n)[k];
        auto above = std::lower_bound(levels.begin(), levels.end(), value);
        if (above == levels.end() ||
            (above != levels.begin() && value - above[-1] <= *above - value))
          --above;
        result[n * weight.columns + k] = static_cast<float>(*above);
      }
    }
  });
  return result;
}
