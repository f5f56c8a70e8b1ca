//===- Codebook.h - Levels of a row, fitted ---------------------*- C++ -*-===//
//
// Codes that select one of 2^b levels of their row. From GPTQ's codes and levels, two steps lower
// the layer's error f = (w - q) H (w - q)ᵀ of each row in turn, as LNQ (GuidedQuant, arXiv
// 2505.07004) does:
//
//   levels  with P[k][c] = 1 where weight k has code c, and r = w - P L:
//           (Pᵀ H P) ΔL = Pᵀ H r, the least squares for fixed codes
//   codes   one weight after the other gets the level nearest to q_k + (H (w - q))_k / H_kk, the
//           minimum of f in q_k alone
//
// At last levels are rounded to 8 bits with an fp16 scale for the row, and codes are chosen again.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_QUANTIZE_CODEBOOK_H
#define TACQ_QUANTIZE_CODEBOOK_H

#include "tacq/Quantize/CircuitMask.h"

namespace tacq {

struct CodebookOptions {
  /// Added to the diagonal of H, as for GPTQ: levels fitted without it follow the sample's noise.
  double damping = 0.01;
  /// Of levels, then codes. A chunk of rows stops earlier when no code changes.
  unsigned rounds = 4;
  /// Passes over all codes in a round.
  unsigned sweeps = 2;
  /// `Compensated` lets circuit values move in the code step, too.
  CircuitSource circuitValues = CircuitSource::Compensated;
  /// 0: as many as the machine has. The result does not depend on it, to the bit.
  unsigned threads = 0;
};

/// `affine` is the weight quantized by GPTQ with 2, 3 or 4 bits for whole rows; the result has its
/// bits and its circuit, and no row has a larger f. What the circuit stores is the difference to
/// the nearest level. Exact values would need a level that is zero, one of the 2^b that every other
/// weight of the row can use; a difference costs an error of 2^-12 of itself.
Error fitCodebook(WeightView weight, llvm::ArrayRef<double> hessian, const MixedWeight &affine,
                  const CodebookOptions &options, MixedWeight &result);

} // namespace tacq

#endif // TACQ_QUANTIZE_CODEBOOK_H
