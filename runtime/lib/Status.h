//===- Status.h - Between Error and tacq_status_t ---------------*- C++ -*-===//

#ifndef TACQ_LIB_STATUS_H
#define TACQ_LIB_STATUS_H

#include "tacq/Error.h"

namespace tacq {

/// NULL for success.
tacq_status_t *toStatus(const Error &error);
/// Frees the status.
Error fromStatus(tacq_status_t *status);

} // namespace tacq

#endif // TACQ_LIB_STATUS_H
