//===- Report.h - A module as a page ----------------------------*- C++ -*-===//
//
// One HTML page without scripts and without anything from elsewhere: where in the network the task
// lives, what each tensor takes and is predicted to cost, what the plan was chosen from, and how
// sure the calibration samples are. Each picture has its numbers in a table.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_TOOLS_REPORT_H
#define TACQ_TOOLS_REPORT_H

#include "tacq/ModuleView.h"

#include <string>
#include <vector>

namespace tacq::tools {

struct ReportOptions {
  std::string output;
  /// The plan that the module was compiled by, or "".
  std::string plan;
  /// Statistics of the tasks.
  std::vector<std::string> statistics;
};

/// Writes the page to a temporary name, then renames. TACQ_INVALID_INPUT for a plan or statistics
/// of another model than the module's.
Error writeReport(const ModuleView &view, const ReportOptions &options);

} // namespace tacq::tools

#endif // TACQ_TOOLS_REPORT_H
