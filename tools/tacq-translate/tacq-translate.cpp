//===- tacq-translate.cpp - Translations to and from the compiler's IR ----===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "tacq/CPU/CpuTarget.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"
#include "tacq/ExitCode.h"
#include "tacq/Import/OnnxImport.h"
#include "tacq/OutputFile.h"
#include "tacq/Register.h"
#include "tacq/TextFile.h"
#include "tacq/Vulkan/VulkanTarget.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SHA256.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

static cl::OptionCategory category("tacq-translate options");
static cl::opt<std::string> input(cl::Positional, cl::desc("MODEL"), cl::Required,
                                  cl::cat(category));
static cl::opt<std::string> output("o", cl::desc("Output file"), cl::value_desc("file"),
                                   cl::init("-"), cl::cat(category));
static cl::opt<bool> importOnnxModel("import-onnx", cl::desc("Turn an ONNX model into IR"),
                                     cl::cat(category));
static cl::opt<bool>
    listParameters("list-parameters",
                   cl::desc("List name, type, size in bytes and SHA-256 of the parameters of an "
                            "ONNX model, or of IR (.mlir, .mlirbc)"),
                   cl::cat(category));
static cl::opt<bool> compileKernels(
    "kernels-to-assembly",
    cl::desc("Compile kernels, as tacq-opt --tacq-emit-cpu-kernels makes them, to assembly"),
    cl::cat(category));
static cl::opt<std::string> compileShader(
    "kernel-to-spirv",
    cl::desc("Compile one of the kernels, as tacq-opt --tacq-emit-vulkan-kernels makes them, to a "
             "shader: binary SPIR-V"),
    cl::value_desc("kernel"), cl::cat(category));
static cl::opt<std::string>
    targetName("target",
               cl::desc("The CPU target of the kernels, or the Vulkan profile of the shader"),
               cl::value_desc("target"), cl::cat(category));
static cl::opt<std::string>
    modelFolder("model-folder", cl::desc("Where the files are that the parameters of IR name"),
                cl::value_desc("folder"), cl::cat(category));
static cl::opt<bool> printLocations("print-locations", cl::desc("Print each node's location"),
                                    cl::cat(category));

static int fail(const tacq::Error &error) {
  errs() << "tacq-translate: error: " << error.message() << "\n";
  return tacq::exitStatus(error);
}

static tacq::Error importModel(mlir::MLIRContext &context, tacq::ImportedModel &model) {
  tacq::Error error = tacq::importOnnx(input, context, {}, model);
  for (const std::string &warning : model.warnings)
    errs() << "tacq-translate: warning: " << warning << "\n";
  return error;
}

static int writeOutput(function_ref<void(raw_ostream &)> print) {
  tacq::Error error = tacq::writeTextFile(output, print);
  return error ? fail(error) : 0;
}

static int runImportOnnx(mlir::MLIRContext &context) {
  tacq::ImportedModel model;
  if (tacq::Error error = importModel(context, model))
    return fail(error);
  mlir::OpPrintingFlags flags;
  flags.enableDebugInfo(printLocations);
  return writeOutput([&](raw_ostream &out) {
    model.module->print(out, flags);
    out << "\n";
  });
}

static int runListParameters(mlir::MLIRContext &context) {
  tacq::ImportedModel model;
  StringRef extension = sys::path::extension(input);
  if (extension == ".mlir" || extension == ".mlirbc") {
    context.loadDialect<tacq::TACQDialect, mlir::func::FuncDialect>();
    model.module = mlir::parseSourceFile<mlir::ModuleOp>(input, &context);
    // The parser has said where and what.
    if (!model.module)
      return static_cast<int>(tacq::ExitCode::InvalidInput);
    StringRef folder = modelFolder.empty() ? sys::path::parent_path(input) : StringRef(modelFolder);
    if (tacq::Error error = tacq::ParameterStore::open(*model.module, folder, model.parameters))
      return fail(error);
  } else if (tacq::Error error = importModel(context, model)) {
    return fail(error);
  }
  return writeOutput([&](raw_ostream &out) {
    for (tacq::ParamOp param : model.module->getOps<tacq::ParamOp>()) {
      ArrayRef<char> bytes = model.parameters.bytes(param.getSymName());
      auto digest = SHA256::hash(
          ArrayRef<uint8_t>(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()));
      out << param.getSymName() << " " << param.getType() << " " << bytes.size() << " "
          << toHex(digest, /*LowerCase=*/true) << "\n";
    }
  });
}

static int runCompileKernels(mlir::MLIRContext &context) {
  std::optional<tacq::CpuTarget> target =
      tacq::parseCpuTarget(targetName.empty() ? "host" : targetName.getValue());
  if (!target)
    return fail(tacq::Error(TACQ_INVALID_ARGUMENT, "unknown target '" + targetName +
                                                       "': targets are host, " +
                                                       join(tacq::cpuTargetNames(), ", ")));
  context.loadDialect<mlir::arith::ArithDialect, mlir::func::FuncDialect, mlir::LLVM::LLVMDialect,
                      mlir::math::MathDialect, mlir::memref::MemRefDialect, mlir::scf::SCFDialect,
                      mlir::vector::VectorDialect, tacq::TACQDialect>();
  mlir::OwningOpRef<mlir::ModuleOp> module = mlir::parseSourceFile<mlir::ModuleOp>(input, &context);
  // The parser, and the compiler, say where and what.
  if (!module)
    return static_cast<int>(tacq::ExitCode::InvalidInput);
  for (auto function : module->getOps<mlir::func::FuncOp>())
    function->removeAttr("tacq.tasks");
  std::string assembly;
  SmallVector<char, 0> elf;
  tacq::CpuCompileOptions options;
  options.assembly = &assembly;
  if (mlir::failed(tacq::compileCpuKernels(*module, *target, elf, options)))
    return static_cast<int>(tacq::ExitCode::InvalidInput);
  return writeOutput([&](raw_ostream &out) { out << assembly; });
}

static int runCompileShader(mlir::MLIRContext &context) {
  mlir::DialectRegistry registry;
  tacq::registerAllDialects(registry);
  context.appendDialectRegistry(registry);
  context.loadAllAvailableDialects();
  StringRef name = targetName.empty() ? "generic" : StringRef(targetName);
  tacq::VulkanProfileAttr profile = tacq::vulkanProfile(&context, name);
  if (!profile)
    return fail(tacq::Error(TACQ_INVALID_ARGUMENT, "unknown profile '" + name.str() +
                                                       "': profiles are " +
                                                       join(tacq::vulkanProfileNames(), ", ")));
  mlir::OwningOpRef<mlir::ModuleOp> module = mlir::parseSourceFile<mlir::ModuleOp>(input, &context);
  // The parser has said where and what.
  if (!module)
    return static_cast<int>(tacq::ExitCode::InvalidInput);
  for (auto function : make_early_inc_range(module->getOps<mlir::func::FuncOp>()))
    if (function.getName() != compileShader)
      function.erase();
  std::vector<tacq::VulkanShader> shaders = tacq::compileVulkanKernels(*module, profile);
  if (shaders.empty())
    return fail(
        tacq::Error(TACQ_INVALID_INPUT, "'" + input + "' has no kernel '" + compileShader + "'"));
  const tacq::VulkanShader &shader = shaders.front();
  if (!shader.refusal.empty())
    return fail(tacq::Error(TACQ_UNSUPPORTED, "the kernel '" + compileShader +
                                                  "' cannot be a shader: " + shader.refusal));
  return writeOutput([&](raw_ostream &out) {
    out.write(reinterpret_cast<const char *>(shader.code.data()),
              shader.code.size() * sizeof(uint32_t));
  });
}

int main(int argc, char **argv) {
  InitLLVM init(argc, argv);
  cl::HideUnrelatedOptions(category);
  cl::ParseCommandLineOptions(argc, argv, "Translates models to and from the compiler's IR\n");
  if (output != "-")
    if (tacq::Error error = tacq::checkOutputFile(output, tacq::OutputKind::Any))
      return fail(error);
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  if (importOnnxModel)
    return runImportOnnx(context);
  if (listParameters)
    return runListParameters(context);
  if (compileKernels)
    return runCompileKernels(context);
  if (!compileShader.empty())
    return runCompileShader(context);
  return fail(tacq::Error(TACQ_INVALID_ARGUMENT,
                          "say what to do: --import-onnx, --list-parameters, --kernels-to-assembly "
                          "or --kernel-to-spirv"));
}
