//===- TensorRun.cpp - One run from tensor files to tensor files ----------===//

#include "TensorRun.h"

#include "CommandLine.h"
#include "Elements.h"
#include "tacq/OutputFile.h"

#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <cstdio>

using namespace tacq;
using namespace tacq::tools;

namespace {

using Bound = Archive;

/// Adds what a flag names to `bound`. A whole archive gives those of its arrays that `known`
/// accepts.
Error bindFiles(const std::string &flag, const std::vector<std::string> &texts,
                const std::function<bool(const std::string &)> &known, const std::string &module,
                const char *kind, Bound &bound) {
  for (const std::string &text : texts) {
    std::string name, file;
    bool whole = text.find('@') == std::string::npos && endsWith(text, ".npz");
    if (whole)
      file = text;
    else if (Error error = splitBinding(flag, text, name, file))
      return error;
    if (!name.empty()) {
      if (!known(name))
        return makeError(TACQ_INVALID_ARGUMENT, "%s has no %s named %s", module.c_str(), kind,
                         name.c_str());
      if (Error error = readTensor(file, bound[name]))
        return error;
      continue;
    }
    if (!endsWith(file, ".npz"))
      return makeError(TACQ_INVALID_ARGUMENT, "%s: %s needs a name, as in NAME=@%s", flag.c_str(),
                       file.c_str(), file.c_str());
    size_t before = bound.size();
    if (Error error = readArchive(file, known, bound))
      return error;
    if (bound.size() == before)
      return makeError(TACQ_INVALID_INPUT, "%s: none of its arrays is named as an %s of %s",
                       file.c_str(), kind, module.c_str());
  }
  return success();
}

/// Tensors for the inputs that language models have and nobody likes to write; left without a type
/// for others.
Error makeStandardInput(const std::string &name, tacq_element_type_t type, const Bound &bound,
                        NpyArray &tensor) {
  auto ids = bound.find("input_ids");
  if (ids == bound.end() || ids->second.dims().size() != 2)
    return success();
  if (name != "attention_mask" && name != "position_ids")
    return success();
  if (Error error = NpyArray::create(type, ids->second.dims(), tensor))
    return error;
  for (int64_t i = 0; i < tensor.elementCount(); ++i)
    storeElement(type, tensor.data(), i,
                 name == "attention_mask" ? 1 : i % std::max<int64_t>(tensor.dims()[1], 1));
  return success();
}

std::string shapeText(const int64_t *dims, size_t rank) {
  std::string text = "[";
  for (size_t axis = 0; axis < rank; ++axis)
    text += (axis ? "," : "") + std::to_string(dims[axis]);
  return text + "]";
}

Error verifyOutput(const std::string &name, tacq_element_type_t type, const DLTensor &tensor,
                   const NpyArray &reference, const TensorRunOptions &options, bool &failed) {
  std::vector<int64_t> dims(tensor.shape, tensor.shape + tensor.ndim);
  if (dims != reference.dims())
    return makeError(TACQ_INVALID_INPUT, "output %s has the shape %s, its reference %s",
                     name.c_str(), shapeText(dims.data(), dims.size()).c_str(),
                     shapeText(reference.dims().data(), reference.dims().size()).c_str());
  // A reference in f32 for an f16 model must not be held to f32's tolerance.
  Tolerance tolerance = defaultTolerance(type);
  if (options.absolute)
    tolerance.absolute = *options.absolute;
  if (options.relative)
    tolerance.relative = *options.relative;
  Difference difference = compare(type, dataOf(tensor), reference.type(), reference.data(),
                                  reference.elementCount(), tolerance);
  std::printf("%s: max absolute error %.3g, max relative error %.3g, tolerance %.3g + %.3g x: %s\n",
              name.c_str(), difference.maxAbsolute, difference.maxRelative, tolerance.absolute,
              tolerance.relative,
              difference.failures
                  ? formatText("FAILED, %zu of %" PRId64
                               " elements, first at %zu: %.9g instead of %.9g",
                               difference.failures, reference.elementCount(),
                               difference.firstFailure, difference.value, difference.reference)
                        .c_str()
                  : "ok");
  failed |= difference.failures > 0;
  return success();
}

void printSummary(const char *name, tacq_element_type_t type, const DLTensor &tensor) {
  double low = INFINITY, high = -INFINITY, sum = 0;
  int64_t count = elementCount(tensor);
  for (int64_t i = 0; i < count; ++i) {
    double value = elementAsDouble(type, dataOf(tensor), i);
    low = std::min(low, value);
    high = std::max(high, value);
    sum += value;
  }
  std::printf("%s: %s%s", name, tacq_element_name(type),
              shapeText(tensor.shape, tensor.ndim).c_str());
  if (count > 0)
    std::printf(", min %.6g, max %.6g, mean %.6g", low, high, sum / static_cast<double>(count));
  std::printf("\n");
}

/// One run of a module with what is needed to name things in messages.
class Runner {
public:
  Runner(const Loaded &loaded, const std::string &path, const TensorRunOptions &options)
      : module(loaded.module.get()), device(loaded.device.get()), path(path), options(options) {}

  Error run(Session &session);

private:
  Error setInputs(tacq_session_t *session);
  Error addOutput(const std::string &name, const std::string &file);
  Error useOutputs(tacq_session_t *session, std::vector<std::string> &written, bool &differs);

  tacq_module_t *module;
  tacq_device_t *device;
  const std::string &path;
  const TensorRunOptions &options;
  Bound inputs, references;
  std::map<std::string, std::string> files; // of outputs to write
  bool stateful = false;                    // the session keeps the caches, from empty ones
};

} // namespace

Error Runner::setInputs(tacq_session_t *session) {
  for (size_t index = 0, count = tacq_module_input_count(module); index < count; ++index) {
    tacq_tensor_info_t info;
    if (Error error = inputInfo(module, index, info))
      return error;
    if (info.state >= 0 && stateful)
      continue;
    auto given = inputs.find(info.name);
    if (given == inputs.end()) {
      NpyArray made;
      if (Error error = makeStandardInput(info.name, info.element_type, inputs, made))
        return error;
      if (made.type() == TACQ_ELEMENT_NONE)
        return makeError(TACQ_INVALID_ARGUMENT,
                         "%s: the input %s (%s) is not given; add --input %s=@FILE.npy",
                         path.c_str(), info.name, describeType(info).c_str(), info.name);
      given = inputs.emplace(info.name, std::move(made)).first;
    }
    const NpyArray &tensor = given->second;
    if (Error error =
            take(tacq_session_set_input_data(session, index, tensor.type(), tensor.dims().data(),
                                             tensor.dims().size(), tensor.data(), tensor.size())))
      return error;
  }
  return success();
}

/// `written` gets the files that are complete; `differs` tells whether a verification failed.
Error Runner::useOutputs(tacq_session_t *session, std::vector<std::string> &written,
                         bool &differs) {
  for (size_t index = 0, count = tacq_module_output_count(module); index < count; ++index) {
    tacq_tensor_info_t info;
    if (Error error = outputInfo(module, index, info))
      return error;
    auto file = files.find(info.name);
    auto reference = references.find(info.name);
    bool summary = files.empty() && references.empty();
    if (file == files.end() && reference == references.end() && !summary)
      continue;
    Output output;
    if (Error error = fetch(session, index, output))
      return error;
    const DLTensor &tensor = output->dl_tensor;
    if (summary)
      printSummary(info.name, info.element_type, tensor);
    if (file != files.end()) {
      if (Error error = writeTensor(file->second, info.element_type,
                                    {tensor.shape, tensor.shape + tensor.ndim}, dataOf(tensor)))
        return error;
      written.push_back(file->second);
    }
    if (reference != references.end())
      if (Error error = verifyOutput(info.name, info.element_type, tensor, reference->second,
                                     options, differs))
        return error;
  }
  return success();
}

/// Notes where an output goes, after a look whether it can go there.
Error Runner::addOutput(const std::string &name, const std::string &file) {
  for (const auto &[other, otherFile] : files)
    if (other == name || otherFile == file)
      return makeError(TACQ_INVALID_ARGUMENT,
                       "--output %s=@%s and --output %s=@%s exclude each other", other.c_str(),
                       otherFile.c_str(), name.c_str(), file.c_str());
  if (isSameFile(file, path))
    return makeError(TACQ_INVALID_ARGUMENT, "the output %s would replace the module itself",
                     file.c_str());
  files[name] = file;
  return checkOutputFile(file, OutputKind::RegularFile);
}

Error Runner::run(Session &session) {
  auto isInput = [&](const std::string &name) {
    return tacq_module_find_input(module, name.c_str()) >= 0;
  };
  auto isOutput = [&](const std::string &name) {
    return tacq_module_find_output(module, name.c_str()) >= 0;
  };
  if (Error error = bindFiles("--input", options.inputs, isInput, path, "input", inputs))
    return error;
  if (Error error = bindFiles("--verify", options.references, isOutput, path, "output", references))
    return error;
  for (const std::string &text : options.outputs) {
    std::string name, file;
    if (Error error = splitBinding("--output", text, name, file))
      return error;
    if (!isOutput(name))
      return makeError(TACQ_INVALID_ARGUMENT, "%s has no output named %s", path.c_str(),
                       name.c_str());
    if (Error error = addOutput(name, file))
      return error;
  }
  stateful = tacq_module_state_count(module) > 0;
  for (size_t index = 0, count = tacq_module_input_count(module); index < count; ++index) {
    tacq_tensor_info_t info;
    if (Error error = inputInfo(module, index, info))
      return error;
    if (info.state >= 0 && inputs.count(info.name))
      stateful = false;
  }
  tacq_session_options_t sessionOptions = {};
  sessionOptions.struct_size = sizeof(sessionOptions);
  sessionOptions.cache_capacity = options.capacity;
  sessionOptions.stateful = stateful;
  sessionOptions.profile = options.profile;
  tacq_session_t *created = nullptr;
  if (Error error = take(tacq_session_create(module, device, &sessionOptions, &created)))
    return error;
  session.reset(created);
  if (Error error = setInputs(created))
    return error;
  for (int64_t repetition = 0; repetition < options.repetitions; ++repetition) {
    if (repetition > 0 && stateful)
      if (Error error = take(tacq_session_reset(created)))
        return error;
    if (Error error = take(tacq_session_run(created)))
      return error;
  }
  std::vector<std::string> written;
  bool differs = false;
  if (Error error = useOutputs(created, written, differs)) {
    // All outputs or none.
    for (const std::string &file : written)
      std::remove(file.c_str());
    return error;
  }
  if (differs)
    return makeError(TACQ_INVALID_INPUT,
                     "%s: outputs differ from the reference by more than the tolerance",
                     path.c_str());
  return success();
}

Error tools::runTensors(const Loaded &loaded, const std::string &path,
                        const TensorRunOptions &options, Session &session) {
  return Runner(loaded, path, options).run(session);
}
