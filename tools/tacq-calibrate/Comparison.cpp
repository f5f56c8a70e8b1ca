//===- Comparison.cpp - Two samples, and how sure a circuit is ------------===//

#include "Comparison.h"

#include "Handles.h"
#include "tacq/ModuleFormat.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>

using namespace tacq;
using namespace tacq::tools;
using nlohmann::ordered_json;

Error KnownSample::read(const std::string &file, KnownSample &sample) {
  sample.file = file;
  char magic[8] = {};
  std::ifstream(file, std::ios::binary).read(magic, sizeof(magic));
  sample.isModule = std::memcmp(magic, kModuleMagic, sizeof(magic)) == 0;
  if (!sample.isModule) {
    if (Error error = Statistics::read(file, sample.statistics))
      return error;
    sample.tasks = taskSignatures(sample.statistics);
    return success();
  }
  Loaded loaded;
  if (Error error = load(file, "null", loaded))
    return error;
  const char *text = tacq_module_metadata(loaded.module.get(), signaturesKey.data());
  const char *list = tacq_module_metadata(loaded.module.get(), signatureTasksKey.data());
  std::optional<std::vector<TaskSignatures>> tasks;
  if (text)
    tasks = parseTasks(text, list ? list : "");
  if (!tasks)
    return makeError(
        TACQ_INVALID_INPUT,
        "the module '%s' does not tell the sample that it was made for: it was compiled "
        "without --stats, or with statistics of an earlier TACQ",
        file.c_str());
  sample.statistics.modelHash = tacq_module_metadata(loaded.module.get(), "model_hash");
  sample.tasks = std::move(*tasks);
  return success();
}

//===----------------------------------------------------------------------===//
// Text and JSON
//===----------------------------------------------------------------------===//

static std::string percent(const Interval &interval) {
  char text[64];
  std::snprintf(text, sizeof(text), "%5.1f %% [%.1f, %.1f]", 100 * interval.mean,
                100 * interval.low, 100 * interval.high);
  return text;
}

static ordered_json toJson(const Interval &interval) {
  return {{"mean", interval.mean}, {"low", interval.low}, {"high", interval.high}};
}

ordered_json tools::toJson(const CircuitStability &stability) {
  return {{"circuit", stability.circuit},
          {"weights", stability.weights},
          {"bootstrap_common", ::toJson(stability.bootstrap)},
          {"halves_common", ::toJson(stability.halves)},
          {"quarter_to_half_changed", ::toJson(stability.toHalf)},
          {"half_to_all_changed", ::toJson(stability.toAll)},
          {"doubling_changes", ::toJson(stability.doubling)},
          {"doubling_saliency_missed", ::toJson(stability.missed)}};
}

std::string tools::toText(const CircuitStability &stability) {
  std::string text = "circuit of " + std::to_string(stability.circuit) + " among " +
                     std::to_string(stability.weights) +
                     " sketched weights; means and 90 % intervals\n";
  for (const auto &[name, interval] :
       {std::pair("stays when the sample is drawn again", stability.bootstrap),
        {"two halves of the sample have in common", stability.halves},
        {"changed from a quarter to half of the sample", stability.toHalf},
        {"changed from half to all of the sample", stability.toAll},
        {"would change with twice the sample", stability.doubling},
        {"saliency missed by not doubling it", stability.missed}}) {
    char line[128];
    std::snprintf(line, sizeof(line), "  %-46s %s\n", name, percent(interval).c_str());
    text += line;
  }
  return text;
}

static ordered_json toJson(const TaskDrift &drift, bool swapped) {
  return {{"samples", {drift.samples[swapped], drift.samples[!swapped]}},
          {"distance", drift.distance},
          {"probability", drift.probability}};
}

/// With `swapped`, what is known is the second file.
static ordered_json toJson(const TasksDrift &drift, bool swapped) {
  ordered_json result = ::toJson(drift.mixture, swapped);
  for (const TasksDrift::Task &task : drift.tasks) {
    ordered_json entry;
    entry["data_hash"] = task.data;
    if (task.drift)
      entry.update(::toJson(*task.drift, swapped));
    entry["fits"] = task.drift ? ordered_json(task.fits()) : ordered_json();
    result["tasks"].push_back(entry);
  }
  result["verdict"] = drift.drifted() ? "calibrate again" : "keep";
  return result;
}

static std::string toText(const TasksDrift &drift, bool swapped) {
  char line[256];
  std::snprintf(line, sizeof(line),
                "drift: %zu and %zu samples, distance %.2f (about 1 for one task), as large by "
                "chance with probability %.3f\n",
                drift.mixture.samples[swapped], drift.mixture.samples[!swapped],
                drift.mixture.distance, drift.mixture.probability);
  std::string text = line, fitting;
  for (const TasksDrift::Task &task : drift.tasks) {
    if (task.drift)
      std::snprintf(line, sizeof(line), ": %zu samples, distance %.2f, probability %.3f: %s\n",
                    task.drift->samples[0], task.drift->distance, task.drift->probability,
                    task.fits() ? "fits" : "does not fit");
    else
      std::snprintf(line, sizeof(line), ": too few samples to tell; %zu would do\n",
                    fewestDriftSamples);
    text += "  task of data " + task.data + line;
    if (task.fits())
      fitting += (fitting.empty() ? "the task of data " : " and of data ") + task.data;
  }
  text += drift.drifted() ? "verdict: calibrate again" : "verdict: keep";
  if (!drift.tasks.empty() && !drift.drifted())
    text += "; the new samples fit " + (fitting.empty() ? "the mixture of the tasks" : fitting);
  return text + "\n";
}

Error tools::compareSamples(const KnownSample &first, const KnownSample &second,
                            const StabilityOptions &options, bool json) {
  if (first.statistics.modelHash != second.statistics.modelHash)
    return makeError(TACQ_INVALID_INPUT, "'%s' and '%s' are of different models (by their content)",
                     first.file.c_str(), second.file.c_str());
  ordered_json result = {{"first", first.file}, {"second", second.file}};
  std::string text, note;
  if (!first.isModule && !second.isModule) {
    CircuitComparison circuits;
    Error error = compareCircuits(first.statistics, first.file, second.statistics, second.file,
                                  options, circuits);
    // Samples that are too few for circuits may be enough to tell whether the task has drifted.
    bool fewSamples = first.statistics.hasFolds && second.statistics.hasFolds &&
                      std::min(first.statistics.sampleCount(), second.statistics.sampleCount()) <
                          uint64_t(sampleFolds);
    if (error && !fewSamples)
      return error;
    if (error) {
      note = error.message();
      result["circuits"] = nullptr;
    } else {
      result["circuits"] = {{"common", ::toJson(circuits.common)},
                            {"halves_of_first_common", ::toJson(circuits.halves)},
                            {"saliency_captured", ::toJson(circuits.captured)}};
      text += "circuits of both have in common " + percent(circuits.common) +
              "; two halves of the first " + percent(circuits.halves) +
              "\nof the saliency for the second that its own circuit holds, the first's holds " +
              percent(circuits.captured) + "\n";
    }
  }
  bool swapped = second.isModule && !first.isModule;
  const KnownSample &known = swapped ? second : first, &fresh = swapped ? first : second;
  TasksDrift drift;
  if (Error error = testTasks(known.tasks, known.file, mixtureOf(fresh.tasks), fresh.file, drift))
    return error;
  if (!note.empty())
    std::fprintf(stderr, "note: circuits are not compared: %s\n", note.c_str());
  result["drift"] = ::toJson(drift, swapped);
  text += ::toText(drift, swapped);
  std::printf("%s", json ? (result.dump(2) + "\n").c_str() : text.c_str());
  return success();
}
