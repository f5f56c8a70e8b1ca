//===- Passes.h - From dense to mixed-precision weights ---------*- C++ -*-===//

#ifndef TACQ_QUANTIZE_PASSES_H
#define TACQ_QUANTIZE_PASSES_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"
#include "tacq/Error.h"
#include "llvm/ADT/StringMap.h"

namespace tacq {

class ParameterStore;
struct MixedWeight;
struct QuantizeModelOptions;

#define GEN_PASS_DECL
#include "tacq/Quantize/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "tacq/Quantize/Passes.h.inc"

/// What a weight becomes; without a layout, tacq-pack-weights chooses it.
struct MixedWeightForm {
  MixedType type;
  LayoutAttr layout;
};

/// What the quantization passes of a program share. Those of tacq-opt read files instead.
struct QuantizationContext {
  const ParameterStore *parameters;
  const QuantizeModelOptions *options;
  /// Gets the weights.
  llvm::StringMap<MixedWeight> *weights;
  /// Gets the first error, which is not emitted as a diagnostic.
  Error error;
};

/// The passes with the context's plan, parameters and samples; it outlives them.
std::unique_ptr<mlir::Pass> createPlanWeights(QuantizationContext &context);
std::unique_ptr<mlir::Pass> createEstimateSaliency(QuantizationContext &context);
std::unique_ptr<mlir::Pass> createSelectCircuit(QuantizationContext &context);
std::unique_ptr<mlir::Pass> createDrawCircuit(QuantizationContext &context);
std::unique_ptr<mlir::Pass> createQuantizeWeights(QuantizationContext &context);

/// tacq-use-mixed-weights for weights of these forms, by their parameters' names.
std::unique_ptr<mlir::Pass> createUseMixedWeights(llvm::StringMap<MixedWeightForm> forms);

/// tacq-narrow-parameters on the bytes of a store, which outlives the pass and takes the new ones.
std::unique_ptr<mlir::Pass> createNarrowParameters(ParameterStore &store);

} // namespace tacq

#endif // TACQ_QUANTIZE_PASSES_H
