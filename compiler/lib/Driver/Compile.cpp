//===- Compile.cpp - From an ONNX file to a module ------------------------===//

#include "tacq/Compile.h"
#include "../Module/ModuleEmitter.h"
#include "TuneKernels.h"
#include "mlir/AsmParser/AsmParser.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassManager.h"
#include "tacq/CPU/CpuTarget.h"
#include "tacq/CPU/LinearTiling.h"
#include "tacq/CPU/MixedPacking.h"
#include "tacq/CPU/Passes.h"
#include "tacq/CPU/WeightPacking.h"
#include "tacq/Calibration/Passes.h"
#include "tacq/Half.h"
#include "tacq/Import/OnnxImport.h"
#include "tacq/Ops/OpSpec.h"
#include "tacq/Ops/Passes.h"
#include "tacq/OutputFile.h"
#include "tacq/Quantize/Passes.h"
#include "tacq/Register.h"
#include "tacq/Reproducer.h"
#include "tacq/Schedule/Passes.h"
#include "tacq/TextFile.h"
#include "tacq/Vulkan/VulkanTarget.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace tacq;

void tacq::buildGraphStages(OpPassManager &manager, EmitStage last,
                            const GraphPipelineOptions &options) {
  if (last == EmitStage::Import)
    return;
  manager.nest<func::FuncOp>().addPass(createInferShapes());
  if (last == EmitStage::Shapes)
    return;
  buildGraphPipeline(manager, options);
  manager.nest<func::FuncOp>().addPass(createDecompose());
}

void tacq::buildModuleStages(OpPassManager &manager, EmitStage last, ParameterStore &parameters,
                             llvm::StringMap<MixedWeightForm> mixed, bool narrowDense,
                             const std::string &activations, ArrayRef<std::string> cpuTargets,
                             bool forShaders, bool nextToken) {
  if (last <= EmitStage::Fused)
    return;
  if (!mixed.empty())
    manager.addPass(createUseMixedWeights(std::move(mixed)));
  if (narrowDense)
    manager.addPass(createNarrowParameters(parameters));
  if (last == EmitStage::Quantized)
    return;
  if (nextToken)
    manager.nest<func::FuncOp>().addPass(createAppendNextToken());
  manager.addPass(createPackWeights({activations}));
  manager.addPass(createFormDispatches({/*fuseRows=*/true, /*repeatRows=*/forShaders}));
  manager.addPass(createTileKernels({SmallVector<std::string>(cpuTargets)}));
  if (last == EmitStage::Dispatches)
    return;
  manager.addPass(createPlanSchedule());
}

/// Hands tilings to tacq-tile-kernels.
static Error setTilings(ModuleOp module, const std::vector<KernelTiling> &tilings) {
  SmallVector<Attribute> attributes;
  for (const KernelTiling &tiling : tilings) {
    Type weight;
    {
      ScopedDiagnosticHandler handler(module.getContext(),
                                      [](Diagnostic &) { return mlir::success(); });
      weight = parseType(tiling.weight, module.getContext());
    }
    if (!isa_and_nonnull<MixedType>(weight))
      return Error(TACQ_INVALID_INPUT, "the plan's kernels name the weight '" + tiling.weight +
                                           "', which is no mixed-precision type; have "
                                           "--tune-kernels write them again");
    attributes.push_back(TilingAttr::get(module.getContext(), tiling.target, weight,
                                         tiling.taskRows, tiling.prefetch));
  }
  if (!attributes.empty())
    module->setAttr(tilingsAttribute, ArrayAttr::get(module.getContext(), attributes));
  return Error();
}

static std::string knownTargets() {
  return "targets are cpu=host, cpu=" + llvm::join(cpuTargetNames(), ", cpu=") +
         ", vulkan=" + llvm::join(vulkanProfileNames(), ", vulkan=");
}

static Error parseTargets(const std::vector<std::string> &names, MLIRContext &context,
                          ModuleTargets &targets) {
  if (names.empty())
    return Error(TACQ_INVALID_ARGUMENT, "there is no target: " + knownTargets());
  for (const std::string &name : names) {
    auto [driver, kind] = StringRef(name).split('=');
    if (driver == "vulkan") {
      VulkanProfileAttr profile = vulkanProfile(&context, kind.empty() ? "generic" : kind);
      if (!profile)
        return Error(TACQ_INVALID_ARGUMENT, "unknown target '" + name + "': profiles are " +
                                                llvm::join(vulkanProfileNames(), ", "));
      if (!llvm::is_contained(targets.vulkan, profile))
        targets.vulkan.push_back(profile);
      continue;
    }
    if (driver != "cpu")
      return Error(TACQ_INVALID_ARGUMENT, "unknown target '" + name + "': " + knownTargets());
    std::optional<CpuTarget> target = parseCpuTarget(kind.empty() ? "host" : kind);
    if (!target)
      return Error(TACQ_INVALID_ARGUMENT, "unknown target '" + name + "': processors are host, " +
                                              llvm::join(cpuTargetNames(), ", "));
    // "host" may be another name of one that is there.
    if (llvm::none_of(targets.cpu,
                      [&](const CpuTarget &other) { return other.name == target->name; }))
      targets.cpu.push_back(*target);
  }
  return Error();
}

static Error emitKernelText(ModuleOp module, const CpuTarget &target, EmitStage stage,
                            const std::string &path) {
  llvm::StringMap<KernelCode> codes;
  FailureOr<OwningOpRef<ModuleOp>> kernels = buildCpuKernels(module, target, codes);
  if (failed(kernels))
    return Error(TACQ_INTERNAL, "code generation for " + target.name + " failed");
  if (stage == EmitStage::Kernels)
    return writeTextFile(path, [&](llvm::raw_ostream &os) { (*kernels)->print(os); });
  std::string assembly;
  SmallVector<char> elf;
  CpuCompileOptions options;
  options.assembly = &assembly;
  if (failed(compileCpuKernels(**kernels, target, elf, options)))
    return Error(TACQ_INTERNAL, "code generation for " + target.name + " failed");
  return writeTextFile(path, [&](llvm::raw_ostream &os) { os << assembly; });
}

/// Of the first CPU target, or else of the first profile.
static Error emitText(ModuleOp module, const ModuleTargets &targets, EmitStage stage,
                      const std::string &path) {
  if (!targets.cpu.empty())
    return emitKernelText(module, targets.cpu.front(), stage, path);
  llvm::StringMap<KernelCode> codes;
  llvm::StringMap<std::string> refusals;
  OwningOpRef<ModuleOp> kernels =
      buildVulkanKernels(module, targets.vulkan.front(), codes, refusals);
  StringRef profile = targets.vulkan.front().getName();
  for (const auto &refusal : refusals)
    llvm::errs() << "remark: the kernel '" << refusal.first()
                 << "' has no shader for vulkan=" << profile << ": " << refusal.second << "\n";
  if (stage == EmitStage::Assembly) {
    PassManager manager(module.getContext());
    buildVulkanPipeline(manager, profile);
    if (failed(manager.run(*kernels)))
      return Error(TACQ_UNSUPPORTED, "code generation for vulkan=" + profile.str() + " failed");
  }
  return writeTextFile(path, [&](llvm::raw_ostream &os) { kernels->print(os); });
}

/// Gives parameters of f32 or f16 other elements.
static Error replaceParameters(ModuleOp module, const llvm::StringMap<std::vector<float>> &elements,
                               ParameterStore &store) {
  for (const auto &entry : elements) {
    auto param = module.lookupSymbol<ParamOp>(entry.first());
    auto type = param ? dyn_cast<RankedTensorType>(param.getType()) : RankedTensorType();
    if (!type || size_t(type.getNumElements()) != entry.second.size() ||
        !(type.getElementType().isF32() || type.getElementType().isF16()))
      return Error(TACQ_INTERNAL, "there is no parameter '" + entry.first().str() +
                                      "' of as many numbers as were tuned");
    std::vector<char> bytes;
    for (float value : entry.second) {
      uint16_t half = halfFromFloat(value);
      bool isHalf = type.getElementType().isF16();
      const char *from =
          isHalf ? reinterpret_cast<const char *>(&half) : reinterpret_cast<const char *>(&value);
      bytes.insert(bytes.end(), from, from + (isHalf ? sizeof(half) : sizeof(value)));
    }
    store.add(entry.first(), store.own(std::move(bytes)));
  }
  return Error();
}

Error tacq::compileModel(const std::string &path, const CompileOptions &options) {
  DialectRegistry registry;
  registerAllDialects(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  context.loadAllAvailableDialects();
  ModuleTargets targets;
  if (Error error = parseTargets(options.targets, context, targets))
    return error;
  if (options.output == "-" && options.emit == EmitStage::Module)
    return Error(TACQ_INVALID_ARGUMENT, "a module cannot be written to the standard output");
  if (options.output != "-")
    if (Error error = checkOutputFile(options.output, options.emit == EmitStage::Module
                                                          ? OutputKind::RegularFile
                                                          : OutputKind::Any))
      return error;
  auto report = [&](const char *stage, unsigned done) {
    if (options.progress)
      options.progress(stage, done, 4);
  };

  report("import", 0);
  ImportOptions importOptions;
  importOptions.unsupportedReason = [](StringRef domain, StringRef op, int64_t) -> std::string {
    return lookupOp(domain, op) ? "" : "TACQ does not know this operator";
  };
  ImportedModel model;
  if (Error error = importOnnx(path, context, importOptions, model))
    return error;

  if (model.parameters.usesFile(options.output))
    return Error(TACQ_INVALID_ARGUMENT, "the output '" + options.output +
                                            "' is a file of the model '" + path + "' itself");
  for (const std::string &warning : model.warnings)
    llvm::errs() << "warning: " << warning << "\n";

  report("optimize", 1);
  std::string file = llvm::sys::path::filename(path).str();
  GraphPipelineOptions graphOptions;
  graphOptions.remarks = options.reportRecognition;
  graphOptions.parameters = &model.parameters;
  EmitStage last = std::min(options.emit, EmitStage::Schedule);
  auto run = [&](llvm::function_ref<void(PassManager &)> build) {
    PassManager manager(&context);
    if (options.timing)
      manager.enableTiming();
    build(manager);
    return runPasses(manager, *model.module, file);
  };
  if (Error error =
          run([&](PassManager &manager) { buildGraphStages(manager, last, graphOptions); }))
    return error;
  QuantizedModel quantized;
  if (options.quantize && last >= EmitStage::Quantized) {
    if (Error error = options.quantize(quantized))
      return error;
    if (Error error = replaceParameters(*model.module, quantized.parameters, model.parameters))
      return error;
  }
  const llvm::StringMap<MixedWeight> &weights = quantized.weights;
  if (!quantized.metadata.empty()) {
    NamedAttrList entries;
    for (const auto &entry : quantized.metadata)
      entries.append(entry.first(), StringAttr::get(&context, entry.second));
    (*model.module)->setAttr(metadataAttribute, entries.getDictionary(&context));
  }
  llvm::StringMap<MixedWeightForm> forms;
  for (const auto &entry : weights) {
    MixedType type = cpuMixedType(&context, entry.second);
    forms[entry.first()] = {type, cpuMixedLayout(type, !entry.second.order.empty())};
  }
  std::vector<KernelTiling> tilings = options.tilings;
  if (options.recordTilings) {
    report("tune kernels", 1);
    if (Error error = tuneKernels(weights, context, targets.cpu, tilings))
      return error;
    if (Error error = options.recordTilings(tilings))
      return error;
  }
  if (Error error = setTilings(*model.module, tilings))
    return error;
  SmallVector<std::string> cpuTargets;
  for (const CpuTarget &target : targets.cpu)
    cpuTargets.push_back(target.name);
  if (Error error = run([&](PassManager &manager) {
        if (options.bf16Products)
          manager.addNestedPass<func::FuncOp>(createAllowBf16());
        buildModuleStages(manager, last, model.parameters, forms, options.narrowDense,
                          options.activations, cpuTargets, !targets.vulkan.empty(),
                          options.nextToken.value_or(!targets.vulkan.empty()));
      }))
    return error;
  if (options.emit <= EmitStage::Schedule)
    return writeTextFile(options.output, [&](llvm::raw_ostream &os) { model.module->print(os); });

  report("generate code", 2);
  std::vector<std::string> remarks;
  Error error = runGuarded(*model.module, file, [&] {
    if (options.emit != EmitStage::Module)
      return emitText(*model.module, targets, options.emit, options.output);
    return emitModule(*model.module, targets, model.parameters, file, options.output, &weights,
                      nullptr, &remarks);
  });
  for (const std::string &remark : remarks)
    llvm::errs() << "remark: " << remark << "\n";
  if (!error)
    report("done", 4);
  return error;
}
