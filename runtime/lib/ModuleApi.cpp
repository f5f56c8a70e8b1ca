//===- ModuleApi.cpp - C API: modules and element types -------------------===//

#include "Objects.h"
#include "Status.h"

using namespace tacq;

static_assert(static_cast<int>(TACQ_BOOL) == static_cast<int>(format::ElementType_Bool) &&
                  static_cast<int>(TACQ_F64) == static_cast<int>(format::ElementType_F64),
              "the C API and the schema number element types alike");
static_assert(static_cast<int>(TACQ_BUFFER_STATE) == static_cast<int>(format::BufferKind_State),
              "the driver interface and the schema number buffer kinds alike");

// ---- element types -------------------------------------------------------------------------

static const struct {
  const char *name;
  DLDataType type;
} kElements[] = {
    {"none", {0, 0, 0}},        {"bool", {kDLBool, 8, 1}},  {"i8", {kDLInt, 8, 1}},
    {"i16", {kDLInt, 16, 1}},   {"i32", {kDLInt, 32, 1}},   {"i64", {kDLInt, 64, 1}},
    {"u8", {kDLUInt, 8, 1}},    {"u16", {kDLUInt, 16, 1}},  {"u32", {kDLUInt, 32, 1}},
    {"u64", {kDLUInt, 64, 1}},  {"f16", {kDLFloat, 16, 1}}, {"bf16", {kDLBfloat, 16, 1}},
    {"f32", {kDLFloat, 32, 1}}, {"f64", {kDLFloat, 64, 1}},
};
static constexpr size_t kElementCount = sizeof(kElements) / sizeof(kElements[0]);

size_t tacq_element_size(tacq_element_type_t type) {
  return static_cast<size_t>(type) < kElementCount ? kElements[type].type.bits / 8u : 0;
}

const char *tacq_element_name(tacq_element_type_t type) {
  return kElements[static_cast<size_t>(type) < kElementCount ? type : 0].name;
}

DLDataType tacq_element_to_dlpack(tacq_element_type_t type) {
  return kElements[static_cast<size_t>(type) < kElementCount ? type : 0].type;
}

tacq_element_type_t tacq_element_from_dlpack(DLDataType type) {
  for (size_t i = 1; i < kElementCount; ++i)
    if (kElements[i].type.code == type.code && kElements[i].type.bits == type.bits &&
        type.lanes == 1)
      return static_cast<tacq_element_type_t>(i);
  return TACQ_ELEMENT_NONE;
}

// ---- modules -------------------------------------------------------------------------------

std::string TensorDescription::describe(const char *kind) const {
  std::string text = formatText("%s '%s' (%s[", kind, name.c_str(), tacq_element_name(type));
  for (size_t i = 0; i < dims.size(); ++i)
    text += (i ? ", " : "") + std::string(dimTexts[i]);
  return text + "])";
}

static std::vector<TensorDescription>
describeAll(const flatbuffers::Vector<flatbuffers::Offset<format::TensorDecl>> *decls) {
  std::vector<TensorDescription> result;
  for (uint32_t i = 0; i < sizeOf(decls); ++i) {
    const format::TensorDecl &decl = *decls->Get(i);
    TensorDescription description;
    description.name = decl.name()->str();
    description.type = static_cast<tacq_element_type_t>(decl.element_type());
    for (uint32_t axis = 0; axis < sizeOf(decl.dims()); ++axis) {
      description.dims.push_back(std::max<int64_t>(decl.dims()->Get(axis)->extent(), -1));
      description.dimTexts.push_back(decl.dim_texts()->Get(axis)->c_str());
    }
    result.push_back(std::move(description));
  }
  return result;
}

static tacq_module_t *wrap(tacq_runtime_t *runtime, std::unique_ptr<ModuleView> view) {
  auto *module = new tacq_module;
  module->runtime = runtime->retain();
  module->view = std::move(view);
  const format::Module &metadata = module->view->metadata();
  module->program = std::make_unique<ProgramInfo>(metadata);
  module->inputs = describeAll(metadata.inputs());
  module->outputs = describeAll(metadata.outputs());
  for (uint32_t i = 0; i < sizeOf(metadata.states()); ++i) {
    module->inputs[metadata.states()->Get(i)->input()].state = static_cast<int32_t>(i);
    module->outputs[metadata.states()->Get(i)->output()].state = static_cast<int32_t>(i);
  }
  return module;
}

tacq_module::~tacq_module() { runtime->release(); }

static Error openModule(tacq_runtime_t *runtime, const tacq_module_options_t *options,
                        tacq_module_t **module, ModuleViewOptions &viewOptions) {
  if (!runtime || !module)
    return makeError(TACQ_INVALID_ARGUMENT, "opening a module needs a runtime and an address");
  *module = nullptr;
  tacq_module_options_t chosen = {};
  if (Error error = readOptions(options, chosen))
    return error;
  viewOptions.checkData = !chosen.skip_data_checksum;
  return success();
}

tacq_status_t *tacq_module_open(tacq_runtime_t *runtime, const char *path,
                                const tacq_module_options_t *options, tacq_module_t **module) {
  ModuleViewOptions viewOptions;
  if (Error error = openModule(runtime, options, module, viewOptions))
    return toStatus(error);
  if (!path)
    return tacq_status_create(TACQ_INVALID_ARGUMENT, "the path of the module is NULL");
  std::unique_ptr<ModuleView> view;
  if (Error error = ModuleView::open(path, viewOptions, view))
    return toStatus(error);
  *module = wrap(runtime, std::move(view));
  return nullptr;
}

tacq_status_t *tacq_module_open_memory(tacq_runtime_t *runtime, const void *data, size_t size,
                                       const char *name, const tacq_module_options_t *options,
                                       tacq_module_t **module) {
  ModuleViewOptions viewOptions;
  if (Error error = openModule(runtime, options, module, viewOptions))
    return toStatus(error);
  std::unique_ptr<ModuleView> view;
  if (Error error = ModuleView::fromMemory(data, size, name ? name : "(memory)", viewOptions, view))
    return toStatus(error);
  *module = wrap(runtime, std::move(view));
  return nullptr;
}

void tacq_module_release(tacq_module_t *module) {
  if (module)
    module->release();
}

size_t tacq_module_input_count(const tacq_module_t *module) { return module->inputs.size(); }

size_t tacq_module_output_count(const tacq_module_t *module) { return module->outputs.size(); }

size_t tacq_module_state_count(const tacq_module_t *module) {
  return sizeOf(module->view->metadata().states());
}

static Error describeTensor(const std::vector<TensorDescription> &all, const char *kind,
                            size_t index, tacq_tensor_info_t *info) {
  if (index >= all.size())
    return makeError(TACQ_INVALID_ARGUMENT, "there is no %s %zu; the module has %zu", kind, index,
                     all.size());
  const TensorDescription &tensor = all[index];
  tacq_tensor_info_t result = {};
  result.name = tensor.name.c_str();
  result.element_type = tensor.type;
  result.rank = static_cast<int32_t>(tensor.dims.size());
  result.dims = tensor.dims.data();
  result.dim_texts = tensor.dimTexts.data();
  result.state = tensor.state;
  return writeInfo(result, info);
}

tacq_status_t *tacq_module_input_info(const tacq_module_t *module, size_t index,
                                      tacq_tensor_info_t *info) {
  return toStatus(describeTensor(module->inputs, "input", index, info));
}

tacq_status_t *tacq_module_output_info(const tacq_module_t *module, size_t index,
                                       tacq_tensor_info_t *info) {
  return toStatus(describeTensor(module->outputs, "output", index, info));
}

static int64_t findTensor(const std::vector<TensorDescription> &all, const char *name) {
  for (size_t i = 0; name && i < all.size(); ++i)
    if (all[i].name == name)
      return static_cast<int64_t>(i);
  return -1;
}

int64_t tacq_module_find_input(const tacq_module_t *module, const char *name) {
  return findTensor(module->inputs, name);
}

int64_t tacq_module_find_output(const tacq_module_t *module, const char *name) {
  return findTensor(module->outputs, name);
}

const char *tacq_module_metadata(const tacq_module_t *module, const char *key) {
  const format::Module &metadata = module->view->metadata();
  if (!key)
    return nullptr;
  const struct {
    const char *key;
    const flatbuffers::String *value;
  } fixed[] = {{"producer", metadata.producer()},
               {"model_name", metadata.model_name()},
               {"model_hash", metadata.model_hash()}};
  for (const auto &entry : fixed)
    if (strcmp(key, entry.key) == 0)
      return entry.value ? entry.value->c_str() : nullptr;
  for (uint32_t i = 0; i < sizeOf(metadata.metadata()); ++i)
    if (strcmp(key, metadata.metadata()->Get(i)->key()->c_str()) == 0)
      return metadata.metadata()->Get(i)->value()->c_str();
  return nullptr;
}
