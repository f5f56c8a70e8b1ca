//===- NearestLevels.h - Levels of each row by themselves -------*- C++ -*-===//

#ifndef TACQ_QUANTIZE_NEARESTLEVELS_H
#define TACQ_QUANTIZE_NEARESTLEVELS_H

#include "tacq/Quantize/WeightView.h"
#include <vector>

namespace tacq {

/// The weight with each number replaced by the nearest of 2^bits levels of its row, which Lloyd's
/// algorithm fits: every level becomes the mean of the numbers nearest to it, from quantiles on.
/// For predictions; the levels are not rounded.
std::vector<float> nearestLevels(WeightView weight, unsigned bits, unsigned threads);

} // namespace tacq

#endif // TACQ_QUANTIZE_NEARESTLEVELS_H
