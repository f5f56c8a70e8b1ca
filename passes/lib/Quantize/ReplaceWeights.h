//===- ReplaceWeights.h - Linear operations read mixed weights --*- C++ -*-===//

#ifndef TACQ_LIB_QUANTIZE_REPLACEWEIGHTS_H
#define TACQ_LIB_QUANTIZE_REPLACEWEIGHTS_H

#include "tacq/Quantize/Passes.h"

namespace tacq {

/// Linear operations read the weights of these forms, by their parameters' names; `replaced` counts
/// the uses. What else reads such a parameter keeps the dense one. Fails with a diagnostic if a
/// weight has not the shape of its form.
mlir::LogicalResult replaceWeights(mlir::ModuleOp module,
                                   const llvm::StringMap<MixedWeightForm> &forms,
                                   unsigned &replaced);

} // namespace tacq

#endif // TACQ_LIB_QUANTIZE_REPLACEWEIGHTS_H
