//===- Saliency.h - Which weights carry the task ----------------*- C++ -*-===//

#ifndef TACQ_QUANTIZE_SALIENCY_H
#define TACQ_QUANTIZE_SALIENCY_H

#include "tacq/Quantize/CircuitMask.h"

namespace tacq {

/// TaCQ's saliency (arXiv 2504.07389): S = G * |W - Q| * |W|, the first-order estimate of what the
/// loss gains from keeping a weight, times its magnitude. `gradient` is G = Σ_s |∂L_s/∂W| over
/// calibration sequences, `quantized` the weight decoded; both and the result are as W, [rows,
/// columns]. What is not a number counts as 0.
std::vector<float> computeSaliency(WeightView weight, llvm::ArrayRef<float> quantized,
                                   llvm::ArrayRef<double> gradient);

/// The second-order estimate of what the loss gains from keeping a weight, all others as they are:
/// S = 1/2 F_n H_kk (W - Q)², with F_n as in PredictedLoss.h, but for factors that all weights have
/// in common. `hessian` is H = Σ x xᵀ of the weight's input, [columns, columns].
std::vector<float> computeCurvatureSaliency(WeightView weight, llvm::ArrayRef<float> quantized,
                                            llvm::ArrayRef<double> gradient,
                                            llvm::ArrayRef<double> hessian);

/// The fraction of all weights with the largest saliency over all tensors: the paper's circuit.
/// `saliency` are views of S with the shapes of the tensors. Exactly round(fraction * weights) are
/// taken; of equal ones, those of earlier tensors, rows and columns.
std::vector<CircuitMask> selectScattered(llvm::ArrayRef<WeightView> saliency, double fraction);

/// The sum of S over the circuit.
double capturedSaliency(WeightView saliency, const CircuitMask &mask);

} // namespace tacq

#endif // TACQ_QUANTIZE_SALIENCY_H
