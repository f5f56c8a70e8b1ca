//===- TokenFilesTest.cpp -------------------------------------------------===//

#include "TokenFiles.h"

#include "TensorFiles.h"

#include <cstdio>
#include <gtest/gtest.h>
#include <unistd.h>

using namespace tacq;
using namespace tacq::tools;

namespace {
class TokenFiles : public testing::Test {
protected:
  void SetUp() override {
    char name[] = "/tmp/tacq-tokens-XXXXXX";
    close(mkstemp(name));
    base = name;
  }
  void TearDown() override {
    std::remove(base.c_str());
    std::remove((base + ".npz").c_str());
  }
  Error read(const std::string &text) {
    EXPECT_FALSE(writeText(base, text));
    return readTokens(base, sequences);
  }

  std::string base;
  std::vector<TokenSequence> sequences;
};
} // namespace

TEST_F(TokenFiles, Lines) {
  ASSERT_FALSE(read("{\"tokens\":[1,2,3]}\n\n{\"tokens\":[4],\"labels\":[-100],\"id\":7}\r\n"));
  ASSERT_EQ(sequences.size(), 2u);
  EXPECT_EQ(sequences[0].tokens, (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(sequences[0].label(2), 3);
  EXPECT_EQ(sequences[1].label(0), kIgnoredLabel);
  EXPECT_EQ(sequences[1].place, "line 3");
}

TEST_F(TokenFiles, WrongLinesAreNamed) {
  const std::pair<const char *, const char *> wrong[] = {
      {"{\"tokens\":[1]}\n{\"tokens\":[", "line 2 is not a JSON object"},
      {"[1,2]", "line 1 is not a JSON object"},
      {"{\"text\":\"a\"}", "has no \"tokens\" with a list of integers"},
      {"{\"tokens\":[1,2.5]}", "has no \"tokens\" with a list of integers"},
      {"{\"tokens\":[1,\"2\"]}", "has no \"tokens\" with a list of integers"},
      {"{\"tokens\":[18446744073709551615]}", "has no \"tokens\" with a list of integers"},
      {"{\"tokens\":[]}", "has no tokens in its list"},
      {"{\"tokens\":[1,2],\"labels\":[1]}", "has 2 tokens but 1 labels"},
      {"{\"tokens\":[1],\"labels\":\"x\"}", "are not a list of integers"},
      {"", "holds no sequence"},
      {"\n\n", "holds no sequence"}};
  for (const auto &[text, message] : wrong) {
    Error error = read(text);
    EXPECT_EQ(error.code(), TACQ_INVALID_INPUT) << text;
    EXPECT_NE(error.message().find(message), std::string::npos) << error.message();
    EXPECT_NE(error.message().find(base), std::string::npos) << error.message();
  }
  EXPECT_EQ(readTokens(base + ".nosuch", sequences).code(), TACQ_IO);
}

TEST_F(TokenFiles, Archive) {
  std::unique_ptr<NpzWriter> writer;
  ASSERT_FALSE(NpzWriter::create(base + ".npz", writer));
  int64_t ids[] = {1, 2, 3, 4, 5, 6};
  int32_t mask[] = {0, 1, 1, 1, 1, 1};
  int64_t labels[] = {-100, -100, 3, 4, 5, 6};
  ASSERT_FALSE(writer->add("input_ids", TACQ_I64, {2, 3}, ids));
  ASSERT_FALSE(writer->add("attention_mask", TACQ_I32, {2, 3}, mask));
  ASSERT_FALSE(writer->add("labels", TACQ_I64, {2, 3}, labels));
  ASSERT_FALSE(writer->finish());
  ASSERT_FALSE(readTokens(base + ".npz", sequences));
  ASSERT_EQ(sequences.size(), 2u);
  EXPECT_EQ(sequences[1].tokens, (std::vector<int64_t>{4, 5, 6}));
  EXPECT_EQ(sequences[0].inputs["attention_mask"], (std::vector<int64_t>{0, 1, 1}));
  EXPECT_EQ(sequences[0].label(1), kIgnoredLabel);
  EXPECT_EQ(sequences[0].label(2), 3);
}

TEST_F(TokenFiles, WrongArchivesAreRefused) {
  float reals[] = {1, 2};
  int64_t ids[] = {1, 2};
  auto check = [&](tacq_element_type_t type, std::vector<int64_t> dims, const void *data,
                   const char *name, const char *message) {
    std::unique_ptr<NpzWriter> writer;
    ASSERT_FALSE(NpzWriter::create(base + ".npz", writer));
    ASSERT_FALSE(writer->add(name, type, dims, data));
    ASSERT_FALSE(writer->finish());
    Error error = readTokens(base + ".npz", sequences);
    EXPECT_EQ(error.code(), TACQ_INVALID_INPUT);
    EXPECT_NE(error.message().find(message), std::string::npos) << error.message();
  };
  check(TACQ_I64, {1, 2}, ids, "tokens", "has no array input_ids");
  check(TACQ_F32, {1, 2}, reals, "input_ids", "not integers");
  check(TACQ_I64, {2}, ids, "input_ids", "must have two axes");
  check(TACQ_I64, {2, 0}, ids, "input_ids", "are empty");
}

TEST_F(TokenFiles, LinesThatAreWritten) {
  auto sequence = [](std::vector<int64_t> tokens, std::vector<int64_t> labels) {
    TokenSequence result;
    result.tokens = std::move(tokens);
    result.labels = std::move(labels);
    return result;
  };
  EXPECT_EQ(tokenLines({sequence({1, 2}, {}), sequence({}, {})}),
            "{\"tokens\":[1,2]}\n{\"tokens\":[]}\n");
  ASSERT_FALSE(read(tokenLines({sequence({7, 8}, {-100, 8})})));
  EXPECT_EQ(sequences[0].tokens, (std::vector<int64_t>{7, 8}));
  EXPECT_EQ(sequences[0].labels, (std::vector<int64_t>{-100, 8}));
}
