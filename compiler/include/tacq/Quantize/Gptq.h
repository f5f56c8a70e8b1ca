//===- Gptq.h - Quantization with error compensation ------------*- C++ -*-===//
//
// GPTQ (Frantar et al., arXiv 2210.17323): columns are quantized one after the other, and what a
// column loses is made up for by the columns that follow, as the second-order statistics of the
// layer's input tell. With R the upper triangular matrix of RᵀR = (H + λI)^-1, H = Σ x xᵀ, and
// w the row as updated so far, for each column i in turn:
//
//   q_i  = what is stored for w_i
//   e    = (w_i - q_i) / R[i][i]
//   w_j -= e * R[i][j]                  for all j > i
//
// Positions of the mask are TaCQ's circuit (arXiv 2504.07389): they are left out of the fit of
// scales and zero points, and q_i is the fp16 value that the circuit stores.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_QUANTIZE_GPTQ_H
#define TACQ_QUANTIZE_GPTQ_H

#include "tacq/Quantize/AffineFit.h"
#include "tacq/Quantize/CircuitMask.h"

namespace tacq {

struct HessianOptions {
  /// λ is this times the mean of H's diagonal over the columns that are not dead.
  double damping = 0.01;
  /// Columns are visited by descending diagonal of H, not from left to right.
  bool activationOrder = false;
};

/// What GPTQ needs of a layer's input; layers with the same input share it. A column whose input
/// was always 0 (H[k][k] = 0) is dead.
class HessianFactor {
public:
  /// `hessian`: Σ x xᵀ in any scale, columns x columns, symmetric. Fails if it is not finite or,
  /// with too little damping, not positive definite.
  static Error compute(llvm::ArrayRef<double> hessian, int64_t columns,
                       const HessianOptions &options, HessianFactor &result);

  int64_t columns() const { return static_cast<int64_t>(visited.size()); }
  /// The column that is visited as i-th.
  llvm::ArrayRef<uint32_t> order() const { return visited; }
  bool isReordered() const { return reordered; }
  bool isDead(int64_t column) const { return dead[column]; }
  /// Row i of R, in the order of visits; only [i, columns) is defined.
  const double *row(int64_t i) const { return upper.data() + i * columns(); }

private:
  std::vector<uint32_t> visited;
  std::vector<bool> dead;
  std::vector<double> upper;
  bool reordered = false;
};

struct GptqOptions {
  /// Columns whose updates are collected before they reach the rest of the row. The result does not
  /// depend on it but for rounding.
  int64_t blockSize = 128;
  ClipSearch clip;
  CircuitSource circuitValues = CircuitSource::Compensated;
  /// 0: as many as the machine has. The result does not depend on it, to the bit.
  unsigned threads = 0;
};

/// Parameters of a whole row are found on the original row, those of a group when the group is
/// reached, on the updated weights; if columns are reordered, all on the original weights. Dead
/// columns become 0 outside of the circuit. The format must not have a codebook.
Error quantizeGptq(WeightView weight, const HessianFactor &factor, const WeightFormat &format,
                   const CircuitMask &mask, const GptqOptions &options, MixedWeight &result);

} // namespace tacq

#endif // TACQ_QUANTIZE_GPTQ_H
