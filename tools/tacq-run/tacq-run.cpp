//===- tacq-run.cpp - Runs a module ---------------------------------------===//

#include "CommandLine.h"
#include "Generation.h"
#include "SessionStats.h"
#include "TensorRun.h"
#include "tacq/OutputFile.h"

#include <cstdio>

using namespace tacq;
using namespace tacq::tools;

namespace {
struct Options {
  std::string module, device = "cpu", prompts;
  TensorRunOptions tensors;
  GenerationOptions generation;
  bool generate = false, stats = false, listDevices = false, validate = false;
};
} // namespace

static void reportGeneration(const GenerationTimes &times) {
  auto rate = [](int64_t tokens, double seconds) { return seconds > 0 ? tokens / seconds : 0; };
  std::fprintf(stderr, "prompt: %lld tokens, %.1f tokens/s\n",
               static_cast<long long>(times.promptTokens),
               rate(times.promptTokens, times.promptSeconds));
  std::fprintf(stderr, "generation: %lld tokens, %.1f tokens/s\n",
               static_cast<long long>(times.newTokens), rate(times.newTokens, times.newSeconds));
}

static Error report(const Options &options, const tacq_session_t *session) {
  if (options.stats)
    if (Error error = printCounters(session))
      return error;
  return options.tensors.profile ? printProfile(session) : success();
}

static Error runGeneration(const Options &options) {
  if (options.prompts.empty())
    return makeError(TACQ_INVALID_ARGUMENT, "--generate needs --prompts FILE.jsonl");
  if (!options.tensors.inputs.empty() || !options.tensors.references.empty())
    return makeError(TACQ_INVALID_ARGUMENT, "--generate takes neither --input nor --verify");
  if (options.tensors.outputs.size() > 1)
    return makeError(TACQ_INVALID_ARGUMENT, "--generate takes one --output FILE.jsonl");
  const std::vector<std::string> &outputs = options.tensors.outputs;
  for (const std::string &input : {options.module, options.prompts})
    if (!outputs.empty() && isSameFile(outputs.front(), input))
      return makeError(TACQ_INVALID_ARGUMENT, "the output %s would replace an input of this run",
                       input.c_str());
  if (!outputs.empty())
    if (Error error = checkOutputFile(outputs.front(), OutputKind::Any))
      return error;
  std::vector<TokenSequence> prompts;
  if (Error error = readTokens(options.prompts, prompts))
    return error;
  LanguageModelOptions modelOptions;
  modelOptions.device = options.device;
  modelOptions.capacity = options.tensors.capacity;
  modelOptions.profile = options.tensors.profile;
  std::unique_ptr<LanguageModel> model;
  if (Error error = LanguageModel::open(options.module, modelOptions, model))
    return error;
  Progress progress("generating", static_cast<int64_t>(prompts.size()), "prompts");
  std::vector<TokenSequence> results;
  GenerationTimes times;
  if (Error error =
          generate(*model, options.prompts, prompts, options.generation, progress, results, times))
    return error;
  reportGeneration(times);
  std::string text = tokenLines(results);
  if (outputs.empty()) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout); // before the device is closed, which takes a while
  } else if (Error error = writeText(outputs.front(), text)) {
    return error;
  }
  return report(options, model->session());
}

static Error listDevices() {
  Runtime runtime;
  if (Error error = createRuntime(runtime))
    return error;
  size_t count = 0;
  if (Error error = take(tacq_runtime_list_devices(runtime.get(), nullptr, 0, &count)))
    return error;
  std::vector<tacq_device_info_t> infos(count);
  if (count > 0)
    infos[0].struct_size = sizeof(tacq_device_info_t);
  if (Error error =
          take(tacq_runtime_list_devices(runtime.get(), infos.data(), infos.size(), &count)))
    return error;
  for (const tacq_device_info_t &info : infos)
    std::printf("%-12s %s\n", info.name, info.description);
  return success();
}

static Error run(Options options) {
  if (options.stats)
    showNotes();
  if (options.listDevices)
    return listDevices();
  if (options.module.empty())
    return makeError(TACQ_INVALID_ARGUMENT, "the module is missing (see tacq-run --help)");
  if (options.validate) {
    if (options.device.compare(0, 6, "vulkan") != 0)
      return makeError(TACQ_INVALID_ARGUMENT, "--validate is for Vulkan devices: give --device "
                                              "vulkan:0");
    options.device += options.device == "vulkan" ? ":validate" : ",validate";
  }
  if (options.generate)
    return runGeneration(options);
  if (!options.prompts.empty())
    return makeError(TACQ_INVALID_ARGUMENT, "--prompts needs --generate");
  Loaded loaded;
  if (Error error = load(options.module, options.device, loaded))
    return error;
  Session session;
  Error error = runTensors(loaded, options.module, options.tensors, session);
  // What was counted is of use also when a verification fails.
  Error reported = session ? report(options, session.get()) : success();
  return error ? error : reported;
}

int main(int argc, char **argv) {
  CLI::App app("Runs a compiled model: tensors in, tensors out, or text continued.", "tacq-run");
  Options options;
  app.add_option("module", options.module, "The module, as tacq-compile wrote it")
      ->type_name("M.tacq");
  app.add_option("--input", options.tensors.inputs,
                 "An input: NAME=@x.npy or NAME=@x.npz:KEY; @x.npz: each array that is named as "
                 "an input. Without them, attention_mask is all ones, position_ids counts from 0 "
                 "and caches are empty")
      ->type_name("NAME=@FILE")
      ->expected(1)
      ->take_all();
  app.add_option("--output", options.tensors.outputs,
                 "Where an output goes: NAME=@y.npy. With --generate: the file of the generated "
                 "tokens (default: stdout)")
      ->type_name("NAME=@FILE")
      ->expected(1)
      ->take_all();
  app.add_option("--verify", options.tensors.references,
                 "Compare outputs: ref.npz (arrays named as outputs), NAME=@ref.npz:KEY or "
                 "NAME=@ref.npy. A difference above the tolerance is exit status 3")
      ->type_name("REF")
      ->expected(1)
      ->take_all();
  app.add_option("--atol", options.tensors.absolute,
                 "Allowed absolute difference (default: f32 2e-3, f16 2e-2, bf16 0.1, f64 1e-9, "
                 "others 0)");
  app.add_option("--rtol", options.tensors.relative,
                 "Allowed difference relative to the reference, added to --atol (default: f32 "
                 "1e-4, f16 1e-2, bf16 5e-2, f64 1e-9, others 0)");
  app.add_flag("--generate", options.generate,
               "Continue the prompts greedily, with the key/value cache where the model has one");
  app.add_option("--prompts", options.prompts, "Prompts, a line {\"tokens\":[...]} each")
      ->type_name("P.jsonl");
  app.add_option("--max-new", options.generation.maxNew,
                 "Most new tokens for a prompt (default: 100)")
      ->check(wholeNumber(1));
  app.add_option("--stop", options.generation.stops,
                 "A token that ends a text; it is kept. May be repeated")
      ->expected(1)
      ->take_all();
  app.add_option("--device", options.device,
                 "cpu, cpu:threads=N, vulkan:N, null (default: cpu with all cores)")
      ->type_name("DEVICE");
  app.add_flag("--list-devices", options.listDevices, "Print the devices of this machine");
  app.add_flag("--validate", options.validate,
               "On a Vulkan device: with the validation layer of Khronos, whose messages go to "
               "stdout");
  app.add_option("--capacity", options.tensors.capacity,
                 "Entries of the caches (default: they grow)")
      ->check(wholeNumber(1));
  app.add_option("--repeat", options.tensors.repetitions, "Run so many times (default: 1)")
      ->check(wholeNumber(1));
  app.add_flag("--stats", options.stats,
               "Print counters and memory to stderr, and which of the module's code is run");
  app.add_flag("--profile", options.tensors.profile, "Print the time of each kernel to stderr");
  describeTool(app, "  tacq-run m.tacq --input input_ids=@ids.npy --output logits=@logits.npy\n"
                    "  tacq-run m.tacq --input @reference.npz --verify reference.npz\n"
                    "  tacq-run m.tacq --generate --prompts p.jsonl --max-new 100 --stop 10 "
                    "--output o.jsonl\n");
  return runTool(app, argc, argv, [&] { return run(options); });
}
