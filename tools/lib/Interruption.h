//===- Interruption.h - Signals that end a long step in order ---*- C++ -*-===//

#ifndef TACQ_TOOLS_INTERRUPTION_H
#define TACQ_TOOLS_INTERRUPTION_H

#include <csignal>

namespace tacq::tools {

/// SIGINT and SIGTERM are noted as long as one lives; a second one ends the process.
class InterruptionGuard {
public:
  InterruptionGuard();
  ~InterruptionGuard();
  InterruptionGuard(const InterruptionGuard &) = delete;
  InterruptionGuard &operator=(const InterruptionGuard &) = delete;

private:
  struct sigaction before[2];
};

/// One of them has come.
bool interrupted();

} // namespace tacq::tools

#endif // TACQ_TOOLS_INTERRUPTION_H
