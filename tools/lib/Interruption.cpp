//===- Interruption.cpp - Signals that end a long step in order -----------===//

#include "Interruption.h"

using namespace tacq::tools;

static volatile std::sig_atomic_t noted = 0;

extern "C" void noteInterruption(int) { noted = 1; }

InterruptionGuard::InterruptionGuard() {
  struct sigaction action = {};
  action.sa_handler = noteInterruption;
  action.sa_flags = SA_RESETHAND;
  sigaction(SIGINT, &action, &before[0]);
  sigaction(SIGTERM, &action, &before[1]);
}

InterruptionGuard::~InterruptionGuard() {
  sigaction(SIGINT, &before[0], nullptr);
  sigaction(SIGTERM, &before[1], nullptr);
}

bool tacq::tools::interrupted() { return noted != 0; }
