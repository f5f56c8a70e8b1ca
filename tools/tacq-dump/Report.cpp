//===- Report.cpp - A module as a page ------------------------------------===//

#include "Report.h"

#include "FrontierChart.h"
#include "HeatMap.h"
#include "Html.h"
#include "ReportData.h"
#include "ReportStyle.h"
#include "tacq/TextFile.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

#include <map>

using namespace tacq;
using namespace tacq::tools;
using llvm::raw_ostream;
using nlohmann::ordered_json;

static std::string str(const ordered_json &value) { return value.get<std::string>(); }

static std::string percent(double part) { return formatText("%.3g %%", 100 * part); }

static std::string percent(const Interval &interval) {
  return formatText("%.1f %% [%.1f, %.1f]", 100 * interval.mean, 100 * interval.low,
                    100 * interval.high);
}

namespace {

class Page {
public:
  Page(raw_ostream &os, const ReportData &data) : os(os), data(data) {
    for (const ReportTensor &tensor : data.tensors)
      names.push_back({tensor.name, tensor.isMatrix});
  }
  void write();

private:
  void writeFacts();
  void writeMaps();
  void writeRoles();
  void writeFrontierSection();
  void writeTasks();
  void writeTensors();
  void writeTensorTable(const char *id, const char *caption, bool matrices);
  void writeTensorRow(const ReportTensor &tensor, uint64_t most);
  template <typename Get> HeatMap heatMap(const char *id, const std::string &caption, Get get);
  std::string lossText(double loss) const;
  bool isPlanned() const {
    return llvm::any_of(data.tensors, [](const auto &t) { return t.predictedLoss.has_value(); });
  }

  raw_ostream &os;
  const ReportData &data;
  std::vector<NamedTensor> names;
};

} // namespace

std::string Page::lossText(double loss) const {
  return data.meanLoss() > 0 ? formatText("%+.3g %%", 100 * loss / data.meanLoss())
                             : formatText("%+.3g", loss);
}

void Page::writeFacts() {
  const ordered_json &summary = data.summary, &totals = summary["totals"];
  auto fact = [&](const char *name, const std::string &text) {
    os << "<dt>" << name << "</dt><dd><bdi>" << Escaped{text} << "</bdi></dd>\n";
  };
  os << "<dl>\n";
  fact("model", str(summary["model_name"]) + " (" + str(summary["model_hash"]) + ")");
  fact("made by", str(summary["producer"]));
  fact("file", std::to_string(summary["file_bytes"].get<uint64_t>()) + " bytes");
  fact("weights",
       formatText("%llu in %zu tensors, %llu bytes, %.3f bits per weight",
                  (unsigned long long)totals["elements"].get<uint64_t>(), data.tensors.size(),
                  (unsigned long long)totals["bytes"].get<uint64_t>(),
                  totals["bpw"].get<double>()));
  uint64_t elements = 0, bytes = 0, circuit = 0, count = 0;
  for (const ReportTensor &tensor : data.tensors)
    if (tensor.isMixed) {
      elements += tensor.elements;
      bytes += tensor.bytes;
      circuit += tensor.circuit;
      ++count;
    }
  if (count > 0)
    fact("quantized",
         formatText("%llu weights in %llu tensors, %llu bytes, %.3f bits per weight, all bytes "
                    "counted; %llu of them (%s) are the circuit, in fp16",
                    (unsigned long long)elements, (unsigned long long)count,
                    (unsigned long long)bytes, 8 * double(bytes) / double(elements),
                    (unsigned long long)circuit,
                    percent(double(circuit) / double(elements)).c_str()));
  std::string targets;
  for (const ordered_json &executable : summary["executables"])
    targets += (targets.empty() ? "" : ", ") + str(executable["target"]);
  fact("targets", targets);
  os << "</dl>\n";
}

template <typename Get> HeatMap Page::heatMap(const char *id, const std::string &caption, Get get) {
  HeatMap heat;
  heat.id = id;
  heat.caption = caption;
  heat.text = [](double value) { return percent(value); };
  for (const ReportTensor &tensor : data.tensors)
    heat.values.push_back(tensor.isMatrix ? get(tensor) : std::nullopt);
  return heat;
}

void Page::writeMaps() {
  using Value = std::optional<Quantity>;
  os << "<h2>Where the task lives</h2>\n";
  if (data.map.layers.empty()) {
    os << "<p>The names of the tensors do not number any layers; see the table of tensors.</p>\n";
    return;
  }
  writeHeatMap(os,
               heatMap("map-circuit", "Circuit: the part of the weights that are kept in fp16",
                       [](const ReportTensor &t) {
                         return t.isMixed ? Value({double(t.circuit), double(t.elements)})
                                          : std::nullopt;
                       }),
               data.map, names);
  uint64_t elements = 0;
  for (const ReportTensor &tensor : data.tensors)
    if (tensor.isMatrix && llvm::any_of(tensor.saliency, [](auto &part) { return part; }))
      elements += tensor.elements;
  for (auto [i, task] : llvm::enumerate(data.tasks)) {
    HeatMap heat =
        heatMap(("map-saliency-" + std::to_string(i + 1)).c_str(),
                "Saliency for " + task.name +
                    ": of a weight, as a multiple of the mean of all weights; estimated from the "
                    "gradients of all weights and the values of a few rows of each tensor",
                [&, i = i](const ReportTensor &t) {
                  return t.saliency[i]
                             ? Value({*t.saliency[i], double(t.elements) / double(elements)})
                             : std::nullopt;
                });
    heat.text = [](double value) { return formatText("%.2f", value); };
    writeHeatMap(os, heat, data.map, names);
  }
  HeatMap bits =
      heatMap("map-bits", "Size: bits per weight, all bytes counted", [](const ReportTensor &t) {
        return Value({8 * double(t.bytes), double(t.elements)});
      });
  bits.text = [](double value) { return formatText("%.3f", value); };
  writeHeatMap(os, bits, data.map, names);
  HeatMap loss =
      heatMap("map-loss",
              data.meanLoss() > 0
                  ? "Predicted loss increase by the plan, as a part of the sample's mean loss"
                  : "Predicted loss increase by the plan",
              [](const ReportTensor &t) {
                return t.predictedLoss ? Value({*t.predictedLoss, 1}) : std::nullopt;
              });
  loss.isSum = true;
  loss.text = [this](double value) { return lossText(value); };
  writeHeatMap(os, loss, data.map, names);
}

void Page::writeRoles() {
  std::map<std::string, uint64_t> bytes;
  uint64_t all = 0;
  for (const ordered_json &tensor : data.summary["tensors"])
    for (const ordered_json &part : tensor["parts"]) {
      bytes[str(part["role"])] += part["bytes"].get<uint64_t>();
      all += part["bytes"].get<uint64_t>();
    }
  os << "<h2>What the bytes are for</h2>\n<table id=\"roles\">\n<thead><tr><th scope=\"col\" "
        "class=\"left\">part</th><th scope=\"col\">bytes</th><th scope=\"col\">of all</th></tr>"
        "</thead>\n<tbody>\n";
  for (const auto &[role, count] : bytes)
    if (count > 0)
      os << "<tr><th scope=\"row\">" << Escaped{role}
         << llvm::format("</th><td class=\"bar\" style=\"--part:%.3f\">",
                         double(count) / double(all))
         << count << "</td><td>" << percent(double(count) / double(all)) << "</td></tr>\n";
  os << "</tbody>\n</table>\n";
}

void Page::writeFrontierSection() {
  if (!data.plan || data.plan->candidates.empty())
    return;
  const std::vector<PricedPlan> &candidates = data.plan->candidates;
  os << "<h2>What the plan was chosen from</h2>\n<p>Sizes are exact and of the planned weights "
        "alone. Losses are second-order predictions"
     << (data.meanLoss() > 0
             ? formatText(", as parts of the mean loss %.4g of the calibration sample",
                          data.meanLoss())
             : "")
     << ": they rank candidates. The line joins those that no other beats in both. What was "
        "measured "
        "on the sample is a circle.</p>\n";
  writeFrontier(os, candidates, data.meanLoss());
  os << "<p class=\"key\">";
  for (auto [name, text, path] :
       {std::tuple("b2", "2 bits", "M4 4H12V12H4Z"),
        {"b3", "3 bits", "M8 3L13 12H3Z"},
        {"b4", "4 bits", "M8 3L13 8L8 13L3 8Z"},
        {"b8", "8 bits", "M6 3H10L13 6V10L10 13H6L3 10V6Z"},
        {"mixed", "a format for each tensor", "M8 1L10 6L15 8L10 10L8 15L6 10L1 8L6 6Z"}})
    os << "<svg viewBox=\"0 0 16 16\" aria-hidden=\"true\"><path class=\"" << name << "\" d=\""
       << path << "\"/></svg> " << text << " &ensp;";
  os << "</p>\n<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"Candidates\">\n"
        "<table id=\"candidates\">\n<thead><tr><th scope=\"col\" class=\"left\">format</th>"
        "<th scope=\"col\">circuit</th><th scope=\"col\">bpw</th><th scope=\"col\">bytes</th>"
        "<th scope=\"col\">predicted loss</th><th scope=\"col\">measured loss</th>"
        "<th scope=\"col\" class=\"left\"></th></tr></thead>\n<tbody>\n";
  for (auto [candidate, isBest] : llvm::zip(candidates, paretoFrontier(candidates))) {
    os << (candidate.chosen ? "<tr class=\"chosen\">" : "<tr>") << "<th scope=\"row\">"
       << formatName(candidate) << "</th><td>"
       << llvm::format("%.2f %%</td><td>%.3f</td><td>", 100 * candidate.circuit,
                       candidate.bitsPerWeight)
       << candidate.bytes << "</td><td>" << lossText(candidate.predictedLoss) << "</td><td>"
       << (candidate.measuredLoss ? lossText(*candidate.measuredLoss) : "")
       << "</td><td class=\"left\">"
       << (candidate.chosen ? (isBest ? "chosen, on the frontier" : "chosen")
           : isBest         ? "on the frontier"
                            : "")
       << "</td></tr>\n";
  }
  os << "</tbody>\n</table>\n</div>\n";
}

static void writeDrift(raw_ostream &os, const std::optional<TasksDrift> &drift) {
  if (!drift) {
    os << "<td></td><td class=\"left\">too few samples to tell</td>";
    return;
  }
  const TasksDrift::Task *task = drift->nearest();
  os << llvm::format("<td>%.2f</td><td class=\"left\">",
                     task ? task->drift->distance : drift->mixture.distance);
  if (drift->drifted())
    os << "another task: calibrate again</td>";
  else if (task)
    os << "one of the tasks, of data <bdi>" << Escaped{task->data} << "</bdi>: keep</td>";
  else
    os << "the same task: keep</td>";
}

void Page::writeTasks() {
  if (data.tasks.empty())
    return;
  os << "<h2>How sure the samples are</h2>\n<p>Circuits of the size that the module has, chosen "
        "from samples drawn again; means and 90 % intervals. The last two columns compare the "
        "samples with those that the module was made for: the distance is about 1 for one task, "
        "and of several tasks it is that of the closest.</p>\n<div class=\"scroll\" "
        "role=\"region\" tabindex=\"0\" aria-label=\"Samples\">\n"
        "<table id=\"tasks\">\n<thead><tr><th scope=\"col\" class=\"left\">statistics</th>"
        "<th scope=\"col\">samples</th><th scope=\"col\">mean loss</th><th scope=\"col\">circuit "
        "stays</th><th scope=\"col\">halves have<br>in common</th><th scope=\"col\">twice the "
        "sample<br>would change</th><th scope=\"col\">distance</th><th scope=\"col\" "
        "class=\"left\">verdict</th></tr></thead>\n<tbody>\n";
  for (const ReportTask &task : data.tasks) {
    os << "<tr><th scope=\"row\" class=\"name\"><bdi>" << Escaped{task.name} << "</bdi></th><td>"
       << task.statistics.sampleCount()
       << llvm::format("</td><td>%.4f</td>", task.statistics.meanLoss());
    if (task.stability)
      os << "<td>" << percent(task.stability->bootstrap) << "</td><td>"
         << percent(task.stability->halves) << "</td><td>" << percent(task.stability->doubling)
         << "</td>";
    else
      os << "<td colspan=\"3\">takes " << sampleFolds << " samples</td>";
    writeDrift(os, task.drift);
    os << "</tr>\n";
  }
  os << "</tbody>\n</table>\n</div>\n";
  if (data.pairs.empty())
    return;
  os << "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"Tasks in pairs\">\n"
        "<table id=\"pairs\">\n<caption>Two tasks: what their circuits have in common, and how "
        "much of the saliency for the second one the first one's circuit holds</caption>\n<thead>"
        "<tr><th scope=\"col\" class=\"left\">first</th><th scope=\"col\" class=\"left\">second"
        "</th><th scope=\"col\">in common</th><th scope=\"col\">halves of the first</th>"
        "<th scope=\"col\">saliency held</th><th scope=\"col\">distance</th><th scope=\"col\" "
        "class=\"left\">verdict</th></tr></thead>\n<tbody>\n";
  for (const ReportPair &pair : data.pairs) {
    os << "<tr>";
    for (size_t task : {pair.first, pair.second})
      os << "<th scope=\"row\" class=\"name\"><bdi>" << Escaped{data.tasks[task].name}
         << "</bdi></th>";
    if (pair.circuits)
      for (const Interval &interval :
           {pair.circuits->common, pair.circuits->halves, pair.circuits->captured})
        os << "<td>" << percent(interval) << "</td>";
    else
      os << "<td colspan=\"3\">takes " << sampleFolds << " samples of each</td>";
    writeDrift(os, pair.drift);
    os << "</tr>\n";
  }
  os << "</tbody>\n</table>\n</div>\n";
}

void Page::writeTensorRow(const ReportTensor &tensor, uint64_t most) {
  os << "<tr><th scope=\"row\" class=\"name\"><bdi>" << Escaped{tensor.name}
     << "</bdi></th><td class=\"left\">" << tensor.shape << "</td><td class=\"left\">"
     << tensor.format
     << llvm::format("</td><td class=\"bar\" style=\"--part:%.3f\">",
                     most ? double(tensor.bytes) / double(most) : 0.0)
     << tensor.bytes << llvm::format("</td><td>%.3f</td>", tensor.bitsPerWeight);
  if (tensor.isMixed)
    os << "<td>" << tensor.circuit << "</td><td>"
       << llvm::format("%.3f %%</td>", 100 * double(tensor.circuit) / double(tensor.elements));
  else
    os << "<td></td><td></td>";
  if (isPlanned())
    os << "<td>" << (tensor.predictedLoss ? lossText(*tensor.predictedLoss) : "") << "</td>";
  for (const std::optional<double> &part : tensor.saliency)
    os << "<td>" << (part ? percent(*part) : "") << "</td>";
  os << "</tr>\n";
}

void Page::writeTensorTable(const char *id, const char *caption, bool matrices) {
  uint64_t most = 0;
  for (const ReportTensor &tensor : data.tensors)
    if (tensor.isMatrix == matrices)
      most = std::max(most, tensor.bytes);
  os << "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"" << caption << "\">\n"
     << "<table id=\"" << id
     << "\">\n<thead><tr><th scope=\"col\" class=\"left\">tensor</th><th scope=\"col\" "
        "class=\"left\">shape</th><th scope=\"col\" class=\"left\">format</th><th scope=\"col\">"
        "bytes</th><th scope=\"col\">bpw</th><th scope=\"col\">circuit</th><th scope=\"col\">of "
        "weights</th>";
  if (isPlanned())
    os << "<th scope=\"col\">predicted loss</th>";
  for (const ReportTask &task : data.tasks)
    os << "<th scope=\"col\">saliency for<br><bdi>" << Escaped{task.name} << "</bdi></th>";
  os << "</tr></thead>\n<tbody>\n";
  for (const ReportTensor &tensor : data.tensors)
    if (tensor.isMatrix == matrices)
      writeTensorRow(tensor, most);
  os << "</tbody>\n</table>\n</div>\n";
}

void Page::writeTensors() {
  os << "<h2>Tensors</h2>\n";
  if (isPlanned())
    os << "<p>Losses are predicted for formats: they are shown where the module has the plan's, "
          "and do not know of error compensation and tuning.</p>\n";
  writeTensorTable("tensors", "Matrices", /*matrices=*/true);
  if (llvm::any_of(data.tensors, [](const ReportTensor &tensor) { return !tensor.isMatrix; })) {
    os << "<details>\n<summary>Vectors and scalars</summary>\n";
    writeTensorTable("vectors", "Vectors and scalars", /*matrices=*/false);
    os << "</details>\n";
  }
}

void Page::write() {
  std::string title = "TACQ report: " + str(data.summary["file"]);
  os << "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta "
        "http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
        "'unsafe-inline'\">\n<meta name=\"viewport\" content=\"width=device-width, "
        "initial-scale=1\">\n<title>"
     << Escaped{title} << "</title>\n<style>" << reportStyle
     << "</style>\n</head>\n<body>\n<main>\n"
     << "<h1><bdi>" << Escaped{str(data.summary["file"])} << "</bdi></h1>\n";
  writeFacts();
  writeMaps();
  writeFrontierSection();
  writeTasks();
  writeRoles();
  writeTensors();
  os << "</main>\n</body>\n</html>\n";
}

Error tools::writeReport(const ModuleView &view, const ReportOptions &options) {
  ReportData data;
  if (Error error = collectReport(view, options, data))
    return error;
  return writeTextFile(options.output, [&](raw_ostream &os) { Page(os, data).write(); });
}
