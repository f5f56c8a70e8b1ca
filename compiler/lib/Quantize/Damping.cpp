//===- Damping.cpp - What is added to a Hessian ---------------------------===//

#include "Damping.h"
#include <algorithm>
#include <cassert>
#include <cmath>

using namespace tacq;

Error Damping::compute(llvm::ArrayRef<double> hessian, int64_t columns, double factor,
                       Damping &result) {
  assert(hessian.size() == static_cast<size_t>(columns * columns) && "not columns x columns");
  result.dead.assign(columns, false);
  result.factor = factor;
  double sum = 0;
  int64_t live = 0;
  for (int64_t k = 0; k < columns; ++k) {
    const double *row = hessian.data() + k * columns;
    if (row[k] < 0 || !std::all_of(row, row + columns, [](double x) { return std::isfinite(x); }))
      return makeError(
          TACQ_INVALID_INPUT,
          "the second-order statistics of input column %lld are not finite or negative",
          static_cast<long long>(k));
    result.dead[k] = row[k] == 0;
    live += row[k] != 0;
    sum += row[k];
  }
  result.mean = live == 0 ? 1 : sum / static_cast<double>(live);
  return success();
}
