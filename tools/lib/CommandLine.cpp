//===- CommandLine.cpp - What all command-line tools share ----------------===//

#include "CommandLine.h"

#include "tacq/ExitCode.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <sstream>

using namespace tacq;
using namespace tacq::tools;

namespace {

/// CLI11's help with descriptions that are broken into lines.
class WrappingFormatter : public CLI::Formatter {
public:
  std::string make_option(const CLI::Option *option, bool positional) const override {
    std::string text = "  " + make_option_name(option, positional) + make_option_opts(option);
    if (text.size() > kIndent - 2)
      text += "\n" + std::string(kIndent, ' ');
    else
      text.resize(kIndent, ' ');
    size_t column = kIndent;
    std::istringstream words(make_option_desc(option));
    for (std::string word; words >> word;) {
      if (column > kIndent && column + 1 + word.size() > kWidth) {
        text += "\n" + std::string(kIndent, ' ');
        column = kIndent;
      } else if (column > kIndent) {
        text += ' ';
        ++column;
      }
      text += word;
      column += word.size();
    }
    return text + "\n";
  }

private:
  static constexpr size_t kIndent = 26, kWidth = 96;
};

} // namespace

void tools::describeTool(CLI::App &app, const std::string &examples) {
  app.formatter(std::make_shared<WrappingFormatter>());
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
      return static_cast<int>(ExitCode::Success);
    }
    std::fprintf(stderr, "%s: error: %s (see %s --help)\n", app.get_name().c_str(), error.what(),
                 app.get_name().c_str());
    return static_cast<int>(ExitCode::Usage);
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
      return static_cast<int>(ExitCode::Success);
    error = makeError(TACQ_IO, "the results cannot be written to the standard output");
  }
  std::fprintf(stderr, "%s: error: %s\n", app.get_name().c_str(), error.message().c_str());
  return exitStatus(error);
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

CLI::Validator tools::wholeNumber(int64_t least) {
  return CLI::Validator(
      [least](const std::string &text) -> std::string {
        char *end = nullptr;
        errno = 0;
        long long value = std::strtoll(text.c_str(), &end, 10);
        if (end != text.c_str() && *end == '\0' && errno == 0 && value >= least)
          return "";
        return formatText("expects a whole number of at least %lld, got '%s'",
                          static_cast<long long>(least), text.c_str());
      },
      /*validator_desc=*/"");
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

Error tools::parseBytes(const std::string &flag, const std::string &text, uint64_t &bytes) {
  char *rest = nullptr;
  double number = std::strtod(text.c_str(), &rest), unit = 0;
  for (auto [suffix, factor] :
       {std::pair<const char *, double>{"", 1}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}})
    if (std::string(rest) == suffix)
      unit = factor;
  if (rest == text.c_str() || unit == 0 || !(number >= 0 && number <= 1e15))
    return makeError(TACQ_INVALID_ARGUMENT, "%s is a number as in 160M, not '%s'", flag.c_str(),
                     text.c_str());
  bytes = static_cast<uint64_t>(number * unit);
  return success();
}
