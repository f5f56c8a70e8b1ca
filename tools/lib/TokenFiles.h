//===- TokenFiles.h - Token sequences in .jsonl and .npz files --*- C++ -*-===//
//
// .jsonl: a line {"tokens": [1, 2, …], "labels": [-100, 2, …]} for each sequence; "labels" is
// optional and as long as "tokens". labels[i] is what the model should predict at position i from
// the tokens before i; -100 is not scored. Other members are ignored.
//
// .npz: arrays named as the model's inputs, first axis = sequences; "labels" likewise.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_TOOLS_TOKENFILES_H
#define TACQ_TOOLS_TOKENFILES_H

#include "tacq/Error.h"

#include <map>
#include <string>
#include <vector>

namespace tacq::tools {

inline constexpr int64_t kIgnoredLabel = -100;

struct TokenSequence {
  std::vector<int64_t> tokens;
  /// Empty: the tokens themselves.
  std::vector<int64_t> labels;
  /// Further inputs of the model (attention_mask, position_ids), each as long as `tokens`.
  std::map<std::string, std::vector<int64_t>> inputs;
  /// For messages: "line 3".
  std::string place;

  int64_t label(size_t position) const {
    return labels.empty() ? tokens[position] : labels[position];
  }
};

/// Reads a file of either kind. Messages name the file and the line or array.
Error readTokens(const std::string &path, std::vector<TokenSequence> &sequences);

/// Reads one line of a .jsonl file; messages name the file and `sequence.place`.
Error readTokenLine(const std::string &path, const std::string &line, TokenSequence &sequence);

/// One line {"tokens":[…]} or {"tokens":[…],"labels":[…]} for each sequence.
std::string tokenLines(const std::vector<TokenSequence> &sequences);

} // namespace tacq::tools

#endif // TACQ_TOOLS_TOKENFILES_H
