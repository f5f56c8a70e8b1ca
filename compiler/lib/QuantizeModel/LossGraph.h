//===- LossGraph.h - Graphs that compute a loss -----------------*- C++ -*-===//

#ifndef TACQ_LIB_QUANTIZEMODEL_LOSSGRAPH_H
#define TACQ_LIB_QUANTIZEMODEL_LOSSGRAPH_H

#include "mlir/IR/BuiltinOps.h"
#include <string>
#include <vector>

namespace tacq {

/// The result that predicts: `logits`, or the only one of three axes; else "".
std::string predictionsOf(mlir::ModuleOp graph);

/// Makes linear operations read these weights as f32 [N, K], as they decode.
void readDecodedWeights(mlir::ModuleOp module, const std::vector<std::string> &weights);

} // namespace tacq

#endif // TACQ_LIB_QUANTIZEMODEL_LOSSGRAPH_H
