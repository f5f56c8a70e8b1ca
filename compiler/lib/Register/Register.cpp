//===- Register.cpp - All dialects and passes of the compiler -------------===//

#include "tacq/InitAll.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/DialectRegistry.h"
#include "tacq/Dialect/Schedule/ScheduleDialect.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"
#include "tacq/Graph/GraphPasses.h"
#include "tacq/Ops/Passes.h"
#include "tacq/Schedule/Passes.h"

void tacq::registerAllDialects(mlir::DialectRegistry &registry) {
  registry.insert<TACQDialect, rt::ScheduleDialect, mlir::arith::ArithDialect,
                  mlir::func::FuncDialect, mlir::LLVM::LLVMDialect, mlir::math::MathDialect,
                  mlir::memref::MemRefDialect, mlir::scf::SCFDialect, mlir::vector::VectorDialect>();
}

void tacq::registerAllPasses() {
  registerTACQOpsPasses();
  registerTACQSchedulePasses();
  registerGraphPasses();
}
