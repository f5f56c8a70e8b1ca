//===- NetworkMap.h - Layers and projections --------------------*- C++ -*-===//
//
// Models number their layers in the names of their tensors, "model.layers.3.mlp.up_proj.weight",
// but each in a way of its own, and other numbers are there as well. A number counts layers if what
// follows the same text and the same number are several different names: "linear_7.weight" is no
// layer. Matrices without such a number belong to the layer of the tensors before them.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_TOOLS_NETWORKMAP_H
#define TACQ_TOOLS_NETWORKMAP_H

#include <cstddef>
#include <string>
#include <vector>

namespace tacq::tools {

struct NamedTensor {
  std::string name;
  bool isMatrix = true;
};

struct NetworkMap {
  /// In the order of the network.
  std::vector<std::string> layers, projections;
  /// The tensors of a layer and a projection.
  std::vector<std::vector<std::vector<size_t>>> cells;
  /// Matrices that are in no layer.
  std::vector<size_t> outside;
};

/// `tensors` are in the order of the network.
NetworkMap mapNetwork(const std::vector<NamedTensor> &tensors);

} // namespace tacq::tools

#endif // TACQ_TOOLS_NETWORKMAP_H
