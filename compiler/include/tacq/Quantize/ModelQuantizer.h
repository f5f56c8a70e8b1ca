//===- ModelQuantizer.h - The weights of a planned model --------*- C++ -*-===//
//
// The work of the quantization passes on a graph whose weights
// have their plan (PlanAttributes.h).
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_QUANTIZE_MODELQUANTIZER_H
#define TACQ_QUANTIZE_MODELQUANTIZER_H

#include "tacq/Quantize/CircuitMask.h"
#include "tacq/Quantize/QuantizeModel.h"

namespace tacq {

/// What the quantization passes leave for those that follow, an
/// analysis of the module, since numbers of this size are no attributes.
struct QuantizationState {
  explicit QuantizationState(mlir::Operation *) {}

  struct Saliency {
    std::string name;
    int64_t rows, columns;
    std::vector<float> values; ///< S, [rows, columns]
  };
  /// Of each weight that may have a circuit, in the order of the graph; gone after the choice.
  std::vector<Saliency> saliency;
  /// There once the choice is made.
  std::optional<llvm::StringMap<CircuitMask>> circuits;
};

/// Quantizes all weights of the plan without a circuit and computes the saliency of those that take
/// part in it.
Error estimateSaliency(mlir::ModuleOp module, const ParameterStore &parameters,
                       const QuantizeModelOptions &options, QuantizationState &state);

/// Chooses the circuits, in the plan's layout: weights with a part of their own by themselves, all
/// others together. The saliency must be there if the plan has circuits.
Error chooseCircuits(const Plan &plan, QuantizationState &state);

/// Draws the circuits at random in place of both.
Error drawCircuits(mlir::ModuleOp module, uint64_t seed, QuantizationState &state);

/// Quantizes all weights of the plan around their circuits, which must be there if it has any.
Error quantizeWeights(mlir::ModuleOp module, const ParameterStore &parameters,
                      const QuantizeModelOptions &options, const QuantizationState &state,
                      llvm::StringMap<MixedWeight> &weights);

/// The plan keeps a circuit: of this weight, or of any.
bool hasCircuit(const Plan &plan, const TensorPlan &tensor);
bool hasCircuit(const Plan &plan);

} // namespace tacq

#endif // TACQ_QUANTIZE_MODELQUANTIZER_H
