//===- Error.cpp - Errors and status objects ------------------------------===//

#include "tacq/Error.h"
#include "Status.h"
#include "tacq/driver.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

struct tacq_status {
  tacq_code_t code;
  bool fixed; // not to be freed
  char message[];
};

namespace tacq {

static std::string formatList(const char *format, va_list list) {
  va_list copy;
  va_copy(copy, list);
  int length = vsnprintf(nullptr, 0, format, copy);
  va_end(copy);
  if (length <= 0)
    return std::string();
  std::string text(static_cast<size_t>(length), '\0');
  vsnprintf(text.data(), text.size() + 1, format, list);
  return text;
}

std::string formatText(const char *format, ...) {
  va_list list;
  va_start(list, format);
  std::string text = formatList(format, list);
  va_end(list);
  return text;
}

Error makeError(tacq_code_t code, const char *format, ...) {
  va_list list;
  va_start(list, format);
  std::string text = formatList(format, list);
  va_end(list);
  return Error(code, std::move(text));
}

tacq_status_t *toStatus(const Error &error) {
  return error ? tacq_status_create(error.code(), error.message().c_str()) : nullptr;
}

Error fromStatus(tacq_status_t *status) {
  if (!status)
    return success();
  Error error(tacq_status_code(status), tacq_status_message(status));
  tacq_status_free(status);
  return error;
}

} // namespace tacq

/// A flexible array member cannot be initialized portably, so this has the same start by hand.
struct OutOfMemoryStatus {
  tacq_code_t code;
  bool fixed;
  char message[48];
};
static_assert(offsetof(OutOfMemoryStatus, message) == sizeof(tacq_code_t) + sizeof(bool),
              "same layout as tacq_status");
static const OutOfMemoryStatus kOutOfMemory = {TACQ_OUT_OF_MEMORY, true,
                                               "no memory is left for an error message"};

tacq_status_t *tacq_status_create(tacq_code_t code, const char *message) {
  size_t length = strlen(message);
  auto *status = static_cast<tacq_status_t *>(malloc(sizeof(tacq_status_t) + length + 1));
  if (!status)
    return reinterpret_cast<tacq_status_t *>(const_cast<OutOfMemoryStatus *>(&kOutOfMemory));
  status->code = code;
  status->fixed = false;
  memcpy(status->message, message, length + 1);
  return status;
}

tacq_code_t tacq_status_code(const tacq_status_t *status) {
  return status ? status->code : TACQ_OK;
}

const char *tacq_status_message(const tacq_status_t *status) {
  return status ? status->message : "";
}

void tacq_status_free(tacq_status_t *status) {
  if (status && !status->fixed)
    free(status);
}
