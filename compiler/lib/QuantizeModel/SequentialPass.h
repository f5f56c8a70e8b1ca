//===- SequentialPass.h - Layer after layer, on sample data -----*- C++ -*-===//

#ifndef TACQ_LIB_QUANTIZEMODEL_SEQUENTIALPASS_H
#define TACQ_LIB_QUANTIZEMODEL_SEQUENTIALPASS_H

#include "GraphSegments.h"
#include "tacq/Quantize/QuantizeModel.h"
#include "llvm/ADT/StringMap.h"

namespace tacq {

struct SequentialPassOptions {
  unsigned threads = 0;
  /// The model's file name for messages.
  std::string file = "model";
  /// `done` of `total` groups of linear layers are behind it.
  std::function<void(unsigned done, unsigned total)> progress;
};

/// Gets a group of linear layers with H = Σ x xᵀ over all rows of all samples ([K, K], row-major,
/// both triangles), where x is their input as the model computes it with the layers before them
/// decoded; adds the decoded weights of the group ([N, K]) to `decoded`.
using QuantizeGroupFn =
    llvm::function_ref<Error(const LinearGroup &group, llvm::ArrayRef<double> hessian,
                             llvm::StringMap<std::vector<float>> &decoded)>;

/// Goes through the groups in the order of the graph: each operation of the model runs once for
/// each sample, and each segment is compiled once. Memory is that of what one cut of the graph
/// leaves for all samples.
Error runSequentialPass(mlir::ModuleOp module, const ParameterStore &parameters,
                        llvm::ArrayRef<LinearGroup> groups, const SampleSource &samples,
                        const SequentialPassOptions &options, QuantizeGroupFn quantizeGroup);

} // namespace tacq

#endif // TACQ_LIB_QUANTIZEMODEL_SEQUENTIALPASS_H
