//===- TaskShares.cpp - What parts of a product cost ----------------------===//

#include "TaskShares.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace tacq;

namespace {

/// More parts than any machine has threads for a product of a few rows of tiles.
constexpr size_t maxParts = 64;
/// An entry in a slot: a position and a value of 16 bits.
constexpr double entryBytes = 3;
/// A group's scale and zero point.
constexpr double groupBytes = 3;
constexpr double largestShare = 65535;

} // namespace

/// The weights that a launch of a linear operation goes through one after the other.
static SmallVector<const MixedWeight *> weightsOf(rt::LaunchOp launch,
                                                  const llvm::StringMap<MixedWeight> &weights) {
  auto kernel = SymbolTable::lookupNearestSymbolFrom<rt::KernelOp>(launch, launch.getKernelAttr());
  SmallVector<const MixedWeight *> result;
  for (auto linear : kernel.getBody().getOps<LinearOp>()) {
    // Tasks of a gated product read two weights at once.
    if (linear.getGated())
      return {};
    for (Value tensor : linear.getWeights()) {
      auto argument = dyn_cast<BlockArgument>(tensor);
      auto buffer = argument
                        ? launch.getReads()[argument.getArgNumber()].getDefiningOp<rt::BufferOp>()
                        : rt::BufferOp();
      auto known = buffer && buffer.getParamAttr() ? weights.find(buffer.getParamAttr().getValue())
                                                   : weights.end();
      if (known == weights.end())
        return {};
      result.push_back(&known->second);
    }
  }
  return result;
}

std::vector<uint16_t> tacq::taskShares(rt::LaunchOp launch,
                                       const llvm::StringMap<MixedWeight> &known) {
  std::vector<double> bytes; // of each row, as stored
  bool hasCircuit = false;
  for (const MixedWeight *weight : weightsOf(launch, known)) {
    double dense =
        double(weight->columns) * weight->format.bits / 8 + double(weight->groups()) * groupBytes;
    hasCircuit |= weight->circuitEntries() > 0;
    for (int64_t i = 0; i < weight->rows; ++i) {
      size_t row = weight->order.empty() ? size_t(i) : weight->order[i];
      double entries = weight->starts.empty() ? 0 : weight->starts[row + 1] - weight->starts[row];
      bytes.push_back(dense + entries * entryBytes);
    }
  }
  if (!hasCircuit)
    return {};
  size_t parts = std::min(maxParts, bytes.size());
  std::vector<double> sums(parts);
  for (auto [i, cost] : llvm::enumerate(bytes))
    sums[i * parts / bytes.size()] += cost;
  double largest = *std::max_element(sums.begin(), sums.end());
  std::vector<uint16_t> shares;
  for (double sum : sums)
    shares.push_back(uint16_t(sum / largest * largestShare));
  return shares;
}
