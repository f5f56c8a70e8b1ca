//===- TranslateKernels.cpp - LLVM dialect to LLVM IR with entry points ---===//

#include "CpuPipeline.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/Module.h"

using namespace tacq;

namespace {

/// A rank-1 memref arrives as (allocated, aligned, offset, size, stride).
constexpr unsigned descriptorFields = 5;

/// The function with a plain pointer for each buffer. Offsets are 0 and strides 1.
llvm::Function *makeBody(llvm::Function &lowered, const KernelSignature &signature) {
  llvm::LLVMContext &context = lowered.getContext();
  llvm::Type *pointer = llvm::PointerType::getUnqual(context);
  llvm::Type *index = llvm::Type::getInt64Ty(context);
  llvm::SmallVector<llvm::Type *> types;
  for (KernelArgument argument : signature.arguments)
    types.push_back(argument == KernelArgument::Index ? index : pointer);
  auto *body = llvm::Function::Create(
      llvm::FunctionType::get(llvm::Type::getVoidTy(context), types, false),
      llvm::GlobalValue::InternalLinkage, signature.name + ".body", lowered.getParent());
  body->splice(body->end(), &lowered);
  unsigned from = 0;
  for (auto [to, argument] : llvm::enumerate(signature.arguments)) {
    if (argument == KernelArgument::Index) {
      lowered.getArg(from++)->replaceAllUsesWith(body->getArg(to));
      continue;
    }
    lowered.getArg(from)->replaceAllUsesWith(body->getArg(to));
    lowered.getArg(from + 1)->replaceAllUsesWith(body->getArg(to));
    lowered.getArg(from + 2)->replaceAllUsesWith(llvm::ConstantInt::get(index, 0));
    lowered.getArg(from + 3)->replaceAllUsesWith(llvm::PoisonValue::get(index));
    lowered.getArg(from + 4)->replaceAllUsesWith(llvm::ConstantInt::get(index, 1));
    from += descriptorFields;
    if (argument != KernelArgument::AliasedBuffer)
      body->addParamAttr(to, llvm::Attribute::NoAlias);
    body->addParamAttr(to, llvm::Attribute::NoCapture);
  }
  lowered.eraseFromParent();
  // Inlined into the entry point, the arguments would lose what is known of their aliasing.
  body->addFnAttr(llvm::Attribute::NoInline);
  return body;
}

/// void name(const tacq_kernel_args *args, int64_t begin, int64_t end, int32_t worker)
void makeEntry(llvm::Function &body, const KernelSignature &signature) {
  llvm::LLVMContext &context = body.getContext();
  llvm::Type *pointer = llvm::PointerType::getUnqual(context);
  llvm::Type *index = llvm::Type::getInt64Ty(context);
  auto *type =
      llvm::FunctionType::get(llvm::Type::getVoidTy(context),
                              {pointer, index, index, llvm::Type::getInt32Ty(context)}, false);
  auto *entry = llvm::Function::Create(type, llvm::GlobalValue::ExternalLinkage, signature.name,
                                       body.getParent());
  llvm::IRBuilder<> b(llvm::BasicBlock::Create(context, "", entry));
  // The fields of tacq_kernel_args are eight bytes each: bindings, symbols, status.
  auto field = [&](unsigned i) {
    return b.CreateLoad(pointer, b.CreateConstGEP1_64(pointer, entry->getArg(0), i));
  };
  llvm::Value *bindings = field(0), *symbols = field(1);
  unsigned indexCount = llvm::count(signature.arguments, KernelArgument::Index);
  unsigned binding = 0, symbol = 0;
  llvm::SmallVector<llvm::Value *> arguments;
  for (KernelArgument argument : signature.arguments) {
    if (argument == KernelArgument::Index) {
      // The last two are begin and end.
      unsigned i = symbol++;
      if (i + 2 < indexCount)
        arguments.push_back(b.CreateLoad(index, b.CreateConstGEP1_64(index, symbols, i)));
      else
        arguments.push_back(entry->getArg(i + 3 - indexCount));
    } else if (argument == KernelArgument::Status) {
      arguments.push_back(field(2));
    } else {
      arguments.push_back(
          b.CreateLoad(pointer, b.CreateConstGEP1_64(pointer, bindings, binding++)));
    }
  }
  b.CreateCall(&body, arguments);
  b.CreateRetVoid();
}

} // namespace

std::unique_ptr<llvm::Module> tacq::translateKernels(mlir::ModuleOp kernels,
                                                     llvm::ArrayRef<KernelSignature> signatures,
                                                     const CpuTarget &target,
                                                     llvm::LLVMContext &context) {
  mlir::registerBuiltinDialectTranslation(*kernels.getContext());
  mlir::registerLLVMDialectTranslation(*kernels.getContext());
  std::unique_ptr<llvm::Module> module = mlir::translateModuleToLLVMIR(kernels, context, "kernels");
  if (!module)
    return nullptr;
  for (const KernelSignature &signature : signatures)
    makeEntry(*makeBody(*module->getFunction(signature.name), signature), signature);
  for (llvm::Function &function : *module) {
    function.addFnAttr(llvm::Attribute::NoUnwind);
    if (function.isDeclaration())
      continue;
    function.addFnAttr("target-cpu", target.cpu);
    if (!target.features.empty())
      function.addFnAttr("target-features", target.features);
    if (!target.tune.empty())
      function.addFnAttr("tune-cpu", target.tune);
    function.addFnAttr("prefer-vector-width", std::to_string(target.vectorBits));
    // No function keeps a frame pointer, and every one may use all of the processor's registers.
    function.addFnAttr("frame-pointer", "none");
  }
  return module;
}
