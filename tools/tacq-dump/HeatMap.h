//===- HeatMap.h - A quantity by layer and projection -----------*- C++ -*-===//

#ifndef TACQ_TOOLS_HEATMAP_H
#define TACQ_TOOLS_HEATMAP_H

#include "NetworkMap.h"

#include <functional>
#include <optional>

namespace llvm {
class raw_ostream;
} // namespace llvm

namespace tacq::tools {

/// A quantity of tensors that is a part of something: the circuit's weights of all weights. Of
/// several tensors together it is the sum of the former by the sum of the latter.
struct Quantity {
  double amount = 0, of = 0;
};

struct HeatMap {
  /// Of the table, for links: no text of users.
  std::string id;
  std::string caption;
  /// Of each tensor; none where it is unknown.
  std::vector<std::optional<Quantity>> values;
  /// Sums of amounts are shown instead of parts.
  bool isSum = false;
  /// Text of a part or sum; plain, without markup.
  std::function<std::string(double)> text;
};

/// A table whose cells are the darker, the more there is; nothing without values. `tensors` are
/// those that `map` was made of.
void writeHeatMap(llvm::raw_ostream &os, const HeatMap &heat, const NetworkMap &map,
                  const std::vector<NamedTensor> &tensors);

} // namespace tacq::tools

#endif // TACQ_TOOLS_HEATMAP_H
