//===- Progress.cpp - Tells how far a long step is ------------------------===//

#include "Progress.h"

#include "tacq/Error.h"

#include <cstdio>
#include <unistd.h>

using namespace tacq;
using namespace tacq::tools;

Progress::Progress(std::string label, int64_t total, std::string unit)
    : label(std::move(label)), unit(std::move(unit)), total(total),
      terminal(isatty(STDERR_FILENO) == 1), start(Clock::now()), last(start) {}

Progress::~Progress() {
  // An error in between: the bar's line must not hold the message.
  if (!finished && terminal)
    std::fputs("\n", stderr);
}

std::string Progress::line(Clock::time_point now) const {
  double seconds = std::chrono::duration<double>(now - start).count();
  double rate = seconds > 0 ? done / seconds : 0;
  std::string text = label + ": ";
  if (terminal && total > 0) {
    int filled = static_cast<int>(24 * done / total);
    text += "[" + std::string(filled, '#') + std::string(24 - filled, '-') + "] ";
  }
  text += std::to_string(done);
  if (total > 0)
    text += "/" + std::to_string(total);
  text += formatText(" %s, %.1f/s", unit.c_str(), rate);
  if (done < total && rate > 0)
    text += formatText(", %.0f s left", (total - done) / rate);
  else
    text += formatText(", %.1f s", seconds);
  return text;
}

void Progress::advance(int64_t count) {
  done += count;
  Clock::time_point now = Clock::now();
  auto interval = terminal ? std::chrono::milliseconds(100) : std::chrono::milliseconds(5000);
  if (now - last < interval)
    return;
  last = now;
  if (terminal)
    std::fprintf(stderr, "\r%s\033[K", line(now).c_str());
  else
    std::fprintf(stderr, "%s\n", line(now).c_str());
}

void Progress::finish() {
  if (finished)
    return;
  finished = true;
  std::fprintf(stderr, terminal ? "\r%s\033[K\n" : "%s\n", line(Clock::now()).c_str());
}
