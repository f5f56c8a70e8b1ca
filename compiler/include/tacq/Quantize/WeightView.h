//===- WeightView.h - A weight as quantizers read it ------------*- C++ -*-===//

#ifndef TACQ_QUANTIZE_WEIGHTVIEW_H
#define TACQ_QUANTIZE_WEIGHTVIEW_H

#include "tacq/Error.h"
#include <cstdint>

namespace tacq {

/// N output rows of K inputs, row-major, in memory of someone else.
struct WeightView {
  const float *data = nullptr;
  int64_t rows = 0, columns = 0;

  const float *row(int64_t n) const { return data + n * columns; }
  int64_t elements() const { return rows * columns; }
};

/// Quantizers take finite weights only. The error names the first that is not.
Error checkFinite(WeightView weight);

} // namespace tacq

#endif // TACQ_QUANTIZE_WEIGHTVIEW_H
