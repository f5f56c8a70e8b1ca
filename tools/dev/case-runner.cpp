//===- case-runner.cpp - Compiles, runs and compares many models ----------===//
//
// A tool of the test suite. Each case of the list runs in a process of its own, forked after LLVM
// is loaded, so that a crash costs one case and none costs the start of a compiler.
//
// A line of the list: {"name", "model", "rtol", "atol", "sets": [{"inputs": [TENSOR],
// "outputs": [TENSOR]}]} with TENSOR {"name", "type", "dims", "offset", "bytes"}; type "none" is a
// value that is no tensor. A line of the results: {"name", "status", "message", "seconds"}, status
// being PASS, WRONG, UNSUPPORTED, ERROR (the compiler or runtime refused for another reason), CRASH
// or TIMEOUT.
//
//===----------------------------------------------------------------------===//

#include "CommandLine.h"
#include "Handles.h"
#include "Progress.h"
#include "TensorFiles.h"
#include "Verification.h"
#include "tacq/Compile.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace tacq;
using namespace tacq::tools;
using nlohmann::json;

namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string list, data, output, target = "cpu=host", device = "cpu:threads=1";
  int64_t jobs = 2, timeout = 60;
};

/// What the processes of all cases share.
struct Context {
  const Options &options;
  const char *data;
  std::string scratch; // folder
};

struct Verdict {
  std::string status, message;
};

Verdict refused(const Error &error) {
  return {error.code() == TACQ_UNSUPPORTED ? "UNSUPPORTED" : "ERROR", error.message()};
}

tacq_element_type_t elementType(const std::string &name) {
  for (int type = TACQ_BOOL; type <= TACQ_F64; ++type)
    if (name == tacq_element_name(static_cast<tacq_element_type_t>(type)))
      return static_cast<tacq_element_type_t>(type);
  return TACQ_ELEMENT_NONE;
}

/// One case, in its own process.
class Case {
public:
  Case(const Context &context, const json &line) : context(context), line(line) {}
  Verdict run();

private:
  Verdict runSet(const json &set);
  Verdict compareOutputs(const json &set, tacq_session_t *session);

  const Context &context;
  const json &line;
  Loaded loaded;
};

Verdict Case::compareOutputs(const json &set, tacq_session_t *session) {
  for (const json &expected : set["outputs"]) {
    std::string name = expected["name"];
    tacq_element_type_t type = elementType(expected["type"]);
    int64_t index = tacq_module_find_output(loaded.module.get(), name.c_str());
    if (index < 0)
      return {"WRONG", "the module has no output " + name};
    Output output;
    if (Error error = fetch(session, index, output))
      return refused(error);
    const DLTensor &tensor = output->dl_tensor;
    std::vector<int64_t> dims(tensor.shape, tensor.shape + tensor.ndim);
    if (dims != expected["dims"].get<std::vector<int64_t>>())
      return {"WRONG", "output " + name + " has the shape " + json(dims).dump() + " instead of " +
                           expected["dims"].dump()};
    tacq_element_type_t actual = tacq_element_from_dlpack(tensor.dtype);
    if (actual != type)
      return {"WRONG", "output " + name + " is " + tacq_element_name(actual) + " instead of " +
                           tacq_element_name(type)};
    Difference difference =
        compare(type, dataOf(tensor), type, context.data + expected["offset"].get<size_t>(),
                elementCount(tensor), {line["atol"], line["rtol"]});
    if (difference.failures)
      return {"WRONG",
              formatText("output %s: %zu of %lld elements differ, first at %zu: %.9g "
                         "instead of %.9g; at most %.3g",
                         name.c_str(), difference.failures,
                         static_cast<long long>(elementCount(tensor)), difference.firstFailure,
                         difference.value, difference.reference, difference.maxAbsolute)};
  }
  return {"PASS", ""};
}

Verdict Case::runSet(const json &set) {
  tacq_session_t *created = nullptr;
  if (Error error =
          take(tacq_session_create(loaded.module.get(), loaded.device.get(), nullptr, &created)))
    return refused(error);
  Session session(created);
  for (const json &tensor : set["inputs"]) {
    std::string name = tensor["name"];
    tacq_element_type_t type = elementType(tensor["type"]);
    int64_t index = tacq_module_find_input(loaded.module.get(), name.c_str());
    // An input that the model does not read may be missing, and so may what is no tensor.
    if (index < 0)
      continue;
    auto dims = tensor["dims"].get<std::vector<int64_t>>();
    if (Error error = take(tacq_session_set_input_data(
            created, index, type, dims.data(), dims.size(),
            context.data + tensor["offset"].get<size_t>(), tensor["bytes"].get<size_t>())))
      return refused(error);
  }
  if (Error error = take(tacq_session_run(created)))
    return refused(error);
  return compareOutputs(set, created);
}

Verdict Case::run() {
  std::string path = context.scratch + "/" + line["name"].get<std::string>() + ".tacq";
  CompileOptions options;
  options.targets = {context.options.target};
  options.output = path;
  if (Error error = compileModel(line["model"].get<std::string>(), options))
    return refused(error);
  Error error = load(path, context.options.device, loaded);
  unlink(path.c_str());
  if (error)
    return refused(error);
  for (const json &set : line["sets"]) {
    Verdict verdict = runSet(set);
    if (verdict.status != "PASS")
      return verdict;
  }
  return {"PASS", ""};
}

/// A running child.
struct Child {
  size_t index;
  int pipe;
  Clock::time_point start;
};

[[noreturn]] void runChild(const Context &context, const json &line, int pipe) {
  // What the compiler prints is not part of a verdict.
  int null = open("/dev/null", O_WRONLY);
  dup2(null, STDOUT_FILENO);
  dup2(null, STDERR_FILENO);
  rlimit noCore = {0, 0};
  setrlimit(RLIMIT_CORE, &noCore);
  alarm(static_cast<unsigned>(context.options.timeout));
  Verdict verdict = Case(context, line).run();
  std::string text =
      json{{"status", verdict.status}, {"message", verdict.message.substr(0, 3000)}}.dump(
          -1, ' ', false, json::error_handler_t::replace);
  ssize_t written = write(pipe, text.data(), text.size());
  _exit(written == static_cast<ssize_t>(text.size()) ? 0 : 1);
}

std::string readAll(int descriptor) {
  std::string text;
  char chunk[4096];
  for (ssize_t count; (count = read(descriptor, chunk, sizeof(chunk))) > 0;)
    text.append(chunk, count);
  return text;
}

json resultOf(const json &line, const Child &child, int status) {
  json result = json::parse(readAll(child.pipe), nullptr, false);
  if (!result.is_object()) {
    bool late = WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM;
    std::string message = WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "exit without result";
    result = {{"status", late ? "TIMEOUT" : "CRASH"}, {"message", message}};
  }
  result["name"] = line["name"];
  result["seconds"] = std::chrono::duration<double>(Clock::now() - child.start).count();
  return result;
}

Error runAll(const Context &context, const std::vector<json> &cases, std::vector<json> &results) {
  results.resize(cases.size());
  std::map<pid_t, Child> children;
  Progress progress("cases", static_cast<int64_t>(cases.size()), "cases");
  size_t next = 0;
  while (next < cases.size() || !children.empty()) {
    if (next < cases.size() && static_cast<int64_t>(children.size()) < context.options.jobs) {
      int ends[2];
      if (pipe2(ends, O_CLOEXEC) != 0)
        return makeError(TACQ_INTERNAL, "pipe: %s", std::strerror(errno));
      pid_t pid = fork();
      if (pid < 0)
        return makeError(TACQ_INTERNAL, "fork: %s", std::strerror(errno));
      if (pid == 0)
        runChild(context, cases[next], ends[1]);
      close(ends[1]);
      children[pid] = {next++, ends[0], Clock::now()};
      continue;
    }
    int status = 0;
    pid_t pid = waitpid(-1, &status, 0);
    auto found = children.find(pid);
    if (found == children.end())
      continue;
    const Child &child = found->second;
    results[child.index] = resultOf(cases[child.index], child, status);
    close(child.pipe);
    children.erase(found);
    progress.advance();
  }
  progress.finish();
  return success();
}

Error run(const Options &options) {
  std::vector<json> cases;
  std::ifstream stream(options.list);
  for (std::string line; std::getline(stream, line);) {
    cases.push_back(json::parse(line, nullptr, false));
    if (!cases.back().is_object())
      return makeError(TACQ_INVALID_INPUT, "%s: line %zu is not a JSON object",
                       options.list.c_str(), cases.size());
  }
  if (cases.empty())
    return makeError(TACQ_INVALID_INPUT, "%s holds no case", options.list.c_str());
  int file = open(options.data.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat status = {};
  if (file < 0 || fstat(file, &status) != 0)
    return makeError(TACQ_IO, "%s cannot be opened: %s", options.data.c_str(),
                     std::strerror(errno));
  void *data = mmap(nullptr, std::max<size_t>(status.st_size, 1), PROT_READ, MAP_PRIVATE, file, 0);
  if (data == MAP_FAILED)
    return makeError(TACQ_IO, "%s cannot be mapped: %s", options.data.c_str(),
                     std::strerror(errno));
  std::string scratch = options.output + ".modules";
  mkdir(scratch.c_str(), 0777);
  Context context{options, static_cast<const char *>(data), scratch};
  std::vector<json> results;
  if (Error error = runAll(context, cases, results))
    return error;
  rmdir(scratch.c_str());
  std::map<std::string, size_t> counts;
  std::string text;
  for (const json &result : results) {
    ++counts[result["status"]];
    text += result.dump() + "\n";
  }
  for (const auto &[name, count] : counts)
    std::printf("%s %zu\n", name.c_str(), count);
  return writeText(options.output, text);
}

} // namespace

int main(int argc, char **argv) {
  CLI::App app("Compiles, runs and compares the models of a list, each in its own process.",
               "tacq-case-runner");
  Options options;
  app.add_option("list", options.list, "The list, see the head of its source")->required();
  app.add_option("--data", options.data, "The tensors of the list")->required();
  app.add_option("--output", options.output, "Where the results go")->required();
  app.add_option("--jobs", options.jobs, "Cases at once (default: 2)")->check(wholeNumber(1));
  app.add_option("--timeout", options.timeout, "Seconds for a case (default: 60)")
      ->check(wholeNumber(1));
  app.add_option("--target", options.target, "What to compile for (default: cpu=host)");
  app.add_option("--device", options.device, "Where to run (default: cpu:threads=1)");
  describeTool(app, "  tacq-case-runner cases.jsonl --data cases.bin --output results.jsonl\n");
  return runTool(app, argc, argv, [&] { return run(options); });
}
