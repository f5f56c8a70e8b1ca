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

/// The dispatches that run on the CPU where the executable runs: the kernel and the node of each,
/// and the buffers that go to the host before it and back to the device behind it. The driver
/// leaves these transfers out where the host sees the device's memory.
nlohmann::ordered_json hostDispatches(const ModuleView &view, const format::Executable &executable);

/// A buffer of the schedule: its number, and what it is a part of.
std::string bufferName(const format::Module &module, uint32_t index);

/// The schedule, one command a line, with kernels, buffers, sizes and nodes by their names.
std::string scheduleText(const ModuleView &view);

} // namespace tacq::tools

#endif // TACQ_TOOLS_MODULESUMMARY_H
