//===- tacq-translate.cpp - Translations to and from the compiler's IR ----===//

#include "mlir/IR/MLIRContext.h"
#include "tacq/ExitCode.h"
#include "tacq/Import/OnnxImport.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

static cl::OptionCategory category("tacq-translate options");
static cl::opt<std::string> input(cl::Positional, cl::desc("MODEL"), cl::Required,
                                  cl::cat(category));
static cl::opt<std::string> output("o", cl::desc("Output file"), cl::value_desc("file"),
                                   cl::init("-"), cl::cat(category));
static cl::opt<bool> importOnnxModel("import-onnx", cl::desc("Turn an ONNX model into IR"),
                                     cl::cat(category));
static cl::opt<bool> printLocations("print-locations", cl::desc("Print each node's location"),
                                    cl::cat(category));

static int fail(const tacq::Error &error) {
  errs() << "tacq-translate: error: " << error.message() << "\n";
  return tacq::exitStatus(error);
}

static int runImportOnnx() {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  tacq::ImportedModel model;
  tacq::Error error = tacq::importOnnx(input, context, {}, model);
  for (const std::string &warning : model.warnings)
    errs() << "tacq-translate: warning: " << warning << "\n";
  if (error)
    return fail(error);
  mlir::OpPrintingFlags flags;
  flags.enableDebugInfo(printLocations);
  // Written beside and renamed, so that nobody sees half of it.
  llvm::Error written = writeToOutput(output, [&](raw_ostream &out) {
    model.module->print(out, flags);
    out << "\n";
    return llvm::Error::success();
  });
  if (written)
    return fail(tacq::Error(TACQ_INVALID_ARGUMENT,
                            "'" + output + "' cannot be written: " + toString(std::move(written))));
  return 0;
}

int main(int argc, char **argv) {
  InitLLVM init(argc, argv);
  cl::HideUnrelatedOptions(category);
  cl::ParseCommandLineOptions(argc, argv, "Translates models to and from the compiler's IR\n");
  if (importOnnxModel)
    return runImportOnnx();
  return fail(tacq::Error(TACQ_INVALID_ARGUMENT, "say what to do: --import-onnx"));
}
