//===- Nearest.cpp - Round to nearest -------------------------------------===//

#include "tacq/Quantize/Nearest.h"
#include "Parallel.h"
#include "tacq/Half.h"
#include <algorithm>
#include <cassert>

using namespace tacq;

static void quantizeRow(WeightView weight, int64_t n, const CircuitMask &mask,
                        const NearestOptions &options, MixedWeight &result) {
  const float *row = weight.row(n);
  uint8_t *codes = result.codes.data() + n * weight.columns;
  int64_t groups = result.groups(), span = result.groupColumns();
  llvm::ArrayRef<uint32_t> kept = mask.row(n);
  size_t next = 0; // in `kept`
  std::vector<float> fitted;
  for (int64_t g = 0; g < groups; ++g) {
    int64_t begin = g * span, end = std::min(weight.columns, begin + span);
    size_t first = next;
    fitted.clear();
    for (int64_t k = begin; k < end; ++k) {
      if (next < kept.size() && kept[next] == k)
        ++next;
      else
        fitted.push_back(row[k]);
    }
    AffineFit fit = fitAffine(fitted, result.format.bits, options.clip);
    result.scales[n * groups + g] = fit.scaleBits;
    result.zeros[n * groups + g] = fit.zero;
    for (int64_t k = begin; k < end; ++k)
      codes[k] = fit.codeOf(row[k]);
    for (size_t i = first; i < next; ++i) {
      codes[kept[i]] = fit.zero;
      result.values[mask.starts[n] + i] =
          halfFromFloat(std::clamp(row[kept[i]], -largestHalf, largestHalf));
    }
  }
}

Error tacq::quantizeNearest(WeightView weight, const WeightFormat &format, const CircuitMask &mask,
                            const NearestOptions &options, MixedWeight &result) {
  assert(!format.codebook && "codebooks are fitted by fitCodebook");
  if (Error error = checkFinite(weight))
    return error;
  result = makeMixedWeight(weight, format, mask);
  forEachChunk(weight.rows, 16, options.threads, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n)
      quantizeRow(weight, n, mask, options, result);
  });
  return success();
}
