//===- Projection.h - The product that a result is of -----------*- C++ -*-===//

#ifndef TACQ_LIB_CALIBRATE_PROJECTION_H
#define TACQ_LIB_CALIBRATE_PROJECTION_H

#include "tacq/Dialect/TACQ/TACQDialect.h"

namespace tacq {

/// The linear operation that a value is the result of, but for scaling by constants, capping (tanh)
/// and changes of type and shape, which leave a projection into classes one; null where it is none.
LinearOp projectionOf(mlir::Value value);

} // namespace tacq

#endif // TACQ_LIB_CALIBRATE_PROJECTION_H
