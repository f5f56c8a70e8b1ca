//===- OutputFileTest.cpp - Files that are written whole or not at all ----===//

#include "tacq/OutputFile.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <unistd.h>

using namespace tacq;
namespace fs = std::filesystem;

namespace {

class OutputFile : public testing::Test {
protected:
  void SetUp() override {
    char name[] = "/tmp/tacq-output-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder = name;
  }
  void TearDown() override { fs::remove_all(folder); }

  void expectRefused(const fs::path &path, OutputKind kind, const char *reason) {
    Error error = checkOutputFile(path, kind);
    EXPECT_EQ(error.code(), TACQ_IO) << path;
    EXPECT_NE(error.message().find(reason), std::string::npos) << error.message();
    EXPECT_NE(error.message().find(path.string()), std::string::npos) << error.message();
  }

  fs::path folder;
};

TEST_F(OutputFile, CheckLeavesNothingBehind) {
  EXPECT_FALSE(checkOutputFile(folder / "new", OutputKind::RegularFile));
  EXPECT_TRUE(fs::is_empty(folder));
  std::ofstream(folder / "old") << "content";
  EXPECT_FALSE(checkOutputFile(folder / "old", OutputKind::Any));
  EXPECT_EQ(fs::file_size(folder / "old"), 7u);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), fs::directory_iterator()), 1);
}

TEST_F(OutputFile, WhatCannotBeWritten) {
  for (OutputKind kind : {OutputKind::RegularFile, OutputKind::Any}) {
    expectRefused(folder, kind, "not a regular file");
    expectRefused(folder / "no" / "such", kind, "No such file or directory");
    expectRefused(folder / "", kind, "not the name of a file");
    expectRefused("", kind, "not the name of a file");
    expectRefused("/proc/no-such", kind, "cannot be written");
    expectRefused(folder / std::string(300, 'n'), kind, "File name too long");
  }
  std::ofstream(folder / "file") << "content";
  expectRefused(folder / "file" / "below", OutputKind::Any, "Not a directory");
}

TEST_F(OutputFile, Devices) {
  expectRefused("/dev/null", OutputKind::RegularFile, "not a regular file");
  EXPECT_FALSE(checkOutputFile("/dev/null", OutputKind::Any));
}

TEST_F(OutputFile, TemporariesAreFilesOfTheirOwn) {
  std::string first, second;
  FILE *a = nullptr, *b = nullptr;
  ASSERT_FALSE(openTemporary(folder / "out", first, a));
  ASSERT_FALSE(openTemporary(folder / "out", second, b));
  EXPECT_NE(first, second);
  fclose(a);
  fclose(b);
}

TEST_F(OutputFile, NamesOfOneFile) {
  std::ofstream(folder / "a") << "content";
  std::ofstream(folder / "b") << "content";
  fs::create_symlink("a", folder / "link");
  EXPECT_TRUE(isSameFile(folder / "a", folder / "link"));
  EXPECT_TRUE(isSameFile(folder / "a", folder / "." / "a"));
  EXPECT_FALSE(isSameFile(folder / "a", folder / "b"));
  EXPECT_FALSE(isSameFile(folder / "c", folder / "c"));
}

} // namespace
