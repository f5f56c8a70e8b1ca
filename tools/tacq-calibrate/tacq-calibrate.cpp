//===- tacq-calibrate.cpp - What a sample of a task says of a model -------===//

#include "CalibrationRun.h"
#include "CommandLine.h"
#include "Comparison.h"
#include "Inspection.h"
#include "tacq/Calibrate/Statistics.h"

#include <cstdio>
#include <cstring>

using namespace tacq;
using namespace tacq::tools;

static Error merge(const std::vector<std::string> &files, const std::string &output) {
  Statistics sum;
  if (Error error = Statistics::read(files.front(), sum))
    return error;
  for (size_t i = 1; i < files.size(); ++i) {
    Statistics more;
    if (Error error = Statistics::read(files[i], more))
      return error;
    if (Error error = sum.merge(more, i == 1 ? files[0] : "what was merged so far", files[i]))
      return error;
  }
  if (Error error = sum.write(output))
    return error;
  std::fprintf(stderr, "%s: %llu samples\n", output.c_str(),
               static_cast<unsigned long long>(sum.sampleCount()));
  return success();
}

static int mergeMain(int argc, char **argv) {
  CLI::App app("Adds statistics of different samples of the same model. The order does not matter.",
               "tacq-calibrate merge");
  std::vector<std::string> files;
  std::string output;
  app.add_option("files", files,
                 "Statistics, of one model, with equal settings, without a sample "
                 "in common")
      ->required()
      ->type_name("STATS...");
  app.add_option("-o,--output", output, "The sum")->required()->type_name("STATS");
  describeTool(app, "  tacq-calibrate merge part0.stats part1.stats -o all.stats\n");
  return runTool(app, argc, argv, [&] { return merge(files, output); });
}

static int inspectMain(int argc, char **argv) {
  CLI::App app("Prints what statistics say of each tensor, in the order of the graph, and how sure "
               "the choice of a circuit is. With a second file, compares the samples of both: "
               "whether their circuits are the same, and whether the task has drifted.",
               "tacq-calibrate inspect");
  std::string file, other;
  StabilityOptions options;
  bool json = false;
  app.add_option("file", file,
                 "Statistics, as tacq-calibrate wrote them; with a second file also a module, for "
                 "the sample that it was made for")
      ->required()
      ->type_name("STATS");
  app.add_option("other", other, "Statistics of another sample, or a module")->type_name("STATS");
  app.add_option("--circuit", options.part, "The circuit's part of the weights (default: 0.0035)")
      ->check(CLI::Range(1e-6, 1.0));
  app.add_option("--bits", options.bits,
                 "Quantization that the circuit is chosen against: 2, 3, 4 or 8 (default: 2)")
      ->check(CLI::IsMember({2, 3, 4, 8}));
  app.add_flag("--json", json, "Print JSON; with the samples and their losses");
  describeTool(app, "  tacq-calibrate inspect model.stats --json\n"
                    "  tacq-calibrate inspect task.stats other-task.stats\n"
                    "  tacq-calibrate inspect model.tacq new-sample.stats\n");
  return runTool(app, argc, argv, [&]() -> Error {
    if (other.empty())
      return inspect(file, options, json);
    KnownSample first, second;
    if (Error error = KnownSample::read(file, first))
      return error;
    if (Error error = KnownSample::read(other, second))
      return error;
    return compareSamples(first, second, options, json);
  });
}

static int calibrateMain(int argc, char **argv) {
  CLI::App app("Runs a model and its derivative on a small sample of a task and writes what that "
               "says of each weight: the sum of gradient magnitudes and the Hessian of its input. "
               "Other commands: tacq-calibrate merge, tacq-calibrate inspect (see their --help).",
               "tacq-calibrate");
  CalibrationOptions options;
  app.add_option("model", options.model, "The model; its external data lies in the same folder")
      ->required()
      ->type_name("MODEL.onnx");
  app.add_option("--data", options.data,
                 "Samples: .jsonl with a line {\"tokens\":[...], \"labels\":[...]} each, or .npz "
                 "with arrays named as the model's inputs, first axis = samples. Labels are "
                 "optional; -100 is not scored")
      ->required()
      ->type_name("D.jsonl|D.npz");
  app.add_option("-o,--output", options.output, "The statistics")->required()->type_name("STATS");
  app.add_option("--loss", options.loss,
                 "cross-entropy: of each next token, or of the labels where the data has them; "
                 "mse: to the array target of the data (default: cross-entropy)")
      ->check(CLI::IsMember({"cross-entropy", "mse"}).description(""))
      ->type_name("LOSS");
  app.add_option("--loss-output", options.lossOutput,
                 "The output that the loss is of (default: logits)")
      ->type_name("NAME");
  app.add_flag("--all-tokens", options.allTokens,
               "Predict every token, also where the data has labels");
  app.add_option("--shard", options.shard,
                 "Every N-th sample only, from the i-th on; merge adds the shards")
      ->type_name("i/N");
  app.add_flag("--resume", options.resume,
               "Go on where an interrupted run stopped: it left STATS.partial");
  app.add_flag("--hessians-only", options.hessiansOnly, "No gradients, and so no loss");
  app.add_flag("--head", options.head,
               "Also the projection into the vocabulary, which is no part of circuits");
  app.add_option("--threads", options.threads, "Threads (default: one for each core)")
      ->check(CLI::Range(1, 1024).description(""))
      ->type_name("N");
  app.add_flag("--times", options.times, "Say at the end where the time went, by operator");
  describeTool(app, "  tacq-calibrate model.onnx --data sample.jsonl -o model.stats\n"
                    "  tacq-calibrate model.onnx --data sample.jsonl -o model.stats --resume\n"
                    "  tacq-calibrate model.onnx --data sample.jsonl --shard 0/2 -o part0.stats\n"
                    "  tacq-calibrate merge part0.stats part1.stats -o model.stats\n"
                    "  tacq-calibrate inspect model.stats\n");
  return runTool(app, argc, argv, [&] { return calibrate(options); });
}

int main(int argc, char **argv) {
  if (argc > 1 && std::strcmp(argv[1], "merge") == 0)
    return mergeMain(argc - 1, argv + 1);
  if (argc > 1 && std::strcmp(argv[1], "inspect") == 0)
    return inspectMain(argc - 1, argv + 1);
  return calibrateMain(argc, argv);
}
