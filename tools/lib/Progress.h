//===- Progress.h - Tells how far a long step is ----------------*- C++ -*-===//

#ifndef TACQ_TOOLS_PROGRESS_H
#define TACQ_TOOLS_PROGRESS_H

#include <chrono>
#include <cstdint>
#include <string>

namespace tacq::tools {

/// Writes count, rate and the time left to stderr: a bar that is redrawn on a terminal, else a
/// plain line every few seconds and one at the end.
class Progress {
public:
  /// `total`: 0 when unknown. `unit`: "prompts".
  Progress(std::string label, int64_t total, std::string unit);
  ~Progress();
  Progress(const Progress &) = delete;
  Progress &operator=(const Progress &) = delete;

  void advance(int64_t count = 1);
  /// Writes the last line; nothing is written after it.
  void finish();

private:
  using Clock = std::chrono::steady_clock;
  std::string line(Clock::time_point now) const;

  std::string label;
  std::string unit;
  int64_t total;
  int64_t done = 0;
  bool terminal;
  bool finished = false;
  Clock::time_point start;
  Clock::time_point last;
};

} // namespace tacq::tools

#endif // TACQ_TOOLS_PROGRESS_H
