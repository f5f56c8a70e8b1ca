//===- tacq-compile.cpp - From an ONNX model to a module ------------------===//

#include "CommandLine.h"
#include "QuantizationFlags.h"
#include "tacq/Compile.h"

#include <cstdio>
#include <map>
#include <sstream>
#include <unistd.h>

using namespace tacq;
using namespace tacq::tools;

namespace {
struct Options {
  std::string model, targets = "cpu=host";
  CompileOptions compile;
  QuantizationFlags quantization;
  bool quiet = false;
};
} // namespace

static const std::map<std::string, EmitStage> kStages = {
    {"import", EmitStage::Import},         {"shapes", EmitStage::Shapes},
    {"fused", EmitStage::Fused},           {"quantized", EmitStage::Quantized},
    {"dispatches", EmitStage::Dispatches}, {"schedule", EmitStage::Schedule},
    {"kernels", EmitStage::Kernels},       {"assembly", EmitStage::Assembly},
    {"module", EmitStage::Module}};

static void reportStage(const std::string &stage, unsigned done, unsigned total) {
  bool terminal = isatty(STDERR_FILENO) == 1;
  std::fprintf(stderr, terminal ? "\r[%u/%u] %s\033[K%s" : "[%u/%u] %s%s", done, total,
               stage.c_str(), terminal && done < total ? "" : "\n");
}

static Error run(Options &options) {
  options.compile.targets.clear();
  std::stringstream list(options.targets);
  for (std::string target; std::getline(list, target, ',');)
    options.compile.targets.push_back(target);
  if (options.compile.output.empty()) {
    if (options.compile.emit == EmitStage::Module)
      return makeError(TACQ_INVALID_ARGUMENT, "-o M.tacq is required to write a module");
    options.compile.output = "-";
  }
  if (!options.quiet)
    options.compile.progress = reportStage;
  if (Error error = options.quantization.apply(options.model, options.quiet, options.compile))
    return error;
  return compileModel(options.model, options.compile);
}

int main(int argc, char **argv) {
  CLI::App app("Compiles an ONNX model to a module that tacq-run and the runtime library execute. "
               "Batch, sequence and past may be dynamic: one module serves every size.",
               "tacq-compile");
  Options options;
  app.add_option("model", options.model, "The model; its external data lies in the same folder")
      ->required()
      ->type_name("MODEL.onnx");
  app.add_option("-o,--output", options.compile.output,
                 "The module; with --emit, the text (default: stdout)")
      ->type_name("M.tacq");
  app.add_option(
         "--target", options.targets,
         "Comma-separated list of what to compile for: cpu=host, cpu=x86-64-v3, "
         "cpu=x86-64-v3+avxvnni, cpu=x86-64-v4 (AVX-512 with VNNI and VBMI), cpu=x86-64-v4+amx, "
         "cpu=aarch64 (NEON), cpu=aarch64-v8.2+dotprod, cpu=aarch64-v8.2+dotprod+i8mm, "
         "vulkan=generic, vulkan=lavapipe, vulkan=nvidia-hopper. The runtime takes the best one "
         "that the device can run (default: cpu=host)")
      ->type_name("TARGET,...");
  app.add_option("--emit", options.compile.emit,
                 "Stop after a stage and write its text: import, shapes, fused, quantized, "
                 "dispatches, schedule, kernels or assembly (default: module)")
      ->transform(CLI::CheckedTransformer(kStages, CLI::ignore_case)
                      .description("")) // the list in the help is the one above
      ->type_name("STAGE");
  app.add_option_function<std::string>(
         "--next-token",
         [&](const std::string &choice) {
           if (choice != "auto")
             options.compile.nextToken = choice == "yes";
         },
         "Whether the module has a result next_token, the likeliest token behind the last "
         "position, so that a device need not hand over all logits: yes, no, or auto where a "
         "target is vulkan (default: auto)")
      ->check(CLI::IsMember({"auto", "yes", "no"}).description(""))
      ->type_name("CHOICE");
  app.add_flag("--report", options.compile.reportRecognition,
               "Say on stderr which linear layers, attentions, norms and rotary embeddings were "
               "recognized, and what nearly was one");
  app.add_flag("--verbose", options.compile.timing, "Print the time of each pass to stderr");
  app.add_flag("--quiet", options.quiet, "Print no progress");
  options.quantization.addTo(app);
  describeTool(app, "  tacq-compile model.onnx -o model.tacq\n"
                    "  tacq-compile model.onnx --target cpu=x86-64-v3,cpu=x86-64-v4 -o model.tacq\n"
                    "  tacq-compile model.onnx --emit fused -o model.mlir\n"
                    "  tacq-compile model.onnx --stats task.stats --data task.jsonl --bits 2 -o "
                    "model.tacq\n");
  return runTool(app, argc, argv, [&] { return run(options); });
}
