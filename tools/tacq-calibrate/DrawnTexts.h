//===- DrawnTexts.h - What a model is asked to continue ---------*- C++ -*-===//
//
// A sample without labels is continued from a piece of it, which begins at a place that is drawn.
// Where labels mark answers to questions, and nearly all answers end with the same token, a text is
// a sequence of the sample's questions instead: half of them whole, half cut off at a place that is
// drawn. The model finishes each, and answers it, up to that token; only what it wrote has labels.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_CALIBRATE_DRAWNTEXTS_H
#define TACQ_CALIBRATE_DRAWNTEXTS_H

#include "TokenFiles.h"

#include <optional>
#include <random>

namespace tacq::tools {

/// A text in parts, each of which begins with tokens that are given and goes on with drawn ones.
class DrawnText {
public:
  struct Part {
    std::vector<int64_t> given;
    /// So many are drawn at most, fewer if the end comes.
    size_t drawn;
  };

  /// Parts beyond `length` tokens are not used. `end`, if any, ends what is drawn in a part; with
  /// `labels` only drawn tokens are to be predicted.
  DrawnText(std::vector<Part> parts, size_t length, std::optional<int64_t> end, bool labels,
            std::mt19937_64 random);

  /// What is given before the first token that is drawn.
  const std::vector<int64_t> &beginning() const { return parts.front().given; }
  size_t length() const { return fullLength; }
  bool done() const { return text.tokens.size() >= fullLength || part == parts.size(); }
  /// Of a text that is not done: whether the next token is drawn.
  bool draws() const { return place >= parts[part].given.size(); }
  /// The next token, if it is given.
  int64_t given() const { return parts[part].given[place]; }
  void append(int64_t token);

  /// What it counts beside others.
  double weight = 1;

  std::mt19937_64 &random() { return generator; }
  TokenSequence take() { return std::move(text); }

private:
  std::vector<Part> parts;
  size_t fullLength, part = 0, place = 0;
  std::optional<int64_t> end;
  bool labels;
  std::mt19937_64 generator;
  TokenSequence text;
};

/// `perSample` texts for each sample, as long as it and sorted by length; none for a single token
/// with labels. Each comes from a generator of its own, which `seed` and its number begin. A piece
/// counts as much as its sample; questions of a sample come as often as it counts.
std::vector<DrawnText> textsToDraw(const std::vector<TokenSequence> &samples,
                                   const std::vector<double> &weights, unsigned perSample,
                                   uint32_t seed);

/// `count` texts of `length` tokens that the model writes by itself, behind `begin` or behind a
/// token below `vocabulary` that is drawn for each; all that it wrote has labels.
std::vector<DrawnText> ownTexts(size_t count, size_t length, std::optional<int64_t> begin,
                                int64_t vocabulary, uint32_t seed);

} // namespace tacq::tools

#endif // TACQ_CALIBRATE_DRAWNTEXTS_H
