//===- ModuleSummary.h - What is in a module --------------------*- C++ -*-===//

#ifndef TACQ_TOOLS_MODULESUMMARY_H
#define TACQ_TOOLS_MODULESUMMARY_H

#include "tacq/ModuleView.h"

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace tacq::tools {

/// Everything but the schedule: file, sections, metadata, inputs, outputs, states, executables,
/// tensors and totals.
nlohmann::ordered_json summarize(const ModuleView &view);

/// The same as text.
std::string summaryText(const nlohmann::ordered_json &summary);

/// The schedule, one command a line, with kernels, buffers, sizes and nodes by their names.
std::string scheduleText(const ModuleView &view);

} // namespace tacq::tools

#endif // TACQ_TOOLS_MODULESUMMARY_H
