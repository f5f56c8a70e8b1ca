//===- CommandLineTest.cpp ------------------------------------------------===//

#include "CommandLine.h"

#include <gtest/gtest.h>

using namespace tacq;
using namespace tacq::tools;

TEST(CommandLine, BindingIsSplitAtTheFirstSign) {
  std::string name, file;
  ASSERT_FALSE(splitBinding("--input", "a=@b=@c.npy", name, file));
  EXPECT_EQ(name, "a");
  EXPECT_EQ(file, "b=@c.npy");
  ASSERT_FALSE(splitBinding("--input", "@x.npz", name, file));
  EXPECT_EQ(name, "");
  EXPECT_EQ(file, "x.npz");
}

TEST(CommandLine, BindingWithoutAFileIsRefused) {
  std::string name, file;
  for (const char *text : {"", "x", "x=", "x=@", "@", "x=y.npy"}) {
    Error error = splitBinding("--input", text, name, file);
    EXPECT_EQ(error.code(), TACQ_INVALID_ARGUMENT) << text;
    EXPECT_NE(error.message().find("--input expects NAME=@FILE"), std::string::npos);
  }
}

TEST(CommandLine, Counts) {
  std::vector<int64_t> counts;
  ASSERT_FALSE(parseCounts("--threads", "1,2,16", counts));
  EXPECT_EQ(counts, (std::vector<int64_t>{1, 2, 16}));
  for (const char *text : {"", "0", "-1", "1,", ",1", "1;2", "x", "1,2x", "99999999999999999999"})
    EXPECT_EQ(parseCounts("--threads", text, counts).code(), TACQ_INVALID_ARGUMENT) << text;
}

TEST(CommandLine, WholeNumbers) {
  CLI::Validator positive = wholeNumber(1), any = wholeNumber(0);
  for (std::string text : {"1", "17", "9223372036854775807"})
    EXPECT_EQ(positive(text), "") << text;
  for (std::string text : {"0", "-1", "", "1.5", "x", "2x", "9223372036854775808"})
    EXPECT_NE(positive(text).find("at least 1, got '" + text + "'"), std::string::npos) << text;
  std::string zero = "0";
  EXPECT_EQ(any(zero), "");
}

/// Runs a tool that has one required option --n and fails with `code`.
static int runWith(std::vector<std::string> arguments, Error error) {
  CLI::App app("A tool.", "tool");
  int number = 0;
  app.add_option("--n", number)->required();
  describeTool(app, "  tool --n 1\n");
  std::vector<char *> pointers;
  arguments.insert(arguments.begin(), "tool");
  for (std::string &argument : arguments)
    pointers.push_back(argument.data());
  return runTool(app, static_cast<int>(pointers.size()), pointers.data(), [&] { return error; });
}

TEST(CommandLine, ExitCodes) {
  EXPECT_EQ(runWith({"--n", "1"}, success()), 0);
  EXPECT_EQ(runWith({"--help"}, success()), 0);
  EXPECT_EQ(runWith({"--version"}, success()), 0);
  EXPECT_EQ(runWith({}, success()), 1);
  EXPECT_EQ(runWith({"--n", "x"}, success()), 1);
  EXPECT_EQ(runWith({"--n", "1", "--nosuch"}, success()), 1);
  EXPECT_EQ(runWith({"--n", "1"}, Error(TACQ_INVALID_ARGUMENT, "")), 1);
  EXPECT_EQ(runWith({"--n", "1"}, Error(TACQ_UNSUPPORTED, "")), 2);
  EXPECT_EQ(runWith({"--n", "1"}, Error(TACQ_IO, "")), 3);
  EXPECT_EQ(runWith({"--n", "1"}, Error(TACQ_INVALID_MODULE, "")), 3);
  EXPECT_EQ(runWith({"--n", "1"}, Error(TACQ_INTERNAL, "")), 70);
  EXPECT_EQ(runWith({"--n", "1"}, Error(TACQ_OUT_OF_MEMORY, "")), 70);
}

TEST(CommandLine, ExceptionsOfLibrariesBecomeInternalErrors) {
  CLI::App app("A tool.", "tool");
  char name[] = "tool";
  char *arguments[] = {name};
  EXPECT_EQ(runTool(app, 1, arguments, []() -> Error { throw std::runtime_error("bug"); }), 70);
}
