//===- LanguageModel.h - One sequence through a causal model ----*- C++ -*-===//
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
#include <memory>

namespace tacq::tools {

struct LanguageModelOptions {
  std::string device = "cpu";
  /// Entries of the caches; 0 grows as needed.
  int64_t capacity = 0;
  bool profile = false;
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
  /// Number of logits per token; 0 when it is not fixed.
  int64_t vocabulary() const { return vocabularySize; }

  /// Refuses tokens outside of the vocabulary, naming the file and the sequence.
  Error checkTokens(const std::string &file, const TokenSequence &sequence) const;

  /// Forgets the sequence.
  Error reset();
  /// Appends tokens to the sequence and computes their logits.
  Error step(const std::vector<int64_t> &tokens);
  /// Starts over with a whole sequence and the inputs it brings.
  Error run(const TokenSequence &sequence);

  /// Number of tokens whose logits are there: those of the last step.
  size_t rows() const { return rowCount; }
  /// Logits of token `row` of the last step; valid until the next call on this object.
  const float *logits(size_t row);
  size_t width() const { return rowWidth; }

private:
  enum Role { Ids, Mask, Positions, CachePositions, TokenTypes, RoleCount };
  struct Input {
    int64_t index = -1;
    tacq_element_type_t type = TACQ_ELEMENT_NONE;
    std::vector<char> data;
  };

  Error bind();
  Error setInput(Role role, const std::vector<int64_t> &values);
  Error execute(size_t tokenCount, size_t newRows);
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
  std::vector<int64_t> history; // tokens so far; only the count matters with a cache
  Output output;
  size_t rowCount = 0, rowWidth = 0, firstRow = 0;
  std::vector<float> converted;
};

/// Index of the largest element, the first one of equals.
size_t argmax(const float *values, size_t count);

} // namespace tacq::tools

#endif // TACQ_TOOLS_LANGUAGEMODEL_H
