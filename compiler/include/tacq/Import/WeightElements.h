//===- WeightElements.h - The elements of weights, as f32 -------*- C++ -*-===//

#ifndef TACQ_IMPORT_WEIGHTELEMENTS_H
#define TACQ_IMPORT_WEIGHTELEMENTS_H

#include "tacq/Dialect/TACQ/TACQDialect.h"
#include "tacq/Import/ParameterStore.h"

namespace tacq {

/// The weight of a linear operation with one weight, [N, K] whatever its parameter's order.
/// TACQ_UNSUPPORTED for elements that are not f32, f16 or bf16.
Error readWeight(const ParameterStore &parameters, LinearOp linear, std::vector<float> &elements);

} // namespace tacq

#endif // TACQ_IMPORT_WEIGHTELEMENTS_H
