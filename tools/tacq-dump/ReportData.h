//===- ReportData.h - What a report is made of ------------------*- C++ -*-===//

#ifndef TACQ_TOOLS_REPORTDATA_H
#define TACQ_TOOLS_REPORTDATA_H

#include "NetworkMap.h"
#include "Report.h"
#include "tacq/Calibrate/TaskDrift.h"
#include "tacq/Quantize/CircuitStability.h"
#include "tacq/Quantize/Plan.h"

#include <nlohmann/json.hpp>

namespace tacq::tools {

struct ReportTensor {
  std::string name, shape, format;
  bool isMatrix = false, isMixed = false;
  uint64_t elements = 0, bytes = 0, circuit = 0;
  double bitsPerWeight = 0;
  /// By the plan, if it has this tensor in the module's format.
  std::optional<double> predictedLoss;
  /// For each task its part of the saliency of all tensors, where the statistics have it.
  std::vector<std::optional<double>> saliency;
};

struct ReportTask {
  /// Its file, and that without the folder.
  std::string file, name;
  Statistics statistics;
  /// None: too few samples.
  std::optional<CircuitStability> stability;
  /// Against the samples in the module; none if there are too few, or none at all.
  std::optional<TasksDrift> drift;
};

/// Two of the tasks.
struct ReportPair {
  size_t first, second;
  std::optional<CircuitComparison> circuits;
  /// The second against the first.
  std::optional<TasksDrift> drift;
};

struct ReportData {
  /// What tacq-dump --json prints.
  nlohmann::ordered_json summary;
  std::vector<ReportTensor> tensors;
  NetworkMap map;
  std::optional<Plan> plan;
  std::vector<ReportTask> tasks;
  std::vector<ReportPair> pairs;

  /// The mean loss that predicted ones are parts of; 0: unknown.
  double meanLoss() const { return plan ? plan->meanLoss : 0; }
};

Error collectReport(const ModuleView &view, const ReportOptions &options, ReportData &data);

} // namespace tacq::tools

#endif // TACQ_TOOLS_REPORTDATA_H
