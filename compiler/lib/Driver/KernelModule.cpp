//===- KernelModule.cpp - Modules of one product --------------------------===//

#include "../Module/ModuleEmitter.h"
#include "KernelCases.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "tacq/CPU/MixedPacking.h"
#include "tacq/Compile.h"
#include "tacq/ModuleView.h"
#include "tacq/ModuleWriter.h"
#include "tacq/Register.h"
#include "tacq/Reproducer.h"
#include "tacq/VulkanExecutable.h"
#include "llvm/Support/FileSystem.h"

using namespace mlir;
using namespace tacq;

static constexpr const char *weightName = "weight";

/// @main of one linear operation with an f16 input, as a model has it before weights are packed.
static std::string productText(const KernelBenchmarkOptions &options, Type weight,
                               const std::string &parameter) {
  std::string text;
  llvm::raw_string_ostream os(text);
  auto tensor = [&](int64_t columns) {
    return "tensor<" + std::to_string(options.rows) + "x" + std::to_string(columns) + "xf16>";
  };
  std::string x = tensor(options.inputs), y = tensor(options.outputs);
  os << "module {\n  tacq.param @" << weightName << " : tensor<" << options.outputs << "x"
     << options.inputs << "xf16> from <\"\", 0, 0>\n  func.func @main(%x: " << x
     << " {tacq.name = \"x\"}) -> (" << y << " {tacq.name = \"y\"}) {\n    %w = tacq.get_param @"
     << weightName << parameter << " : " << weight
     << "\n    %y = tacq.linear %x, weights(%w) {weight_order = [0 : i32], node_name = \"y\"} : ("
     << x << ", " << weight << ") -> " << y << "\n    return %y : " << y << "\n  }\n}\n";
  return text;
}

/// The shader that reads the weight's bytes.
static Error compileReading(MLIRContext &context, VulkanProfileAttr profile, int64_t bytes,
                            VulkanShader &shader) {
  std::string words = "tensor<" + std::to_string(bytes / 4) + "xi32>", sums = "tensor<1024xi32>";
  auto source = parseSourceString<ModuleOp>("func.func @k(%w: " + words + ", %s: " + sums +
                                                ") -> " + sums + " { return %s : " + sums + " }",
                                            &context);
  if (!source)
    return Error(TACQ_INTERNAL, "the reading kernel is not understood");
  func::FuncOp function = *source->getOps<func::FuncOp>().begin();
  OwningOpRef<ModuleOp> kernels = ModuleOp::create(UnknownLoc::get(&context));
  OpBuilder builder = OpBuilder::atBlockEnd(kernels->getBody());
  KernelSymbols symbols;
  std::unique_ptr<KernelBuilder> built =
      KernelBuilder::create(builder, readingKernelName, function.getBody(), symbols);
  emitReadingShader(*built, profile, bytes);
  shader = compileVulkanKernels(*kernels, profile).front();
  return shader.refusal.empty() ? Error()
                                : Error(TACQ_INTERNAL, "the reading kernel: " + shader.refusal);
}

/// The executable with one kernel more.
static std::vector<char> addShader(const uint8_t *bytes, size_t size, const VulkanShader &shader,
                                   const tacq_vulkan_kernel &entry) {
  tacq_vulkan_header header;
  memcpy(&header, bytes, sizeof(header));
  size_t table = (header.kernel_count + header.variant_count) * sizeof(tacq_vulkan_kernel);
  std::vector<tacq_vulkan_kernel> kernels(header.kernel_count + header.variant_count);
  memcpy(kernels.data(), bytes + sizeof(header), table);
  // Variants come behind all kernels.
  for (tacq_vulkan_kernel &kernel : kernels) {
    kernel.code_offset += sizeof(tacq_vulkan_kernel);
    for (uint32_t *number : {&kernel.variant, &kernel.first})
      *number += *number != TACQ_VULKAN_NO_SHADER;
  }
  tacq_vulkan_kernel &added = *kernels.insert(kernels.begin() + header.kernel_count, entry);
  added.code_offset = size + sizeof(tacq_vulkan_kernel);
  added.code_size = shader.code.size() * sizeof(uint32_t);
  added.variant = added.first = TACQ_VULKAN_NO_SHADER;
  ++header.kernel_count;
  std::vector<char> result;
  auto append = [&](const void *data, size_t count) {
    auto *from = static_cast<const char *>(data);
    result.insert(result.end(), from, from + count);
  };
  append(&header, sizeof(header));
  append(kernels.data(), kernels.size() * sizeof(kernels[0]));
  append(bytes + sizeof(header) + table, size - sizeof(header) - table);
  append(shader.code.data(), shader.code.size() * sizeof(uint32_t));
  return result;
}

/// Copies the module at `from`, with the reading kernel in each executable.
static Error addReading(MLIRContext &context, ArrayRef<VulkanProfileAttr> profiles,
                        const std::string &from, const std::string &to) {
  std::unique_ptr<ModuleView> view;
  if (Error error = ModuleView::open(from, {}, view))
    return error;
  std::unique_ptr<ModuleWriter> writer;
  if (Error error = ModuleWriter::create(to, writer))
    return error;
  format::ModuleT contents;
  view->metadata().UnPackTo(&contents);
  contents.constants.clear();
  contents.executables.clear();
  ++contents.kernel_count;
  writer->module() = std::move(contents);
  uint32_t index;
  int64_t weightBytes = 0;
  for (const format::Constant *constant : *view->metadata().constants()) {
    weightBytes = std::max(weightBytes, int64_t(constant->size()));
    if (Error error = writer->addConstant(constant->name()->str(), view->bytes(*constant),
                                          constant->size(), index))
      return error;
  }
  for (auto [executable, profile] : llvm::zip(*view->metadata().executables(), profiles)) {
    if (sizeOf(executable->absent()) != 0)
      return Error(TACQ_UNSUPPORTED,
                   "there is no shader of this product for vulkan=" + executable->target()->str());
    VulkanShader shader;
    if (Error error = compileReading(context, profile, weightBytes, shader))
      return error;
    tacq_vulkan_kernel entry = {};
    entry.read_count = 2;
    entry.buffer_count = 3;
    entry.task_symbol = TACQ_VULKAN_NO_SYMBOL;
    entry.tasks_per_group = 1;
    entry.task_count = readingTasks(profile, weightBytes);
    std::vector<char> bytes =
        addShader(view->bytes(*executable), executable->size(), shader, entry);
    format::ExecutableT made;
    executable->UnPackTo(&made);
    made.kernels.push_back(readingKernelName);
    std::set<std::string> features(made.features.begin(), made.features.end());
    addVulkanFeatures(features, shader.features);
    made.features.assign(features.begin(), features.end());
    if (Error error = writer->addExecutable(made, bytes.data(), bytes.size(), index))
      return error;
  }
  return writer->finish();
}

Error tacq::compileKernelModule(const KernelBenchmarkOptions &options,
                                const std::vector<std::string> &profileNames,
                                const std::string &path) {
  DialectRegistry registry;
  registerAllDialects(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  context.loadAllAvailableDialects();
  ModuleTargets targets;
  for (const std::string &name : profileNames) {
    VulkanProfileAttr profile = vulkanProfile(&context, name);
    if (!profile)
      return Error(TACQ_INVALID_ARGUMENT, "there is no profile 'vulkan=" + name +
                                              "': profiles are " +
                                              llvm::join(vulkanProfileNames(), ", "));
    targets.vulkan.push_back(profile);
  }
  ParameterStore parameters;
  llvm::StringMap<MixedWeight> weights;
  Type weightType;
  std::string layout;
  if (options.format.bits == 16) {
    weightType =
        RankedTensorType::get({options.outputs, options.inputs}, Float16Type::get(&context));
    parameters.add(weightName, parameters.own(std::vector<char>(
                                   options.outputs * options.inputs * sizeof(uint16_t), 0x24)));
  } else {
    MixedWeight &weight = weights[weightName] = randomWeight(options);
    MixedType type = cpuMixedType(&context, weight);
    llvm::raw_string_ostream os(layout);
    os << " {layout = " << cpuMixedLayout(type, !weight.order.empty()) << "}";
    weightType = type;
  }
  OwningOpRef<ModuleOp> module =
      parseSourceString<ModuleOp>(productText(options, weightType, layout), &context);
  if (!module)
    return Error(TACQ_INTERNAL, "the kernel of the measurement is not understood");
  PassManager manager(&context);
  buildModuleStages(manager, EmitStage::Schedule, parameters, {}, /*narrowDense=*/false,
                    /*activations=*/"int8", {}, /*forShaders=*/true, /*nextToken=*/false);
  if (Error error = runPasses(manager, *module, "kernel"))
    return error;
  std::string product = path + ".product";
  Error error = emitModule(*module, targets, parameters, "kernel", product, &weights);
  if (!error)
    error = addReading(context, targets.vulkan, product, path);
  if (llvm::sys::fs::remove(product) && !error)
    return Error(TACQ_IO, "the file '" + product + "' stays and cannot be removed");
  return error;
}
