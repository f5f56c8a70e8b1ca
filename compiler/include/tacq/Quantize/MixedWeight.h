//===- MixedWeight.h - A mixed-precision weight, before packing -*- C++ -*-===//
//
// What a quantizer makes and what a packer stores: the codes of a weight W[N, K], one a byte, their
// metadata, and the circuit as a list for each row. Nothing here depends on a target's layout. The
// weight of row n and column k is
//
//   affine:    s * (c - z)              s = scale, z = zero point of the group of k
//   codebook:  s * (L[n][c] - 128)      s = scale of the row, L = the row's levels
//
// plus what the circuit holds at (n, k): with affine codes the weight itself, where the code is z
// and so contributes nothing; with a codebook the difference to the code's level. Both terms are
// exact in fp32, an fp16 scale times an integer below 2^9 and an fp16 number; their sum is rounded
// to it.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_QUANTIZE_MIXEDWEIGHT_H
#define TACQ_QUANTIZE_MIXEDWEIGHT_H

#include <cstdint>
#include <vector>

namespace tacq {

/// What a weight is to become; a plan has one for each tensor.
struct WeightFormat {
  enum class Circuit { None, Scattered, Slots, Uniform };
  /// 2, 3, 4 or 8.
  unsigned bits = 2;
  /// Columns that share a scale and a zero point; 0 for a whole row.
  int64_t group = 0;
  /// Codes select one of 2^bits levels of the row instead of decoding affinely; group is 0.
  bool codebook = false;
  Circuit circuit = Circuit::None;
};

struct MixedWeight {
  int64_t rows = 0, columns = 0;
  WeightFormat format;

  /// [rows][columns]
  std::vector<uint8_t> codes;
  /// fp16 bits, [rows][groups]
  std::vector<uint16_t> scales;
  /// [rows][groups]; empty with a codebook
  std::vector<uint8_t> zeros;
  /// [rows][2^bits]; with a codebook only
  std::vector<uint8_t> levels;

  /// The circuit's entries of row n are [starts[n], starts[n + 1]), ordered by column, no column
  /// twice. Empty without a circuit.
  std::vector<uint32_t> starts;
  std::vector<uint32_t> positions; ///< columns
  std::vector<uint16_t> values;    ///< fp16 bits

  /// The row of the weight that is stored as row i, in the same block of 256 rows; empty for the
  /// natural order.
  std::vector<uint32_t> order;

  int64_t groupColumns() const { return format.group == 0 ? columns : format.group; }
  int64_t groups() const { return (columns + groupColumns() - 1) / groupColumns(); }
  uint64_t circuitEntries() const { return positions.size(); }

  /// The decoded weight, row-major [rows][columns].
  std::vector<float> decode() const;
};

} // namespace tacq

#endif // TACQ_QUANTIZE_MIXEDWEIGHT_H
