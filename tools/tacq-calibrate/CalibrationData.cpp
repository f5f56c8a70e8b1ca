//===- CalibrationData.cpp - Samples for a model to be calibrated on ------===//

#include "CalibrationData.h"

#include "Elements.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/xxhash.h"

#include <algorithm>
#include <numeric>

using namespace tacq;
using namespace tacq::tools;

/// Inputs of language models that follow from the tokens.
static bool isDerived(const std::string &name) {
  static const char *const names[] = {"attention_mask", "position_ids", "cache_position",
                                      "token_type_ids"};
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

static bool isReference(const std::string &name) { return name == "labels" || name == "target"; }

static Error invalid(const std::string &message) { return Error(TACQ_INVALID_INPUT, message); }

CalibrationData::~CalibrationData() = default;

//===----------------------------------------------------------------------===//
// The file
//===----------------------------------------------------------------------===//

Error CalibrationData::open(const std::string &path, std::unique_ptr<CalibrationData> &data) {
  std::unique_ptr<CalibrationData> opened(new CalibrationData());
  opened->path = path;
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer)
    return Error(TACQ_IO, path + " cannot be read: " + buffer.getError().message());
  opened->content = std::move(*buffer);
  llvm::StringRef bytes = opened->content->getBuffer();
  llvm::XXH128_hash_t hash = llvm::xxh3_128bits(llvm::arrayRefFromStringRef(bytes));
  opened->contentHash = llvm::utohexstr(hash.high64, /*LowerCase=*/true, 16) +
                        llvm::utohexstr(hash.low64, /*LowerCase=*/true, 16);
  opened->isArchive = endsWith(path, ".npz");
  if (!opened->isArchive && !endsWith(path, ".jsonl"))
    return invalid(path + " is neither .npz nor .jsonl");
  if (Error error = opened->isArchive ? opened->openArrays() : opened->openLines())
    return error;
  if (opened->count == 0)
    return invalid(path + " holds no sample");
  data = std::move(opened);
  return success();
}

Error CalibrationData::ofLines(const std::string &name, const std::string &text,
                               std::unique_ptr<CalibrationData> &data) {
  data.reset(new CalibrationData());
  data->path = name;
  data->content = llvm::MemoryBuffer::getMemBufferCopy(text, name);
  return data->openLines();
}

Error CalibrationData::openLines() {
  llvm::StringRef bytes = content->getBuffer();
  size_t number = 0;
  for (size_t begin = 0; begin < bytes.size();) {
    size_t end = std::min(bytes.find('\n', begin), bytes.size());
    ++number;
    if (!bytes.slice(begin, end).trim().empty())
      lines.push_back({begin, number});
    begin = end + 1;
  }
  count = lines.size();
  for (size_t sample = 0; sample < count && !labelled; ++sample) {
    TokenSequence sequence;
    if (Error error = readSequence(sample, sequence))
      return error;
    labelled = !sequence.labels.empty();
  }
  return success();
}

Error CalibrationData::openArrays() {
  if (Error error = readArchive(path, [](const std::string &) { return true; }, arrays))
    return error;
  content.reset();
  if (arrays.empty())
    return invalid(path + " holds no array");
  const std::string &first = arrays.begin()->first;
  for (const auto &[name, array] : arrays) {
    if (array.dims().empty())
      return invalid(path + ": array " + name + " is one number; its first axis must be samples");
    int64_t samples = array.dims()[0], others = arrays.begin()->second.dims()[0];
    if (samples != others)
      return invalid(path + ": array " + name + " has " + std::to_string(samples) +
                     " samples, but " + first + " has " + std::to_string(others));
    count = samples;
  }
  labelled = arrays.count("labels") > 0;
  return success();
}

std::string CalibrationData::place(size_t sample) const {
  return path + (isArchive ? ": sample " + std::to_string(sample)
                           : ": line " + std::to_string(lines[sample].second));
}

Error CalibrationData::readSequence(size_t sample, TokenSequence &sequence) const {
  if (!isArchive) {
    auto [begin, number] = lines[sample];
    llvm::StringRef bytes = content->getBuffer();
    sequence.place = "line " + std::to_string(number);
    return readTokenLine(path, bytes.slice(begin, bytes.find('\n', begin)).str(), sequence);
  }
  sequence.place = "sample " + std::to_string(sample);
  auto numbers = [&](const std::string &name, std::vector<int64_t> &values) {
    auto found = arrays.find(name);
    if (found == arrays.end())
      return;
    const NpyArray &array = found->second;
    values.resize(array.elementCount() / array.dims()[0]);
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<int64_t>(
          elementAsDouble(array.type(), array.data(), sample * values.size() + i));
  };
  numbers(tokensInput, sequence.tokens);
  numbers("labels", sequence.labels);
  return success();
}

//===----------------------------------------------------------------------===//
// What the model takes
//===----------------------------------------------------------------------===//

Error CalibrationData::bind(const std::vector<TensorDeclaration> &inputs, int64_t classes,
                            bool allTokens) {
  declared = inputs;
  classCount = classes;
  useLabels = labelled && !allTokens;
  std::vector<const TensorDeclaration *> matrices;
  for (const TensorDeclaration &input : inputs) {
    if (input.name == "input_ids")
      tokensInput = input.name;
    else if (isInteger(input.type) && input.dims.size() == 2 && !isDerived(input.name) &&
             !isReference(input.name))
      matrices.push_back(&input);
  }
  if (tokensInput.empty() && matrices.size() == 1)
    tokensInput = matrices.front()->name;
  if (!isArchive && tokensInput.empty())
    return invalid(path + " holds tokens, but none of the model's inputs is called input_ids or is "
                          "the only integer matrix: give the inputs as arrays of an .npz file");

  for (const TensorDeclaration &input : inputs) {
    auto array = arrays.find(input.name);
    if (array != arrays.end()) {
      if (Error error = checkArray(input, array->second))
        return error;
    } else if (input.name == "target") {
      return invalid(path + " has no array target, which the loss compares the output with");
    } else if (input.name == "labels" && !arrays.count(tokensInput) && isArchive) {
      return invalid(path + " has neither an array labels nor tokens to predict");
    } else if (input.name != "labels" && !isDerived(input.name) &&
               (isArchive || input.name != tokensInput)) {
      return invalid(path + " has nothing for the input " + input.name + " of the model" +
                     (isArchive ? "" : ": give the inputs as arrays of an .npz file"));
    } else if (isDerived(input.name) &&
               (tokensInput.empty() || (isArchive && !arrays.count(tokensInput)))) {
      return invalid(path + " has no array " + input.name);
    }
  }
  for (const auto &[name, array] : arrays) {
    auto known = [&, &name = name](const TensorDeclaration &input) { return input.name == name; };
    if (name != "labels" && std::none_of(inputs.begin(), inputs.end(), known))
      return invalid(path + ": array " + name + " is no input of the model");
  }
  for (size_t sample = 0; sample < count; ++sample)
    if (Error error = checkSample(sample))
      return error;
  if (useLabels && predicts() && !hasPrediction)
    return invalid(path + " has no label other than -100 (the first one of a sample predicts "
                          "nothing): it says nothing of the model");
  return success();
}

bool CalibrationData::predicts() const {
  return std::any_of(declared.begin(), declared.end(),
                     [](const TensorDeclaration &input) { return input.name == "labels"; });
}

Error CalibrationData::checkArray(const TensorDeclaration &input, const NpyArray &array) const {
  std::string prefix = path + ": array " + input.name + " ";
  bool sameKind = isFloat(input.type)       ? isFloat(array.type())
                  : input.type == TACQ_BOOL ? array.type() == TACQ_BOOL
                                            : isInteger(array.type()) || array.type() == TACQ_BOOL;
  if (!sameKind)
    return invalid(prefix + "has elements of type " + tacq_element_name(array.type()) +
                   ", the model takes " + tacq_element_name(input.type));
  if (array.dims().size() != input.dims.size())
    return invalid(prefix + "has " + std::to_string(array.dims().size()) +
                   " axes, the model takes " + std::to_string(input.dims.size()) +
                   " (the first one is samples)");
  for (size_t axis = 1; axis < input.dims.size(); ++axis) {
    if (array.dims()[axis] == 0)
      return invalid(prefix + "has samples without elements: axis " + std::to_string(axis) +
                     " is 0");
    if (input.dims[axis] >= 0 && input.dims[axis] != array.dims()[axis])
      return invalid(prefix + "has the extent " + std::to_string(array.dims()[axis]) + " at axis " +
                     std::to_string(axis) + ", the model takes " +
                     std::to_string(input.dims[axis]));
  }
  auto ids = arrays.find(tokensInput);
  if (ids != arrays.end() && (isDerived(input.name) || input.name == "labels") &&
      input.name != "cache_position" && array.dims() != ids->second.dims())
    return invalid(prefix + "has other extents than " + tokensInput);
  return success();
}

Error CalibrationData::checkNumbers(size_t sample, const char *what,
                                    const std::vector<int64_t> &numbers, bool mayBeIgnored) const {
  for (size_t i = 0; i < numbers.size(); ++i) {
    int64_t number = numbers[i];
    if ((mayBeIgnored && number == kIgnoredLabel) ||
        (number >= 0 && (classCount == 0 || number < classCount)))
      continue;
    return makeError(TACQ_INVALID_INPUT, "%s: %s %zu is %lld, but the vocabulary ends at %lld",
                     place(sample).c_str(), what, i, static_cast<long long>(number),
                     static_cast<long long>(classCount - 1));
  }
  return success();
}

Error CalibrationData::checkSample(size_t sample) {
  if (tokensInput.empty() && !labelled)
    return success();
  TokenSequence sequence;
  if (Error error = readSequence(sample, sequence))
    return error;
  if (Error error = checkNumbers(sample, "token", sequence.tokens, /*mayBeIgnored=*/false))
    return error;
  if (!predicts())
    return success();
  if (!useLabels || sequence.labels.empty()) {
    if (sequence.tokens.size() < 2)
      return invalid(place(sample) + " has one token only: there is no next one to predict");
    hasPrediction = true;
    return success();
  }
  if (Error error = checkNumbers(sample, "label", sequence.labels, /*mayBeIgnored=*/true))
    return error;
  // A sample without one still says what the inputs of the layers are.
  hasPrediction |= std::any_of(sequence.labels.begin() + 1, sequence.labels.end(),
                               [](int64_t label) { return label != kIgnoredLabel; });
  return success();
}

//===----------------------------------------------------------------------===//
// Samples
//===----------------------------------------------------------------------===//

TensorView CalibrationData::viewOf(const TensorDeclaration &input,
                                   const std::vector<int64_t> &numbers) {
  std::vector<char> &bytes = memory[input.name];
  bytes.resize(numbers.size() * tacq_element_size(input.type));
  for (size_t i = 0; i < numbers.size(); ++i)
    storeElement(input.type, bytes.data(), i, numbers[i]);
  std::vector<int64_t> dims(input.dims.size(), 1);
  dims.back() = static_cast<int64_t>(numbers.size());
  return {input.type, dims, bytes.data()};
}

TensorView CalibrationData::sliceOf(const TensorDeclaration &input, const NpyArray &array,
                                    size_t sample) {
  std::vector<int64_t> dims = array.dims();
  size_t elements = array.elementCount() / dims[0], first = sample * elements;
  dims[0] = 1;
  size_t size = tacq_element_size(array.type());
  if (array.type() == input.type)
    return {input.type, dims, static_cast<const char *>(array.data()) + first * size};
  std::vector<char> &bytes = memory[input.name];
  bytes.resize(elements * tacq_element_size(input.type));
  if (isFloat(input.type) && input.type == TACQ_F32 && array.type() != TACQ_F64) {
    convertToFloat(array.type(), static_cast<const char *>(array.data()) + first * size, elements,
                   reinterpret_cast<float *>(bytes.data()));
  } else if (isFloat(input.type)) {
    for (size_t i = 0; i < elements; ++i) {
      double number = elementAsDouble(array.type(), array.data(), first + i);
      if (input.type == TACQ_F64)
        reinterpret_cast<double *>(bytes.data())[i] = number;
      else
        reinterpret_cast<float *>(bytes.data())[i] = static_cast<float>(number);
    }
  } else {
    for (size_t i = 0; i < elements; ++i)
      storeElement(input.type, bytes.data(), i,
                   static_cast<int64_t>(elementAsDouble(array.type(), array.data(), first + i)));
  }
  return {input.type, dims, bytes.data()};
}

TensorView CalibrationData::derive(const TensorDeclaration &input, const TokenSequence &sequence) {
  size_t length = sequence.tokens.size();
  std::vector<int64_t> numbers(length, input.name == "attention_mask" ? 1 : 0);
  if (input.name == tokensInput)
    numbers = sequence.tokens;
  else if (input.name == "labels")
    numbers = useLabels && !sequence.labels.empty() ? sequence.labels : sequence.tokens;
  else if (input.name == "position_ids" || input.name == "cache_position")
    std::iota(numbers.begin(), numbers.end(), 0);
  return viewOf(input, numbers);
}

Error CalibrationData::load(size_t sample, std::map<std::string, TensorView> &views) {
  views.clear();
  TokenSequence sequence;
  if (Error error = readSequence(sample, sequence))
    return error;
  for (const TensorDeclaration &input : declared) {
    auto array = arrays.find(input.name);
    bool given = array != arrays.end() && input.name != "labels";
    views[input.name] = given ? sliceOf(input, array->second, sample) : derive(input, sequence);
  }
  return success();
}
