//===- CommandLine.cpp - What all command-line tools share ----------------===//

#include "CommandLine.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <exception>

using namespace tacq;
using namespace tacq::tools;

int tools::exitCodeOf(tacq_code_t code) {
  switch (code) {
  case TACQ_OK:
    return kExitOk;
  case TACQ_INVALID_ARGUMENT:
    return kExitUsage;
  case TACQ_UNSUPPORTED:
    return kExitUnsupported;
  case TACQ_INVALID_INPUT:
  case TACQ_INVALID_MODULE:
  case TACQ_IO:
  case TACQ_CAPACITY:
    return kExitInvalidInput;
  case TACQ_OUT_OF_MEMORY:
  case TACQ_DEVICE_FAILURE:
  case TACQ_INTERNAL:
    break;
  }
  return kExitInternal;
}

void tools::describeTool(CLI::App &app, const std::string &examples) {
  app.get_formatter()->column_width(34);
  app.set_version_flag("--version", app.get_name() + " " + tacq_version_string(),
                       "Print the version and exit");
  app.footer("Examples:\n" + examples +
             "\nResults go to stdout, progress and messages to stderr.\n"
             "Exit status: 0 ok, 1 wrong usage, 2 not supported, 3 invalid input, 70 internal "
             "error.\n");
}

int tools::runTool(CLI::App &app, int argc, char **argv, const std::function<Error()> &body) {
  // CLI11 reports through exceptions; they end here.
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
      app.exit(error); // --help or --version
      return kExitOk;
    }
    std::fprintf(stderr, "%s: error: %s (see %s --help)\n", app.get_name().c_str(), error.what(),
                 app.get_name().c_str());
    return kExitUsage;
  }
  Error error;
  try {
    error = body();
  } catch (const std::bad_alloc &) {
    error = makeError(TACQ_OUT_OF_MEMORY, "there is not enough memory");
  } catch (const std::exception &exception) {
    error = makeError(TACQ_INTERNAL, "%s", exception.what());
  }
  if (!error) {
    if (std::fflush(stdout) == 0 && !std::ferror(stdout))
      return kExitOk;
    error = makeError(TACQ_IO, "the results cannot be written to the standard output");
  }
  std::fprintf(stderr, "%s: error: %s\n", app.get_name().c_str(), error.message().c_str());
  return exitCodeOf(error.code());
}

Error tools::splitBinding(const std::string &flag, const std::string &text, std::string &name,
                          std::string &file) {
  size_t at = text.compare(0, 1, "@") == 0 ? 0 : text.find("=@");
  if (at == std::string::npos || at + (text[at] == '@' ? 1 : 2) == text.size())
    return makeError(TACQ_INVALID_ARGUMENT, "%s expects NAME=@FILE, got '%s'", flag.c_str(),
                     text.c_str());
  name = text.substr(0, at);
  file = text.substr(text[at] == '@' ? 1 : at + 2);
  return success();
}

Error tools::parseCounts(const std::string &flag, const std::string &text,
                         std::vector<int64_t> &counts) {
  counts.clear();
  const char *position = text.c_str();
  for (;;) {
    char *end = nullptr;
    errno = 0;
    long long value = std::strtoll(position, &end, 10);
    if (end == position || errno != 0 || value <= 0 || (*end != ',' && *end != '\0'))
      return makeError(TACQ_INVALID_ARGUMENT,
                       "%s expects positive numbers separated by commas, got '%s'", flag.c_str(),
                       text.c_str());
    counts.push_back(value);
    if (*end == '\0')
      return success();
    position = end + 1;
  }
}
