//===- Compile.cpp - From an ONNX file to a module ------------------------===//

#include "tacq/Compile.h"
#include "../Module/ModuleEmitter.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/AsmState.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/FileUtilities.h"
#include "tacq/CPU/CpuTarget.h"
#include "tacq/CPU/WeightPacking.h"
#include "tacq/Import/OnnxImport.h"
#include "tacq/Ops/OpSpec.h"
#include "tacq/Ops/Passes.h"
#include "tacq/Register.h"
#include "tacq/Schedule/Passes.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;
using namespace tacq;

void tacq::buildPipeline(OpPassManager &manager, EmitStage last,
                         const GraphPipelineOptions &options) {
  if (last == EmitStage::Import)
    return;
  manager.nest<func::FuncOp>().addPass(createInferShapes());
  if (last == EmitStage::Shapes)
    return;
  buildGraphPipeline(manager, options);
  manager.nest<func::FuncOp>().addPass(createDecompose());
  if (last == EmitStage::Fused)
    return;
  manager.addPass(createPackWeightsPass());
  manager.addPass(createFormDispatches());
  if (last == EmitStage::Dispatches)
    return;
  manager.addPass(createPlanSchedule());
}

static Error parseTargets(const std::vector<std::string> &names, std::vector<CpuTarget> &targets) {
  for (const std::string &name : names) {
    auto [driver, processor] = StringRef(name).split('=');
    if (driver != "cpu")
      return Error(TACQ_INVALID_ARGUMENT,
                   "unknown target '" + name +
                       "': targets are cpu=host, cpu=" + llvm::join(cpuTargetNames(), ", cpu="));
    std::optional<CpuTarget> target = parseCpuTarget(processor.empty() ? "host" : processor);
    if (!target)
      return Error(TACQ_INVALID_ARGUMENT, "unknown target '" + name + "': processors are host, " +
                                              llvm::join(cpuTargetNames(), ", "));
    targets.push_back(*target);
  }
  return Error();
}

namespace {
/// Collects the errors of the passes, which tell by their first word whose fault it is.
class ErrorCollector {
public:
  explicit ErrorCollector(MLIRContext &context)
      : handler(&context, [this](Diagnostic &diagnostic) {
          if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
            messages.push_back(diagnostic.str());
          else if (diagnostic.getSeverity() == DiagnosticSeverity::Remark)
            llvm::errs() << diagnostic << "\n";
          return mlir::success();
        }) {}

  Error take(StringRef file) {
    bool unsupported = false, invalid = false;
    std::string text;
    for (StringRef message : messages) {
      unsupported |= message.consume_front("unsupported ");
      invalid |= message.starts_with("node '");
      if (!text.empty())
        text += "\n";
      text += (file + ": " + message).str();
    }
    tacq_code_t code = unsupported ? TACQ_UNSUPPORTED
                       : invalid   ? TACQ_INVALID_INPUT
                                   : TACQ_INTERNAL;
    return Error(code, text);
  }

private:
  std::vector<std::string> messages;
  ScopedDiagnosticHandler handler;
};
} // namespace

static Error writeText(const std::string &path,
                       llvm::function_ref<void(llvm::raw_ostream &)> print) {
  std::string message;
  std::unique_ptr<llvm::ToolOutputFile> output = openOutputFile(path, &message);
  if (!output)
    return Error(TACQ_IO, message);
  print(output->os());
  output->keep();
  return Error();
}

static Error emitKernelText(ModuleOp module, const CpuTarget &target, EmitStage stage,
                            const std::string &path) {
  llvm::StringMap<KernelCode> codes;
  FailureOr<OwningOpRef<ModuleOp>> kernels = buildCpuKernels(module, target, codes);
  if (failed(kernels))
    return Error(TACQ_INTERNAL, "code generation for " + target.name + " failed");
  if (stage == EmitStage::Kernels)
    return writeText(path, [&](llvm::raw_ostream &os) { (*kernels)->print(os); });
  std::string assembly;
  SmallVector<char> elf;
  CpuCompileOptions options;
  options.assembly = &assembly;
  if (failed(compileCpuKernels(**kernels, target, elf, options)))
    return Error(TACQ_INTERNAL, "code generation for " + target.name + " failed");
  return writeText(path, [&](llvm::raw_ostream &os) { os << assembly; });
}

Error tacq::compileModel(const std::string &path, const CompileOptions &options) {
  std::vector<CpuTarget> targets;
  if (Error error = parseTargets(options.targets, targets))
    return error;
  auto report = [&](const char *stage, unsigned done) {
    if (options.progress)
      options.progress(stage, done, 4);
  };

  DialectRegistry registry;
  registerAllDialects(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  context.loadAllAvailableDialects();
  report("import", 0);
  ImportOptions importOptions;
  importOptions.unsupportedReason = [](StringRef domain, StringRef op, int64_t) -> std::string {
    return lookupOp(domain, op) ? "" : "TACQ does not know this operator";
  };
  ImportedModel model;
  if (Error error = importOnnx(path, context, importOptions, model))
    return error;

  report("optimize", 1);
  std::string file = llvm::sys::path::filename(path).str();
  {
    ErrorCollector errors(context);
    PassManager manager(&context);
    if (options.timing)
      manager.enableTiming();
    EmitStage last = std::min(options.emit, EmitStage::Schedule);
    GraphPipelineOptions graphOptions;
    graphOptions.remarks = options.reportRecognition;
    graphOptions.parameters = &model.parameters;
    buildPipeline(manager, last, graphOptions);
    if (failed(manager.run(*model.module)))
      return errors.take(file);
  }
  if (options.emit <= EmitStage::Schedule)
    return writeText(options.output, [&](llvm::raw_ostream &os) { model.module->print(os); });

  report("generate code", 2);
  if (options.emit != EmitStage::Module)
    return emitKernelText(*model.module, targets.front(), options.emit, options.output);
  Error error = emitModule(*model.module, targets, model.parameters, file, options.output);
  report("done", 4);
  return error;
}
