//===- Reference.h - Random layers and plain references ---------*- C++ -*-===//

#ifndef TACQ_TEST_QUANTIZE_REFERENCE_H
#define TACQ_TEST_QUANTIZE_REFERENCE_H

#include "tacq/Quantize/AffineFit.h"
#include "tacq/Quantize/CircuitMask.h"

#include <random>

namespace tacq::test {

/// A weight and the second-order statistics of correlated inputs.
struct Layer {
  int64_t rows, columns;
  std::vector<float> weight;
  std::vector<double> hessian;

  WeightView view() const { return {weight.data(), rows, columns}; }
};

/// Weights have a few outliers; inputs are mixtures of few directions and noise.
Layer randomLayer(int64_t rows, int64_t columns, unsigned seed);
/// Keeps each position with this probability; the rows in between keep none.
CircuitMask randomMask(int64_t rows, int64_t columns, double density, unsigned seed);
/// Makes an input column one that was always 0.
void killColumn(Layer &layer, int64_t column);

/// tr(E H Eᵀ) with E = W - Q.
double layerErrorOf(const Layer &layer, const std::vector<float> &quantized);

/// GPTQ by the book: the inverse of the remaining Hessian after each column, in double precision.
struct ReferenceOptions {
  double damping = 0.01;
  ClipSearch clip;
  CircuitSource circuitValues = CircuitSource::Compensated;
  bool activationOrder = false;
};
std::vector<float> referenceGptq(const Layer &layer, const WeightFormat &format,
                                 const CircuitMask &mask, const ReferenceOptions &options);

} // namespace tacq::test

#endif // TACQ_TEST_QUANTIZE_REFERENCE_H
