//===- SumContributions.h - One sample's part of the statistics -*- C++ -*-===//

#ifndef TACQ_CALIBRATE_SUMCONTRIBUTIONS_H
#define TACQ_CALIBRATE_SUMCONTRIBUTIONS_H

#include "tacq/Calibrate/Statistics.h"

namespace tacq {

/// Rows that linear operations read, and the gradients of what one of them made of these.
struct TappedRows {
  const float *input;          ///< X, [tokens, columns]
  const float *outputGradient; ///< dY, [tokens, rows]; null for a Hessian
  int64_t tokens;
};

/// What one sample adds to a tensor's G: |Σ dYᵀ X| over the uses of the weight, in f32.
struct GradientContribution {
  std::vector<TappedRows> uses;
  int64_t rows, columns;
  double *sum; ///< [rows, columns]
  /// The sums of these rows for the sample's fold, one after the other; may be empty.
  std::vector<int64_t> sketchedRows;
  double *sketchSum = nullptr;
};

/// What one sample adds to an input's H: Σ Xᵀ X, in f32.
struct HessianContribution {
  std::vector<TappedRows> uses;
  int64_t columns;
  double *sum; ///< the lower triangle
  /// Receives the sample's diagonal, if not null.
  float *diagonal = nullptr;
};

/// What one sample adds to a sum of gradients: Σ dYᵀ X over the uses of the weight.
struct WeightGradient {
  std::vector<TappedRows> uses;
  int64_t rows, columns;
  float *sum; ///< [rows, columns]
};

struct NonFinite {
  /// The first contributions that had an infinity or no number; -1: none.
  int64_t gradient = -1, hessian = -1;
};

/// Adds them up. Every number is computed by one thread in one order, so that the sums do not
/// depend on how many threads there are. Sums of contributions that are not finite are spoilt.
NonFinite sumContributions(llvm::ArrayRef<GradientContribution> gradients,
                           llvm::ArrayRef<HessianContribution> hessians, unsigned threads);

/// Adds gradients up, with their signs; the same holds of threads. `bf16`: factors may be rounded
/// to bf16 where this machine has products of such tiles.
void sumGradients(llvm::ArrayRef<WeightGradient> gradients, bool bf16, unsigned threads);

} // namespace tacq

#endif // TACQ_CALIBRATE_SUMCONTRIBUTIONS_H
