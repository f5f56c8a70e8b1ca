//===- InProcessModule.cpp - Compile and run in one process ---------------===//

#include "tacq/Calibrate/InProcessModule.h"
#include "../Module/ModuleEmitter.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassManager.h"
#include "tacq/CPU/CpuTarget.h"
#include "tacq/CPU/Passes.h"
#include "tacq/CPU/WeightPacking.h"
#include "tacq/Calibration/Passes.h"
#include "tacq/Graph/GraphPasses.h"
#include "tacq/ModuleView.h"
#include "tacq/Ops/Passes.h"
#include "tacq/Reproducer.h"
#include "tacq/Schedule/Passes.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/FileSystem.h"
#include <cstring>

using namespace mlir;
using namespace tacq;

namespace {
template <auto release> struct Release {
  template <typename T> void operator()(T *handle) const { release(handle); }
};
template <typename T, auto release> using Handle = std::unique_ptr<T, Release<release>>;

void releaseTensor(DLManagedTensor *tensor) { tensor->deleter(tensor); }

/// A name for the module file that is removed whatever happens.
class TemporaryName {
public:
  ~TemporaryName() {
    if (path.empty())
      return;
    // What cannot be removed is left to who cleans up the folder.
    std::error_code failed = llvm::sys::fs::remove(path);
    (void)failed;
  }
  Error create() {
    if (std::error_code code = llvm::sys::fs::createTemporaryFile("tacq-calibration", "tacq", path))
      return Error(TACQ_IO, "no temporary file can be made for the calibration module: " +
                                code.message() + "; TMPDIR names the folder");
    return Error();
  }
  std::string str() const { return std::string(path); }

private:
  SmallString<128> path;
};
} // namespace

/// One of the forms in which the module has a parameter.
struct StoredForm {
  char *memory;
  size_t size;
  /// Null: as it is.
  PanelAttr layout;
  WeightOrder order;
  int64_t n, k;
};

struct InProcessModule::Handles {
  /// The file of a writable module, with changes that stay in this process.
  llvm::sys::fs::mapped_file_region memory;
  llvm::StringMap<SmallVector<StoredForm, 2>> parameters;
  Handle<tacq_runtime_t, tacq_runtime_release> runtime;
  Handle<tacq_device_t, tacq_device_release> device;
  Handle<tacq_module_t, tacq_module_release> module;
  Handle<tacq_session_t, tacq_session_release> session;
  /// Results of the last run that were asked for, by their number.
  std::map<size_t, Handle<DLManagedTensor, releaseTensor>> results;
};

/// Takes the status over.
static Error take(tacq_status_t *status) {
  if (!status)
    return Error();
  Error error(tacq_status_code(status), tacq_status_message(status));
  tacq_status_free(status);
  return error;
}

int64_t TensorView::elementCount() const {
  int64_t count = 1;
  for (int64_t extent : dims)
    count *= extent;
  return count;
}

InProcessModule::InProcessModule() : handles(std::make_unique<Handles>()) {}
InProcessModule::~InProcessModule() = default;

Error InProcessModule::compile(ModuleOp module, const ParameterStore &parameters,
                               const Options &options, std::unique_ptr<InProcessModule> &runner) {
  std::optional<CpuTarget> target = parseCpuTarget("host");
  if (!target)
    return Error(TACQ_UNSUPPORTED, "TACQ has no target that this machine can run");
  OwningOpRef<ModuleOp> copy = module.clone();
  PassManager manager(module.getContext());
  manager.addNestedPass<func::FuncOp>(createFuseLinear());
  manager.addNestedPass<func::FuncOp>(createCleanupViews());
  manager.addNestedPass<func::FuncOp>(createDecompose());
  manager.addPass(createPackWeights());
  if (options.bf16)
    manager.addNestedPass<func::FuncOp>(createAllowBf16());
  manager.addPass(createFormDispatches());
  manager.addPass(createPlanSchedule());
  if (Error error = runPasses(manager, *copy, options.file))
    return error;
  TemporaryName name;
  if (Error error = name.create())
    return error;
  if (Error error = runGuarded(*copy, options.file, [&] {
        return emitModule(*copy, {{*target}, {}}, parameters, options.file, name.str(),
                          /*mixed=*/nullptr, options.kernels);
      }))
    return error;
  std::unique_ptr<InProcessModule> made(new InProcessModule());
  if (Error error = made->open(name.str(), options))
    return error;
  if (options.writable)
    made->findParameters(*copy);
  runner = std::move(made);
  return Error();
}

template <typename InfoFn>
static Error declarations(const tacq_module_t *module, size_t count, InfoFn infoOf,
                          std::vector<TensorDeclaration> &found) {
  for (size_t i = 0; i < count; ++i) {
    tacq_tensor_info_t info = {};
    info.struct_size = sizeof(info);
    if (Error error = take(infoOf(module, i, &info)))
      return error;
    found.push_back(
        {info.name, info.element_type, std::vector<int64_t>(info.dims, info.dims + info.rank)});
  }
  return Error();
}

static Error mapPrivately(const std::string &path, llvm::sys::fs::mapped_file_region &memory) {
  namespace fs = llvm::sys::fs;
  auto failed = [&](std::error_code code) {
    return Error(TACQ_IO,
                 "the temporary module '" + path + "' cannot be mapped: " + code.message());
  };
  llvm::Expected<fs::file_t> file = fs::openNativeFileForRead(path);
  if (!file)
    return failed(llvm::errorToErrorCode(file.takeError()));
  fs::file_status status;
  std::error_code code = fs::status(*file, status);
  if (!code)
    memory = fs::mapped_file_region(*file, fs::mapped_file_region::priv, status.getSize(), 0, code);
  if (std::error_code closed = fs::closeFile(*file); !code)
    code = closed;
  return code ? failed(code) : Error();
}

/// A constant is named by the parameter, its layout and its order (ModuleEmitter::emitConstant).
void InProcessModule::findParameters(ModuleOp module) {
  std::unique_ptr<ModuleView> view;
  ModuleViewOptions options;
  options.checkData = false;
  // The runtime has verified it.
  if (ModuleView::fromMemory(handles->memory.const_data(), handles->memory.size(), "", options,
                             view))
    return;
  llvm::StringMap<const format::Constant *> constants;
  for (const format::Constant *constant : *view->metadata().constants())
    constants[constant->name()->string_view()] = constant;
  char *data = handles->memory.data() + view->header().dataOffset;
  for (auto param : module.getOps<ParamOp>()) {
    auto type = dyn_cast<RankedTensorType>(param.getType());
    if (!type)
      continue;
    std::string name = param.getSymName().str();
    auto add = [&](const std::string &key, PanelAttr layout, WeightOrder order) {
      auto found = constants.find(key);
      if (found == constants.end())
        return;
      int64_t n = 0, k = 0;
      if (layout) {
        n = type.getDimSize(order == WeightOrder::NK ? 0 : 1);
        k = type.getDimSize(order == WeightOrder::NK ? 1 : 0);
      }
      handles->parameters[name].push_back(
          {data + found->second->offset(), found->second->size(), layout, order, n, k});
    };
    add(name, PanelAttr(), WeightOrder::NK);
    if (type.getRank() != 2 || !isa<FloatType>(type.getElementType()))
      continue;
    auto layout = PanelAttr::get(type.getContext(), cpuPanelWidth, type.getElementType());
    std::string text;
    llvm::raw_string_ostream(text) << Attribute(layout);
    add(name + " " + text, layout, WeightOrder::NK);
    add(name + " " + text + " kn", layout, WeightOrder::KN);
  }
}

Error InProcessModule::replaceParameter(StringRef name, ArrayRef<char> elements) {
  auto found = handles->parameters.find(name);
  if (found == handles->parameters.end())
    return Error(TACQ_INVALID_ARGUMENT,
                 "the compiled module has no parameter '" + name.str() + "' to replace");
  for (StoredForm &form : found->second) {
    size_t needed = form.layout
                        ? form.n * form.k * (form.layout.getElement().getIntOrFloatBitWidth() / 8)
                        : form.size;
    if (elements.size() != needed)
      return Error(TACQ_INVALID_ARGUMENT, "the parameter '" + name.str() + "' has " +
                                              std::to_string(needed) + " bytes, not " +
                                              std::to_string(elements.size()));
    if (!form.layout) {
      std::memcpy(form.memory, elements.data(), elements.size());
      continue;
    }
    char *to = form.memory;
    packWeight(elements.data(), form.order, form.n, form.k, form.layout,
               [&](const void *panel, size_t size) {
                 std::memcpy(to, panel, size);
                 to += size;
                 return true;
               });
  }
  return Error();
}

Error InProcessModule::open(const std::string &path, const Options &options) {
  tacq_runtime_t *runtime = nullptr;
  if (Error error = take(tacq_runtime_create(nullptr, &runtime)))
    return error;
  handles->runtime.reset(runtime);
  std::string deviceName =
      options.threads ? "cpu:threads=" + std::to_string(options.threads) : std::string("cpu");
  tacq_device_t *device = nullptr;
  if (Error error = take(tacq_device_open(runtime, deviceName.c_str(), &device)))
    return error;
  handles->device.reset(device);
  // The file was written and verified just now.
  tacq_module_options_t moduleOptions = {};
  moduleOptions.struct_size = sizeof(moduleOptions);
  moduleOptions.skip_data_checksum = 1;
  tacq_module_t *module = nullptr;
  if (options.writable) {
    if (Error error = mapPrivately(path, handles->memory))
      return error;
    if (Error error = take(tacq_module_open_memory(runtime, handles->memory.const_data(),
                                                   handles->memory.size(), path.c_str(),
                                                   &moduleOptions, &module)))
      return error;
  } else if (Error error = take(tacq_module_open(runtime, path.c_str(), &moduleOptions, &module))) {
    return error;
  }
  handles->module.reset(module);
  tacq_session_options_t sessionOptions = {};
  sessionOptions.struct_size = sizeof(sessionOptions);
  sessionOptions.profile = options.profile;
  tacq_session_t *session = nullptr;
  if (Error error = take(tacq_session_create(module, device, &sessionOptions, &session)))
    return error;
  handles->session.reset(session);
  if (Error error = declarations(module, tacq_module_input_count(module), tacq_module_input_info,
                                 inputDeclarations))
    return error;
  return declarations(module, tacq_module_output_count(module), tacq_module_output_info,
                      outputDeclarations);
}

Error InProcessModule::run(const std::map<std::string, TensorView> &given) {
  // The memory of results that are given back serves the next run.
  handles->results.clear();
  for (auto &[name, view] : given) {
    int64_t index = tacq_module_find_input(handles->module.get(), name.c_str());
    if (index < 0)
      return Error(TACQ_INVALID_INPUT, "the model has no input '" + name + "'");
    if (Error error = take(tacq_session_set_input_data(
            handles->session.get(), index, view.type, view.dims.data(), view.dims.size(), view.data,
            view.elementCount() * tacq_element_size(view.type))))
      return error;
  }
  for (const TensorDeclaration &input : inputDeclarations)
    if (!given.count(input.name))
      return Error(TACQ_INVALID_INPUT, "the input '" + input.name + "' of the model is not given");
  return take(tacq_session_run(handles->session.get()));
}

Error InProcessModule::output(const std::string &name, TensorView &view) {
  int64_t index = tacq_module_find_output(handles->module.get(), name.c_str());
  if (index < 0)
    return Error(TACQ_INVALID_ARGUMENT, "the compiled module has no result '" + name + "'");
  auto &result = handles->results[index];
  if (!result) {
    DLManagedTensor *tensor = nullptr;
    if (Error error = take(tacq_session_get_output(handles->session.get(), index, &tensor)))
      return error;
    result.reset(tensor);
  }
  const DLTensor &tensor = result->dl_tensor;
  view.type = tacq_element_from_dlpack(tensor.dtype);
  view.dims.assign(tensor.shape, tensor.shape + tensor.ndim);
  view.data = static_cast<const char *>(tensor.data) + tensor.byte_offset;
  return Error();
}

Error InProcessModule::profile(std::vector<ProfileEntry> &entries) const {
  entries.clear();
  return take(tacq_session_profile(
      handles->session.get(),
      [](void *user, const tacq_profile_entry_t *entry) {
        static_cast<std::vector<ProfileEntry> *>(user)->push_back(
            {entry->node, entry->op, entry->kernel, entry->count, entry->total_ns});
      },
      &entries));
}
