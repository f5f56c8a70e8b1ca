//===- ReportData.cpp - What a report is made of --------------------------===//

#include "ReportData.h"

#include "FrontierChart.h"
#include "ModuleSummary.h"
#include "tacq/Quantize/SketchedSaliency.h"
#include "llvm/Support/Path.h"

#include <map>

using namespace tacq;
using namespace tacq::tools;
using nlohmann::ordered_json;

/// Of codes that saliency is computed for: what the smallest module would have.
static constexpr unsigned saliencyBits = 2;

static ReportTensor describe(const ordered_json &line) {
  ReportTensor tensor;
  tensor.name = line["name"].get<std::string>();
  for (const ordered_json &extent : line["shape"])
    tensor.shape += (tensor.shape.empty() ? "" : " × ") + std::to_string(extent.get<int64_t>());
  tensor.isMatrix = line["shape"].size() > 1;
  tensor.isMixed = line["scheme"] == "mixed";
  tensor.elements = line["elements"].get<uint64_t>();
  tensor.bytes = line["bytes"].get<uint64_t>();
  tensor.circuit = line["circuit"].get<uint64_t>();
  tensor.bitsPerWeight = line["bpw"].get<double>();
  auto bits = line["bits"].get<unsigned>();
  bool levels = false;
  for (const ordered_json &part : line["parts"])
    levels |= part["role"] == "Codebook";
  tensor.format = tensor.isMixed ? formatName(bits, line["group"].get<int64_t>(), levels)
                                 : std::to_string(bits) + " bits, as it is";
  return tensor;
}

static Error addPlan(const std::string &file, ReportData &data) {
  data.plan.emplace();
  if (Error error = readPlan(file, *data.plan))
    return error;
  if (!data.plan->modelHash.empty() && data.plan->modelHash != data.summary["model_hash"])
    return makeError(TACQ_INVALID_INPUT,
                     "the plan '%s' is of a model with other contents than that of '%s'; give the "
                     "plan that the module was compiled by",
                     file.c_str(), data.summary["file"].get<std::string>().c_str());
  for (ReportTensor &tensor : data.tensors) {
    const TensorPlan *planned = data.plan->find(tensor.name);
    if (!planned || planned->bytes == 0)
      continue;
    bool isAlike = planned->bits == 16 ? !tensor.isMixed
                                       : tensor.format == formatName(planned->bits, planned->group,
                                                                     planned->codebook);
    if (isAlike)
      tensor.predictedLoss = planned->predictedLoss;
  }
  return success();
}

static Error addSaliency(const ReportTask &task, ReportData &data) {
  std::vector<double> saliency;
  if (Error error = sketchedSaliency(task.statistics, task.file, saliencyBits, saliency))
    return error;
  // Heads are no part of circuits.
  double total = 0;
  std::map<std::string, double> byName;
  for (size_t i = 0; i < saliency.size(); ++i)
    if (const TensorStatistics &tensor = task.statistics.tensors[i]; !tensor.head) {
      total += saliency[i];
      byName[tensor.name] = saliency[i];
    }
  for (ReportTensor &tensor : data.tensors) {
    auto found = byName.find(tensor.name);
    tensor.saliency.emplace_back();
    if (found != byName.end() && total > 0)
      tensor.saliency.back() = found->second / total;
  }
  return success();
}

/// The part of the weights that the module's circuit holds, for samples' own circuits.
static StabilityOptions stabilityOptions(const ReportData &data) {
  uint64_t circuit = 0, weights = 0;
  for (const ReportTensor &tensor : data.tensors)
    if (tensor.isMixed) {
      circuit += tensor.circuit;
      weights += tensor.elements;
    }
  StabilityOptions options;
  options.bits = saliencyBits;
  if (circuit > 0)
    options.part = double(circuit) / double(weights);
  return options;
}

static std::optional<TasksDrift> drift(llvm::ArrayRef<TaskSignatures> known,
                                       const Statistics &fresh) {
  TasksDrift result;
  if (testTasks(known, "", fresh.signatures(), "", result))
    return std::nullopt; // too few samples
  return result;
}

static bool hasCircuit(const ReportTask &task) {
  return task.statistics.sampleCount() >= uint64_t(sampleFolds);
}

static Error addTask(const std::string &file, llvm::ArrayRef<TaskSignatures> known,
                     ReportData &data) {
  ReportTask &task = data.tasks.emplace_back();
  task.file = file;
  task.name = llvm::sys::path::filename(file).str();
  if (Error error = Statistics::read(file, task.statistics))
    return error;
  if (task.statistics.modelHash != data.summary["model_hash"])
    return makeError(TACQ_INVALID_INPUT,
                     "the statistics '%s' were made of '%s' with other contents than the model of "
                     "'%s'; calibrate the model that the module was compiled from",
                     file.c_str(), task.statistics.modelFile.c_str(),
                     data.summary["file"].get<std::string>().c_str());
  if (Error error = addSaliency(task, data))
    return error;
  if (hasCircuit(task))
    if (Error error = circuitStability(task.statistics, file, stabilityOptions(data),
                                       task.stability.emplace()))
      return error;
  task.drift = drift(known, task.statistics);
  return success();
}

static Error addPairs(ReportData &data) {
  for (size_t i = 0; i < data.tasks.size(); ++i)
    for (size_t j = i + 1; j < data.tasks.size(); ++j) {
      const ReportTask &first = data.tasks[i], &second = data.tasks[j];
      ReportPair &pair = data.pairs.emplace_back();
      pair.first = i;
      pair.second = j;
      pair.drift = drift(taskSignatures(first.statistics), second.statistics);
      if (!hasCircuit(first) || !hasCircuit(second))
        continue;
      if (Error error =
              compareCircuits(first.statistics, first.file, second.statistics, second.file,
                              stabilityOptions(data), pair.circuits.emplace()))
        return error;
    }
  return success();
}

Error tools::collectReport(const ModuleView &view, const ReportOptions &options, ReportData &data) {
  data.summary = summarize(view);
  std::vector<NamedTensor> names;
  for (const ordered_json &line : data.summary["tensors"]) {
    data.tensors.push_back(describe(line));
    names.push_back({data.tensors.back().name, data.tensors.back().isMatrix});
  }
  data.map = mapNetwork(names);
  if (!options.plan.empty())
    if (Error error = addPlan(options.plan, data))
      return error;
  const ordered_json &metadata = data.summary["metadata"];
  auto text = [&](llvm::StringRef key) { return metadata.value(key.str(), std::string()); };
  std::optional<std::vector<TaskSignatures>> known =
      parseTasks(text(signaturesKey), text(signatureTasksKey));
  for (const std::string &file : options.statistics)
    if (Error error = addTask(file, known.value_or(std::vector<TaskSignatures>()), data))
      return error;
  return addPairs(data);
}
