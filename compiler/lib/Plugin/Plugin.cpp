//===- Plugin.cpp - Dialects and passes for a stock mlir-opt --------------===//
//
//   mlir-opt --load-dialect-plugin=TACQPlugin.so --load-pass-plugin=TACQPlugin.so …
//
//===----------------------------------------------------------------------===//

#include "mlir/Config/mlir-config.h"
#include "mlir/IR/Dialect.h"
#include "mlir/Tools/Plugins/DialectPlugin.h"
#include "mlir/Tools/Plugins/PassPlugin.h"
#include "tacq/Register.h"
#include "llvm/Config/llvm-config.h"

extern "C" LLVM_ATTRIBUTE_WEAK mlir::DialectPluginLibraryInfo mlirGetDialectPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "TACQ", LLVM_VERSION_STRING,
          [](mlir::DialectRegistry *registry) { tacq::registerAllDialects(*registry); }};
}

extern "C" LLVM_ATTRIBUTE_WEAK mlir::PassPluginLibraryInfo mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "TACQ", LLVM_VERSION_STRING, [] { tacq::registerAllPasses(); }};
}
