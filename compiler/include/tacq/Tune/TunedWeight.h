//===- TunedWeight.h - What tuning moves of a quantized weight --*- C++ -*-===//
//
// The decoded weight is a linear function of its levels (of scales, where codes decode affinely)
// and of the circuit's values, for fixed codes. So is the gradient of a loss by them of the
// gradient ∂L/∂W by the decoded weight:
//
//   codebook   ∂L/∂level[n][c] = Σ ∂L/∂W[n][k] over the k of the row whose code is c
//   affine     ∂L/∂scale[n][g] = Σ ∂L/∂W[n][k] (code - zero) over the k of the group
//   circuit    ∂L/∂value = ∂L/∂W at its position
//
// A circuit's value is the whole weight there, which moves alone: where a codebook's circuit stores
// the difference to a level, the difference follows the level. Zero points stay.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_TUNE_TUNEDWEIGHT_H
#define TACQ_TUNE_TUNEDWEIGHT_H

#include "tacq/Quantize/MixedWeight.h"
#include "llvm/ADT/ArrayRef.h"

namespace tacq {

class TunedWeight {
public:
  explicit TunedWeight(MixedWeight weight);

  /// Levels [rows][2^bits] or scales [rows][groups], then the circuit's values, as they are moved.
  std::vector<float> values;
  /// The size of a change that matters, of each value: the root mean square of the row's weights,
  /// or the scale.
  std::vector<float> units;
  /// Of each row: the root mean square of its weights.
  std::vector<float> rowSizes;

  /// Stores the values in the weight, rounded as the module holds them: levels to 8 bits of the
  /// row's largest, scales and circuit values to fp16.
  void round();
  /// As rounded last.
  const MixedWeight &weight() const { return stored; }

  /// What the values' gradient is for the gradient of the decoded weight, [rows, columns].
  void reduce(llvm::ArrayRef<float> gradient, llvm::MutableArrayRef<float> result) const;

  /// Numbers that assignCodes() gives the codes that the weight has, as close to those of
  /// `original` as they may be halfway to the border: a weight that was rounded far moves to its
  /// other neighbour by a smaller step.
  std::vector<float> numbersBehind(llvm::ArrayRef<float> original) const;

  /// Gives every weight outside of the circuit the code whose level is nearest to its number of
  /// `wanted`, [rows, columns].
  void assignCodes(llvm::ArrayRef<float> wanted);

private:
  /// Levels or scales.
  size_t decodingValues() const { return values.size() - stored.circuitEntries(); }
  void roundLevels(int64_t row);
  /// What the weight's number at (n, k) decodes to with another code, by `values`.
  float decodedAs(int64_t n, int64_t k, int code) const;

  MixedWeight stored;
};

} // namespace tacq

#endif // TACQ_TUNE_TUNEDWEIGHT_H
