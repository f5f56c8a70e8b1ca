//===- Comparison.cpp - Two samples, and how sure a circuit is ------------===//

#include "Comparison.h"

#include "Handles.h"
#include "tacq/ModuleFormat.h"

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
    sample.signatures = sample.statistics.signatures();
    return success();
  }
  Loaded loaded;
  if (Error error = load(file, "null", loaded))
    return error;
  const char *text = tacq_module_metadata(loaded.module.get(), signaturesKey.data());
  std::optional<std::vector<double>> signatures;
  if (text)
    signatures = parseSignatures(text);
  if (!signatures)
    return makeError(
        TACQ_INVALID_INPUT,
        "the module '%s' does not tell the sample that it was made for: it was compiled "
        "without --stats, or with statistics of an earlier TACQ",
        file.c_str());
  sample.statistics.modelHash = tacq_module_metadata(loaded.module.get(), "model_hash");
  sample.signatures = *signatures;
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

Error tools::compareSamples(const KnownSample &first, const KnownSample &second,
                            const StabilityOptions &options, bool json) {
  if (first.statistics.modelHash != second.statistics.modelHash)
    return makeError(TACQ_INVALID_INPUT, "'%s' and '%s' are of different models (by their content)",
                     first.file.c_str(), second.file.c_str());
  ordered_json result = {{"first", first.file}, {"second", second.file}};
  std::string text;
  if (!first.isModule && !second.isModule) {
    CircuitComparison circuits;
    if (Error error = compareCircuits(first.statistics, first.file, second.statistics, second.file,
                                      options, circuits))
      return error;
    result["circuits"] = {{"common", ::toJson(circuits.common)},
                          {"halves_of_first_common", ::toJson(circuits.halves)},
                          {"saliency_captured", ::toJson(circuits.captured)}};
    text += "circuits of both have in common " + percent(circuits.common) +
            "; two halves of the first " + percent(circuits.halves) +
            "\nof the saliency for the second that its own circuit holds, the first's holds " +
            percent(circuits.captured) + "\n";
  }
  TaskDrift drift;
  if (Error error = testDrift(first.signatures, first.file, second.signatures, second.file, drift))
    return error;
  const char *verdict = drift.drifted() ? "calibrate again" : "keep";
  result["drift"] = {{"samples", {drift.samples[0], drift.samples[1]}},
                     {"distance", drift.distance},
                     {"probability", drift.probability},
                     {"verdict", verdict}};
  char line[256];
  std::snprintf(line, sizeof(line),
                "drift: %zu and %zu samples, distance %.2f (about 1 for one task), as large by "
                "chance with probability %.3f\nverdict: %s\n",
                drift.samples[0], drift.samples[1], drift.distance, drift.probability, verdict);
  text += line;
  std::printf("%s", json ? (result.dump(2) + "\n").c_str() : text.c_str());
  return success();
}
