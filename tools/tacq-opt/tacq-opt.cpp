//===- tacq-opt.cpp - Runs the compiler's passes on textual IR ------------===//

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"
#include "tacq/Register.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  tacq::registerAllDialects(registry);
  tacq::registerAllPasses();
  mlir::registerTransformsPasses();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "TACQ pass driver\n", registry));
}
