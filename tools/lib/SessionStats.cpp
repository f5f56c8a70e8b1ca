//===- SessionStats.cpp - What a session did and holds --------------------===//

#include "SessionStats.h"

#include "Handles.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

using namespace tacq;
using namespace tacq::tools;

int64_t tools::peakResidentBytes() {
  // getrusage would include what the parent held when it forked.
  std::ifstream status("/proc/self/status");
  long long kibibytes = 0;
  for (std::string line; std::getline(status, line);)
    if (std::sscanf(line.c_str(), "VmHWM: %lld kB", &kibibytes) == 1)
      break;
  return kibibytes * 1024;
}

Error tools::printCounters(const tacq_session_t *session) {
  tacq_session_counters_t counters = {};
  counters.struct_size = sizeof(counters);
  if (Error error = take(tacq_session_get_counters(session, &counters)))
    return error;
  const std::pair<const char *, uint64_t> lines[] = {
      {"runs", counters.runs},
      {"dispatches", counters.dispatches},
      {"commands", counters.commands},
      {"allocations", counters.allocations},
      {"bytes_transient", counters.bytes_transient},
      {"bytes_state", counters.bytes_state},
      {"bytes_output", counters.bytes_output},
      {"bytes_copied", counters.bytes_copied},
      {"run_ns", counters.run_ns},
      {"device_ns", counters.device_ns},
      {"peak_resident_bytes", static_cast<uint64_t>(peakResidentBytes())}};
  for (const auto &[name, value] : lines)
    std::fprintf(stderr, "%s: %" PRIu64 "\n", name, value);
  return success();
}

namespace {
struct Line {
  std::string kernel, node, op;
  uint64_t count, time;
};
} // namespace

static void collect(void *user, const tacq_profile_entry_t *entry) {
  static_cast<std::vector<Line> *>(user)->push_back(
      {entry->kernel, entry->node, entry->op, entry->count, entry->total_ns});
}

Error tools::printProfile(const tacq_session_t *session) {
  std::vector<Line> lines;
  if (Error error = take(tacq_session_profile(session, collect, &lines)))
    return error;
  std::sort(lines.begin(), lines.end(),
            [](const Line &a, const Line &b) { return a.time > b.time; });
  double total = 0;
  for (const Line &line : lines)
    total += static_cast<double>(line.time);
  std::fprintf(stderr, "%10s %6s %8s %10s  %s\n", "ms", "%", "count", "us each", "kernel, node");
  for (const Line &line : lines)
    std::fprintf(stderr, "%10.3f %6.2f %8" PRIu64 " %10.2f  %s %s %s\n", line.time * 1e-6,
                 100 * line.time / std::max(total, 1.0), line.count,
                 line.time * 1e-3 / std::max<uint64_t>(line.count, 1), line.kernel.c_str(),
                 line.op.c_str(), line.node.c_str());
  return success();
}
