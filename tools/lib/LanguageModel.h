//===- LanguageModel.h - Sequences through a causal model -------*- C++ -*-===//
//
// Hides whether a module has a key/value cache. With one, each step runs over the new tokens only;
// without, the whole sequence runs again.
//
// What the inputs mean is told by their names: input_ids (or the only integer matrix that is none
// of the others), attention_mask, position_ids, cache_position, token_type_ids. The logits are the
// output of that name, or the only float output with three axes that is not part of a cache.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_TOOLS_LANGUAGEMODEL_H
#define TACQ_TOOLS_LANGUAGEMODEL_H

#include "Handles.h"
#include "TokenFiles.h"

#include <array>
#include <functional>
#include <memory>
#include <optional>

namespace tacq::tools {

struct LanguageModelOptions {
  std::string device = "cpu";
  /// Entries of the caches; 0 grows as needed.
  int64_t capacity = 0;
  bool profile = false;
  /// Sequences that go through a model with a cache together.
  int64_t batch = 1;
};

class LanguageModel {
public:
  /// TACQ_UNSUPPORTED when an input or the logits cannot be told.
  static Error open(const std::string &path, const LanguageModelOptions &options,
                    std::unique_ptr<LanguageModel> &model);

  const std::string &path() const { return file; }
  const tacq_module_t *module() const { return loaded.module.get(); }
  const tacq_device_t *device() const { return loaded.device.get(); }
  tacq_session_t *session() const { return current.get(); }
  bool hasCache() const { return cached; }
  /// The module has the likeliest next token as a result, and can have it as its next input.
  bool choosesTokens() const { return nextTokenIndex >= 0; }
  /// Number of logits per token; 0 when it is not fixed.
  int64_t vocabulary() const { return vocabularySize; }

  /// Refuses tokens outside of the vocabulary, naming the file and the sequence.
  Error checkTokens(const std::string &file, const TokenSequence &sequence) const;

  /// Forgets the sequence.
  Error reset();
  /// Appends tokens to the sequence and computes their logits; of a batch, as many to each of its
  /// sequences, one sequence after the other.
  Error step(const std::vector<int64_t> &tokens);
  /// Appends the likeliest tokens, one at a time, until there are `count` of them or `accept`,
  /// which sees each, returns false. Begins with the token behind the last step, or with what
  /// follows `first`, if given. A model that chooses itself works on the token behind while the
  /// host looks at one. Afterwards only reset() and run() are possible.
  Error generate(int64_t count, const std::function<bool(int64_t)> &accept,
                 std::optional<int64_t> first = std::nullopt);
  /// Starts over with a whole sequence and the inputs it brings.
  Error run(const TokenSequence &sequence);

  /// Number of tokens whose logits are there: those of the last step.
  size_t rows() const { return rowCount; }
  /// Logits of token `row` of the last step, or of run(); valid until the next call on this object.
  /// A step of a model that chooses tokens has none, which would have to be copied from the device.
  const float *logits(size_t row, size_t sequence = 0);
  size_t width() const { return rowWidth; }

private:
  enum Role { Ids, Mask, Positions, CachePositions, TokenTypes, RoleCount };
  struct Input {
    int64_t index = -1;
    tacq_element_type_t type = TACQ_ELEMENT_NONE;
    /// One for each of the runs that borrow them at the same time.
    std::array<std::vector<char>, 2> data;
  };

  Error bind();
  Error bindNextToken();
  Error setInput(Role role, const std::vector<int64_t> &values);
  Error fetchLogits();
  Error setInputs(const std::vector<int64_t> &tokens, size_t past,
                  const std::map<std::string, std::vector<int64_t>> &given);
  Error generateAhead(int64_t count, const std::function<bool(int64_t)> &accept,
                      std::optional<int64_t> first);
  Error readToken(int64_t &token);
  Error evaluate(const std::vector<int64_t> &tokens, size_t past,
                 const std::map<std::string, std::vector<int64_t>> &given, size_t newRows);

  std::string file;
  Loaded loaded;
  Session current;
  std::array<Input, RoleCount> inputs;
  size_t logitsIndex = 0;
  tacq_element_type_t logitsType = TACQ_ELEMENT_NONE;
  int64_t vocabularySize = 0;
  bool cached = false;
  size_t batch = 1;
  std::vector<int64_t> history; // tokens so far; only the count matters with a cache
  int64_t nextTokenIndex = -1;
  tacq_element_type_t nextTokenType = TACQ_ELEMENT_NONE;
  size_t side = 0; // of the inputs' data
  Output output;   // the logits, once they are asked for
  size_t tokenCount = 0;
  size_t rowCount = 0, rowWidth = 0, firstRow = 0;
  std::vector<float> converted;
};

/// Index of the largest element, the first one of equals.
size_t argmax(const float *values, size_t count);

} // namespace tacq::tools

#endif // TACQ_TOOLS_LANGUAGEMODEL_H
