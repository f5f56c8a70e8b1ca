//===- tacq-calibrate.cpp - What a sample of a task says of a model -------===//

#include "CalibrationRun.h"
#include "CommandLine.h"
#include "Comparison.h"
#include "DrawnSamples.h"
#include "Inspection.h"
#include "TensorFiles.h"
#include "tacq/Calibrate/Statistics.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

using namespace tacq;
using namespace tacq::tools;

namespace {
/// A file to merge, "STATS" or "STATS=WEIGHT".
struct Part {
  std::string file;
  double weight = 1;
  Statistics statistics;
};
} // namespace

static Error readPart(const std::string &argument, Part &part) {
  part.file = argument;
  size_t equal = argument.rfind('=');
  if (equal != std::string::npos && access(argument.c_str(), F_OK) != 0) {
    std::string text = argument.substr(equal + 1);
    char *end = nullptr;
    part.weight = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != 0 || !(part.weight > 0) || !std::isfinite(part.weight))
      return makeError(TACQ_INVALID_ARGUMENT,
                       "'%s' is neither a file nor FILE=WEIGHT with a positive weight",
                       argument.c_str());
    part.file = argument.substr(0, equal);
  }
  return Statistics::read(part.file, part.statistics);
}

/// Weights are of a task, however many samples it has; those of all samples are 1 on average.
static void weigh(std::vector<Part> &parts) {
  double samples = 0, weights = 0;
  for (const Part &part : parts) {
    samples += static_cast<double>(part.statistics.sampleCount());
    weights += part.weight;
  }
  for (Part &part : parts)
    part.statistics.scale(part.weight / weights * samples /
                          static_cast<double>(part.statistics.sampleCount()));
}

static Error merge(const std::vector<std::string> &files, const std::string &output) {
  std::vector<Part> parts(files.size());
  bool weighed = false;
  for (size_t i = 0; i < files.size(); ++i) {
    if (Error error = readPart(files[i], parts[i]))
      return error;
    weighed |= parts[i].file != files[i];
  }
  if (weighed)
    weigh(parts);
  Statistics &sum = parts[0].statistics;
  for (size_t i = 1; i < parts.size(); ++i)
    if (Error error = sum.merge(parts[i].statistics,
                                i == 1 ? parts[0].file : "what was merged so far", parts[i].file))
      return error;
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
                 "Statistics, of one model, with equal settings, without a sample in common. With "
                 "=WEIGHT behind a name, files are tasks that count by their weights (default: 1), "
                 "however many samples each has; without, every sample counts the same")
      ->required()
      ->type_name("STATS[=WEIGHT]...");
  app.add_option("-o,--output", output, "The sum")->required()->type_name("STATS");
  describeTool(app, "  tacq-calibrate merge part0.stats part1.stats -o all.stats\n"
                    "  tacq-calibrate merge math.stats=2 sql.stats=1 -o both.stats\n");
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

static int drawMain(int argc, char **argv) {
  CLI::App app(
      "Writes texts of the model's own, each token drawn from its predictions, as a sample "
      "of what it can do beyond the task: calibrate and tune on both, and it is forgotten "
      "less.",
      "tacq-calibrate draw");
  DrawOptions options;
  OwnTexts texts;
  std::string output;
  app.add_option("model", options.model, "A language model with a cache")
      ->required()
      ->type_name("MODEL.onnx");
  app.add_option("-o,--output", output,
                 "The texts, a line {\"tokens\":[...], \"labels\":[...]} each")
      ->required()
      ->type_name("D.jsonl");
  app.add_option("--count", texts.count, "How many (default: 128)")
      ->check(CLI::Range(1, 1000000).description(""))
      ->type_name("N");
  app.add_option("--length", texts.length, "Tokens of each (default: 512)")
      ->check(CLI::Range(2, 1000000).description(""))
      ->type_name("N");
  app.add_option("--begin", texts.begin,
                 "The token that each begins with, such as the one that separates texts (default: "
                 "one from the vocabulary, drawn for each)")
      ->check(CLI::NonNegativeNumber.description(""))
      ->type_name("TOKEN");
  app.add_option("--seed", options.seed, "Another number, other texts (default: 0)")
      ->type_name("N");
  app.add_option("--threads", options.threads, "Threads (default: one for each core)")
      ->check(CLI::Range(1, 1024).description(""))
      ->type_name("N");
  app.add_flag("--quiet", options.quiet, "No progress");
  describeTool(app, "  tacq-calibrate draw model.onnx --count 64 -o own.jsonl\n"
                    "  tacq-calibrate draw model.onnx --begin 0 -o own.jsonl\n");
  return runTool(app, argc, argv, [&]() -> Error {
    if (Error error = checkOutput(output))
      return error;
    std::vector<TokenSequence> drawn;
    if (Error error = drawOwnTexts(options, texts, drawn))
      return error;
    return writeText(output, tokenLines(drawn));
  });
}

static int calibrateMain(int argc, char **argv) {
  CLI::App app(
      "Runs a model and its derivative on a small sample of a task and writes what that "
      "says of each weight: the sum of gradient magnitudes and the Hessian of its input. "
      "Other commands: tacq-calibrate merge, tacq-calibrate inspect, tacq-calibrate draw (see "
      "their --help).",
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
  if (argc > 1 && std::strcmp(argv[1], "draw") == 0)
    return drawMain(argc - 1, argv + 1);
  return calibrateMain(argc, argv);
}
