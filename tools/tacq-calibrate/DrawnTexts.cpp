//===- DrawnTexts.cpp - What a model is asked to continue -----------------===//

#include "DrawnTexts.h"

#include "tacq/Tune/DrawToken.h"

#include <algorithm>

using namespace tacq;
using namespace tacq::tools;

/// The part of a sample without labels that is continued.
static constexpr size_t prefixPart = 5;
/// An answer may become so many times as long as the sample's, and this much longer.
static constexpr size_t longerAnswer = 2, freeTokens = 16;

DrawnText::DrawnText(std::vector<Part> parts, size_t length, std::optional<int64_t> end,
                     bool labels, std::mt19937_64 random)
    : parts(std::move(parts)), fullLength(length), end(end), labels(labels), generator(random) {}

void DrawnText::append(int64_t token) {
  bool drawn = draws();
  text.tokens.push_back(token);
  if (labels)
    text.labels.push_back(drawn ? token : kIgnoredLabel);
  ++place;
  const Part &current = parts[part];
  bool last = place == current.given.size() + current.drawn;
  if (last || (drawn && token == end)) {
    ++part;
    place = 0;
  }
}

namespace {
struct Exchange {
  std::vector<int64_t> question;
  size_t answer;
  /// Of all exchanges up to this one.
  double weights;
};
} // namespace

/// The questions whose answers begin in a sample, and what each answer ends with.
static void addExchanges(const TokenSequence &sample, double weight,
                         std::vector<Exchange> &exchanges, std::vector<int64_t> &ends) {
  auto labelled = [&](size_t i) { return sample.label(i) != kIgnoredLabel; };
  for (size_t first = 0, count = sample.tokens.size(); first < count;) {
    size_t answer = first;
    while (answer < count && !labelled(answer))
      ++answer;
    size_t end = answer;
    while (end < count && labelled(end))
      ++end;
    if (answer > first && end > answer) {
      auto begin = sample.tokens.begin();
      double before = exchanges.empty() ? 0 : exchanges.back().weights;
      exchanges.push_back(
          {{begin + ptrdiff_t(first), begin + ptrdiff_t(answer)}, end - answer, before + weight});
      ends.push_back(sample.tokens[end - 1]);
    }
    first = end;
  }
}

/// What nearly all answers end with; a few are cut off where their sample ends.
static std::optional<int64_t> commonEnd(std::vector<int64_t> ends) {
  if (ends.empty())
    return std::nullopt;
  std::sort(ends.begin(), ends.end());
  int64_t middle = ends[ends.size() / 2];
  if (size_t(std::count(ends.begin(), ends.end(), middle)) * 2 <= ends.size())
    return std::nullopt;
  return middle;
}

static size_t drawBelow(std::mt19937_64 &random, size_t count) {
  return static_cast<size_t>(drawUniform(random) * static_cast<double>(count));
}

static const Exchange &drawExchange(std::mt19937_64 &random,
                                    const std::vector<Exchange> &exchanges) {
  double place = drawUniform(random) * exchanges.back().weights;
  auto found = std::partition_point(exchanges.begin(), exchanges.end(),
                                    [&](const Exchange &each) { return each.weights <= place; });
  return found == exchanges.end() ? exchanges.back() : *found;
}

static DrawnText answersTo(const std::vector<Exchange> &exchanges, size_t length, int64_t end,
                           std::mt19937_64 random) {
  std::vector<DrawnText::Part> parts;
  for (size_t sum = 0; sum < length; sum += parts.back().given.size() + 1) {
    const Exchange &exchange = drawExchange(random, exchanges);
    size_t question = exchange.question.size();
    size_t kept = random() % 2 ? question : 1 + drawBelow(random, question);
    // Steps need something to be predicted in each text.
    if (parts.empty())
      kept = std::clamp<size_t>(kept, 1, length - 1);
    auto begin = exchange.question.begin();
    parts.push_back({{begin, begin + ptrdiff_t(kept)},
                     question - kept + longerAnswer * exchange.answer + freeTokens});
  }
  return {std::move(parts), length, end, /*labels=*/true, random};
}

std::vector<DrawnText> tools::textsToDraw(const std::vector<TokenSequence> &samples,
                                          const std::vector<double> &weights, unsigned perSample,
                                          uint32_t seed) {
  std::vector<Exchange> exchanges;
  std::vector<int64_t> ends;
  for (size_t i = 0; i < samples.size(); ++i)
    addExchanges(samples[i], weights[i], exchanges, ends);
  std::optional<int64_t> end = commonEnd(std::move(ends));
  std::vector<DrawnText> texts;
  for (size_t i = 0; i < samples.size() * perSample; ++i) {
    const std::vector<int64_t> &tokens = samples[i % samples.size()].tokens;
    std::mt19937_64 random(seedOf(seed, i));
    if (end) {
      if (tokens.size() > 1)
        texts.push_back(answersTo(exchanges, tokens.size(), *end, random));
      continue;
    }
    size_t kept = std::max<size_t>(tokens.size() / prefixPart, 1);
    auto begin = tokens.begin() + ptrdiff_t(drawBelow(random, tokens.size() - kept + 1));
    texts.push_back(DrawnText({{{begin, begin + ptrdiff_t(kept)}, tokens.size() - kept}},
                              tokens.size(), std::nullopt, /*labels=*/false, random));
    texts.back().weight = weights[i % samples.size()];
  }
  std::stable_sort(texts.begin(), texts.end(),
                   [](const DrawnText &a, const DrawnText &b) { return a.length() < b.length(); });
  return texts;
}

std::vector<DrawnText> tools::ownTexts(size_t count, size_t length, std::optional<int64_t> begin,
                                       int64_t vocabulary, uint32_t seed) {
  std::vector<DrawnText> texts;
  for (size_t i = 0; i < count; ++i) {
    std::mt19937_64 random(seedOf(seed, i));
    int64_t first =
        begin ? *begin : static_cast<int64_t>(drawBelow(random, static_cast<size_t>(vocabulary)));
    texts.push_back(
        DrawnText({{{first}, length - 1}}, length, std::nullopt, /*labels=*/true, random));
  }
  return texts;
}
