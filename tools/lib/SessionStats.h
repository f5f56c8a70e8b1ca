//===- SessionStats.h - What a session did and holds ------------*- C++ -*-===//

#ifndef TACQ_TOOLS_SESSIONSTATS_H
#define TACQ_TOOLS_SESSIONSTATS_H

#include "tacq/Error.h"

#include <cstdint>

namespace tacq::tools {

/// Largest resident memory of this process so far, in bytes.
int64_t peakResidentBytes();

/// The session's counters and the process's memory to stderr, one "name: value" a line.
Error printCounters(const tacq_session_t *session);

/// The time of each dispatch to stderr, the longest first.
Error printProfile(const tacq_session_t *session);

} // namespace tacq::tools

#endif // TACQ_TOOLS_SESSIONSTATS_H
