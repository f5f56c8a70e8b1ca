//===- PredictedLoss.h - What a quantized weight costs ----------*- C++ -*-===//
//
// Estimates of how much the loss grows when the weight W of a layer becomes Q, from statistics of
// the calibration sample:
//
//   G = Σ |∂L_s/∂W| over sequences s, [rows, columns];  L_s is the mean loss of a sequence's tokens
//   H = Σ x xᵀ over the input x of all tokens, [columns, columns]
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_QUANTIZE_PREDICTEDLOSS_H
#define TACQ_QUANTIZE_PREDICTEDLOSS_H

#include "tacq/Quantize/WeightView.h"
#include "llvm/ADT/ArrayRef.h"

namespace tacq {

struct SampleCounts {
  uint64_t sequences = 0;
  uint64_t tokens = 0;
};

/// Σ G * |W - Q| / sequences: a bound of the mean change of L_s to first order.
double firstOrderLoss(WeightView weight, llvm::ArrayRef<float> quantized,
                      llvm::ArrayRef<double> gradient, const SampleCounts &counts);

/// tr((W - Q) H (W - Q)ᵀ): the squared error of the layer's results, summed over tokens.
double layerError(WeightView weight, llvm::ArrayRef<float> quantized,
                  llvm::ArrayRef<double> hessian);

/// The second-order estimate with the Fisher information for the curvature, split into input and
/// output as in K-FAC (Martens and Grosse, arXiv 1503.05671): for row n with δ = W_n - Q_n
///
///   Σ_n 1/2 F_n * δ (H / tokens) δᵀ
///
/// F_n, the mean square of a token's gradient by the row's result, is what G implies if gradients
/// of different tokens are independent: a sequence of T tokens has E[g_nk²] = F_n E[x_k²] / T, so
/// F_n = T Σ_k E[g_nk²] / Σ_k E[x_k²]; and E[g²] = π/2 E[|g|]² of a normal distribution.
double secondOrderLoss(WeightView weight, llvm::ArrayRef<float> quantized,
                       llvm::ArrayRef<double> gradient, llvm::ArrayRef<double> hessian,
                       const SampleCounts &counts);

} // namespace tacq

#endif // TACQ_QUANTIZE_PREDICTEDLOSS_H
