//===- CompileKernels.cpp - Kernel functions to one shared object ---------===//

#include "CpuPipeline.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Target/TargetMachine.h"

using namespace mlir;
using namespace tacq;

namespace {

FailureOr<KernelSignature> signatureOf(func::FuncOp function) {
  KernelSignature signature{function.getName().str(), {}};
  unsigned count = function.getNumArguments(), indices = 0;
  for (unsigned i = 0; i < count; ++i) {
    Type type = function.getArgument(i).getType();
    if (isa<IndexType>(type)) {
      ++indices;
      signature.arguments.push_back(KernelArgument::Index);
      continue;
    }
    auto buffer = dyn_cast<MemRefType>(type);
    if (!buffer || buffer.getRank() != 1 || !buffer.getLayout().isIdentity())
      return function.emitError() << "argument " << i << " of a kernel is neither a flat buffer "
                                  << "nor an index, but " << type;
    signature.arguments.push_back(i + 1 == count ? KernelArgument::Status
                                  : function.getArgAttr(i, "tacq.may_alias")
                                      ? KernelArgument::AliasedBuffer
                                      : KernelArgument::Buffer);
    function.removeArgAttr(i, "tacq.may_alias");
  }
  if (indices < 2 || signature.arguments.back() != KernelArgument::Status)
    return function.emitError() << "a kernel ends with its first and last task and the status";
  return signature;
}

LogicalResult compileAll(ModuleOp kernels, const CpuTarget &target, SmallVectorImpl<char> &elf,
                         const CpuCompileOptions &options) {
  Location loc = kernels.getLoc();
  SmallVector<KernelSignature> signatures;
  for (auto function : kernels.getOps<func::FuncOp>()) {
    if (function.isDeclaration())
      continue;
    FailureOr<KernelSignature> signature = signatureOf(function);
    if (failed(signature))
      return failure();
    signatures.push_back(std::move(*signature));
  }
  if (failed(lowerToLLVMDialect(kernels)))
    return failure();
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> module = translateKernels(kernels, signatures, target, context);
  if (!module)
    return failure();
  std::unique_ptr<llvm::TargetMachine> machine = makeTargetMachine(target, options.optLevel, loc);
  if (!machine)
    return failure();
  SmallVector<char, 0> object;
  if (failed(emitObject(*module, *machine, options, object, loc)))
    return failure();
  return linkSharedObject(object, elf, loc);
}

} // namespace

LogicalResult tacq::compileCpuKernels(ModuleOp kernels, const CpuTarget &target,
                                      SmallVectorImpl<char> &elf,
                                      const CpuCompileOptions &options) {
  if (!options.cache)
    return compileAll(kernels, target, elf, options);
  std::string key = target.name + "\n";
  llvm::raw_string_ostream stream(key);
  kernels->print(stream, OpPrintingFlags().useLocalScope());
  auto known = options.cache->find(key);
  if (known != options.cache->end()) {
    elf.append(known->second.begin(), known->second.end());
    return success();
  }
  size_t begin = elf.size();
  if (failed(compileAll(kernels, target, elf, options)))
    return failure();
  (*options.cache)[key].assign(elf.begin() + begin, elf.end());
  return success();
}
