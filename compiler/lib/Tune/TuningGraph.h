//===- TuningGraph.h - A model with gradients of its weights ----*- C++ -*-===//

#ifndef TACQ_LIB_TUNE_TUNINGGRAPH_H
#define TACQ_LIB_TUNE_TUNINGGRAPH_H

#include "tacq/Quantize/QuantizeModel.h"

namespace tacq {

/// A use of a weight: results of the compiled graph that give its gradient.
struct WeightTap {
  std::string input, outputGradient;
};

struct TuningGraph {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  /// By the weight's name.
  llvm::StringMap<std::vector<WeightTap>> taps;
  /// Gains of norms, whose gradients are the results "gradient:NAME".
  std::vector<std::string> gains;
};

/// Appends the loss `kind` of `output` to a copy of `graph`, and gradients by the weights named and
/// by the gains of all norms. The copy reads the weights as f32 [N, K].
Error buildTuningGraph(mlir::ModuleOp graph, const std::vector<std::string> &weights,
                       const std::string &kind, const std::string &output, const std::string &file,
                       TuningGraph &result);

} // namespace tacq

#endif // TACQ_LIB_TUNE_TUNINGGRAPH_H
