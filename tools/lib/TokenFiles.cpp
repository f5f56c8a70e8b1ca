//===- TokenFiles.cpp - Token sequences in .jsonl and .npz files ----------===//

#include "TokenFiles.h"

#include "Elements.h"
#include "TensorFiles.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

using namespace tacq;
using namespace tacq::tools;
using nlohmann::json;

/// An array of integers that fit into int64.
static bool readIntegers(const json &value, std::vector<int64_t> &numbers) {
  if (!value.is_array())
    return false;
  numbers.reserve(value.size());
  for (const json &element : value) {
    if (!element.is_number_integer() ||
        (element.is_number_unsigned() && element.get<uint64_t>() > INT64_MAX))
      return false;
    numbers.push_back(element.get<int64_t>());
  }
  return true;
}

Error tools::readTokenLine(const std::string &path, const std::string &line,
                           TokenSequence &sequence) {
  json value = json::parse(line, nullptr, /*allow_exceptions=*/false);
  const char *file = path.c_str();
  const char *place = sequence.place.c_str();
  if (!value.is_object())
    return makeError(TACQ_INVALID_INPUT, "%s: %s is not a JSON object", file, place);
  auto tokens = value.find("tokens");
  if (tokens == value.end() || !readIntegers(*tokens, sequence.tokens))
    return makeError(TACQ_INVALID_INPUT, "%s: %s has no \"tokens\" with a list of integers", file,
                     place);
  if (sequence.tokens.empty())
    return makeError(TACQ_INVALID_INPUT, "%s: %s has no tokens in its list", file, place);
  auto labels = value.find("labels");
  if (labels == value.end())
    return success();
  if (!readIntegers(*labels, sequence.labels))
    return makeError(TACQ_INVALID_INPUT, "%s: the \"labels\" of %s are not a list of integers",
                     file, place);
  if (sequence.labels.size() != sequence.tokens.size())
    return makeError(TACQ_INVALID_INPUT, "%s: %s has %zu tokens but %zu labels", file, place,
                     sequence.tokens.size(), sequence.labels.size());
  return success();
}

static Error readLines(const std::string &path, std::vector<TokenSequence> &sequences) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream)
    return makeError(TACQ_IO, "%s cannot be opened: %s", path.c_str(), std::strerror(errno));
  std::string line;
  for (size_t number = 1; std::getline(stream, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos)
      continue;
    TokenSequence sequence;
    sequence.place = "line " + std::to_string(number);
    if (Error error = readTokenLine(path, line, sequence))
      return error;
    sequences.push_back(std::move(sequence));
  }
  if (stream.bad())
    return makeError(TACQ_IO, "%s cannot be read", path.c_str());
  return success();
}

static Error readArrays(const std::string &path, std::vector<TokenSequence> &sequences) {
  Archive archive;
  if (Error error = readArchive(path, [](const std::string &) { return true; }, archive))
    return error;
  auto ids = archive.find("input_ids");
  if (ids == archive.end())
    return makeError(TACQ_INVALID_INPUT, "%s has no array input_ids", path.c_str());
  for (const auto &[name, array] : archive) {
    if (!isInteger(array.type()) && array.type() != TACQ_BOOL)
      return makeError(TACQ_INVALID_INPUT, "%s: array %s has elements of type %s, not integers",
                       path.c_str(), name.c_str(), tacq_element_name(array.type()));
    if (array.dims().size() != 2 || array.dims() != ids->second.dims())
      return makeError(TACQ_INVALID_INPUT,
                       "%s: array %s must have two axes, sequences and tokens, and the extents of "
                       "input_ids",
                       path.c_str(), name.c_str());
  }
  size_t length = ids->second.dims()[1];
  if (length == 0)
    return makeError(TACQ_INVALID_INPUT, "%s: the sequences of input_ids are empty", path.c_str());
  for (int64_t row = 0; row < ids->second.dims()[0]; ++row) {
    TokenSequence sequence;
    sequence.place = "sequence " + std::to_string(row);
    for (const auto &[name, array] : archive) {
      std::vector<int64_t> &values = name == "input_ids" ? sequence.tokens
                                     : name == "labels"  ? sequence.labels
                                                         : sequence.inputs[name];
      values.resize(length);
      for (size_t i = 0; i < length; ++i)
        values[i] =
            static_cast<int64_t>(elementAsDouble(array.type(), array.data(), row * length + i));
    }
    sequences.push_back(std::move(sequence));
  }
  return success();
}

Error tools::readTokens(const std::string &path, std::vector<TokenSequence> &sequences) {
  sequences.clear();
  if (Error error =
          endsWith(path, ".npz") ? readArrays(path, sequences) : readLines(path, sequences))
    return error;
  if (sequences.empty())
    return makeError(TACQ_INVALID_INPUT, "%s holds no sequence", path.c_str());
  return success();
}

static void appendList(std::string &text, const char *name, const std::vector<int64_t> &numbers) {
  text += '"';
  text += name;
  text += "\":[";
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (i)
      text += ',';
    text += std::to_string(numbers[i]);
  }
  text += ']';
}

std::string tools::tokenLines(const std::vector<TokenSequence> &sequences) {
  std::string text;
  for (const TokenSequence &sequence : sequences) {
    text += '{';
    appendList(text, "tokens", sequence.tokens);
    if (!sequence.labels.empty()) {
      text += ',';
      appendList(text, "labels", sequence.labels);
    }
    text += "}\n";
  }
  return text;
}
