//===- TaskShares.h - What parts of a product cost --------------*- C++ -*-===//

#ifndef TACQ_MODULE_TASKSHARES_H
#define TACQ_MODULE_TASKSHARES_H

#include "tacq/Dialect/Schedule/ScheduleDialect.h"
#include "tacq/Quantize/MixedWeight.h"
#include "llvm/ADT/StringMap.h"

namespace tacq {

/// What equal and consecutive parts of a launch's tasks cost relative to each other, if it is a
/// product with one row: the bytes of their rows, of which those with more of the circuit have
/// more. Tasks go through the rows of the weights as they are stored. Empty for other launches, and
/// without a circuit.
std::vector<uint16_t> taskShares(rt::LaunchOp launch, const llvm::StringMap<MixedWeight> &weights);

} // namespace tacq

#endif // TACQ_MODULE_TASKSHARES_H
