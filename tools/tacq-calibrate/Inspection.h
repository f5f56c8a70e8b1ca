//===- Inspection.h - Statistics for people and scripts ---------*- C++ -*-===//

#ifndef TACQ_TOOLS_INSPECTION_H
#define TACQ_TOOLS_INSPECTION_H

#include "tacq/Quantize/CircuitStability.h"

#include <string>

namespace tacq::tools {

/// Prints the statistics in the file to stdout, as a table or as JSON.
Error inspect(const std::string &file, const StabilityOptions &options, bool json);

} // namespace tacq::tools

#endif // TACQ_TOOLS_INSPECTION_H
