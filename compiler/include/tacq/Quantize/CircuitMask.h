//===- CircuitMask.h - Positions that are kept in fp16 ----------*- C++ -*-===//

#ifndef TACQ_QUANTIZE_CIRCUITMASK_H
#define TACQ_QUANTIZE_CIRCUITMASK_H

#include "tacq/Quantize/MixedWeight.h"
#include "tacq/Quantize/WeightView.h"
#include "llvm/ADT/ArrayRef.h"

namespace tacq {

/// The circuit of a weight without its values: for each row of the weight, in the weight's own
/// order, the columns that it keeps, in ascending order and none twice. A circuit in slots may keep
/// nothing and still be there.
struct CircuitMask {
  /// Row n has positions [starts[n], starts[n + 1]); rows + 1 numbers, or none without a circuit.
  std::vector<uint32_t> starts;
  std::vector<uint32_t> positions;
  /// The row of the weight that is stored as row i, in the same block of 256 rows; empty for the
  /// natural order.
  std::vector<uint32_t> order;

  /// There is no circuit.
  bool empty() const { return starts.empty(); }
  llvm::ArrayRef<uint32_t> row(int64_t n) const {
    if (starts.empty())
      return {};
    return llvm::ArrayRef<uint32_t>(positions).slice(starts[n], starts[n + 1] - starts[n]);
  }
};

/// What the circuit stores. `Original`: the weight. `Compensated`: the weight plus what error
/// compensation has added to it, as the paper's code does.
enum class CircuitSource { Original, Compensated };

/// A weight with this circuit whose codes, metadata and circuit values are zeros of the right
/// number. A mask without positions makes a weight without a circuit.
MixedWeight makeMixedWeight(WeightView weight, WeightFormat format, const CircuitMask &mask);

} // namespace tacq

#endif // TACQ_QUANTIZE_CIRCUITMASK_H
