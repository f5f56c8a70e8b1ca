//===- LanguageModel.cpp - Sequences through a causal model ---------------===//

#include "LanguageModel.h"

#include "Elements.h"

#include <algorithm>
#include <cstring>
#include <numeric>

using namespace tacq;
using namespace tacq::tools;

static constexpr const char *kRoleNames[] = {"input_ids", "attention_mask", "position_ids",
                                             "cache_position", "token_type_ids"};

Error LanguageModel::open(const std::string &path, const LanguageModelOptions &options,
                          std::unique_ptr<LanguageModel> &model) {
  std::unique_ptr<LanguageModel> opened(new LanguageModel());
  opened->file = path;
  if (Error error = load(path, options.device, opened->loaded))
    return error;
  if (Error error = opened->bind())
    return error;
  if (options.batch > 1 && !opened->cached)
    return makeError(TACQ_UNSUPPORTED, "%s: without a cache, sequences go through one by one",
                     path.c_str());
  opened->batch = static_cast<size_t>(options.batch);
  tacq_session_options_t sessionOptions = {};
  sessionOptions.struct_size = sizeof(sessionOptions);
  sessionOptions.cache_capacity = options.capacity;
  sessionOptions.stateful = opened->cached;
  sessionOptions.profile = options.profile;
  tacq_session_t *session = nullptr;
  if (Error error = take(tacq_session_create(
          opened->loaded.module.get(), opened->loaded.device.get(), &sessionOptions, &session)))
    return error;
  opened->current.reset(session);
  model = std::move(opened);
  return success();
}

Error LanguageModel::bind() {
  const tacq_module_t *handle = module();
  cached = tacq_module_state_count(handle) > 0;
  tacq_tensor_info_t info;
  int64_t onlyMatrix = -1;
  size_t matrices = 0;
  std::string strange;
  for (size_t index = 0, count = tacq_module_input_count(handle); index < count; ++index) {
    if (Error error = inputInfo(handle, index, info))
      return error;
    if (info.state >= 0)
      continue;
    const auto *role =
        std::find_if(std::begin(kRoleNames), std::end(kRoleNames),
                     [&](const char *name) { return info.name == std::string(name); });
    if (role != std::end(kRoleNames)) {
      Input &input = inputs[role - std::begin(kRoleNames)];
      input.index = static_cast<int64_t>(index);
      input.type = info.element_type;
    } else if (isInteger(info.element_type) && info.rank == 2) {
      onlyMatrix = static_cast<int64_t>(index);
      ++matrices;
    } else if (strange.empty()) {
      strange = info.name;
    }
  }
  if (inputs[Ids].index < 0 && matrices == 1) {
    if (Error error = inputInfo(handle, onlyMatrix, info))
      return error;
    inputs[Ids].index = onlyMatrix;
    inputs[Ids].type = info.element_type;
    matrices = 0;
  }
  if (inputs[Ids].index < 0)
    return makeError(TACQ_UNSUPPORTED,
                     "%s: none of the inputs is called input_ids or is the only integer matrix; "
                     "use tacq-run with --input",
                     file.c_str());
  if (matrices > 0 || !strange.empty()) {
    if (strange.empty()) {
      if (Error error = inputInfo(handle, onlyMatrix, info))
        return error;
      strange = info.name;
    }
    return makeError(TACQ_UNSUPPORTED,
                     "%s: it is not known what to feed to the input %s of a language model; use "
                     "tacq-run with --input",
                     file.c_str(), strange.c_str());
  }

  int64_t found = tacq_module_find_output(handle, "logits");
  size_t candidates = 0;
  for (size_t index = 0, count = tacq_module_output_count(handle); found < 0 && index < count;
       ++index) {
    if (Error error = outputInfo(handle, index, info))
      return error;
    if (info.state < 0 && info.rank == 3 && isFloat(info.element_type)) {
      logitsIndex = index;
      ++candidates;
    }
  }
  if (found >= 0)
    logitsIndex = found;
  else if (candidates != 1)
    return makeError(TACQ_UNSUPPORTED,
                     "%s: none of the outputs is called logits or is the only float tensor with "
                     "three axes",
                     file.c_str());
  if (Error error = outputInfo(handle, logitsIndex, info))
    return error;
  if (info.rank != 3 || !isFloat(info.element_type))
    return makeError(TACQ_UNSUPPORTED, "%s: logits is %s, not a float tensor with three axes",
                     file.c_str(), describeType(info).c_str());
  logitsType = info.element_type;
  vocabularySize = std::max<int64_t>(info.dims[2], 0);
  return bindNextToken();
}

/// The result that tacq-compile adds, if it can be the next input of a model with a cache.
Error LanguageModel::bindNextToken() {
  int64_t index = tacq_module_find_output(module(), "next_token");
  if (index < 0 || !cached)
    return success();
  tacq_tensor_info_t info;
  if (Error error = outputInfo(module(), index, info))
    return error;
  if (info.rank != 2 || info.element_type != inputs[Ids].type || info.state >= 0)
    return success();
  nextTokenIndex = index;
  nextTokenType = info.element_type;
  return success();
}

Error LanguageModel::checkTokens(const std::string &source, const TokenSequence &sequence) const {
  for (size_t i = 0; i < sequence.tokens.size(); ++i) {
    int64_t token = sequence.tokens[i];
    if (token < 0 || (vocabularySize > 0 && token >= vocabularySize))
      return makeError(TACQ_INVALID_INPUT,
                       "%s: token %zu of %s is %lld, but the vocabulary of %s ends at %lld",
                       source.c_str(), i, sequence.place.c_str(), static_cast<long long>(token),
                       file.c_str(), static_cast<long long>(vocabularySize - 1));
  }
  for (size_t i = 0; i < sequence.labels.size(); ++i) {
    int64_t label = sequence.labels[i];
    if (label != kIgnoredLabel && (label < 0 || (vocabularySize > 0 && label >= vocabularySize)))
      return makeError(
          TACQ_INVALID_INPUT, "%s: label %zu of %s is %lld, neither -100 nor a token of %s",
          source.c_str(), i, sequence.place.c_str(), static_cast<long long>(label), file.c_str());
  }
  for (const auto &input : sequence.inputs) {
    const std::string &name = input.first;
    const auto *known = std::find_if(std::begin(kRoleNames), std::end(kRoleNames),
                                     [&](const char *role) { return name == role; });
    if (known == std::end(kRoleNames) || inputs[known - std::begin(kRoleNames)].index < 0)
      return makeError(TACQ_INVALID_INPUT, "%s: array %s is no input of %s", source.c_str(),
                       name.c_str(), file.c_str());
  }
  return success();
}

Error LanguageModel::reset() {
  history.clear();
  output.reset();
  rowCount = 0;
  return cached ? take(tacq_session_reset(current.get())) : success();
}

Error LanguageModel::setInput(Role role, const std::vector<int64_t> &values) {
  Input &input = inputs[role];
  if (input.index < 0)
    return success();
  std::vector<char> &data = input.data[side];
  data.resize(values.size() * tacq_element_size(input.type));
  for (size_t i = 0; i < values.size(); ++i)
    storeElement(input.type, data.data(), i, values[i]);
  bool vector = role == CachePositions;
  auto rows = static_cast<int64_t>(vector ? 1 : batch);
  int64_t dims[2] = {rows, static_cast<int64_t>(values.size()) / rows};
  return take(tacq_session_set_input_data(current.get(), input.index, input.type,
                                          vector ? dims + 1 : dims, vector ? 1 : 2, data.data(),
                                          data.size()));
}

/// Of a step behind `past` tokens; without `tokens` the input stays linked, to one token.
Error LanguageModel::setInputs(const std::vector<int64_t> &tokens, size_t past,
                               const std::map<std::string, std::vector<int64_t>> &given) {
  size_t count = std::max<size_t>(tokens.size() / batch, 1);
  std::vector<int64_t> positions(count), all;
  std::iota(positions.begin(), positions.end(), static_cast<int64_t>(past));
  for (size_t i = 0; i < batch; ++i)
    all.insert(all.end(), positions.begin(), positions.end());
  const std::vector<int64_t> defaults[RoleCount] = {
      tokens, std::vector<int64_t>(batch * (past + count), 1), all, positions,
      std::vector<int64_t>(batch * count, 0)};
  for (int role = tokens.empty() ? Mask : Ids; role < RoleCount; ++role) {
    auto own = given.find(kRoleNames[role]);
    if (Error error =
            setInput(static_cast<Role>(role), own == given.end() ? defaults[role] : own->second))
      return error;
  }
  return success();
}

Error LanguageModel::evaluate(const std::vector<int64_t> &tokens, size_t past,
                              const std::map<std::string, std::vector<int64_t>> &given,
                              size_t newRows) {
  // The buffers that inputs borrow are about to change; outputs of before may go.
  output.reset();
  if (Error error = setInputs(tokens, past, given))
    return error;
  if (Error error = take(tacq_session_run(current.get())))
    return error;
  tokenCount = tokens.size() / batch;
  rowCount = newRows;
  firstRow = tokenCount - newRows;
  return success();
}

Error LanguageModel::fetchLogits() {
  if (Error error = fetch(current.get(), logitsIndex, output))
    return error;
  const DLTensor &tensor = output->dl_tensor;
  if (tensor.ndim != 3 || tensor.shape[0] != static_cast<int64_t>(batch) ||
      tensor.shape[1] != static_cast<int64_t>(tokenCount))
    return makeError(TACQ_UNSUPPORTED,
                     "%s: the logits of %zu tokens have another shape than [%zu, %zu, vocabulary]",
                     file.c_str(), tokenCount, batch, tokenCount);
  rowWidth = tensor.shape[2];
  return success();
}

Error LanguageModel::step(const std::vector<int64_t> &tokens) {
  size_t past = history.size(), count = tokens.size() / batch;
  history.insert(history.end(), tokens.begin(), tokens.begin() + static_cast<ptrdiff_t>(count));
  Error error = cached ? evaluate(tokens, past, {}, count) : evaluate(history, 0, {}, count);
  if (!error && !choosesTokens())
    error = fetchLogits();
  if (error)
    history.resize(past);
  return error;
}

Error LanguageModel::run(const TokenSequence &sequence) {
  if (Error error = reset())
    return error;
  if (Error error = evaluate(sequence.tokens, 0, sequence.inputs, sequence.tokens.size()))
    return error;
  history = sequence.tokens;
  return fetchLogits();
}

const float *LanguageModel::logits(size_t row, size_t sequence) {
  size_t index = (sequence * tokenCount + firstRow + row) * rowWidth;
  const char *data = dataOf(output->dl_tensor) + index * tacq_element_size(logitsType);
  if (logitsType == TACQ_F32)
    return reinterpret_cast<const float *>(data);
  converted.resize(rowWidth);
  convertToFloat(logitsType, data, rowWidth, converted.data());
  return converted.data();
}

Error LanguageModel::readToken(int64_t &token) {
  char bytes[sizeof(int64_t)] = {};
  size_t size = tacq_element_size(nextTokenType);
  if (Error error = take(tacq_session_copy_output(
          current.get(), static_cast<size_t>(nextTokenIndex), bytes, size)))
    return error;
  token = static_cast<int64_t>(elementAsDouble(nextTokenType, bytes, 0));
  return success();
}

Error LanguageModel::generateAhead(int64_t count, const std::function<bool(int64_t)> &accept,
                                   std::optional<int64_t> first) {
  // What was started takes the token of the run before from the device.
  auto start = [&](const std::vector<int64_t> &tokens) {
    side = 1 - side;
    output.reset();
    if (Error error = setInputs(tokens, history.size(), {}))
      return error;
    history.push_back(0);
    if (Error error = take(tacq_session_start(current.get())))
      return error;
    return take(tacq_session_link(current.get(), static_cast<size_t>(nextTokenIndex),
                                  static_cast<size_t>(inputs[Ids].index)));
  };
  int64_t token = 0, running = 0;
  if (first) {
    if (Error error = start({*first}))
      return error;
    running = 1;
  } else {
    if (Error error = readToken(token))
      return error;
    if (count < 1 || !accept(token) || --count < 1)
      return success();
    if (Error error = start({token}))
      return error;
    running = 1;
  }
  Error tooFar; // where a token that may not be wanted has no place
  bool goesOn = true;
  while (running > 0) {
    if (goesOn && !tooFar && running < std::min<int64_t>(2, count)) {
      tooFar = start({});
      running += !tooFar;
      continue;
    }
    if (Error error = take(tacq_session_finish(current.get())))
      return error;
    --running;
    if (!goesOn)
      continue;
    if (Error error = readToken(token))
      return error;
    goesOn = accept(token) && --count > 0;
  }
  // It is an error only if the token was wanted.
  return goesOn ? std::move(tooFar) : success();
}

Error LanguageModel::generate(int64_t count, const std::function<bool(int64_t)> &accept,
                              std::optional<int64_t> first) {
  if (choosesTokens())
    return generateAhead(count, accept, first);
  if (first)
    if (Error error = step({*first}))
      return error;
  for (;;) {
    auto token = static_cast<int64_t>(argmax(logits(rowCount - 1), rowWidth));
    if (count < 1 || !accept(token) || --count < 1)
      return success();
    if (Error error = step({token}))
      return error;
  }
}

size_t tools::argmax(const float *values, size_t count) {
  return std::max_element(values, values + count) - values;
}
