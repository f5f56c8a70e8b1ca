//===- tacq-dump.cpp - Shows what is in a module --------------------------===//

#include "CommandLine.h"
#include "Disassembly.h"
#include "ModuleSummary.h"
#ifdef TACQ_HAS_COMPILER
#include "DecodedWeights.h"
#include "Report.h"
#include "tacq/OutputFile.h"
#endif

#include <cstdio>
#include <nlohmann/json.hpp>

using namespace tacq;
using namespace tacq::tools;

namespace {
struct Options {
  std::string module, target, kernel, decodeFolder;
  bool json = false, disassemble = false, schedule = false;
#ifdef TACQ_HAS_COMPILER
  ReportOptions report;
#endif
};
} // namespace

static Error run(const Options &options) {
#ifdef TACQ_HAS_COMPILER
  if (!options.report.output.empty())
    if (Error error = checkOutputFile(options.report.output, OutputKind::Any))
      return error;
#endif
  std::unique_ptr<ModuleView> view;
  if (Error error = ModuleView::open(options.module, {}, view))
    return error;
#ifdef TACQ_HAS_COMPILER
  if (!options.decodeFolder.empty())
    return writeDecodedWeights(*view, options.decodeFolder);
  if (!options.report.output.empty())
    return writeReport(*view, options.report);
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
  CLI::Option *decode =
      app.add_option(
             "--decode", options.decodeFolder,
             "Write the mixed-precision weights, decoded, as .npy files to this folder instead")
          ->type_name("FOLDER")
          ->excludes(json)
          ->excludes(schedule)
          ->excludes(code);
  CLI::Option *report =
      app.add_option("--report", options.report.output,
                     "Write a page for a browser instead: where in the network the task lives, and "
                     "what each tensor takes")
          ->type_name("OUT.html")
          ->excludes(json)
          ->excludes(schedule)
          ->excludes(code)
          ->excludes(decode);
  app.add_option("--plan", options.report.plan,
                 "The plan that the module was compiled by: predicted losses, and the candidates "
                 "that it was chosen from, for the report")
      ->type_name("PLAN.json")
      ->needs(report);
  app.add_option("--stats", options.report.statistics,
                 "Statistics of a task, by tacq-calibrate: saliency, and how sure the circuit is, "
                 "for the report; may be repeated")
      ->type_name("S.stats")
      ->allow_extra_args(false)
      ->needs(report);
#endif
  json->excludes(schedule)->excludes(code);
  schedule->excludes(code);
  describeTool(app, "  tacq-dump m.tacq\n"
                    "  tacq-dump m.tacq --json\n"
                    "  tacq-dump m.tacq --disassemble --target x86-64-v4\n"
                    "  tacq-dump m.tacq --report m.html --plan plan.json --stats task.stats\n");
  return runTool(app, argc, argv, [&] { return run(options); });
}
