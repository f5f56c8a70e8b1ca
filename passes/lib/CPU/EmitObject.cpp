//===- EmitObject.cpp - LLVM IR to a relocatable object -------------------===//

#include "CpuPipeline.h"
#include "llvm/Analysis/TargetLibraryInfo.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/Utils/Cloning.h"

using namespace tacq;

std::unique_ptr<llvm::TargetMachine>
tacq::makeTargetMachine(const CpuTarget &target, unsigned optLevel, mlir::Location loc) {
  static const bool initialized = [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
    LLVMInitializeAArch64AsmParser();
    return true;
  }();
  (void)initialized;
  std::string message;
  const llvm::Target *backend = llvm::TargetRegistry::lookupTarget(target.triple, message);
  if (!backend) {
    mlir::emitError(loc) << "no code generator for " << target.triple << ": " << message;
    return nullptr;
  }
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Standard;
  return std::unique_ptr<llvm::TargetMachine>(
      backend->createTargetMachine(target.triple, target.cpu, target.features, options,
                                   llvm::Reloc::PIC_, llvm::CodeModel::Small,
                                   optLevel >= 3   ? llvm::CodeGenOptLevel::Aggressive
                                   : optLevel >= 1 ? llvm::CodeGenOptLevel::Default
                                                   : llvm::CodeGenOptLevel::None));
}

namespace {

void optimize(llvm::Module &module, llvm::TargetMachine &machine, unsigned optLevel) {
  llvm::PipelineTuningOptions tuning;
  tuning.LoopVectorization = true;
  tuning.SLPVectorization = true;
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(&machine, tuning);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  llvm::OptimizationLevel level = optLevel >= 3   ? llvm::OptimizationLevel::O3
                                  : optLevel == 2 ? llvm::OptimizationLevel::O2
                                                  : llvm::OptimizationLevel::O1;
  llvm::ModulePassManager passes = optLevel == 0
                                       ? builder.buildO0DefaultPipeline(llvm::OptimizationLevel::O0)
                                       : builder.buildPerModuleDefaultPipeline(level);
  passes.run(module, modules);
}

mlir::LogicalResult codegen(llvm::Module &module, llvm::TargetMachine &machine,
                            llvm::CodeGenFileType type, llvm::SmallVectorImpl<char> &output,
                            mlir::Location loc) {
  llvm::raw_svector_ostream stream(output);
  llvm::legacy::PassManager passes;
  passes.add(new llvm::TargetLibraryInfoWrapperPass(machine.getTargetTriple()));
  if (machine.addPassesToEmitFile(passes, stream, nullptr, type))
    return mlir::emitError(loc) << "the code generator cannot write this kind of file";
  passes.run(module);
  return mlir::success();
}

} // namespace

mlir::LogicalResult tacq::emitObject(llvm::Module &module, llvm::TargetMachine &machine,
                                     const CpuCompileOptions &options,
                                     llvm::SmallVectorImpl<char> &object, mlir::Location loc) {
  module.setTargetTriple(machine.getTargetTriple().str());
  module.setDataLayout(machine.createDataLayout());
  module.setPICLevel(llvm::PICLevel::BigPIC);
  optimize(module, machine, options.optLevel);
  if (options.llvmIR) {
    llvm::raw_string_ostream stream(*options.llvmIR);
    module.print(stream, nullptr);
  }
  if (options.assembly) {
    // Code generation changes the module: the text is made from a copy.
    std::unique_ptr<llvm::Module> copy = llvm::CloneModule(module);
    llvm::SmallString<0> text;
    if (failed(codegen(*copy, machine, llvm::CodeGenFileType::AssemblyFile, text, loc)))
      return mlir::failure();
    *options.assembly = text.str().str();
  }
  return codegen(module, machine, llvm::CodeGenFileType::ObjectFile, object, loc);
}
