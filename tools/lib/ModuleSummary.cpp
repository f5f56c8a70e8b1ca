//===- ModuleSummary.cpp - What is in a module ----------------------------===//

#include "ModuleSummary.h"

#include <cinttypes>
#include <nlohmann/json.hpp>

using namespace tacq;
using namespace tacq::tools;
using nlohmann::ordered_json;

template <typename Vector, typename Function>
static ordered_json list(const Vector *vector, const Function &element) {
  ordered_json result = ordered_json::array();
  for (size_t i = 0, count = sizeOf(vector); i < count; ++i)
    result.push_back(element(*vector->Get(i)));
  return result;
}

static ordered_json declaration(const format::TensorDecl &decl) {
  ordered_json result;
  result["name"] = textOf(decl.name());
  result["type"] = tacq_element_name(static_cast<tacq_element_type_t>(decl.element_type()));
  ordered_json dims = ordered_json::array();
  for (size_t axis = 0, rank = sizeOf(decl.dims()); axis < rank; ++axis) {
    int64_t extent = decl.dims()->Get(axis)->extent();
    if (extent >= 0)
      dims.push_back(extent);
    else
      dims.push_back(textOf(decl.dim_texts()->Get(axis)));
  }
  result["shape"] = dims;
  return result;
}

static ordered_json tensor(const format::TensorInfo &info) {
  ordered_json result;
  result["name"] = textOf(info.name());
  uint64_t count = 1, bytes = 0;
  ordered_json shape = ordered_json::array();
  for (size_t axis = 0, rank = sizeOf(info.shape()); axis < rank; ++axis) {
    shape.push_back(info.shape()->Get(axis));
    count *= info.shape()->Get(axis);
  }
  ordered_json parts = list(info.parts(), [&](const format::TensorPart &part) {
    bytes += part.bytes();
    ordered_json line;
    line["role"] = format::EnumNamePartRole(part.role());
    line["bytes"] = part.bytes();
    return line;
  });
  result["shape"] = shape;
  result["bits"] = info.bits();
  result["bytes"] = bytes;
  result["elements"] = count;
  result["bpw"] = count ? 8.0 * static_cast<double>(bytes) / static_cast<double>(count) : 0.0;
  result["group"] = info.group();
  result["scheme"] = textOf(info.scheme());
  result["layout"] = textOf(info.layout());
  result["circuit"] = info.circuit_count();
  result["circuit_share"] =
      count ? static_cast<double>(info.circuit_count()) / static_cast<double>(count) : 0.0;
  result["parts"] = parts;
  return result;
}

static ordered_json executable(const ModuleView &view, const format::Executable &code) {
  ordered_json result;
  result["target"] = textOf(code.target());
  result["driver"] = textOf(code.driver());
  result["format"] = textOf(code.format());
  result["features"] =
      list(code.features(), [](const flatbuffers::String &text) { return text.str(); });
  result["rank"] = code.rank();
  result["bytes"] = code.size();
  ordered_json kernels = ordered_json::array(), absent = ordered_json::array();
  for (uint32_t i = 0; i < sizeOf(code.kernels()); ++i)
    (hasKernel(code, i) ? kernels : absent).push_back(code.kernels()->Get(i)->str());
  result["kernels"] = kernels;
  result["absent_kernels"] = absent;
  result["host_dispatches"] = hostDispatches(view, code);
  return result;
}

static ordered_json sections(const ModuleView &view) {
  auto section = [](const char *name, uint64_t offset, uint64_t size) {
    ordered_json result;
    result["name"] = name;
    result["offset"] = offset;
    result["bytes"] = size;
    return result;
  };
  const ModuleHeader &header = view.header();
  uint64_t constants = 0, executables = 0;
  for (size_t i = 0; i < sizeOf(view.metadata().constants()); ++i)
    constants += view.metadata().constants()->Get(i)->size();
  for (size_t i = 0; i < sizeOf(view.metadata().executables()); ++i)
    executables += view.metadata().executables()->Get(i)->size();
  ordered_json result = ordered_json::array();
  result.push_back(section("header", 0, header.headerSize));
  result.push_back(section("data", header.dataOffset, header.dataSize));
  result.back()["constants_bytes"] = constants;
  result.back()["executables_bytes"] = executables;
  result.push_back(section("metadata", header.metadataOffset, header.metadataSize));
  return result;
}

ordered_json tools::summarize(const ModuleView &view) {
  const format::Module &module = view.metadata();
  ordered_json result;
  result["file"] = view.name();
  result["file_bytes"] = view.header().fileSize;
  result["format_version"] = view.header().version;
  result["producer"] = textOf(module.producer());
  result["model_name"] = textOf(module.model_name());
  result["model_hash"] = textOf(module.model_hash());
  result["metadata"] = ordered_json::object();
  for (size_t i = 0; i < sizeOf(module.metadata()); ++i)
    result["metadata"][textOf(module.metadata()->Get(i)->key())] =
        textOf(module.metadata()->Get(i)->value());
  result["sections"] = sections(view);
  result["inputs"] = list(module.inputs(), declaration);
  result["outputs"] = list(module.outputs(), declaration);
  result["states"] = list(module.states(), [&](const format::State &state) {
    ordered_json line;
    line["name"] = textOf(state.name());
    line["input"] = textOf(module.inputs()->Get(state.input())->name());
    line["output"] = textOf(module.outputs()->Get(state.output())->name());
    line["axis"] = state.axis();
    line["in_place"] = state.in_place();
    return line;
  });
  result["executables"] = list(
      module.executables(), [&](const format::Executable &code) { return executable(view, code); });
  result["tensors"] = list(module.tensors(), tensor);

  uint64_t bytes = 0, elements = 0, circuit = 0;
  for (const ordered_json &line : result["tensors"]) {
    bytes += line["bytes"].get<uint64_t>();
    elements += line["elements"].get<uint64_t>();
    circuit += line["circuit"].get<uint64_t>();
  }
  size_t dispatches = 0, commands = 0;
  for (size_t b = 0; b < sizeOf(module.blocks()); ++b) {
    const format::Block &block = *module.blocks()->Get(b);
    commands += sizeOf(block.commands());
    for (size_t c = 0; c < sizeOf(block.commands_type()); ++c)
      dispatches += block.commands_type()->Get(c) == format::Command_Dispatch;
  }
  ordered_json &totals = result["totals"];
  totals["tensors"] = result["tensors"].size();
  totals["elements"] = elements;
  totals["bytes"] = bytes;
  totals["bpw"] = elements ? 8.0 * static_cast<double>(bytes) / static_cast<double>(elements) : 0.0;
  totals["circuit"] = circuit;
  totals["kernels"] = module.kernel_count();
  totals["dispatches"] = dispatches;
  totals["commands"] = commands;
  totals["slots"] = module.slot_count();
  totals["symbols"] = module.symbol_count();
  return result;
}

static std::string shapeOf(const ordered_json &dims) {
  std::string text = "[";
  for (const ordered_json &dim : dims)
    text += (text.size() > 1 ? ", " : "") +
            (dim.is_string() ? dim.get<std::string>() : std::to_string(dim.get<int64_t>()));
  return text + "]";
}

static std::string str(const ordered_json &value) { return value.get<std::string>(); }
static unsigned long long num(const ordered_json &value) { return value.get<uint64_t>(); }

static void appendTensors(const ordered_json &summary, std::string &text) {
  text += formatText("\ntensors: %zu\n", summary["tensors"].size());
  if (summary["tensors"].empty())
    return;
  text += formatText("  %5s %8s %12s %9s  %s\n", "bits", "bpw", "bytes", "circuit", "name");
  for (const ordered_json &line : summary["tensors"])
    text += formatText("  %5llu %8.3f %12llu %8.3f%%  %s %s %s\n", num(line["bits"]),
                       line["bpw"].get<double>(), num(line["bytes"]),
                       100 * line["circuit_share"].get<double>(), str(line["name"]).c_str(),
                       shapeOf(line["shape"]).c_str(), str(line["scheme"]).c_str());
  text += formatText("  total %8.3f %12llu\n", summary["totals"]["bpw"].get<double>(),
                     num(summary["totals"]["bytes"]));
}

static void appendHostDispatches(const ordered_json &dispatches, std::string &text) {
  if (!dispatches.empty())
    text += formatText("    %zu of the dispatches run on the CPU:\n", dispatches.size());
  auto buffers = [](const ordered_json &names) {
    std::string result;
    for (const ordered_json &name : names)
      result += (result.empty() ? "" : ", ") + str(name);
    return result.empty() ? "nothing" : result;
  };
  for (const ordered_json &line : dispatches)
    text +=
        formatText("      %s, %s node '%s': to the CPU %s; back %s\n", str(line["kernel"]).c_str(),
                   str(line["op"]).c_str(), str(line["node"]).c_str(),
                   buffers(line["to_host"]).c_str(), buffers(line["to_device"]).c_str());
}

std::string tools::summaryText(const ordered_json &summary) {
  std::string text =
      formatText("%s: module format %llu, %llu bytes\n", str(summary["file"]).c_str(),
                 num(summary["format_version"]), num(summary["file_bytes"]));
  text += "producer: " + str(summary["producer"]) + "\nmodel: " + str(summary["model_name"]) + " " +
          str(summary["model_hash"]) + "\n";
  constexpr size_t shown = 80;
  for (const auto &[key, value] : summary["metadata"].items()) {
    std::string whole = str(value);
    text += key + ": " + whole.substr(0, shown) +
            (whole.size() > shown ? "… (" + std::to_string(whole.size()) + " characters)" : "") +
            "\n";
  }
  text += "\nsections\n";
  for (const ordered_json &line : summary["sections"])
    text += formatText("  %-10s offset %12llu  bytes %12llu\n", str(line["name"]).c_str(),
                       num(line["offset"]), num(line["bytes"]));
  for (const char *kind : {"inputs", "outputs"}) {
    text += std::string("\n") + kind + "\n";
    for (const ordered_json &line : summary[kind])
      text += "  " + str(line["name"]) + ": " + str(line["type"]) + shapeOf(line["shape"]) + "\n";
  }
  if (!summary["states"].empty())
    text += "\nstates\n";
  for (const ordered_json &line : summary["states"])
    text += formatText("  %s: %s -> %s, axis %lld%s\n", str(line["name"]).c_str(),
                       str(line["input"]).c_str(), str(line["output"]).c_str(),
                       static_cast<long long>(line["axis"].get<int64_t>()),
                       line["in_place"].get<bool>() ? ", in place" : "");
  text += "\ntargets\n";
  for (const ordered_json &line : summary["executables"]) {
    text += formatText("  %s on %s: %s, %llu bytes, %zu kernels, rank %lld, needs",
                       str(line["target"]).c_str(), str(line["driver"]).c_str(),
                       str(line["format"]).c_str(), num(line["bytes"]), line["kernels"].size(),
                       static_cast<long long>(line["rank"].get<int64_t>()));
    for (const ordered_json &feature : line["features"])
      text += " " + str(feature);
    text += "\n";
    appendHostDispatches(line["host_dispatches"], text);
  }
  appendTensors(summary, text);
  const ordered_json &totals = summary["totals"];
  text += formatText("\nschedule: %llu commands, %llu dispatches of %llu kernels, %llu memory "
                     "slots, %llu symbols\n",
                     num(totals["commands"]), num(totals["dispatches"]), num(totals["kernels"]),
                     num(totals["slots"]), num(totals["symbols"]));
  return text;
}
