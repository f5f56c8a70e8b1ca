//===- tacq-dump.cpp - Shows what is in a module --------------------------===//

#include "CommandLine.h"
#include "Disassembly.h"
#include "ModuleSummary.h"
#ifdef TACQ_HAS_COMPILER
#include "DecodedWeights.h"
#endif

#include <cstdio>
#include <nlohmann/json.hpp>

using namespace tacq;
using namespace tacq::tools;

namespace {
struct Options {
  std::string module, target, kernel, decodeFolder;
  bool json = false, disassemble = false, schedule = false;
};
} // namespace

static Error run(const Options &options) {
  std::unique_ptr<ModuleView> view;
  if (Error error = ModuleView::open(options.module, {}, view))
    return error;
#ifdef TACQ_HAS_COMPILER
  if (!options.decodeFolder.empty())
    return writeDecodedWeights(*view, options.decodeFolder);
#endif
  if (options.disassemble)
    return disassemble(*view, options.target, options.kernel);
  std::string text;
  if (options.schedule)
    text = scheduleText(*view);
  else if (options.json)
    text = summarize(*view).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  else
    text = summaryText(summarize(*view));
  std::fwrite(text.data(), 1, text.size(), stdout);
  return success();
}

int main(int argc, char **argv) {
  CLI::App app("Shows what is in a module: sections, inputs and outputs, targets, and for each "
               "tensor its bits and bytes. The module is verified first.",
               "tacq-dump");
  Options options;
  app.add_option("module", options.module, "The module, as tacq-compile wrote it")
      ->required()
      ->type_name("M.tacq");
  CLI::Option *json = app.add_flag("--json", options.json, "Print the summary as JSON");
  CLI::Option *schedule =
      app.add_flag("--schedule", options.schedule, "Print the schedule instead, a command a line");
  CLI::Option *code = app.add_flag("--disassemble", options.disassemble,
                                   "Print the machine code instead, by llvm-objdump");
  app.add_option("--target", options.target, "Of this target only")->needs(code);
  app.add_option("--kernel", options.kernel, "Of this kernel only")->needs(code);
#ifdef TACQ_HAS_COMPILER
  app.add_option("--decode", options.decodeFolder,
                 "Write the mixed-precision weights, decoded, as .npy files to this folder instead")
      ->type_name("FOLDER")
      ->excludes(json)
      ->excludes(schedule)
      ->excludes(code);
#endif
  json->excludes(schedule)->excludes(code);
  schedule->excludes(code);
  describeTool(app, "  tacq-dump m.tacq\n"
                    "  tacq-dump m.tacq --json\n"
                    "  tacq-dump m.tacq --disassemble --target x86-64-v4\n");
  return runTool(app, argc, argv, [&] { return run(options); });
}
