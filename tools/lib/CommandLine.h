//===- CommandLine.h - What all command-line tools share --------*- C++ -*-===//
//
// Flags, help, error messages and exit codes are the same in every tool.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_TOOLS_COMMANDLINE_H
#define TACQ_TOOLS_COMMANDLINE_H

#include "tacq/Error.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <functional>
#include <string>
#include <vector>

namespace tacq::tools {

/// Adds the notes on exit codes, the examples and --version to `app`, which has the tool's flags.
void describeTool(CLI::App &app, const std::string &examples);

/// Parses the arguments, then calls `body`. Errors become one line "NAME: error: MESSAGE" on
/// stderr. Returns the exit code.
int runTool(CLI::App &app, int argc, char **argv, const std::function<Error()> &body);

/// "name=@file" split at the first "=@"; the name is empty for "@file". TACQ_INVALID_ARGUMENT
/// when there is no "@".
Error splitBinding(const std::string &flag, const std::string &text, std::string &name,
                   std::string &file);

/// The check of a flag that takes a whole number of at least `least`.
CLI::Validator wholeNumber(int64_t least);

/// "1,2,8" as positive numbers.
Error parseCounts(const std::string &flag, const std::string &text, std::vector<int64_t> &counts);
/// A number with the suffix K, M or G (powers of ten), or none.
Error parseBytes(const std::string &flag, const std::string &text, uint64_t &bytes);

} // namespace tacq::tools

#endif // TACQ_TOOLS_COMMANDLINE_H
