//===- Error.h - Errors inside the runtime ----------------------*- C++ -*-===//
//
// The C++ parts of the runtime (module reader and writer, drivers) return this instead of throwing.
// At the C API it becomes a tacq_status_t.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_ERROR_H
#define TACQ_ERROR_H

#include "tacq/runtime.h"

#include <string>
#include <utility>

namespace tacq {

/// Success, or a code with one sentence for people. True when it is a failure:
///   if (Error error = writer.finish())
///     return error;
class [[nodiscard]] Error {
public:
  Error() = default;
  Error(tacq_code_t code, std::string message) : errorCode(code), text(std::move(message)) {}

  explicit operator bool() const { return errorCode != TACQ_OK; }
  tacq_code_t code() const { return errorCode; }
  const std::string &message() const { return text; }

private:
  tacq_code_t errorCode = TACQ_OK;
  std::string text;
};

inline Error success() { return Error(); }

/// printf into an Error.
Error makeError(tacq_code_t code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/// printf into a string.
std::string formatText(const char *format, ...) __attribute__((format(printf, 1, 2)));

} // namespace tacq

#endif // TACQ_ERROR_H
