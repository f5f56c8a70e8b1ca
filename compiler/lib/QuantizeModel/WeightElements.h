//===- WeightElements.h - The elements of weights, as f32 -------*- C++ -*-===//

#ifndef TACQ_LIB_QUANTIZEMODEL_WEIGHTELEMENTS_H
#define TACQ_LIB_QUANTIZEMODEL_WEIGHTELEMENTS_H

#include "tacq/Calibrate/Statistics.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"
#include "tacq/Import/ParameterStore.h"

namespace tacq {

/// The weight of a linear operation with one weight, [N, K] whatever its parameter's order.
Error readWeight(const ParameterStore &parameters, LinearOp linear, std::vector<float> &elements);

/// Both triangles of H, [K, K].
void expandHessian(const InputStatistics &input, std::vector<double> &matrix);

} // namespace tacq

#endif // TACQ_LIB_QUANTIZEMODEL_WEIGHTELEMENTS_H
