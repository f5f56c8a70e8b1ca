//===- DrawnTextsTest.cpp - What a model is asked to continue -------------===//

#include "DrawnTexts.h"

#include <algorithm>
#include <gtest/gtest.h>

using namespace tacq;
using namespace tacq::tools;

static constexpr int64_t stop = 2;

static TokenSequence sequence(std::vector<int64_t> tokens, std::vector<int64_t> labels = {}) {
  TokenSequence result;
  result.tokens = std::move(tokens);
  result.labels = std::move(labels);
  return result;
}

/// Two exchanges, and one whose answer is cut off: questions begin with 10, 20, 30.
static TokenSequence exchanges() {
  TokenSequence result;
  for (int64_t first : {10, 20, 30}) {
    for (int64_t i = 0; i < 6; ++i) {
      result.tokens.push_back(first + i);
      result.labels.push_back(kIgnoredLabel);
    }
    for (int64_t token : first == 30 ? std::vector<int64_t>{7} : std::vector<int64_t>{7, 8, stop}) {
      result.tokens.push_back(token);
      result.labels.push_back(token);
    }
  }
  return result;
}

/// The model says `answer` over and over.
static TokenSequence finish(DrawnText &text, const std::vector<int64_t> &answer) {
  for (size_t i = 0; !text.done();) {
    bool draws = text.draws();
    text.append(draws ? answer[i % answer.size()] : text.given());
    i = draws ? i + 1 : 0;
  }
  return text.take();
}

/// Of samples that all count the same.
static std::vector<DrawnText> drawAlike(const std::vector<TokenSequence> &samples,
                                        unsigned perSample, uint32_t seed) {
  return textsToDraw(samples, std::vector<double>(samples.size(), 1), perSample, seed);
}

TEST(DrawnTexts, PiecesOfSamplesWithoutLabels) {
  std::vector<int64_t> tokens(20);
  for (size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = int64_t(100 + i);
  std::vector<DrawnText> texts = drawAlike({sequence(tokens), sequence({1})}, 3, 5);
  ASSERT_EQ(texts.size(), 6u);
  EXPECT_EQ(texts[0].length(), 1u);
  std::vector<int64_t> begins;
  for (size_t i = 3; i < 6; ++i) {
    ASSERT_EQ(texts[i].beginning().size(), 4u);
    begins.push_back(texts[i].beginning()[0]);
    TokenSequence text = finish(texts[i], {9});
    EXPECT_EQ(text.tokens.size(), 20u);
    EXPECT_TRUE(text.labels.empty());
    EXPECT_EQ(std::count(text.tokens.begin(), text.tokens.end(), 9), 16);
  }
  EXPECT_FALSE(begins[0] == begins[1] && begins[1] == begins[2]);
}

/// Each part is the beginning of a question, the rest and the answer are the model's, and only they
/// have labels.
TEST(DrawnTexts, QuestionsOfSamplesWithLabels) {
  std::vector<DrawnText> texts = drawAlike({exchanges()}, 40, 1);
  ASSERT_EQ(texts.size(), 40u);
  size_t whole = 0, parts = 0;
  for (DrawnText &each : texts) {
    TokenSequence text = finish(each, {50, 51, stop});
    ASSERT_EQ(text.tokens.size(), exchanges().tokens.size());
    ASSERT_EQ(text.labels.size(), text.tokens.size());
    for (size_t i = 0; i < text.tokens.size();) {
      size_t first = i;
      for (; i < text.tokens.size() && text.tokens[i] < 50; ++i) {
        EXPECT_EQ(text.tokens[i] % 10, int64_t(i - first));
        EXPECT_EQ(text.tokens[i] / 10, text.tokens[first] / 10);
        EXPECT_EQ(text.labels[i], kIgnoredLabel);
      }
      EXPECT_GT(i, first);
      if (i == text.tokens.size())
        break;
      ++parts;
      whole += i - first == 6;
      for (int64_t token : {50, 51, int(stop)}) {
        if (i == text.tokens.size())
          break;
        EXPECT_EQ(text.tokens[i], token);
        EXPECT_EQ(text.labels[i], token);
        ++i;
      }
    }
  }
  EXPECT_GT(whole * 3, parts);
  EXPECT_LT(whole * 4, parts * 3);
}

/// An answer that never ends is cut off.
TEST(DrawnTexts, AnswersWithoutAnEnd) {
  TokenSequence sample = exchanges();
  for (int64_t i = 0; i < 100; ++i) {
    sample.tokens.insert(sample.tokens.begin(), 10);
    sample.labels.insert(sample.labels.begin(), kIgnoredLabel);
  }
  std::vector<DrawnText> texts = drawAlike({sample}, 8, 1);
  bool later = false;
  for (DrawnText &each : texts) {
    std::vector<int64_t> tokens = finish(each, {50}).tokens;
    auto drawn = std::find(tokens.begin(), tokens.end(), 50);
    later |= std::find_if(drawn, tokens.end(), [](int64_t token) { return token != 50; }) !=
             tokens.end();
  }
  EXPECT_TRUE(later);
}

/// Whatever the lengths, there is something to be predicted.
TEST(DrawnTexts, QuestionsThatAreLongerThanTexts) {
  std::vector<DrawnText> texts = drawAlike(
      {exchanges(), sequence({5}, {5}), sequence({4, stop}, {kIgnoredLabel, stop})}, 20, 1);
  EXPECT_EQ(texts.size(), 40u);
  for (DrawnText &each : texts) {
    TokenSequence text = finish(each, {50, stop});
    EXPECT_TRUE(std::any_of(text.labels.begin(), text.labels.end(),
                            [](int64_t label) { return label != kIgnoredLabel; }));
  }
}

/// Without a token that ends answers, labels say nothing of where to stop.
TEST(DrawnTexts, AnswersThatEndDifferently) {
  constexpr int64_t none = kIgnoredLabel;
  std::vector<DrawnText> texts =
      drawAlike({sequence({1, 2, 3, 4, 5, 6}, {none, 2, none, none, 5, none})}, 1, 1);
  EXPECT_TRUE(finish(texts[0], {9}).labels.empty());
}

TEST(DrawnTexts, PiecesCountAsTheirSamples) {
  std::vector<DrawnText> texts = textsToDraw(
      {sequence({7, 7, 7, 7}), sequence({8, 8}), sequence({9, 9, 9})}, {3, 0.5, 1}, 2, 1);
  ASSERT_EQ(texts.size(), 6u);
  for (const DrawnText &each : texts) {
    int64_t token = each.beginning()[0];
    EXPECT_EQ(each.weight, token == 7 ? 3 : token == 8 ? 0.5 : 1);
  }
}

/// A text may have questions of several samples, so weights say how often these come.
TEST(DrawnTexts, QuestionsComeAsTheirSamplesCount) {
  constexpr int64_t none = kIgnoredLabel;
  auto question = [](int64_t token) {
    std::vector<int64_t> tokens = {token, token, 6, stop}, labels = {none, none, 6, stop};
    return sequence(std::move(tokens), std::move(labels));
  };
  std::vector<DrawnText> texts = textsToDraw({question(10), question(20)}, {1, 9}, 1000, 1);
  ASSERT_EQ(texts.size(), 2000u);
  auto first = std::count_if(texts.begin(), texts.end(),
                             [](const DrawnText &each) { return each.beginning()[0] == 10; });
  EXPECT_NEAR(double(first), 200, 50);
  for (const DrawnText &each : texts)
    EXPECT_EQ(each.weight, 1);
}

TEST(DrawnTexts, TextsOfTheModelsOwn) {
  std::vector<DrawnText> texts = ownTexts(40, 5, std::nullopt, /*vocabulary=*/8, 1);
  ASSERT_EQ(texts.size(), 40u);
  std::vector<int> begins(8);
  for (DrawnText &each : texts) {
    TokenSequence text = finish(each, {9});
    ASSERT_EQ(text.tokens.size(), 5u);
    EXPECT_EQ(text.labels, (std::vector<int64_t>{kIgnoredLabel, 9, 9, 9, 9}));
    ASSERT_LT(text.tokens[0], 8);
    ++begins[size_t(text.tokens[0])];
    EXPECT_EQ(std::count(text.tokens.begin(), text.tokens.end(), 9), 4);
  }
  EXPECT_TRUE(std::all_of(begins.begin(), begins.end(), [](int count) { return count < 20; }));
  EXPECT_GT(std::count_if(begins.begin(), begins.end(), [](int count) { return count > 0; }), 4);
  std::vector<DrawnText> same = ownTexts(3, 5, 7, /*vocabulary=*/0, 1);
  for (DrawnText &each : same)
    EXPECT_EQ(each.beginning(), std::vector<int64_t>{7});
}
