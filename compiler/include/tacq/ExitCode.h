//===- ExitCode.h - Exit statuses of the tools ------------------*- C++ -*-===//

#ifndef TACQ_EXITCODE_H
#define TACQ_EXITCODE_H

#include "tacq/Error.h"

namespace tacq {

enum class ExitCode : int {
  Success = 0,
  Usage = 1,
  Unsupported = 2,
  InvalidInput = 3,
  Internal = 70,
};

/// What a tool returns from main() for an error.
inline ExitCode exitCodeOf(tacq_code_t code) {
  switch (code) {
  case TACQ_OK:
    return ExitCode::Success;
  case TACQ_INVALID_ARGUMENT:
    return ExitCode::Usage;
  case TACQ_UNSUPPORTED:
    return ExitCode::Unsupported;
  case TACQ_INVALID_INPUT:
  case TACQ_INVALID_MODULE:
  case TACQ_CAPACITY:
  case TACQ_IO:
    return ExitCode::InvalidInput;
  default:
    return ExitCode::Internal;
  }
}
inline int exitStatus(const Error &error) { return static_cast<int>(exitCodeOf(error.code())); }

} // namespace tacq

#endif // TACQ_EXITCODE_H
